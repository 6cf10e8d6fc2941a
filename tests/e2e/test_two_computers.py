"""Two computers that work on a machine of one name at the same moment: one machine, and nothing of the one is replaced by the other."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

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
def name(lab: Checkout, two: tuple[Computer, Computer]) -> Iterator[str]:
    """A name of which nothing is left at the end."""
    name = "twins"
    yield name
    forget(lab, two, name)


def forget(lab: Checkout, two: tuple[Computer, Computer], name: str) -> None:
    ec2 = lab.ec2()
    terminate(lab, name)
    for group in kept(ec2, name)[1]:
        ec2.delete_security_group(GroupId=group)
    ec2.delete_key_pair(KeyName=f"slipway-{name}")
    for each in two:
        shutil.rmtree(each.machine(name), ignore_errors=True)


def terminate(lab: Checkout, name: str) -> list[str]:
    """By hand, so that no computer knows of it."""
    ids = instances(lab.ec2(), name)
    if ids:
        lab.ec2().terminate_instances(InstanceIds=ids)
        lab.ec2().get_waiter("instance_terminated").wait(InstanceIds=ids, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return ids


def prepare(lab: Checkout, two: tuple[Computer, Computer], name: str, shares_key: bool, has_group: bool) -> None:
    """What there is before: a group and a key pair that a machine has left, and what the second computer has of the first's folder."""
    ec2, (one, other) = lab.ec2(), two
    folder = one.machine(name)
    if shares_key or has_group:
        (folder / "stack" / "secrets").mkdir(parents=True)
        (folder / "stack" / "secrets" / "jupyter_token").write_text("0123456789abcdef")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "ssh_key")], check=True)
    if has_group:
        ec2.import_key_pair(KeyName=f"slipway-{name}", PublicKeyMaterial=(folder / "ssh_key.pub").read_bytes())
        ec2.create_security_group(GroupName=f"slipway-{name}", Description=f"Slipway {name}: SSH from the operator")
    if shares_key:
        shutil.copytree(folder, other.machine(name))


def race(lab: Checkout, two: tuple[Computer, Computer], name: str, shares_key: bool, has_group: bool) -> None:
    """Both at once, and what is there afterwards."""
    prepare(lab, two, name, shares_key, has_group)
    before, files = kept(lab.ec2(), name), [each.keep(name) for each in two]
    first, second = at_once((two[0], provision(name)), (two[1], provision(name)), random.uniform(0, 0.05))
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


@pytest.mark.long
@pytest.mark.parametrize("turn", range(TIMES))
@pytest.mark.parametrize("has_group", [False, True], ids=["nothing there", "a group there"])
@pytest.mark.parametrize("shares_key", [False, True], ids=["no key", "a copy of the key"])
def test_two_computers_that_provision_at_once_make_one_machine(
    lab: Checkout, two: tuple[Computer, Computer], name: str, shares_key: bool, has_group: bool, turn: int
) -> None:
    race(lab, two, name, shares_key, has_group)


@pytest.mark.long
def test_of_two_whole_ups_at_once_one_is_refused_and_can_be_repeated(lab: Checkout, two: tuple[Computer, Computer], name: str) -> None:
    """`up` with all services, and then by the other, which has the machine's folder from the first."""
    up = ("python", "orchestrate.py", "up", "--target", "aws", "--name", name)
    done = at_once((two[0], up), (two[1], up), 0.02)
    assert sorted(each.code for each in done) == [0, 3], f"{done[0].said}\n{done[1].said}"
    made, winner = instances(lab.ec2(), name), 0 if done[0].code == 0 else 1
    assert len(made) == 1
    held, other = two[winner].keep(name), two[1 - winner]
    shutil.rmtree(other.machine(name), ignore_errors=True)
    shutil.copytree(two[winner].machine(name), other.machine(name))
    again = other.orchestrate("up", "--name", name)
    assert (again.code, again.said.count("running  healthy")) == (0, 4), again.said
    assert (held, made) == (other.keep(name), instances(lab.ec2(), name))


UNLOCKED = ("ansible-playbook", "-i", "inventory/aws/hosts.yml", "playbooks/provision.yml", "-e", '{"ec2_instance_holder": {}}', "-e")


