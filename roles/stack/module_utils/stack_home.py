"""The home of the notebooks' user: a named volume, which Jupyter, batch runs and workers share, so that it outlives their containers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.stack_docker import DockerError, docker, thrown_away
from ansible.module_utils.stack_engine import RUNNING, Engine
from ansible.module_utils.stack_home_script import BRING

MIB = 1024 * 1024
REFUSED = 3
#: The volume's key in the Compose files.
KEY = "jupyter_home"
#: Added to the Compose files of a stack whose own, of an earlier version, do not know the volume.
ADDED = "compose.home.yml"
#: What must stay free on the engine's disk, in MiB.
SPARE_MIB = 512
#: For the engine to copy a home.
SECONDS = 3600
#: To read what others may not, and to give each file the owner and the rights that it had.
_RIGHTS = [word for name in ("DAC_OVERRIDE", "CHOWN", "FOWNER", "FSETID") for word in ("--cap-add", name)]

Containers = Mapping[str, Mapping[str, Any]]


def volume(project: str) -> str:
    """The name that Compose gives it."""
    return f"{project}_{KEY}"


def project_of(container: Mapping[str, Any]) -> str:
    """The Compose project of a container, as the engine lists it."""
    return str(container["Labels"]["com.docker.compose.project"])


def kept(container: Mapping[str, Any]) -> bool:
    """Whether this container, as the engine lists it, has its home in its project's volume."""
    return any(mount.get("Name") == volume(project_of(container)) for mount in container["Mounts"])


def of_the_home(containers: Containers) -> list[str]:
    """Those of a stack's services that have a home: Jupyter's first, whose files count."""
    return [name for name in sorted(containers) if name.partition("-")[0] in ("jupyter", "worker")]


def unkept(containers: Containers) -> list[str]:
    """Those whose homes would end with their containers, in the same order."""
    return [name for name in of_the_home(containers) if not kept(containers[name])]


def bring(project: str, image: str) -> dict[str, Any]:
    """Bring an image's home into the volume, which is made if it is missing: `moved`, a number, and `kept`, what the user has changed.

    Raises DockerError.
    """
    # With the labels by which Compose knows its own.
    labels = [word for key, value in (("project", project), ("volume", KEY)) for word in ("--label", f"com.docker.compose.{key}={value}")]
    docker("volume", "create", *labels, volume(project))
    return _brought(project, image, {})


def take(project: str, containers: Containers) -> list[str]:
    """Stop the containers whose homes are their own, bring those into the volume, and return their names.

    The containers stay, stopped, and may be taken again. Raises DockerError and OSError; what ran runs again then.
    """
    names = unkept(containers)
    if not names:
        return []
    _room(containers[name]["Id"] for name in names)
    running = [containers[name]["Id"] for name in names if containers[name]["State"] in RUNNING]
    try:
        for each in running:
            Engine(timeout=SECONDS).tell(f"/containers/{each}/stop")
        bring(project, containers[names[0]]["ImageID"])
        for name in names:
            _take_one(project, containers[name]["Id"], first=name == names[0])
    except BaseException:
        for each in running:
            with suppress(OSError):
                Engine().tell(f"/containers/{each}/start")
        raise
    return names


def add(directory: str, names: list[str]) -> None:
    """Have the Compose files of a stack name the volume for these services, and for batch runs; they may do so already."""
    settings = Path(directory, ".env")
    lines = settings.read_text().splitlines(keepends=True)
    files = next(line.strip().partition("=")[2].split(":") for line in lines if line.startswith("COMPOSE_FILE="))
    if any(f"{KEY}:" in Path(directory, name).read_text() for name in files):
        return
    services = {name.partition("-")[0] for name in names} | {"batch"}
    mounted = {"volumes": [f"{KEY}:/home/jovyan"]}
    # JSON is YAML.
    Path(directory, ADDED).write_text(json.dumps({"services": dict.fromkeys(sorted(services), mounted), "volumes": {KEY: {}}}))
    new = [f"COMPOSE_FILE={':'.join([*files, ADDED])}\n" if line.startswith("COMPOSE_FILE=") else line for line in lines]
    scratch = Path(directory, ".env.new")
    scratch.touch(mode=0o600)
    scratch.write_text("".join(new))
    scratch.replace(settings)


def _take_one(project: str, container: str, first: bool) -> None:
    # Taken once for each time that it has run: if a later step failed, it runs again, and its user goes on in it.
    ran = f"{container} {Engine().ask(f'/containers/{container}/json')['State']['StartedAt']}"
    # What is mounted in the container is not in an image of it: the project's folder stays out.
    tag = f"slipway/{project}:home-{container[:12]}"
    try:
        docker("commit", "--change", "LABEL com.docker.compose.oneoff=True", container, tag, seconds=SECONDS)
        _brought(project, tag, {"container": ran, "first": first})
    finally:
        with suppress(DockerError):
            docker("image", "rm", tag)


def _brought(project: str, image: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    rights = ["--user", "0:0", *_RIGHTS, "--volume", f"{volume(project)}:/mnt/home:nocopy"]
    return dict(json.loads(thrown_away(image, project, BRING, json.dumps(asked), rights, SECONDS)))


def _room(ids: Any) -> None:
    """Raise DockerError if the disk has no room for these homes twice: the image, and the copy."""
    engine = Engine(SECONDS)
    size = sum(engine.ask(f"/containers/{each}/json", size="1").get("SizeRw") or 0 for each in ids) // MIB
    facts = os.statvfs(engine.ask("/info")["DockerRootDir"])
    free = facts.f_bavail * facts.f_frsize // MIB
    if free < 2 * size + SPARE_MIB:
        raise DockerError(
            f"The machine's disk has {free} MiB free. To keep the home of Jupyter's container in a volume, {2 * size} MiB are needed, and "
            f"{SPARE_MIB} MiB have to stay free. Nothing was changed. Remove what is not needed from the home or from the disk "
            "(`docker system df` shows what images take); then the same command again.",
            REFUSED,
        )
