"""What a resize cannot use, and what cannot be resized: refused before the first call that changes anything, with everything still up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from tests.conftest import Checkout
from tests.e2e.faults import serves
from tests.e2e.faults.resize import nothing
from tests.e2e.faults.stack import given, on_host
from tests.e2e.support.machines import instance
from tests.e2e.support.refusals import changes, table

pytestmark = pytest.mark.xdist_group("machine")

Given = Callable[[Checkout], AbstractContextManager[object]]


def attribute(on: dict[str, Any], off: dict[str, Any]) -> Given:
    """An attribute of the instance that somebody has set."""

    @contextmanager
    def given(machine: Checkout) -> Iterator[None]:
        machine.ec2().modify_instance_attribute(InstanceId=instance(machine), **on)
        try:
            yield
        finally:
            machine.ec2().modify_instance_attribute(InstanceId=instance(machine), **off)

    return given


def account(**facts: Any) -> Given:
    """An account with another quota or plan."""

    @contextmanager
    def given(machine: Checkout) -> Iterator[None]:
        machine.fault(account=facts)
        try:
            yield
        finally:
            machine.fault(account={})

    return given


@contextmanager
def scaling_group(machine: Checkout) -> Iterator[None]:
    tag = {"Key": "aws:autoscaling:groupName", "Value": "fleet"}
    machine.ec2().create_tags(Resources=[instance(machine)], Tags=[tag])
    try:
        yield
    finally:
        machine.ec2().delete_tags(Resources=[instance(machine)], Tags=[{"Key": tag["Key"]}])


MODULES = "/lib/modules/$(uname -r)/modules.builtin"
BEHAVIOUR = "InstanceInitiatedShutdownBehavior"
#: Words of `resize`, what is given besides, the exit code, and what the one line must say.
ROWS: list[tuple[list[str], Given, int, list[str]]] = [
    ([], nothing, 2, ["ec2_resize_type", "''", "Allowed: an instance type"]),
    (["t2.mega"], nothing, 2, ["ec2_resize_type", "'t2.mega'", "Did you mean"]),
    (["T2.MEDIUM"], nothing, 2, ["ec2_resize_type", "'T2.MEDIUM'", "Did you mean t2.medium?"]),
    (["t4g.medium"], nothing, 2, ["ec2_resize_type", "'t4g.medium'", "arm64", "x86_64"]),
    (["t2.nano"], nothing, 2, ["stack_services", "880 MiB", "512 MiB", "a larger type"]),
    (["p4d.24xlarge"], account(vcpus=1000), 2, ["ec2_resize_type", "4 network cards"]),
    (["{{ 7*7 }}"], nothing, 2, ["TYPE: '{{ 7*7 }}'", "an instance type"]),
    (["$(id)"], nothing, 2, ["TYPE: '$(id)'", "an instance type"]),
    (["t2.medium", "--fallback", "t2.medium"], nothing, 2, ["ec2_resize_fallback", "'t2.medium'", "the type that is wanted"]),
    (["t2.medium", "--fallback", "t2.micro"], nothing, 2, ["ec2_resize_fallback", "'t2.micro'", "today's type"]),
    (["t2.medium", "--fallback", "t2.lage"], nothing, 2, ["ec2_resize_fallback", "'t2.lage'", "Did you mean t2.large"]),
    (["t2.medium", "--fallback", "t2.nano"], nothing, 2, ["stack_services", "512 MiB"]),
    (["t2.medium", "--max-price", "0.01"], nothing, 2, ["ec2_resize_type", "'t2.medium'", "0.01", "a cheaper type"]),
    (["t2.medium", "--max-price", "-1"], nothing, 2, ["--max-price", "'-1'", "0 is no limit"]),
    (["t2.medium"], given(ec2_resize_max_price=-1), 2, ["ec2_resize_max_price", "-1", "0 (no limit) or more"]),
    (["t1.micro", "--max-price", "1"], nothing, 2, ["ec2_resize_type", "'t1.micro'", "price is not known"]),
    (
        ["t3.medium"],
        on_host(f"sudo mv {MODULES} /tmp/", f"sudo mv /tmp/modules.builtin {MODULES}"),
        2,
        ["ec2_resize_type", '"t3.medium"', "NVMe"],
    ),
    (["t2.medium"], given(jupyter_exposure="public", jupyter_public_cidrs=["198.18.0.0/15"]), 3, ["stack_jupyter_exposure", "(up)"]),
    (["t2.medium"], given(ec2_resize_stop_seconds=0), 2, ["ec2_resize_stop_seconds", "1 second or more"]),
    (["t2.medium"], given(ec2_resize_typo="x"), 2, ["ec2_resize_typo"]),
    (["t2.medium", "--name", ".."], nothing, 2, ["--name", "'..'"]),
    (["x1.16xlarge", "--max-price", "100"], account(vcpus=1000), 2, ["ec2_resize_type", "price is not known"]),
    (["t2.medium", "--name", "nobody"], nothing, 3, ["There is no instance"]),
    (["--rollback"], nothing, 3, ["nothing to roll back"]),
    (["t2.medium"], account(vcpus=1), 3, ["t2.medium has 2 virtual CPUs", "quota in this region is 1"]),
    (["t2.medium"], account(plan="FREE"), 3, ["t2.medium", "free plan", "free tier eligible"]),
    (["t2.medium"], attribute({"DisableApiStop": {"Value": True}}, {"DisableApiStop": {"Value": False}}), 3, ["stop protection is on"]),
]
#: Each is a row of tests/unit/test_ec2_resize_rules.py too, and reads nothing that the rows above do not.
RULES: list[tuple[list[str], Given, int, list[str]]] = [
    (["t2.medium"], attribute({BEHAVIOUR: {"Value": "terminate"}}, {BEHAVIOUR: {"Value": "stop"}}), 3, ["shutdown behaviour is terminate"]),
    (["t2.medium"], scaling_group, 3, ["Auto Scaling group fleet"]),
    (["t2.medium", "--fallback", "t2.large,t2.large"], nothing, 2, ["ec2_resize_fallback", "each type once"]),
]


@pytest.fixture(scope="module")
def containers(machine: Checkout) -> list[str]:
    """Those that every row leaves as they are."""
    return machine.containers()


def names(rows: list[tuple[list[str], Given, int, list[str]]]) -> list[str]:
    return [f"{' '.join(words)}: {said[0]}" for words, _, _, said in rows]


@pytest.mark.parametrize(
    ("words", "given", "code", "said"),
    [
        *table(ROWS, names(ROWS)),
        *(pytest.param(*row, id=name, marks=pytest.mark.long) for row, name in zip(RULES, names(RULES), strict=True)),
    ],
)
def test_resize_refuses(machine: Checkout, containers: list[str], words: list[str], given: Given, code: int, said: list[str]) -> None:
    with given(machine):
        asked = len(machine.requests())
        done = machine.orchestrate("resize", *words)
        assert changes(machine.requests()[asked:]) == []
    assert done.returncode == code, done.stdout + done.stderr
    answer = [line for line in done.stderr.splitlines() if not line.startswith("[")]
    assert len(answer) == 1, answer
    assert [part for part in said if part not in answer[0]] == [], answer[0]
    assert machine.containers() == containers


def test_a_type_that_the_zone_does_not_have_is_bad_input_and_changes_nothing(machine: Checkout) -> None:
    zone = machine.ec2().describe_instances(InstanceIds=[instance(machine)])["Reservations"][0]["Instances"][0]["Placement"][
        "AvailabilityZone"
    ]
    asked = len(machine.requests())
    done = machine.orchestrate("resize", "trn1.2xlarge")
    assert changes(machine.requests()[asked:]) == []
    assert done.returncode == 2, done.stderr
    assert "ec2_resize_type: 'trn1.2xlarge' cannot be used. It is offered in " in done.stderr
    assert f"the instance is in {zone}" in done.stderr
    serves(machine)


def test_the_same_type_is_nothing_to_do(machine: Checkout) -> None:
    asked = len(machine.requests())
    done = machine.orchestrate("resize", "t2.micro")
    assert done.returncode == 0, done.stderr
    assert "is a t2.micro already: nothing was changed" in done.stdout
    assert machine.answer("resize", "t2.micro")["outcome"] == "unchanged"
    assert changes(machine.requests()[asked:]) == []
    serves(machine)


def test_a_dry_run_tells_the_plan_and_changes_nothing(machine: Checkout) -> None:
    before, asked = machine.containers(), len(machine.requests())
    done = machine.orchestrate("resize", "t2.medium", "--dry-run", "--fallback", "t2.large", "t2.small")
    assert done.returncode == 0, done.stderr
    for words in (
        "from t2.micro (1024 MiB) to t2.medium (4096 MiB)",
        "0.0188 USD now, 0.0536 USD afterwards",
        "t2.large, t2.small",
        "a minute",
        "a new public one",
        "T2 loses its CPU credits",
    ):
        assert words in done.stdout
    plan = machine.answer("resize", "t2.medium", "--dry-run")
    assert plan["candidates"] == ["t2.medium"]
    assert plan["needed"] is True
    assert changes(machine.requests()[asked:]) == []
    assert machine.containers() == before


def test_a_stopped_machine_has_nothing_to_compare(machine: Checkout) -> None:
    machine.ec2().stop_instances(InstanceIds=[instance(machine)])
    refused = machine.orchestrate("resize", "t2.medium")
    assert machine.answer("up")["instance"]["state"] == "running"
    assert refused.returncode == 3, refused.stderr
    assert "is stopped" in refused.stderr
    assert "start it first (up)" in refused.stderr
