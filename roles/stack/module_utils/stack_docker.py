"""The docker command, for what its socket does not do with one request."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

#: Python without the container's PYTHON* variables, which name the project's folder, and without a file that it leaves behind.
PYTHON = ("python", "-E", "-B", "-c")
#: For one of the scripts: the reader of packages takes 16 MiB.
MEMORY = "64m"
KILLED = 137


class DockerError(Exception):
    """What went wrong and what to type next, and the exit code that fits."""

    def __init__(self, text: str, code: int = 4) -> None:
        super().__init__(text)
        self.code = code


def docker(*words: str, stdin: str = "", seconds: int = 300) -> str:
    """What a docker command prints. Raises DockerError."""
    try:
        done = subprocess.run(["docker", *words], input=stdin, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as late:
        raise DockerError(f"`docker {words[0]}` did not end within {seconds} s. Try again when the machine has less to do.") from late
    if done.returncode == KILLED:
        raise DockerError(f"`docker {words[0]}` was ended for lack of memory. Close a notebook or two, and try again.")
    if done.returncode:
        raise DockerError(f"`docker {words[0]}` ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-1000:]}")
    return done.stdout


def inside(container: str, script: str, *arguments: str) -> str:
    """What the container's Python prints, run by the container's user."""
    return docker("exec", "--workdir", "/", container, *PYTHON, script, *arguments)


def thrown_away(image: str, project: str, script: str, stdin: str = "", rights: Sequence[str] = (), seconds: int = 300) -> str:
    """What the image's Python prints in a container that is removed at once: without network, password or anything that it may change."""
    limits = ["--memory", MEMORY, "--memory-swap", MEMORY, "--pids-limit", "64", "--network", "none", "--read-only", "--no-healthcheck"]
    # An image that Compose built has the labels of a service, and its containers would be taken for that.
    labels = ["--label", f"com.docker.compose.project={project}", "--label", "com.docker.compose.oneoff=True"]
    nobody = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", *rights, "--workdir", "/", "--entrypoint", PYTHON[0]]
    return docker("run", "--rm", "--interactive", *limits, *labels, *nobody, image, *PYTHON[1:], script, stdin=stdin, seconds=seconds)
