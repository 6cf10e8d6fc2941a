"""How a root takes a disk that has grown: what findmnt and lsblk show, and the commands for it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.modules import load

rules: Any = load("ec2_grow_rules")

GIB, MIB = 2**30, 2**20


def device(name: str, kind: str, size: int, number: str, *children: dict[str, Any], start: int | None = None) -> dict[str, Any]:
    """A device as lsblk shows it; `start` in bytes."""
    found = {"name": name, "path": f"/dev/{name}", "type": kind, "size": size, "start": start and start // 512, "maj:min": number}
    return found | ({"children": list(children)} if children else {})


def canonicals(disk: str, gib: int, root: str, number: str, root_gib: int) -> list[dict[str, Any]]:
    """The disks of Canonical's images: the root is partition 1, and lies behind the others."""
    boot = device(f"{root[:-1]}16", "part", 913 * MIB, "259:4", start=106 * MIB)
    first = device(root, "part", root_gib * GIB - 1024 * MIB, number, start=1024 * MIB)
    return [device("loop0", "loop", 70 * MIB, "7:0"), device(disk, "disk", gib * GIB, "259:0", first, boot)]


def under_root(name: str, kind: str) -> list[dict[str, Any]]:
    """A disk of 12 GiB whose partition holds something, and that holds the root."""
    held = device(name, kind, 8 * GIB, "253:0")
    return [device("xvda", "disk", 12 * GIB, "202:0", device("xvda1", "part", 8 * GIB, "202:1", held, start=MIB))]


def part(disk: str, name: str, size: int, gib: int) -> list[dict[str, Any]]:
    return [device(disk, "disk", gib * GIB, "202:0", device(name, "part", size, "202:1", start=MIB))]


GROWPART = "env TMPDIR=/dev/shm growpart"


@pytest.mark.parametrize(
    ("kind", "size", "number", "devices", "wanted"),
    [
        pytest.param(
            "ext4",
            int(6.7 * GIB),
            "259:1",
            canonicals("nvme0n1", 12, "nvme0n1p1", "259:1", 8),
            [f"{GROWPART} /dev/nvme0n1 1", "resize2fs /dev/nvme0n1p1"],
            id="ext4 on a partition of an NVMe disk",
        ),
        pytest.param(
            "ext4",
            int(6.7 * GIB),
            "202:1",
            canonicals("xvda", 12, "xvda1", "202:1", 8),
            [f"{GROWPART} /dev/xvda 1", "resize2fs /dev/xvda1"],
            id="ext4 on a partition of a Xen disk",
        ),
        pytest.param(
            "ext4",
            int(6.7 * GIB),
            "202:1",
            part("xvda", "xvda12", 7 * GIB - 2 * MIB, 8),
            [f"{GROWPART} /dev/xvda 12", "resize2fs /dev/xvda12"],
            id="a partition's number of two digits, and one GiB more",
        ),
        pytest.param(
            "xfs",
            7 * GIB,
            "202:1",
            part("xvda", "xvda1", 8 * GIB - MIB, 12),
            [f"{GROWPART} /dev/xvda 1", "xfs_growfs /"],
            id="XFS on a partition",
        ),
        pytest.param(
            "xfs",
            8 * GIB - 64 * MIB,
            "7:3",
            [device("loop3", "loop", 12 * GIB, "7:3")],
            ["xfs_growfs /"],
            id="XFS on a whole disk, as in the lab",
        ),
        pytest.param(
            "ext4", 8 * GIB, "202:0", [device("xvda", "disk", 12 * GIB, "202:0")], ["resize2fs /dev/xvda"], id="ext4 on a whole disk"
        ),
        pytest.param(
            "ext4",
            int(6.7 * GIB),
            "202:1",
            part("xvda", "xvda1", 12 * GIB - 2 * MIB, 12),
            ["resize2fs /dev/xvda1"],
            id="ended after the partition had grown",
        ),
        pytest.param(
            "ext4", 7 * GIB - 300 * MIB, "259:1", canonicals("nvme0n1", 8, "nvme0n1p1", "259:1", 8), [], id="ext4 that has all of its disk"
        ),
        pytest.param("xfs", 12 * GIB - 64 * MIB, "7:3", [device("loop3", "loop", 12 * GIB, "7:3")], [], id="XFS that has all of its disk"),
    ],
)
def test_a_root_gets_its_whole_disk_by_these_commands(
    kind: str, size: int, number: str, devices: list[dict[str, Any]], wanted: list[str]
) -> None:
    found = rules.commands({"filesystems": [{"fstype": kind, "size": size, "maj:min": number}]}, {"blockdevices": devices})
    assert [" ".join(command) for command in found] == wanted


@pytest.mark.parametrize(
    ("kind", "number", "devices", "said"),
    [
        pytest.param("btrfs", "0:26", [], "filesystem is btrfs, which cannot be grown here. Allowed: ext4 or xfs", id="btrfs"),
        pytest.param("overlay", "0:50", [], "filesystem is overlay", id="a container's"),
        pytest.param("ext4", "253:0", under_root("mapper/vg-root", "lvm"), "on /dev/mapper/vg-root, which is lvm", id="LVM"),
        pytest.param("xfs", "253:0", under_root("mapper/luks", "crypt"), "on /dev/mapper/luks, which is crypt", id="LUKS"),
        pytest.param("ext4", "253:0", under_root("md0p1", "part"), "on /dev/md0p1, which is part", id="a partition of a RAID"),
        pytest.param("ext4", "8:1", part("xvda", "xvda1", GIB, 2), "device, 8:1, is not among", id="a device that lsblk does not show"),
        pytest.param(
            "ext4",
            "202:1",
            [
                device(
                    "xvda",
                    "disk",
                    12 * GIB,
                    "202:0",
                    device("xvda1", "part", 4 * GIB, "202:1", start=MIB),
                    device("xvda2", "part", GIB, "202:2", start=5 * GIB),
                )
            ],
            "/dev/xvda2 is behind it. Allowed: the last partition of /dev/xvda",
            id="another partition behind it",
        ),
    ],
)
def test_a_root_that_cannot_be_grown_is_refused_with_its_reason(kind: str, number: str, devices: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(rules.WrongError, match=said):
        rules.commands({"filesystems": [{"fstype": kind, "size": GIB, "maj:min": number}]}, {"blockdevices": devices})
