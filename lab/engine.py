"""The Docker engine under the lab: the one that answers, or one installed and started here."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

from lab.config import LabError

Report = Callable[[str], None]

_START_SECONDS = 60
_NO_CREDENTIALS = Path(__file__).resolve().parent / "no-credentials"
_LOG = Path("/var/log/slipway-dockerd.log")


@contextmanager
def alone(report: Report) -> Iterator[None]:
    """Wait until no other lab of this user makes what all share: the engine, images, ports and networks."""
    # Not in TMPDIR, which may differ from one shell to the next.
    path = Path("/tmp") / f"slipway-lab-{os.getuid()}.lock"  # noqa: S108 (opened without following a link)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another lab that is being started")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def connect(report: Report) -> docker.DockerClient:
    """Return a client of a Docker engine that answers. The caller is `alone`.

    Where none answers and this is root on Debian or Ubuntu, the distribution's `docker.io` is installed
    and started. Raises LabError, with what is missing, where that may not be done.
    """
    found = _answering()
    if found is not None:
        return found
    if os.environ.get("DOCKER_HOST"):
        raise LabError(f"No Docker engine answers at DOCKER_HOST={os.environ['DOCKER_HOST']}. Start it, or unset DOCKER_HOST.")
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise LabError(
            "No Docker engine answers at /var/run/docker.sock. Start Docker (and let this user use it), "
            "or run as root on Debian or Ubuntu, where the lab installs one."
        )
    if shutil.which("dockerd") is None:
        report("installing a Docker engine (docker.io)")
        apt_install("docker.io", "iptables")
    report("starting the Docker engine")
    _start()
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        found = _answering()
        if found is not None:
            return found
        time.sleep(0.3)
    raise LabError(f"The Docker engine did not answer within {_START_SECONDS} s. Its log: {_LOG} or `journalctl -u docker`.")


def apt_install(*packages: str) -> None:
    """Install packages with apt-get, with the recommended ones left out.

    Raises LabError with apt's last line when that fails.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # An update by another process holds the lock: apt itself waits for it.
    apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    for command in ([*apt, "update"], [*apt, "install", "-y", "--no-install-recommends", *packages]):
        # What packages' own scripts make must be readable by all.
        result = subprocess.run(command, env=environment, capture_output=True, text=True, umask=0o022)
        if result.returncode:
            lines = (result.stderr or result.stdout).strip().splitlines() or ["no output"]
            raise LabError(f"`{' '.join(command)}` failed: {lines[-1]}")


def client(timeout: int = 60) -> docker.DockerClient:
    """A client of the engine. Raises DockerException if no engine answers.

    It does not read the user's settings for Docker. All credentials that they name would be sent with each build, and a helper that is
    gone, or a file that cannot be read, would end it; the lab's registry wants none.
    """
    os.environ["DOCKER_CONFIG"] = str(_NO_CREDENTIALS)
    return docker.from_env(timeout=timeout)


def _answering() -> docker.DockerClient | None:
    try:
        found = client(timeout=600)
        found.ping()
    except (docker.errors.DockerException, OSError):
        return None
    return found


def _start() -> None:
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "start", "docker"], check=False, capture_output=True)
        return
    # PID 1 is not systemd (a container, a small VM). The init script is no way out: it fails where
    # raising a ulimit is refused. The engine is started as its own session, to outlive this command.
    with _LOG.open("ab") as log:
        subprocess.Popen(["dockerd"], cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
