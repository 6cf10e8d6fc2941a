"""Images that labs of this computer share: whole ones alone, and with the labs that asked for it alone."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from lab import disks, image_sets
from lab.hosts import INSTANCE_LABEL
from tests.conftest import Checkout, own_lab

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the lab has no real disks without root")
CONTENTS = {"Key": "slipway-contents", "Value": "0123456789abcdef"}


@pytest.fixture(scope="module")
def chosen() -> Iterator[str]:
    """The name of a set, which is removed at the end."""
    name = f"shown-{os.getpid()}"
    yield name
    image_sets.forget(name)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, chosen: str) -> Iterator[tuple[Checkout, Checkout]]:
    """Two labs that share it."""
    with own_lab(tmp_path_factory.mktemp("one")) as one, own_lab(tmp_path_factory.mktemp("other")) as other:
        for each in (one, other):
            done = each.orchestrate("lab", "up", SLIPWAY_LAB_IMAGES=chosen)
            assert done.returncode == 0, done.stderr
        assert not disks.lacking()
        yield one, other


def run(ec2: Any, image: str) -> Any:
    """The host of a new instance, and the instance's id."""
    made = ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    deadline = time.monotonic() + 60
    while True:
        found = docker.from_env().containers.list(filters={"label": f"{INSTANCE_LABEL}={made}", "status": "running"})
        if found:
            return found[0], made
        assert time.monotonic() < deadline
        time.sleep(0.2)


def seen(lab: Checkout) -> dict[str, Any]:
    """The images with the tag of their contents, by id."""
    return {each["ImageId"]: each for each in lab.ec2().describe_images(Owners=["self"])["Images"] if CONTENTS in each.get("Tags", [])}


def test_an_image_of_one_lab_is_there_in_the_other_and_nowhere_else(two: tuple[Checkout, Checkout], lab: Checkout, chosen: str) -> None:
    one, other = two
    catalogue = one.ec2().describe_images(Filters=[{"Name": "name", "Values": ["slipway-lab/*"]}])["Images"][0]["ImageId"]
    host, instance = run(one.ec2(), catalogue)
    assert host.exec_run(["sh", "-c", "echo kept > /opt/mine && sync"]).exit_code == 0
    image = one.ec2().create_image(InstanceId=instance, Name="mine")["ImageId"]
    # While it is made, and without the tag, it is its lab's own.
    assert image not in [each["ImageId"] for each in other.ec2().describe_images()["Images"]]
    one.ec2().get_waiter("image_available").wait(ImageIds=[image], WaiterConfig={"Delay": 1})
    assert image not in [each["ImageId"] for each in other.ec2().describe_images()["Images"]]
    one.ec2().create_tags(Resources=[image], Tags=[CONTENTS])

    mine, theirs = seen(one)[image], seen(other)[image]
    assert {key: theirs[key] for key in ("Name", "State", "Architecture", "Tags", "RootDeviceName")} == {
        key: mine[key] for key in ("Name", "State", "Architecture", "Tags", "RootDeviceName")
    }
    copy, _ = run(other.ec2(), image)
    assert copy.exec_run(["cat", "/opt/mine"]).output == b"kept\n"
    # The worker's own lab shares nothing, or another set.
    assert seen(lab) == {}

    other.ec2().deregister_image(ImageId=image)
    assert seen(other) == {}
    assert list(seen(one)) == [image]


def test_what_is_not_whole_is_not_taken(two: tuple[Checkout, Checkout], chosen: str) -> None:
    folder, (one, _) = image_sets.folder(chosen), two
    folder.mkdir(parents=True, exist_ok=True)
    before = {each["ImageId"] for each in one.ec2().describe_images()["Images"]}
    facts = {"name": "half", "region": "us-east-1", "gib": 8}
    (folder / "ami-0000000000000000a.json").write_text(json.dumps(facts))
    (folder / "ami-0000000000000000b.img").write_bytes(b"")
    (folder / "ami-0000000000000000b.part").write_text(json.dumps(facts))
    (folder / "ami-0000000000000000c.img").write_bytes(b"")
    (folder / "ami-0000000000000000c.json").write_text('{"name": "ha')
    assert {each["ImageId"] for each in one.ec2().describe_images()["Images"]} == before
