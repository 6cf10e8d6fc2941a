"""The security group of a machine without services: what was asked for, and no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Checkout

NAMED = "198.18.0.0/15"
BOOK, STORES = [22, 80, 443, 2376, 8888], [5432, 6379, 27017]
ALL = ["0.0.0.0/0"]


def provision(lab: Checkout, **variables: Any) -> tuple[str, str]:
    """All that the playbook says, and its recap."""
    done = lab.run("ansible-playbook", "playbooks/provision.yml", "--extra-vars", json.dumps({"slipway_name": "doors"} | variables))
    assert done.returncode == 0, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split()), done.stdout.partition("PLAY RECAP")[2]


@pytest.fixture(scope="module")
def doors(lab: Checkout) -> Iterator[Checkout]:
    provision(lab)
    yield lab
    gone = lab.orchestrate("destroy", "doors", "--name", "doors")
    assert gone.returncode == 0, gone.stderr


def group(lab: Checkout) -> dict[str, Any]:
    return dict(lab.ec2().describe_security_groups(GroupNames=["slipway-doors"])["SecurityGroups"][0])


def opened(lab: Checkout) -> dict[int, list[str]]:
    """Port -> networks. Any other kind of rule fails."""
    rules = group(lab)["IpPermissions"]
    assert all(rule["IpProtocol"] == "tcp" and rule["FromPort"] == rule["ToPort"] for rule in rules)
    assert not [rule for rule in rules if rule["Ipv6Ranges"] or rule["PrefixListIds"] or rule["UserIdGroupPairs"]]
    return {rule["FromPort"]: sorted(source["CidrIp"] for source in rule["IpRanges"]) for rule in rules}


def test_what_was_changed_by_hand_goes(doors: Checkout) -> None:
    """Each kind of rule alone: tests/unit/test_ec2_rules.py."""
    ec2, before = doors.ec2(), group(doors)
    # A wider range in the place of the right one, from the same network.
    ec2.revoke_security_group_ingress(GroupId=before["GroupId"], IpPermissions=before["IpPermissions"])
    port = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
    lists = ec2.describe_managed_prefix_lists()["PrefixLists"]
    by_hand = [
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 30, "IpRanges": [{"CidrIp": NAMED}]},
        {"IpProtocol": "-1", "IpRanges": [{"CidrIp": NAMED}]},
        {**port, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]},
        {**port, "PrefixListIds": [{"PrefixListId": lists[0]["PrefixListId"]}]},
        {**port, "UserIdGroupPairs": [{"GroupId": before["GroupId"]}]},
    ]
    ec2.authorize_security_group_ingress(GroupId=before["GroupId"], IpPermissions=by_hand)
    outgoing = {"IpProtocol": "tcp", "FromPort": 25, "ToPort": 25, "IpRanges": [{"CidrIp": "203.0.113.0/24"}]}
    ec2.authorize_security_group_egress(GroupId=before["GroupId"], IpPermissions=[outgoing])
    egress = group(doors)["IpPermissionsEgress"]
    provision(doors)
    assert opened(doors) == {22: [NAMED]}
    assert group(doors)["IpPermissionsEgress"] == egress


def test_a_group_that_is_right_costs_no_call(doors: Checkout) -> None:
    seen = len(doors.requests())
    assert "changed=0" in provision(doors)[1]
    assert {request["action"] for request in doors.requests()[seen:] if not request["action"].startswith(("Describe", "Get"))} == set()


def test_the_books_group_warns_and_is_closed_again(doors: Checkout) -> None:
    said, _ = provision(doors, ec2_instance_group_preset="book")
    assert "[WARNING]: ec2_instance_group_preset: book opens the ports 22, 80, 443, 2376 and 8888 to the whole internet" in said
    for words in ("(0.0.0.0/0)", "but SSH listens on", "Without the preset, the next run closes them"):
        assert words in said
    assert opened(doors) == dict.fromkeys(BOOK, ALL)
    again, recap = provision(doors, ec2_instance_group_preset="book")
    assert "changed=0" in recap
    assert again.count("[WARNING]") == 1
    # As an earlier version made it: the stores' ports too.
    ports = [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": ALL[0]}]} for port in STORES]
    doors.ec2().authorize_security_group_ingress(GroupId=group(doors)["GroupId"], IpPermissions=ports)
    said, _ = provision(doors, ec2_instance_group_preset="book")
    assert "book does not open 5432, 6379 and 27017, which the security group has opened to the whole internet until now" in said
    assert opened(doors) == dict.fromkeys(BOOK, ALL)
    said, _ = provision(doors, ec2_instance_group_preset="stores")
    assert "stores opens the ports 5432, 6379 and 27017 to the whole internet" in said
    assert "stores does not open 80, 443, 2376 and 8888" in said
    assert opened(doors) == {22: [NAMED]} | dict.fromkeys(STORES, ALL)
    said, _ = provision(doors)
    assert "WARNING" not in said
    assert opened(doors) == {22: [NAMED]}


def test_further_ports_are_for_their_own_networks(doors: Checkout) -> None:
    ports = [{"port": 8443, "cidrs": ["203.0.113.0/24", "198.51.100.7/32"]}, {"port": 80, "cidrs": ["0.0.0.0/0"], "open_to_all": True}]
    try:
        provision(doors, ec2_instance_open_ports=ports)
        assert opened(doors) == {22: [NAMED], 80: ["0.0.0.0/0"], 8443: ["198.51.100.7/32", "203.0.113.0/24"]}
    finally:
        provision(doors)
    assert opened(doors) == {22: [NAMED]}
