"""Networks and ports that a security group is asked for, and the form in which groups are compared."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from tests.conftest import PROJECT

# A role's module_utils are in no package until Ansible sends them.
SPEC = importlib.util.spec_from_file_location("ec2_rules", PROJECT / "roles" / "ec2_instance" / "module_utils" / "ec2_rules.py")
assert SPEC is not None
assert SPEC.loader is not None
ec2_rules = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(ec2_rules)

SSH = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "203.0.113.7/32"}]}


@pytest.mark.parametrize(
    ("cidr", "said"),
    [
        ("10.0.0.300/33", "300"),
        ("10.0.0.0/33", "33"),
        ("10.0.0.1/8", "host bits"),
        ("10.0.0.1", "did you mean 10.0.0.1/32?"),
        ("10.0.0.0/255.0.0.0", "from 0 to 32"),
        ("10.0.0.0/", "prefix length"),
        ("0.0.0.0/0", "the whole internet; that needs the_flag: true"),
        ("::/0", "IPv4 only"),
        ("2001:db8::/32", "IPv4 only"),
        ("office", "prefix length"),
        ("", "prefix length"),
    ],
)
def test_what_is_no_ipv4_network_is_refused(cidr: str, said: str) -> None:
    with pytest.raises(ec2_rules.WrongError) as refusal:
        ec2_rules.networks([cidr], False, "the_field", "the_flag")
    field, value, allowed = refusal.value.args
    assert (field, value) == ("the_field", cidr)
    assert said in allowed
    assert allowed.endswith("Allowed: an IPv4 network such as 203.0.113.7/32.")


def test_the_whole_internet_has_a_flag() -> None:
    ec2_rules.networks(["0.0.0.0/0", "198.51.100.0/24"], True, "the_field", "the_flag")


@pytest.mark.parametrize("port", [0, -1, 65536, 70000, "80a", "", None, 80.5, True])
def test_what_is_no_port_is_refused(port: object) -> None:
    with pytest.raises(ec2_rules.WrongError, match="1 to 65535") as refusal:
        ec2_rules.doors([{"port": port, "cidrs": ["198.51.100.0/24"]}])
    assert refusal.value.args[:2] == ("ec2_instance_open_ports", port)


def test_a_port_once_with_networks_of_its_own() -> None:
    door: dict[str, Any] = {"port": "443", "cidrs": ["198.51.100.0/24"], "purpose": "Jupyter"}
    made = {"proto": "tcp", "ports": 443, "cidr_ip": ["198.51.100.0/24"], "rule_desc": "Jupyter"}
    assert ec2_rules.doors([door]) == [made]
    with pytest.raises(ec2_rules.WrongError, match="twice"):
        ec2_rules.doors([door, door | {"port": 443}])
    with pytest.raises(ec2_rules.WrongError, match="ec2_instance_ssh_cidrs"):
        ec2_rules.doors([door | {"port": 22}])
    with pytest.raises(ec2_rules.WrongError, match="Nobody could reach port 443"):
        ec2_rules.doors([door | {"cidrs": []}])
    with pytest.raises(ec2_rules.WrongError, match="the whole internet; that needs open_to_all: true"):
        ec2_rules.doors([door | {"cidrs": ["0.0.0.0/0"]}])
    assert ec2_rules.doors([door | {"cidrs": ["0.0.0.0/0"], "open_to_all": True}])


def test_a_refusal_names_the_variables_that_the_values_come_from() -> None:
    names = {"port": "the_port", "cidrs": "the_networks", "open_to_all": "the_flag"}
    door: dict[str, Any] = {"port": 443, "cidrs": ["0.0.0.0/0"], "names": names}
    with pytest.raises(ec2_rules.WrongError, match="that needs the_flag: true") as refusal:
        ec2_rules.doors([door])
    assert refusal.value.args[0] == "the_networks"
    with pytest.raises(ec2_rules.WrongError) as refusal:
        ec2_rules.doors([door | {"port": 0}])
    assert refusal.value.args[0] == "the_port"


def test_no_group_has_no_rules() -> None:
    assert ec2_rules.rules(None) == []
    assert ec2_rules.rules({"IpPermissions": [SSH]}) == ["tcp:22:22:203.0.113.7/32"]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"IpProtocol": "udp"}, "udp:22:22:203.0.113.7/32"),
        ({"ToPort": 30}, "tcp:22:30:203.0.113.7/32"),
        ({"FromPort": 0}, "tcp:0:22:203.0.113.7/32"),
        ({"IpRanges": [], "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}, "tcp:22:22:::/0"),
        ({"IpRanges": [], "PrefixListIds": [{"PrefixListId": "pl-1"}]}, "tcp:22:22:pl-1"),
        ({"IpRanges": [], "UserIdGroupPairs": [{"GroupId": "sg-1", "UserId": "1"}]}, "tcp:22:22:sg-1"),
        ({"IpRanges": [{"CidrIp": "0.0.0.0/0"}]}, "tcp:22:22:0.0.0.0/0"),
    ],
)
def test_every_part_of_a_rule_counts(change: dict[str, Any], rule: str) -> None:
    assert ec2_rules.rules({"IpPermissions": [SSH | change]}) == [rule]
    assert ec2_rules.rules({"IpPermissions": [SSH | change]}) != ec2_rules.rules({"IpPermissions": [SSH]})


def test_all_protocols_have_no_ports() -> None:
    everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "203.0.113.7/32"}], "UserIdGroupPairs": [{"GroupId": "sg-1"}]}
    assert ec2_rules.rules({"IpPermissions": [everything]}) == ["-1:::203.0.113.7/32", "-1:::sg-1"]


def test_the_warning_names_what_listens() -> None:
    assert "but SSH listens there" in ec2_rules.book_warning([])
    door = {"ports": 443, "rule_desc": "Jupyter over TLS"}
    assert "but SSH and Jupyter over TLS (port 443) listens there" in ec2_rules.book_warning([door])