@pytest.mark.long
@pytest.mark.parametrize(
    "other", ["slipway_name=twins", "slipway_name=twins ec2_instance_type=t3.small", "slipway_name=twins ec2_instance_disk_gib=30"]
)
def test_without_the_lock_two_at_once_make_one_machine_by_its_token(
    lab: Checkout, two: tuple[Computer, Computer], name: str, other: str
) -> None:
    """As after a lock was ended whose command still worked: the token alone."""
    prepare(lab, two, name, shares_key=True, has_group=True)
    before = kept(lab.ec2(), name)
    first, second = at_once((two[0], (*UNLOCKED, f"slipway_name={name}")), (two[1], (*UNLOCKED, other)), 0.02)
    assert [first.code, second.code] == [0, 0], f"{first.said}\n{second.said}"
    assert len(instances(lab.ec2(), name)) == 1
    assert kept(lab.ec2(), name) == before
    # Its instance is gone, and this computer has not seen it: the token is spent.
    [lost] = terminate(lab, name)
    (two[1].machine(name) / "ssh_config").unlink()
    spent = ended(two[1].start(*provision(name)))
    assert spent.code == 3, spent.said
    assert lost in spent.said
    assert instances(lab.ec2(), name) == []


def test_a_lock_that_another_computer_has_left_is_named_and_can_be_ended(lab: Checkout, two: tuple[Computer, Computer]) -> None:
    ec2 = lab.ec2()
    found = {
        "id": "1",
        "computer": "laptop",
        "place": "elsewhere",
        "lock": "/x",
        "command": "orchestrate.py up",
        "since": "2026-05-01T12:00:00",
    }
    tags = [{"Key": f"slipway-lock-{key}", "Value": value} for key, value in found.items()]
    left = [{"ResourceType": "security-group", "Tags": tags}]
    ec2.create_security_group(GroupName="slipway-left.lock", Description="left", TagSpecifications=left)
    here = two[0]
    refused = ended(here.start(*provision("left")))
    assert refused.code == 3, refused.said
    assert "orchestrate.py up of the computer laptop, since 2026-05-01T12:00:00" in refused.said
    assert "orchestrate.py unlock" in refused.said
    asked = here.orchestrate("unlock", "--name", "left")
    assert (asked.code, "unlock --yes" in asked.said) == (3, True), asked.said
    assert here.orchestrate("unlock", "--name", "left", "--dry-run").code == 0
    assert len(ec2.describe_security_groups(GroupNames=["slipway-left.lock"])["SecurityGroups"]) == 1
    done = here.orchestrate("unlock", "--name", "left", "--yes")
    assert done.code == 0, done.said
    assert "laptop" in done.said
    lab.fault(action="CreateSecurityGroup", code="UnauthorizedOperation")
    forbidden = ended(here.start(*provision("left")))
    assert (forbidden.code, "CreateSecurityGroup" in forbidden.said) == (3, True), forbidden.said
    again = here.orchestrate("unlock", "--name", "left", "--yes", "--json")
    assert (again.code, '"holder": null' in again.said) == (0, True), again.said


@pytest.mark.long
def test_a_play_keeps_other_computers_out_until_it_is_killed(lab: Checkout, two: tuple[Computer, Computer], name: str) -> None:
    one, other = two
    play = one.start(*UNLOCKED[:4], "-e", f"slipway_name={name}")
    locks = [{"Name": "group-name", "Values": [f"slipway-{name}.lock"]}]
    until(lambda: lab.ec2().describe_security_groups(Filters=locks)["SecurityGroups"])
    refused = ended(other.start(*provision(name)))
    assert refused.code == 3, refused.said
    assert "ansible-playbook provision.yml of the computer" in refused.said
    play.send_signal(signal.SIGKILL)
    play.communicate()
    # Modules of it may go on for a moment; the lock goes with the last of its processes.
    until(lambda: not lab.ec2().describe_security_groups(Filters=locks)["SecurityGroups"])
    done = ended(one.start(*provision(name)))
    assert done.code == 0, done.said
    assert len(instances(lab.ec2(), name)) == 1


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
