"""The machine's disks, for `status`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Less free, and a store refuses what it is to write, or ends: MongoDB and PostgreSQL write files of 16 to 100 MiB at once.
FULL_MIB = 100


def is_full(disk: Mapping[str, Any]) -> bool:
    """Whether services fail for it."""
    return bool(disk["free_mib"] < FULL_MIB)


def line(disk: Mapping[str, Any], start: str) -> str:
    """Its room; of a full one also what that does, and the way out. `start`: the line that brings the services up."""
    room = f"{disk['free_mib'] / 1024:.1f} of {disk['size_mib'] / 1024:.1f} GiB free"
    if not disk["full"]:
        return f"Disk      {room}"
    return (
        f"Disk      full: {room} at {disk['folder']}. For that, stores refuse what they are to write, or end. Nothing that they have "
        "confirmed is lost.\n"
        "          Make room on the machine (`docker system df` shows what images take), or make the disk larger (README, known limits).\n"
        f"          Then: {start}"
    )
