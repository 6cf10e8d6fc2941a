"""Labs of this computer that share the images of a set: an image of one is an image of the other, with what is on its disk."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from lab import disks, image_sets
from lab.hosts import INSTANCE_LABEL
from tests.conftest import Checkout, own_lab

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the lab has no real disks without root, and no images")

CONTENTS = "0123456789abcdef"


@pytest.fixture
def labs(tmp_path: Path) -> Iterator[tuple[Checkout, Checkout]]:
    """Two labs of one set."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    try:
        with own_lab(tmp_path / "one") as one, own_lab(tmp_path / "two") as two:
            for each in (one, two):
                done = each.orchestrate("lab", "up", SLIPWAY_LAB_IMAGES=name)
                assert done.returncode == 0, done.stderr
            assert not disks.lacking()
            yield one, two
    finally:
        image_sets.forget(name)


def own(ec2: Any) -> list[dict[str, Any]]:
    """The images with these contents, as `up` looks for them."""
    filters = [{"Name": "tag:slipway-contents", "Values": [CONTENTS]}, {"Name": "state", "Values": ["available"]}]
    return list(ec2.describe_images(Filters=filters, Owners=["self"])["Images"])


def in_host(instance: str, command: str) -> str:
    [host] = docker.from_env().containers.list(filters={"label": f"{INSTANCE_LABEL}={instance}"})
    code, output = host.exec_run(["sh", "-c", command])
    assert code == 0, output
    return str(output, "utf-8").strip()  # type: ignore[call-overload]


def launched(ec2: Any, image: str) -> str:
    return str(ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"])


def test_an_image_of_one_lab_is_one_of_the_other_once(labs: tuple[Checkout, Checkout]) -> None:
    one, two = (lab.ec2() for lab in labs)
    images = one.describe_images(Filters=[{"Name": "name", "Values": ["slipway-lab/*"]}])["Images"]
    base = max(images, key=lambda image: str(image["CreationDate"]))
    machine = launched(one, base["ImageId"])
    in_host(machine, "echo kept > /kept && sync")
    image = one.create_image(InstanceId=machine, Name="mine")["ImageId"]
    one.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig={"Delay": 1})
    # Until its last tag it is not known to be finished.
    assert own(two) == []
    one.create_tags(Resources=[image], Tags=[{"Key": "slipway-contents", "Value": CONTENTS}])
    [found] = own(two)
    assert (found["Name"], found["Architecture"], found["RootDeviceName"]) == ("mine", base["Architecture"], "/dev/sda1")
    assert in_host(launched(two, found["ImageId"]), "cat /kept") == "kept"
    # It is the other lab's own: gone there, it does not come back, and the first one's stays.
    two.deregister_image(ImageId=found["ImageId"])
    two.delete_snapshot(SnapshotId=found["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"])
    assert own(two) == []
    assert [each["ImageId"] for each in own(one)] == [image]
