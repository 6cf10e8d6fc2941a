"""What EC2 refuses of volumes and images; and what the lab refuses if it has no real disks."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from lab import disk_rules, disks
from lab.rules import RefusalError

WHY = "this needs root: loop devices and mounts are root's"
NOTHING = SimpleNamespace(volumes={}, snapshots={}, amis={}, all_instances=list)


@pytest.mark.parametrize("action", ["CreateSnapshot", "CreateSnapshots", "CreateImage", "RegisterImage", "CreateReplaceRootVolumeTask"])
def test_what_needs_a_real_disk_is_refused_with_the_reason(action: str) -> None:
    with pytest.raises(RefusalError) as refused:
        disk_rules.check(action, {}, NOTHING, WHY)  # type: ignore[arg-type]
    assert (refused.value.code, str(refused.value)) == ("UnsupportedOperation", f"{action} needs the lab's real disks. It has none: {WHY}.")
    disk_rules.check(action, {"DryRun": "true"}, NOTHING, WHY)  # type: ignore[arg-type]


@pytest.mark.parametrize("action", ["RunInstances", "CreateVolume", "AttachVolume", "ModifyVolume", "DescribeVolumes"])
def test_what_can_be_recorded_is_taken_without_one(action: str) -> None:
    disk_rules.check(action, {}, NOTHING, WHY)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", ["0", "-1", "16385"])
@pytest.mark.parametrize("action", ["CreateVolume", "ModifyVolume"])
def test_a_size_that_no_volume_has_is_refused(action: str, size: str) -> None:
    with pytest.raises(RefusalError) as refused:
        disk_rules.check(action, {"Size": size}, NOTHING, "")  # type: ignore[arg-type]
    assert refused.value.code == "InvalidParameterValue"


def test_another_user_than_root_has_no_real_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert disks.lacking() == WHY
