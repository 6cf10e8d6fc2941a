"""What `bake` decides: the name of contents, what is left to do, what images cost, and which one a new machine is made from."""

from __future__ import annotations

import argparse
import os
from typing import Any

import pytest

from slipway import arguments, bake
from slipway.model import Exit, RefusalError
from tests.modules import load, read

ec2_images = load("ec2_images")
machine_image_rules = load("machine_image_rules")
contents = read("roles", "machine_image", "filter_plugins", "machine_image_contents.py").contents

PARTS: dict[str, Any] = {
    "machine": {"image": "ubuntu/*", "owners": ["1"], "user": "ubuntu"},
    "engine": {"engine": "docker", "compose": "package", "compose_version": ""},
    "stack": {"images": {"redis": "redis:7@sha256:aa", "jupyter": "scipy:1@sha256:bb"}, "jupyter": "slipway/jupyter:0a1b"},
}


def test_the_same_parts_have_the_same_name_in_any_order() -> None:
    turned = {key: PARTS[key] for key in reversed(PARTS)}
    assert contents(PARTS) == contents(turned)
    assert len(contents(PARTS)) == 16


@pytest.mark.parametrize(
    "change",
    [
        {"machine": {"image": "debian/*", "owners": ["1"], "user": "ubuntu"}},
        {"machine": {"image": "ubuntu/*", "owners": ["2"], "user": "ubuntu"}},
        {"engine": {"engine": "distribution", "compose": "package", "compose_version": ""}},
        {"engine": {"engine": "docker", "compose": "controller", "compose_version": "5.6.1"}},
        {"stack": {"images": {"redis": "redis:7@sha256:ac", "jupyter": "scipy:1@sha256:bb"}, "jupyter": "slipway/jupyter:0a1b"}},
        {"stack": {"images": {"redis": "redis:7@sha256:aa", "jupyter": "scipy:1@sha256:bb"}, "jupyter": "slipway/jupyter:0a1c"}},
        {"stack": {"images": {"redis": "redis:7@sha256:aa"}, "jupyter": "slipway/jupyter:0a1b"}},
    ],
)
def test_each_part_changes_the_name(change: dict[str, Any]) -> None:
    assert contents(PARTS | change) != contents(PARTS)


NOW, OLD = "0123456789abcdef", "fedcba9876543210"


def image(name: str = "ami-1", state: str = "available", created: str = "2026-05-01", **more: Any) -> dict[str, Any]:
    tags = more.pop("tags", {"slipway-contents": NOW})
    return {
        "ImageId": name,
        "State": state,
        "CreationDate": created,
        "Architecture": "x86_64",
        "RootDeviceName": "/dev/sda1",
        "RootDeviceType": "ebs",
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": "snap-1", "VolumeSize": 20}}],
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
    } | more


def machine(state: str, mark: str, reason: str = "Client.InstanceInitiatedShutdown") -> dict[str, Any]:
    return {
        "InstanceId": "i-1",
        "State": {"Name": state},
        "StateReason": {"Code": reason, "Message": ""},
        "Tags": [{"Key": "slipway-bake", "Value": mark}],
    }


BY_HAND = "Client.UserInitiatedShutdown"
HALF = {"slipway-baking": NOW}


@pytest.mark.parametrize(
    ("there", "images", "wanted"),
    [
        (None, [], ("make", False)),
        (machine("running", "made"), [], ("install", False)),
        (machine("pending", "made"), [], ("install", False)),
        # A halt before the cleaning began: by hand, or of its hardware.
        (machine("stopped", "made"), [], ("make", True)),
        (machine("stopped", "made", BY_HAND), [], ("make", True)),
        (machine("running", NOW), [], ("halt", False)),
        (machine("stopping", NOW), [], ("halt", False)),
        (machine("stopped", NOW), [], ("image", False)),
        # It was not cleaned to the end.
        (machine("stopped", NOW, BY_HAND), [], ("make", True)),
        (machine("stopped", NOW, "Server.ScheduledStop"), [], ("make", True)),
        # Of another version.
        (machine("stopped", OLD), [], ("make", True)),
        (machine("running", OLD), [], ("make", True)),
        (machine("stopped", NOW), [image(state="pending", tags=HALF)], ("wait", False)),
        (machine("stopped", NOW), [image(tags=HALF)], ("wait", False)),
        (None, [image(tags=HALF)], ("wait", False)),
        (machine("stopped", NOW), [image(state="failed", tags=HALF)], ("image", False)),
        (None, [image(tags={"slipway-baking": OLD})], ("make", False)),
        (None, [image(tags={"slipway-contents": OLD})], ("make", False)),
        (None, [image()], ("done", False)),
        (machine("stopped", NOW), [image()], ("done", False)),
        # Its last tag was set, the one before not taken away.
        (None, [image(tags=HALF | {"slipway-contents": NOW})], ("done", False)),
    ],
)
def test_each_state_of_a_bake_has_its_next_step(
    there: dict[str, Any] | None, images: list[dict[str, Any]], wanted: tuple[str, bool]
) -> None:
    assert machine_image_rules.step(there, images, NOW) == wanted


