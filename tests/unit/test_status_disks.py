"""What `status` says of the machine's disk."""

from __future__ import annotations

from typing import Any

import pytest

from slipway import disks


def disk(free: int) -> dict[str, Any]:
    found = {"folder": "/var/lib/docker", "free_mib": free, "size_mib": 8192}
    return found | {"full": disks.is_full(found)}


@pytest.mark.parametrize(("free", "full"), [(0, True), (99, True), (100, False), (4096, False)])
def test_a_disk_is_full_when_stores_cannot_write(free: int, full: bool) -> None:
    assert disk(free)["full"] is full


def test_a_disk_with_room_is_one_short_line() -> None:
    assert disks.line(disk(4096), "up") == "Disk      4.0 of 8.0 GiB free"


def test_a_full_disk_is_named_with_what_it_does_and_what_brings_the_services_back() -> None:
    said = disks.line(disk(0), "python orchestrate.py up")
    for part in ("full: 0.0 of 8.0 GiB free at /var/lib/docker", "stores refuse", "make the disk larger", "Then: python orchestrate.py up"):
        assert part in said
