"""What a machine costs, what it costs while it is stopped, and what goes on to cost beside it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.modules import load

rules: Any = load("ec2_resize_rules")
facts: Any = load("ec2_resize_facts")

PRICES = {"gp3_gib_month": 0.08, "ipv4_hour": 0.005, "types": {"t2.micro": 0.0116}}


@pytest.mark.parametrize(
    ("prices", "wanted", "gib", "addresses", "hourly", "monthly", "stopped", "running_words", "stopped_words"),
    [
        # A month has 730 hours: 20 GiB are 1.60 USD, an address 3.65 USD.
        (
            PRICES,
            "t2.micro",
            20,
            0,
            0.0188,
            13.72,
            1.6,
            "0.0188 USD per hour, 13.72 USD per month, for a t2.micro with 20 GiB",
            "1.60 USD per",
        ),
        (
            PRICES,
            "t2.micro",
            20,
            1,
            0.0188,
            13.72,
            5.25,
            "13.72 USD",
            "5.25 USD per month while it is stopped: 1.60 USD for 20 GiB of disk, 3.65",
        ),
        (PRICES, "t2.micro", 0, 2, 0.0166, 12.12, 7.3, "0 GiB", "7.30 USD for 2 Elastic IPs"),
        # The type is not in the table; what it costs while it is stopped is.
        (
            PRICES,
            "z9.huge",
            100,
            0,
            None,
            None,
            8.0,
            "Price: of a z9.huge with 100 GiB of disk and a public address it is not known",
            "8.00 USD",
        ),
        # The region is not.
        ({}, "t2.micro", 20, 0, None, None, None, "not known here", "20 GiB of disk, at a price that is not known here"),
        ({}, "t2.micro", 20, 1, None, None, None, "not known here", "20 GiB of disk and 1 Elastic IP, at a price that is not known here"),
    ],
)
def test_a_machine_has_its_price_running_and_stopped(
    prices: dict[str, Any],
    wanted: str,
    gib: int,
    addresses: int,
    hourly: float | None,
    monthly: float | None,
    stopped: float | None,
    running_words: str,
    stopped_words: str,
) -> None:
    found = rules.costs(prices, wanted, gib, addresses)
    assert (found["per_hour"], found["per_month"], found["stopped"]["per_month"]) == (hourly, monthly, stopped)
    assert running_words in rules.running_line(found)
    assert stopped_words in rules.stopped_line(found)
    assert ("no public address until it is started" in rules.stopped_line(found)) == (bool(prices) and not addresses)


@pytest.mark.parametrize(
    ("names", "beside"),
    [
        ([], []),
        (["slipway", "slipway-store", "slipway-bake", "slipwaystore", "other-slipway-store"], ["slipway-bake", "slipway-store"]),
    ],
)
def test_the_machines_that_go_on_costing_beside_it_are_named(names: list[str], beside: list[str]) -> None:
    assert rules.beside("slipway", names) == beside


LENT, MINE = {"PublicIp": "198.51.100.1", "IpOwnerId": "amazon"}, {"PublicIp": "198.51.100.2", "IpOwnerId": "123456789012"}


@pytest.mark.parametrize(
    ("cards", "number"),
    [
        ([], 0),
        ([{}], 0),
        ([{"Association": LENT}], 0),
        ([{"Association": MINE}], 1),
        # The first address of a card is told twice.
        ([{"Association": MINE, "PrivateIpAddresses": [{"Association": MINE}, {"Association": MINE | {"PublicIp": "198.51.100.3"}}]}], 2),
        ([{"Association": LENT, "PrivateIpAddresses": [{"Association": LENT}]}, {"Association": MINE}], 1),
    ],
)
def test_only_elastic_ips_cost_while_it_is_stopped(cards: list[dict[str, Any]], number: int) -> None:
    assert facts.elastic_ips({"NetworkInterfaces": cards}) == number
