"""What EC2 would refuse in the middle of a resize, told from EC2's descriptions before it."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import pytest
from moto.ec2.models.instance_types import INSTANCE_TYPES

from tests.conftest import PROJECT

# A role's module_utils are in no package until Ansible sends them.
SPEC = importlib.util.spec_from_file_location("rules", PROJECT / "roles" / "ec2_resize" / "module_utils" / "ec2_resize_rules.py")
assert SPEC is not None
assert SPEC.loader is not None
rules = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(rules)

INSTANCE: dict[str, Any] = {
    "InstanceId": "i-1",
    "InstanceType": "t2.micro",
    "Architecture": "x86_64",
    "VirtualizationType": "hvm",
    "RootDeviceType": "ebs",
    "EnaSupport": True,
    "BootMode": "uefi-preferred",
    "HibernationOptions": {"Configured": False},
    "NetworkInterfaces": [{}],
    "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {}}],
    "Tags": [{"Key": "slipway", "Value": "slipway"}],
}
FREE = {"disableApiStop": False, "instanceInitiatedShutdownBehavior": "stop"}


@pytest.mark.parametrize(
    ("instance", "attributes", "said"),
    [
        ({"RootDeviceType": "instance-store"}, {}, "instance-store"),
        ({"InstanceLifecycle": "spot"}, {}, "spot instance"),
        ({"HibernationOptions": {"Configured": True}}, {}, "hibernation is on"),
        ({"Tags": [{"Key": "aws:autoscaling:groupName", "Value": "fleet"}]}, {}, "Auto Scaling group fleet"),
        ({}, {"disableApiStop": True}, "stop protection is on"),
        ({}, {"instanceInitiatedShutdownBehavior": "terminate"}, "shutdown behaviour is terminate"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_instance_that_cannot_be_resized_is_refused_with_its_reason(
    instance: dict[str, Any], attributes: dict[str, Any], said: str
) -> None:
    with pytest.raises(rules.WrongError, match=said) as refused:
        rules.check_instance(INSTANCE | instance, FREE | attributes)
    assert refused.value.code == 3
    assert "i-1" in str(refused.value)


@pytest.mark.parametrize(
    ("instance", "wanted", "said"),
    [
        ({}, "t4g.medium", "arm64, and i-1 is x86_64"),
        ({"VirtualizationType": "paravirtual"}, "t2.medium", "hvm, and i-1 is paravirtual"),
        ({"BootMode": "uefi"}, "t2.medium", "boots by legacy-bios, and i-1 by uefi"),
        ({"EnaSupport": False}, "t3.medium", "enhanced networking"),
        ({"NetworkInterfaces": [{}] * 3}, "t2.nano", "2 network interfaces, and i-1 uses 3"),
        ({"BlockDeviceMappings": [{}] * 27}, "t3.medium", "27 attached volumes, and i-1 has 27"),
        ({}, "p4d.24xlarge", "4 network cards"),
    ],
)
def test_a_type_that_this_instance_cannot_have_is_bad_input(instance: dict[str, Any], wanted: str, said: str) -> None:
    with pytest.raises(rules.WrongError, match=said) as refused:
        rules.check_type(INSTANCE | instance, INSTANCE_TYPES["t2.micro"], INSTANCE_TYPES[wanted], "ec2_resize_type")
    assert refused.value.code == 2
    assert f"ec2_resize_type: '{wanted}' cannot be used." in str(refused.value)
    assert "Allowed:" in str(refused.value)


@pytest.mark.parametrize("wanted", ["t2.nano", "t2.medium", "t3.micro", "t3a.large", "m5.large"])
def test_a_type_that_this_instance_can_have_is_taken(wanted: str) -> None:
    rules.check_instance(INSTANCE, FREE)
    rules.check_type(INSTANCE, INSTANCE_TYPES["t2.micro"], INSTANCE_TYPES[wanted], "ec2_resize_type")


def test_the_quota_counts_what_runs_besides() -> None:
    options = {"CpuOptions": {"CoreCount": 2, "ThreadsPerCore": 2}}
    others = [
        INSTANCE | options,
        {"InstanceId": "i-2", "InstanceType": "m5.xlarge"} | options,
        {"InstanceId": "i-3", "InstanceType": "g4dn.xlarge"},
    ]
    rules.check_quota(others, "i-1", INSTANCE_TYPES["t2.medium"], 6)
    with pytest.raises(rules.WrongError, match=r"has 2 virtual CPUs, 4 run besides, and the account's quota in this region is 5"):
        rules.check_quota(others, "i-1", INSTANCE_TYPES["t2.medium"], 5)
    # Another quota counts these.
    rules.check_quota(others, "i-1", INSTANCE_TYPES["g4dn.xlarge"], 1)
    rules.check_quota(others, "i-1", INSTANCE_TYPES["trn1.2xlarge"], 1)


def test_the_free_plan_takes_only_its_own_types() -> None:
    rules.check_free_plan("FREE", INSTANCE_TYPES["t3.micro"])
    rules.check_free_plan("PAID", INSTANCE_TYPES["t2.medium"])
    rules.check_free_plan(None, INSTANCE_TYPES["t2.medium"])
    with pytest.raises(rules.WrongError, match="not of the account's free plan"):
        rules.check_free_plan("FREE", INSTANCE_TYPES["t2.medium"])


def test_what_a_change_of_type_costs_besides_is_told() -> None:
    t2, t3, m5 = (INSTANCE_TYPES[name] for name in ("t2.micro", "t3.medium", "m5.large"))
    assert [" ".join(rules.caveats(*pair)) for pair in ((t2, t2), (t3, t2), (m5, m5))] == ["T2 loses its CPU credits by the stop", "", ""]
    assert list(rules.caveats(t2, t3)) == [
        "T2 loses its CPU credits by the stop",
        "t3.medium starts as unlimited: CPU time beyond its credits is billed besides",
    ]


def test_prices_count_disk_and_address() -> None:
    prices = {"types": {"t2.micro": 0.0116}, "gp3_gib_month": 0.08, "ipv4_hour": 0.005}
    assert rules.price(prices, "t2.micro", 20) == pytest.approx(0.0116 + 20 * 0.08 / 730 + 0.005, abs=1e-4)
    assert rules.price(prices, "x9.huge", 20) is None
    assert rules.price({}, "t2.micro", 20) is None


def test_fallbacks_over_the_limit_are_left_out() -> None:
    prices = {"t2.large": 0.1, "t3.medium": 0.05}
    assert list(rules.fallbacks(["t2.large", "t3.medium"], "t2.medium", "t2.micro", prices, 0.06)) == ["t3.medium"]
    assert list(rules.fallbacks(["t2.large", "t3.medium"], "t2.medium", "t2.micro", prices, 0)) == ["t2.large", "t3.medium"]


@pytest.mark.parametrize(
    ("names", "most", "said"),
    [
        (["t2.large", "t2.large"], 0, "each type once"),
        (["t2.medium"], 0, "the type that is wanted"),
        (["t2.micro"], 0, "today's type"),
        (["x9.huge"], 0.1, "its price is not known"),
    ],
)
def test_fallbacks_that_cannot_be_used_are_bad_input(names: list[str], most: float, said: str) -> None:
    prices = {"t2.large": 0.1, "t2.medium": 0.05, "t2.micro": 0.01, "x9.huge": None}
    with pytest.raises(rules.WrongError, match=said) as refused:
        list(rules.fallbacks(names, "t2.medium", "t2.micro", prices, most))
    assert refused.value.code == 2


def lines(projects: int) -> dict[str, str]:
    """The longest fingerprints that so many projects with every store may have, beside a base stack."""
    said = {
        "home": f"1234567 files sha256/3:{'a' * 32}",
        "mongo": f"12345678 documents in 123 collections sha256/3:{'b' * 32}",
        "notebooks": f"12345 files sha256/3:{'c' * 32}",
        "postgres": f"123456789 rows in 1234 tables sha256/3:{'d' * 32}",
        "redis": f"12345678 keys sha256/3:{'e' * 32}",
    }
    prefixes = ["", *(f"project-{number}." for number in range(projects))]
    return {prefix + store: line for prefix in prefixes for store, line in said.items()}


@pytest.mark.parametrize("fingerprints", [{}, {"redis": "0 keys sha256/3:0"}, lines(0), lines(1), lines(20)])
def test_fingerprints_come_back_from_the_tags_that_an_instance_may_have(fingerprints: dict[str, str]) -> None:
    tags = rules.packed(fingerprints)
    assert all(len(value) <= 256 and re.fullmatch(r"[A-Za-z0-9+=._:/@-]+", value) for value in tags.values())
    # Beside those of the project, of a resize, of a burst and some of the user's own: EC2 takes 50.
    assert len(tags) <= 36
    others = {"Name": "x", rules.FROM: "t2.micro", rules.BURST + "run": "a/b=c"}
    assert rules.unpacked(others | dict(reversed(tags.items()))) == fingerprints


def test_fingerprints_of_a_version_before_are_read_too() -> None:
    old = {"postgres": "3 rows in 1 table sha256:ab", "adult.redis": "1 keys sha256:cd"}
    assert rules.unpacked({rules.FINGERPRINT + name: said for name, said in old.items()}) == old


def test_fingerprints_of_the_first_way_are_not_compared() -> None:
    tags = {
        "Name": "x",
        "slipway-fingerprint-redis": "3 keys sha256/3:0a",
        "slipway-fingerprint-a.mongo": "1 documents in 1 collection sha256:0a",
    }
    assert rules.known_fingerprints(tags) == ({"redis": "3 keys sha256/3:0a"}, ["a.mongo"])
