"""What is looked at before a stop: which machines cannot be stopped, why, and what a stop would erase."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest
import yaml

from slipway import pause
from tests.conftest import PROJECT
from tests.modules import load

rules: Any = load("ec2_resize_rules")


@pytest.mark.parametrize(
    ("instance", "attributes", "said"),
    [
        ({}, {}, None),
        # Only a change of type forbids these.
        ({"HibernationOptions": {"Configured": True}}, {}, None),
        ({"RootDeviceType": "instance-store"}, {}, "which a stop erases"),
        ({"Tags": [{"Key": "aws:autoscaling:groupName", "Value": "fleet"}]}, {}, "Auto Scaling group fleet"),
        ({}, {"disableApiStop": True}, "stop protection is on"),
    ],
)
def test_a_machine_that_cannot_be_stopped_is_refused_with_its_reason(
    instance: dict[str, Any], attributes: dict[str, Any], said: str | None
) -> None:
    given = {"InstanceId": "i-1", "RootDeviceType": "ebs", "Tags": [], **instance}, {"disableApiStop": False, **attributes}
    if said is None:
        rules.check_stop(*given)
        return
    with pytest.raises(rules.WrongError, match=said) as wrong:
        rules.check_stop(*given)
    assert wrong.value.code == 3


@pytest.mark.parametrize(
    ("instance", "said"),
    [
        ({}, None),
        ({"InstanceLifecycle": "spot"}, "it is a spot instance"),
        # Its services would be ended while they start.
        ({"State": {"Name": "pending"}, "PublicIpAddress": None}, "is pending"),
        ({"PublicIpAddress": None}, "no public address"),
    ],
)
def test_a_machine_that_cannot_be_reached_is_not_stopped(instance: dict[str, Any], said: str | None) -> None:
    given = {"InstanceId": "i-1", "State": {"Name": "running"}, "PublicIpAddress": "198.51.100.1", **instance}
    if said is None:
        rules.check_reached(given)
        return
    with pytest.raises(rules.WrongError, match=said) as wrong:
        rules.check_reached(given)
    assert wrong.value.code == 3


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ({"InstanceType": "t2.micro", "InstanceStorageSupported": False}, None),
        (
            {"InstanceType": "m5d.large", "InstanceStorageSupported": True, "InstanceStorageInfo": {"TotalSizeInGB": 75}},
            "m5d.large has 75 GB of instance store, and a stop erases it",
        ),
    ],
)
def test_what_a_stop_erases_is_told(kind: dict[str, Any], said: str | None) -> None:
    told = list(rules.stop_caveats(kind))
    assert len(told) == bool(said)
    assert not said or said in told[0]


def test_the_refusal_of_what_is_at_work_has_its_name() -> None:
    names = [task["name"] for task in yaml.safe_load((PROJECT / "roles/stack/tasks/at_work_refusal.yml").read_text())]
    assert pause.AT_WORK in names


@pytest.mark.parametrize(
    ("machines", "asked"),
    # One that is stopped changes nothing, whatever was left on it.
    [([], ["stop_preflight"]), (["i-1"], ["burst_refusal", "halfway_refusal", "stop_preflight", "wait"])],
)
def test_only_a_running_machine_is_asked_before_a_stop(machines: list[str], asked: list[str]) -> None:
    play = yaml.safe_load((PROJECT / "playbooks/stop.yml").read_text())[1]
    task = play["tasks"][0]
    wanted = jinja2.Environment().compile_expression(task["when"])  # noqa: S701
    assert [step["tasks"] for step in task["loop"] if wanted(step=step, groups={"machine": machines})] == asked
