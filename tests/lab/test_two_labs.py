"""A second lab beside the first: neither takes the other's port, networks or instances."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from lab import process
from tests.conftest import Checkout, copy_project, own_lab


@pytest.fixture
def second(lab: Checkout, tmp_path: Path) -> Iterator[Checkout]:
    here = copy_project(tmp_path / "second")
    started = here.orchestrate("lab", "up")
    assert started.returncode == 0, started.stderr
    yield here
    done = here.orchestrate("lab", "down", "--yes")
    assert done.returncode == 0, done.stderr


def labelled(lab_id: str) -> list[Any]:
    engine = docker.from_env()
    mine = {"label": f"slipway.lab={lab_id}"}
    return [
        *engine.containers.list(all=True, filters=mine, ignore_removed=True),
        *engine.volumes.list(filters=mine),
        *engine.networks.list(filters=mine),
    ]


def test_labs_share_nothing(lab: Checkout, second: Checkout) -> None:
    assert second.lab.port != lab.lab.port
    assert not second.lab.vpc_cidr.overlaps(lab.lab.vpc_cidr)
    assert not second.lab.public_cidr.overlaps(lab.lab.public_cidr)
    lab.ec2().create_key_pair(KeyName="mine")
    try:
        assert second.ec2().describe_key_pairs()["KeyPairs"] == []
    finally:
        lab.ec2().delete_key_pair(KeyName="mine")


def test_a_lab_whose_port_another_has_gets_a_new_one(lab: Checkout, second: Checkout) -> None:
    settings = second.path / ".slipway" / "lab" / "lab.json"
    mine = json.loads(settings.read_text())
    # As after a reboot of this machine, when the other lab was started first.
    settings.write_text(json.dumps(mine | {"port": lab.lab.port}))
    status = json.loads(second.orchestrate("lab", "status", "--json").stdout)
    assert status["api"] is False
    again = second.orchestrate("lab", "up")
    assert again.returncode == 0, again.stderr
    assert second.lab.port != lab.lab.port
    assert lab.answer("lab", "status")["api"] is True


def test_a_lab_that_is_just_being_started_again_keeps_its_port(lab: Checkout, tmp_path: Path) -> None:
    port, known = lab.lab.port, process.identity(lab.lab)
    assert known
    os.kill(known["pid"], signal.SIGKILL)
    with own_lab(tmp_path) as other:
        assert other.orchestrate("lab", "up").returncode == 0
        assert other.lab.port != port
        assert lab.orchestrate("lab", "up").returncode == 0
        assert lab.lab.port == port


def test_a_lab_whose_records_are_lost_can_be_ended_and_made_again(second: Checkout) -> None:
    known = second.lab.id
    image = second.ec2().describe_images(Filters=[{"Name": "name", "Values": ["slipway-lab/*"]}])["Images"][0]["ImageId"]
    made = second.ec2().run_instances(ImageId=image, InstanceType="t2.micro", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    shutil.rmtree(second.path / ".slipway")
    refused = second.orchestrate("lab", "up")
    assert refused.returncode == 4
    assert made in refused.stderr
    assert "lab down" in refused.stderr
    asked = second.orchestrate("lab", "down")
    assert asked.returncode == 3
    ended = second.orchestrate("lab", "down", "--yes")
    assert ended.returncode == 0, ended.stderr
    assert labelled(known) == []
    again = second.orchestrate("lab", "up")
    assert again.returncode == 0, again.stderr
