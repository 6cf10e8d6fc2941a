"""How the root of a machine takes a disk that has grown: facts as findmnt and lsblk give them in, commands out.

Sources: "Extend the file system after resizing an Amazon EBS volume", Amazon EBS User Guide; growpart(1), resize2fs(8), xfs_growfs(8).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Facts = Mapping[str, Any]

#: They print JSON, with sizes in bytes. A root is found by its device's number: findmnt may call its source /dev/root.
FINDMNT = ("findmnt", "--json", "--bytes", "--output", "FSTYPE,SIZE,MAJ:MIN", "/")
LSBLK = ("lsblk", "--json", "--bytes", "--output", "NAME,PATH,TYPE,SIZE,START,MAJ:MIN")
#: A volume grows by whole GiB. What is less is what a filesystem keeps for itself, or the end of a partition table.
GIB = 2**30
#: Bytes that lsblk's START counts by.
SECTOR = 512
#: growpart writes a copy of the partition table to its temporary folder, and a full disk has no room for one.
GROWPART = ("env", "TMPDIR=/dev/shm", "growpart")
KINDS = ("ext4", "xfs")
NUMBER = "maj:min"
ALLOWED = "Allowed: a disk, or a partition of one."


class WrongError(Exception):
    """A root that is not grown: its text says what it is, and what is allowed."""


def commands(findmnt: Facts, lsblk: Facts) -> list[list[str]]:
    """The commands that give the whole disk to the root, in order; none if it has it. `findmnt` and `lsblk`: what FINDMNT and LSBLK print.

    Raises WrongError if the root is no ext4 or XFS, or not directly on a disk or on its last partition.
    """
    [root] = findmnt["filesystems"]
    if root["fstype"] not in KINDS:
        raise WrongError(f"The root's filesystem is {root['fstype']}, which cannot be grown here. Allowed: {' or '.join(KINDS)}.")
    device, disk = _found(lsblk, root[NUMBER])
    grown = []
    if device is not disk and _room(device, disk) >= GIB:
        grown.append([*GROWPART, disk["path"], device["name"].removeprefix(disk["name"]).removeprefix("p")])
    if grown or device["size"] - root["size"] >= GIB:
        grown.append(["xfs_growfs", "/"] if root["fstype"] == "xfs" else ["resize2fs", device["path"]])
    return grown


def _found(lsblk: Facts, number: str) -> tuple[Facts, Facts]:
    """The device of a number, and the disk that it is a partition of, or is."""
    for device, *above in _devices(lsblk["blockdevices"]):
        if device[NUMBER] == number:
            if device["type"] not in ("disk", "loop", "part") or len(above) > 1:
                raise WrongError(f"The root is on {device['path']}, which is {device['type']} and cannot be grown here. {ALLOWED}")
            return device, above[0] if above else device
    raise WrongError(f"The root's device, {number}, is not among those that lsblk shows. {ALLOWED}")


def _devices(found: list[Facts], *above: Facts) -> Iterator[tuple[Facts, ...]]:
    """Each device, with those that it is on after it."""
    for device in found:
        yield device, *above
        yield from _devices(device.get("children", []), device, *above)


def _room(part: Facts, disk: Facts) -> int:
    """The bytes of the disk behind a partition."""
    room = int(disk["size"]) - int(part["start"]) * SECTOR - int(part["size"])
    behind = [other["path"] for other in disk["children"] if other["start"] > part["start"]]
    if behind and room >= GIB:
        raise WrongError(f"The root is on {part['path']}, and {behind[0]} is behind it. Allowed: the last partition of {disk['path']}.")
    return room
