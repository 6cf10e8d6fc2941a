"""Sets of machine images that labs of this computer share (lab/shared_images.py says how): where each is, and its end."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from lab import disks
from lab.config import BadInputError

#: In the environment of a lab's API: the set that it shares.
VARIABLE = "SLIPWAY_LAB_IMAGES"
_SETS = disks.STORE / "pool" / "images"


def asked() -> Path | None:
    """The folder of the set that this process shares; None for none. Raises BadInputError at what cannot be a set's name."""
    name = os.environ.get(VARIABLE, "")
    if not name:
        return None
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", name):
        raise BadInputError(f"{VARIABLE} is {name!r}. Allowed: at most 40 lower-case letters, digits and hyphens.")
    return folder(name)


def folder(name: str) -> Path:
    """Where a set is."""
    return _SETS / name


def names() -> list[str]:
    """The sets of this computer."""
    return sorted(path.name for path in _SETS.glob("*"))


def forget(name: str) -> None:
    """Remove a set. Labs keep what they have taken from it."""
    shutil.rmtree(folder(name), ignore_errors=True)
