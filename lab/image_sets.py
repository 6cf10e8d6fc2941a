"""The sets of machine images that labs of this computer share, as files in the pool of disks (lab/shared_images.py)."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import config, disks

VARIABLE = "SLIPWAY_LAB_IMAGES"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_SETS = disks.STORE / "pool" / "images"


@dataclass(frozen=True)
class Facts:
    """What is known of an image beside its disk. `size`: of the disk's file, in bytes."""

    contents: str
    name: str
    region: str
    architecture: str
    virtualization: str
    gib: int
    size: int


def folder(name: str | None) -> Path | None:
    """The folder of a set; none if no set is named. Raises BadInputError for a name that cannot be a folder's."""
    if not name:
        return None
    if not _NAME.fullmatch(name):
        raise config.BadInputError(f"{VARIABLE}={name}: a set of images has a name of at most 64 letters, digits and hyphens.")
    return _SETS / name


def read(facts: Path) -> Facts | None:
    """What was written down of an image, if all of the image is there."""
    try:
        found = Facts(**json.loads(facts.read_text()))
        whole = facts.stem == found.contents and facts.with_suffix(".img").stat().st_size == found.size
    except (OSError, ValueError, TypeError):
        return None
    return found if whole else None


def keep(place: Path, facts: Facts, disk: Path) -> None:
    """Keep a copy of an image, each file in one step. Its facts are written last: until then there is none."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = place / f".{facts.contents}.{os.getpid()}"
    disks.clone(disk, scratch)
    scratch.replace(place / f"{facts.contents}.img")
    config.write_private(place / f"{facts.contents}.json", json.dumps(asdict(facts)).encode())


def names(start: str) -> list[str]:
    """The sets whose names begin so."""
    return sorted(path.name for path in _SETS.glob(f"{start}*"))


def contents(name: str) -> list[str]:
    """What is in the images of a set."""
    place = folder(name)
    return [] if place is None else [facts.contents for facts in map(read, sorted(place.glob("*.json"))) if facts]


def forget(name: str) -> None:
    """Remove a set. Images that labs have taken from it stay theirs."""
    if (place := folder(name)) and place.exists():
        shutil.rmtree(place)
