"""A machine without a stack is made larger and smaller: what EC2 can refuse, and two machines of one lab at once."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.conftest import Checkout, own_lab
from tests.e2e.faults.resize import BARE, Row, meet
from tests.e2e.support.interruptions import begin, request, started, task
from tests.e2e.support.machines import LARGE, SMALL, instance, kind, marks, other

pytestmark = pytest.mark.xdist_group("bare machines")
#: On the root disk, so that it tells whether the disk is the same one.
KEPT = "/home/ubuntu/kept"


def provision(here: Checkout, name: str = "slipway") -> None:
    """A machine that nothing was deployed to."""
    done = here.run("ansible-playbook", "playbooks/provision.yml", "-e", f"slipway_name={name}")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A machine without an engine, in a lab of its own."""
    with own_lab(tmp_path_factory.mktemp("bare"), plain=True) as here:
        started = here.orchestrate("lab", "up")
        assert started.returncode == 0, started.stderr
        provision(here)
        here.on_host(f"echo kept > {KEPT}")
        yield here


def whole(here: Checkout, wanted: str) -> None:
    """It has this type, no mark of a resize, and its disk; and it answers at its new address."""
    assert (kind(here), marks(here)) == (wanted, {})
    assert here.on_host(f"cat {KEPT}") == "kept\n"


@pytest.mark.parametrize("row", [pytest.param(row, id=row.fault, marks=[pytest.mark.long] * row.long) for row in BARE])
def test_fault(bare: Checkout, row: Row) -> None:
    meet(bare, row, lambda wanted: whole(bare, wanted))


def test_another_host_at_the_new_address_is_told_nothing(bare: Checkout) -> None:
    wanted = other(bare)
    known = bare.path / ".slipway" / "lab" / "machines" / "slipway" / "known_hosts"
    right = known.read_text()
    command = started(bare, ["resize", wanted])
    command.until(request("StopInstances"))
    known.write_text(f"{right.split()[0]} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJc1ZPQkbOMwI8XbQ6n2m2mAnmE1bSSFV9ufO4hO2rCk\n")
    try:
        assert command.process.wait(timeout=300) == 5
        # What it had said goes nowhere; the same command says it again.
        refused = bare.orchestrate("resize", wanted)
        assert refused.returncode == 5, refused.stderr
        assert "host key is another one" in refused.stderr
    finally:
        known.write_text(right)
    assert bare.answer("resize", wanted)["outcome"] == "resized"
    whole(bare, wanted)


def test_two_machines_of_one_lab_are_resized_at_once(bare: Checkout) -> None:
    provision(bare, "second")
    wanted = other(bare)
    # So that it is still in the middle of its resize when the other machine's begins.
    bare.fault(instance=instance(bare), does="hang on stop", seconds=30)
    first = begin(bare, ["resize", wanted], task("Stop the instance, change its type and start it"))
    second = subprocess.Popen(
        [bare.path / ".venv" / "bin" / "python", "orchestrate.py", "resize", LARGE, "--name", "second"],
        cwd=bare.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not bare.plays("second"):
            assert second.poll() is None
            time.sleep(0.1)
        assert bare.plays("slipway")
        # Each keeps others off its machine, and off the lab.
        for words, held in (
            (["resize", SMALL, "--name", "second"], [f"(process {second.pid},"]),
            (["lab", "down", "--yes"], [f"(process {first.pid},", f"(process {second.pid},"]),
        ):
            refused = bare.orchestrate(*words)
            assert refused.returncode == 3, refused.stdout + refused.stderr
            assert [each for each in held if each not in refused.stderr] == [], refused.stderr
        play = bare.run("ansible-playbook", "playbooks/open.yml", "-e", "slipway_name=second")
        assert play.returncode == 3, play.stdout + play.stderr
        assert f"(process {second.pid}," in play.stderr
    finally:
        _, told = second.communicate(timeout=300)
        first.wait(timeout=300)
    assert (first.returncode, second.returncode) == (0, 0), told
    whole(bare, wanted)
    found = bare.ec2().describe_instances(Filters=[{"Name": "tag:slipway", "Values": ["second"]}])["Reservations"]
    assert [item["InstanceType"] for reservation in found for item in reservation["Instances"]] == [LARGE]


def test_an_instance_that_vanishes_is_never_replaced(bare: Checkout) -> None:
    lost, wanted = instance(bare), other(bare)
    command = started(bare, ["resize", wanted])
    command.until(request("ModifyInstanceAttribute"))
    bare.fault(instance=lost, does="vanish")
    assert command.process.wait(timeout=300) == 5
    for words in (["resize", wanted], ["resize", "--rollback"], ["up"]):
        refused = bare.orchestrate(*words)
        assert refused.returncode == 5, refused.stderr
        assert lost in refused.stderr
        assert "is gone" in refused.stderr
    found = bare.ec2().describe_instances(Filters=[{"Name": "tag:slipway", "Values": ["slipway"]}])["Reservations"]
    assert [item["State"]["Name"] for reservation in found for item in reservation["Instances"]] == ["terminated"]