def test_a_users_machine_is_never_taken() -> None:
    machine_image_rules.check_own(None, "slipway-bake")
    machine_image_rules.check_own(machine("running", "made"), "slipway-bake")
    with pytest.raises(machine_image_rules.RefusedError, match="was not made for an image") as refused:
        machine_image_rules.check_own(machine("running", "made") | {"Tags": []}, "slipway-bake")
    assert refused.value.code == 3


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        ([], None),
        ([image()], "ami-1"),
        ([image(), image("ami-2", created="2026-06-01")], "ami-2"),
        ([image(tags={"slipway-contents": OLD})], None),
        ([image(tags={})], None),
        ([image(tags=HALF)], None),
        ([image(state="pending")], None),
        ([image(Architecture="arm64")], None),
        # A newer one that does not fit, and one that does.
        ([image(), image("ami-2", created="2026-06-01", Architecture="arm64")], "ami-1"),
    ],
)
def test_the_newest_own_image_of_these_contents_is_taken(own: list[dict[str, Any]], wanted: str | None) -> None:
    found = ec2_images.baked(own, NOW, ["x86_64"], 20)
    assert (found and found["ImageId"]) == wanted


def test_an_image_that_is_too_large_or_not_asked_for_is_not_taken() -> None:
    assert ec2_images.baked([image()], NOW, ["x86_64"], 19) is None
    assert ec2_images.baked([image(tags={"slipway-contents": ""})], "", ["x86_64"], 20) is None


@pytest.mark.parametrize(
    ("more", "disk", "field", "said"),
    [
        ({"state": "pending"}, 20, "ec2_instance_machine_image", "It is pending"),
        ({"Architecture": "arm64"}, 20, "ec2_instance_machine_image", "It is arm64, and t2.micro is i386/x86_64"),
        ({"RootDeviceType": "instance-store"}, 20, "ec2_instance_machine_image", "instance-store"),
        ({}, 19, "ec2_instance_disk_gib", "needs at least 20 GiB"),
    ],
)
def test_a_named_image_that_cannot_be_used_is_refused_with_its_reason(more: dict[str, Any], disk: int, field: str, said: str) -> None:
    with pytest.raises(ec2_images.ImageError) as wrong:
        ec2_images.check_named(image(**more), "t2.micro", ["i386", "x86_64"], disk)
    assert wrong.value.args[0] == field
    assert said in wrong.value.args[2]


def test_any_image_may_be_named() -> None:
    ec2_images.check_named(image(tags={}), "t2.micro", ["x86_64"], 20)


def test_of_the_images_with_a_name_the_newest_is_taken() -> None:
    found = [image("ami-2", created="2026-06-01", Name="two"), image(Name="one")]
    assert ec2_images.newest(found, "*", ["self"], "t2.micro", ["x86_64"], 20)["ImageId"] == "ami-2"


@pytest.mark.parametrize(
    ("found", "disk", "field", "said"),
    [
        ([], 20, "ec2_instance_image_name", "No image of the owners 099720109477, self has such a name in this region."),
        ([image(Name="one", Architecture="arm64")], 20, "ec2_instance_type", "It is i386/x86_64, and the image one is arm64."),
        ([image(Name="one")], 19, "ec2_instance_disk_gib", "The image one needs at least 20 GiB."),
        # An older one that fits is not taken in its place.
        (
            [image(), image("ami-2", created="2026-06-01", Name="two", Architecture="arm64")],
            20,
            "ec2_instance_type",
            "the image two is arm64",
        ),
    ],
)
def test_the_newest_image_is_refused_if_it_does_not_fit(found: list[dict[str, Any]], disk: int, field: str, said: str) -> None:
    with pytest.raises(ec2_images.ImageError) as wrong:
        ec2_images.newest(found, "ubuntu-*", ["099720109477", "self"], "t2.micro", ["i386", "x86_64"], disk)
    assert wrong.value.args[0] == field
    assert said in wrong.value.args[2]


