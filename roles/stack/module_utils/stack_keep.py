"""A container as an image, with none of the stack's secrets in it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible.module_utils.stack_docker import DockerError, docker, inside, thrown_away
from ansible.module_utils.stack_engine import Engine
from ansible.module_utils.stack_package_rules import TAG
from ansible.module_utils.stack_package_scripts import ASIDE, LOOK

MIB = 1024 * 1024
BAD_INPUT, REFUSED = 2, 3
#: What must stay free on the engine's disk, in MiB.
SPARE_MIB = 512
#: For the engine to write, or to read, what a container has changed.
SECONDS = 1800


def check_tag(project: str, tag: str) -> None:
    """Raise DockerError where no image can be called so."""
    if not TAG.fullmatch(tag):
        allowed = "1 to 128 letters, digits, _, . and -, of which . and - do not come first"
        raise DockerError(f"--keep: {tag[:140]!r} cannot be used. Allowed: {allowed}. Nothing was changed.", BAD_INPUT)
    name = _name(project, tag)
    if any(name in (each["RepoTags"] or []) for each in Engine().ask("/images/json")):
        raise DockerError(
            f"--keep: {tag!r} cannot be used: the machine has an image {name}. Allowed: another tag. Nothing was changed.", REFUSED
        )


def keep(project: str, directory: str, container: str, tag: str) -> dict[str, Any]:
    """Make an image of the container, which is paused meanwhile. Raises DockerError, and leaves no image then."""
    image, words = _name(project, tag), _words(Path(directory, "secrets"))
    if not words:
        raise DockerError(f"{directory}/secrets holds no secret, so that none can be looked for in an image. Nothing was kept.")
    size = _room(container)
    # A container that somebody makes of it by hand is no service of the project.
    labels = ["--change", "LABEL com.docker.compose.oneoff=True", "--change", f"LABEL slipway.kept={project}"]
    try:
        with _without_runtime(container):
            paths = _changed(container)
            docker("commit", *labels, container, image, seconds=SECONDS)
        _check(image, project, words, paths)
    except BaseException:
        with suppress(DockerError):
            docker("image", "rm", image)
        raise
    return {"image": image, "mib": size}


def _name(project: str, tag: str) -> str:
    return f"slipway/{project}:{tag}"


def _words(folder: Path) -> list[str]:
    """The folder's secrets, each as it is, and as JSON and a URL have it; of a key in PEM its first line."""
    found: set[str] = set()
    for path in (path for path in folder.iterdir() if path.is_file() and path.suffix != ".crt"):
        lines = [line for line in path.read_text().splitlines() if len(line) >= 16 and not line.startswith("-----")]
        for line in lines[:1]:
            found |= {line, json.dumps(line)[1:-1], quote(line, safe="")}
    return sorted(found)


def _room(container: str) -> float:
    """What the container takes beside its image, in MiB. Raises DockerError where the disk has no room for as much."""
    engine = Engine(SECONDS)
    size = (engine.ask(f"/containers/{container}/json", size="1").get("SizeRw") or 0) / MIB
    facts = os.statvfs(engine.ask("/info")["DockerRootDir"])
    free = facts.f_bavail * facts.f_frsize // MIB
    if free < size + SPARE_MIB:
        raise DockerError(
            f"The machine's disk has {free} MiB free. The image needs {size:.0f} MiB, and {SPARE_MIB} MiB have to stay free. Nothing was "
            "kept. Remove what is not needed: `docker system df` shows what images take.",
            REFUSED,
        )
    return round(size, 1)


def _changed(container: str) -> list[str]:
    """What the container has beside its image: whole folders that it made, and single files."""
    said = [each for each in Engine(SECONDS).ask(f"/containers/{container}/changes") or [] if each["Kind"] != 2]
    made = {each["Path"] for each in said if each["Kind"] == 1}
    parents = {each["Path"].rpartition("/")[0] for each in said}
    first = [each["Path"] for each in said if each["Path"].rpartition("/")[0] not in made]
    return [path for path in first if path in made or path not in parents]


@contextmanager
def _without_runtime(container: str) -> Iterator[None]:
    """Jupyter's files of this run are not in the container's folders meanwhile."""
    try:
        inside(container, ASIDE, "away")
        yield
    finally:
        inside(container, ASIDE, "back")


def _check(image: str, project: str, words: Sequence[str], paths: Sequence[str]) -> None:
    """Raise DockerError where one of the words is in the image: in what it says of itself, or in a file of these paths."""
    said = docker("image", "inspect", image) + docker("history", "--no-trunc", image)
    found = ["its settings"] * any(word in said for word in words)
    # Some files are the user's alone, and some are root's.
    rights = ["--user", "0:0", "--cap-add", "DAC_OVERRIDE"]
    found += json.loads(thrown_away(image, project, LOOK, json.dumps({"words": words, "paths": paths}), rights, SECONDS))
    if found:
        raise DockerError(
            f"The image would hold a password or the token of {project}, in {', '.join(found[:10])}. Nothing was kept. Remove that from "
            "the container, or move the file into work/, which no image takes along; then try again.",
            REFUSED,
        )
