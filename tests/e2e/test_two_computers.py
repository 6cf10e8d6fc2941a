"""Two computers that work on a machine of one name at the same moment: one machine, and nothing of the one is replaced by the other."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Checkout
from tests.e2e.support.computers import Computer, at_once, computer, ended, instances, kept, provision

pytestmark = pytest.mark.xdist_group("bare machines")
TIMES = 10


@pytest.fixture(scope="module")
def two(lab: Checkout, tmp_path_factory: pytest.TempPathFactory) -> tuple[Computer, Computer]:
    folder = tmp_path_factory.mktemp("two computers")
    return computer(lab, folder / "one"), computer(lab, folder / "other")


@pytest.fixture
def name(lab: Checkout, two: tuple[Computer, Computer], request: pytest.FixtureRequest) -> Iterator[str]:
    """A name whose machine is removed at the end."""
    name = "twins"
    yield name
    for each in two:
        shutil.rmtree(each.machine(name), ignore_errors=True)
    gone = two[0].orchestrate("destroy", name)
    assert gone.code == 0, gone.said


def prepare(lab: Checkout, two: tuple[Computer, Computer], name: str, shares_key: bool, has_group: bool) -> None:
    """What there is before: a group and a key pair that a machine has left, and what the second computer has of the first's folder."""
    one, other = two
    if shares_key or has_group:
        made = ended(one.start(*provision(name)))
        assert made.code == 0, made.said
        ids = instances(lab.ec2(), name)
        lab.ec2().terminate_instances(InstanceIds=ids)
        lab.ec2().get_waiter("instance_terminated").wait(InstanceIds=ids, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        # It was removed by hand, and forgotten.
        for file in ("ssh_config", "known_hosts"):
            (one.machine(name) / file).unlink()
        pairs, groups = kept(lab.ec2(), name)
        lab.ec2().delete_security_group(GroupId=groups[0])
        if has_group:
            lab.ec2().create_security_group(GroupName=f"slipway-{name}", Description=f"Slipway {name}: SSH from the operator")
        else:
            lab.ec2().delete_key_pair(KeyName=f"slipway-{name}")
        assert pairs
    if shares_key:
        shutil.copytree(one.machine(name), other.machine(name))


def race(lab: Checkout, two: tuple[Computer, Computer], name: str, shares_key: bool, has_group: bool) -> None:
    """Both at once, and what is there afterwards."""
    prepare(lab, two, name, shares_key, has_group)
    before, files = kept(lab.ec2(), name), [each.keep(name) for each in two]
    first, second = at_once((two[0], provision(name)), (two[1], provision(name)), random.uniform(0, 0.05))  # noqa: S311 (a moment, no secret)
    assert len(instances(lab.ec2(), name)) == 1, f"{first.said}\n{second.said}"
    codes = sorted((first.code, second.code))
    assert codes in ([0, 0], [0, 3]), f"{first.said}\n{second.said}"
    made = kept(lab.ec2(), name)
    assert [len(ids) for ids in made] == [1, 1]
    if has_group:
        assert made == before
    winner = 0 if first.code == 0 else 1
    for number, each in enumerate(two):
        again = ended(each.start(*provision(name)))
        if shares_key or number == winner:
            assert again.code == 0, again.said
        else:
            assert again.code == 3, again.said
            assert str(each.machine(name)) in again.said
        assert files[number].items() <= each.keep(name).items()
    assert kept(lab.ec2(), name) == made
    assert len(instances(lab.ec2(), name)) == 1


def test_two_at_once_make_one_machine(lab: Checkout, two: tuple[Computer, Computer], name: str) -> None:
    race(lab, two, name, shares_key=False, has_group=False)