PRICES = {"types": {"t2.micro": 0.0116}, "gp3_gib_month": 0.08, "snapshot_gib_month": 0.05, "ipv4_hour": 0.005}


def test_a_bake_tells_its_price_before_and_the_images_per_month() -> None:
    assert machine_image_rules.monthly(PRICES, 20) == 1.0
    line = machine_image_rules.price_line(PRICES, "t2.micro", 20, 20)
    assert line.startswith("Price: 0.0063 USD for a t2.micro with 20 GiB of disk, for about 20 minutes; then at most 1.00 USD per month")
    assert "not known here" in machine_image_rules.price_line(PRICES, "x9.huge", 20, 20)
    assert "not known here" in machine_image_rules.price_line({}, "t2.micro", 20, 20)


@pytest.mark.parametrize(
    ("tags", "said"), [({"slipway-contents": NOW}, "current"), ({"slipway-contents": OLD}, "other version"), (HALF, "unfinished")]
)
def test_an_image_is_listed_with_its_state_size_and_price(tags: dict[str, str], said: str) -> None:
    told = machine_image_rules.document(image(tags=tags), NOW, PRICES)
    assert told["state"] == said
    assert (told["gib"], told["usd_per_month"]) == (20, 1.0)
    assert bake.line(told).endswith("20 GiB, at most 1.00 USD per month")
    assert "not known here" in bake.line(machine_image_rules.document(image(tags=tags), NOW, {}))


def test_only_an_image_of_ours_is_removed() -> None:
    assert machine_image_rules.check_removed([image()], "ami-1")["ImageId"] == "ami-1"
    with pytest.raises(machine_image_rules.RefusedError, match="Allowed: ami-1") as refused:
        machine_image_rules.check_removed([image()], "ami-2")
    assert refused.value.code == 2


@pytest.mark.parametrize(
    ("words", "name"), [(["bake"], "slipway-bake"), (["bake", "--name", "big"], "big-bake"), (["--name", "big", "bake"], "big-bake")]
)
def test_the_machine_is_another_one_than_the_users(words: list[str], name: str) -> None:
    options = arguments.parse(words)
    assert options.name == name
    assert arguments.variables(options)["slipway_name"] == name


def test_bake_does_one_thing_at_a_time() -> None:
    with pytest.raises(RefusalError, match="not allowed with"):
        arguments.parse(["bake", "--list", "--remove", "ami-0a1b2c3d"])


def test_a_lab_without_real_disks_makes_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RefusalError, match=r"this needs root: loop devices and mounts are root's\. Nothing was changed") as refused:
        bake.need_disks()
    assert refused.value.code is Exit.REFUSED


@pytest.mark.parametrize("state", ["running", "stopping", "stopped"])
def test_a_machine_whose_cleaning_was_interrupted_is_removed(state: str) -> None:
    # It may be clean, half clean or not begun: `bake` was killed between the mark and the end of its connection.
    assert machine_image_rules.step(machine(state, "cleaning"), [], NOW) == ("make", True)


@pytest.mark.parametrize(("disk", "wanted"), [(0, "done"), (20, "done"), (50, "done"), (10, "make")])
def test_an_image_of_a_larger_disk_is_none_of_this_version(disk: int, wanted: str) -> None:
    assert machine_image_rules.step(None, [image()], NOW, disk) == (wanted, False)


def test_which_machines_are_made_from_it_and_what_a_failure_leaves_are_said() -> None:
    told = {"id": "ami-1", "created": "2026-05-01T10:00:00", "state": "current", "gib": 50, "usd_per_month": 2.5}
    done = bake.text({"step": "made", "seconds": 61.0, "image": told, "region": "us-east-1"}, check=False)
    assert "machines with 50 GiB of disk or more in us-east-1" in done
    options = argparse.Namespace(target="lab", name="mine-bake")
    assert "The machine mine-bake" in bake.left(options)
    assert "python orchestrate.py destroy --name mine-bake" in bake.left(options)
