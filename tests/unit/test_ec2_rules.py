"""Networks and ports that a security group is asked for, and the form in which groups are compared."""

from __future__ import annotations

from typing import Any

import pytest

from tests.modules import load

ec2_rules = load("ec2_rules")

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


@pytest.mark.parametrize(
    ("named", "has_keys", "known", "said"),
    [
        ([None, None], False, [], ""),
        ([None, ""], True, [], ""),
        (["mine", None], False, ["default", "mine"], ""),
        (["mine", "default"], False, ["default", "mine"], ""),
        (["gone", None], False, ["default", "mine"], "Allowed: default, mine."),
        # The SDK reads the older name first.
        (["mine", "gone"], False, ["mine"], "Allowed: mine."),
        (["gone", None], False, [], "`aws configure` makes one"),
        (["mine", None], True, ["mine"], "AWS_ACCESS_KEY_ID is set too"),
    ],
)
def test_a_profile_that_cannot_be_used_is_named_with_those_that_can(
    named: list[str | None], has_keys: bool, known: list[str], said: str
) -> None:
    if not said:
        ec2_rules.profiles(named, has_keys, known)
        return
    with pytest.raises(ec2_rules.WrongError) as refusal:
        ec2_rules.profiles(named, has_keys, known)
    field, value, allowed = refusal.value.args
    assert (field, value in named) == ("AWS_PROFILE", True)
    assert said in allowed


def test_the_whole_internet_is_allowed_by_its_flag() -> None:
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


DOOR = {"proto": "tcp", "ports": 443, "cidr_ip": ["203.0.113.0/24"], "rule_desc": "Jupyter over TLS"}


@pytest.mark.parametrize(
    ("name", "ports", "ssh"), [("ssh", [], False), ("book", [22, 80, 443, 2376, 8888], True), ("stores", [5432, 6379, 27017], False)]
)
def test_a_preset_opens_its_ports_to_all_and_what_is_asked_for_beside(name: str, ports: list[int], ssh: bool) -> None:
    opened = {rule["ports"]: rule["cidr_ip"] for rule in ec2_rules.preset(name, [])}
    assert opened == {port: ["0.0.0.0/0"] for port in ports}
    assert ec2_rules.opens_ssh(name) is ssh
    # A port that is open to all stays so, also if it is asked for with networks of its own.
    beside = {rule["ports"]: rule["cidr_ip"] for rule in ec2_rules.preset(name, [DOOR])}
    assert beside == {443: DOOR["cidr_ip"]} | opened


def test_the_warning_names_the_ports_and_what_listens() -> None:
    assert ec2_rules.preset_warnings("ssh", [DOOR], []) == []
    (book,) = ec2_rules.preset_warnings("book", [], [])
    assert "book opens the ports 22, 80, 443, 2376 and 8888 to the whole internet" in book
    assert "but SSH listens on" in book
    (stores,) = ec2_rules.preset_warnings("stores", [DOOR], [])
    assert "stores opens the ports 5432, 6379 and 27017 to the whole internet" in stores
    assert "but SSH and Jupyter over TLS (port 443) listens on" in stores


BOOK_BEFORE = [f"tcp:{port}:{port}:0.0.0.0/0" for port in (22, 80, 443, 2376, 5432, 6379, 8888, 27017)]


@pytest.mark.parametrize(
    ("name", "beside", "closed", "other"),
    [
        ("book", [], "5432, 6379 and 27017", "stores"),
        ("stores", [], "80, 443, 2376 and 8888", "book"),
        # A port that is asked for by itself is not closed, or not to all.
        ("book", [5432], "6379 and 27017", "stores"),
        ("book", [5432, 6379], "27017", "stores"),
    ],
)
def test_ports_that_a_preset_opened_until_now_are_named(name: str, beside: list[int], closed: str, other: str) -> None:
    """As with the group that an earlier version made for the preset `book`."""
    _, said = ec2_rules.preset_warnings(name, [DOOR | {"ports": port} for port in beside], BOOK_BEFORE)
    assert f"{name} does not open {closed}, which" in said
    assert f"ec2_instance_group_preset: {other} opens {closed};" in said
    # Nothing is closed: one warning.
    assert len(ec2_rules.preset_warnings("book", [DOOR | {"ports": port} for port in (5432, 6379, 27017)], BOOK_BEFORE)) == 1
