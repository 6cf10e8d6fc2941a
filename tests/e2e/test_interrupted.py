"""A machine whose making is interrupted again and again, and which is lost in the end: one machine of its own, in this order."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import PLAIN, Checkout
from tests.e2e.support.interruptions import begin, kill, task

pytestmark = pytest.mark.long
NAME = "unlucky"
UP = ["up", "--name", NAME, "--services", "redis"]
#: The play is killed, with its wrapper, while it is at this task; the next line's command finds what it left.
TASKS = [
    "Import its public half",
    "Open the ports that are asked for, and close all others",
    "Make the instance",
    "Have the host make keys of its own",
    "Install the engine",
    "Make a secret for each service",
    "Send the Compose files, then the settings and secrets",
    "Start the services",
]


@pytest.fixture(scope="module")
def unlucky(lab: Checkout) -> Iterator[Checkout]:
    with lab.given(PLAIN):
        yield lab
    for play in lab.plays(NAME):
        os.kill(play, signal.SIGKILL)
    gone = lab.orchestrate("destroy", NAME)
    assert gone.returncode == 0, gone.stderr


def instances(lab: Checkout) -> list[dict[str, Any]]:
    """Every instance that was ever made under the name."""
    found = lab.ec2().describe_instances(Filters=[{"Name": "tag:slipway", "Values": [NAME]}])["Reservations"]
    return [item for reservation in found for item in reservation["Instances"]]


def test_killed_anywhere_the_same_command_again_finishes(unlucky: Checkout) -> None:
    # The first answer of all is lost on its way.
    unlucky.fault(action="RunInstances", lost=True)
    for name in TASKS:
        kill(unlucky, begin(unlucky, UP, task(name)), NAME)
    done = unlucky.answer(*UP)
    assert done["services"]["redis"]["health"] == "healthy"
    # One at a time, and the same one all along.
    assert [item["State"]["Name"] for item in instances(unlucky)] == ["running"]
    assert unlucky.answer(*UP)["changed"] == 0


def test_a_network_cut_in_the_middle_of_a_task_ends_with_4_and_up_finishes(unlucky: Checkout) -> None:
    process = begin(unlucky, UP, task("Look at the host"))
    unlucky.fault(instance=instances(unlucky)[0]["InstanceId"], does="cut network", seconds=90)
    assert process.wait(timeout=300) == 4
    assert unlucky.answer(*UP)["services"]["redis"]["health"] == "healthy"


def test_an_instance_that_vanishes_is_never_replaced(unlucky: Checkout) -> None:
    process = begin(unlucky, UP, task("Look at the host"))
    lost = instances(unlucky)[0]["InstanceId"]
    unlucky.fault(instance=lost, does="vanish")
    assert process.wait(timeout=300) == 5
    for words in (UP, ["status", "--name", NAME], ["open", "--name", NAME]):
        refused = unlucky.orchestrate(*words)
        assert refused.returncode == 5, refused.stderr
        assert lost in refused.stderr
        assert "is gone" in refused.stderr
    assert [item["State"]["Name"] for item in instances(unlucky)] == ["terminated"]
