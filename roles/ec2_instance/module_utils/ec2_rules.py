"""What a security group lets in: the networks and ports that are asked for, and what a group has, in one form."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SSH_PORT = 22
EXAMPLE = "Allowed: an IPv4 network such as 203.0.113.7/32."

#: One network that may reach a range of ports of one protocol, as text: protocol:from:to:source.
Rule = str


class WrongError(ValueError):
    """A value that cannot be used: `args` are its field, the value found and what is allowed."""


def networks(cidrs: Sequence[str], open_to_all: bool, field: str, flag: str) -> None:
    """Raise WrongError where one is no IPv4 network, or the whole internet without its flag. `field` and `flag` are their names."""
    for cidr in cidrs:
        try:
            network = _network(cidr)
        except ValueError as wrong:
            raise WrongError(field, cidr, f"{str(wrong).rstrip('.')}. {EXAMPLE}") from wrong
        if network.prefixlen == 0 and not open_to_all:
            raise WrongError(field, cidr, f"It is the whole internet; that needs {flag}: true. {EXAMPLE}")


def _network(cidr: str) -> ipaddress.IPv4Network:
    address, _, prefix = cidr.partition("/")
    if ":" in address:
        raise ValueError("It is IPv6, and machines have IPv4 only")
    if not prefix:
        raise ValueError(f"It has no prefix length: did you mean {cidr}/32?")
    if not (prefix.isascii() and prefix.isdigit()):
        raise ValueError(f"Its prefix length {prefix!r} is not a number from 0 to 32")
    return ipaddress.IPv4Network(cidr)


def doors(wanted: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Check the ports beside SSH, and return them as amazon.aws.ec2_security_group takes its rules. Raises WrongError."""
    found: list[dict[str, Any]] = []
    for door in wanted:
        names = dict.fromkeys(("port", "cidrs"), "ec2_instance_open_ports") | {"open_to_all": "open_to_all"} | (door.get("names") or {})
        port = _port(door["port"], names["port"])
        if port in [rule["ports"] for rule in found]:
            raise WrongError(names["port"], port, "The port is given twice. Allowed: each port once, with all of its networks.")
        if not door["cidrs"]:
            raise WrongError(names["cidrs"], [], f"Nobody could reach port {port}. {EXAMPLE}")
        networks(door["cidrs"], bool(door.get("open_to_all")), names["cidrs"], names["open_to_all"])
        found.append({"proto": "tcp", "ports": port, "cidr_ip": list(door["cidrs"]), "rule_desc": door.get("purpose") or f"Port {port}"})
    return found


def _port(value: object, field: str) -> int:
    try:
        port = int(str(value))
    except ValueError:
        port = 0
    if not 1 <= port <= 65535 or isinstance(value, bool | float):
        raise WrongError(field, value, "It is no TCP port. Allowed: a whole number from 1 to 65535.")
    if port == SSH_PORT:
        raise WrongError(field, port, "It is SSH's, whose networks are ec2_instance_ssh_cidrs. Allowed: any other from 1 to 65535.")
    return port


def rules(group: Mapping[str, Any] | None) -> list[Rule]:
    """All that a group, as EC2 describes it, lets in: every protocol, port range and kind of source."""
    return sorted(rule for permission in (group or {}).get("IpPermissions", []) for rule in _rules(permission))


def _rules(permission: Mapping[str, Any]) -> Iterator[Rule]:
    # All protocols (-1) and all ports have no numbers.
    what = f"{permission['IpProtocol']}:{permission.get('FromPort', '')}:{permission.get('ToPort', '')}"
    kinds = {"IpRanges": "CidrIp", "Ipv6Ranges": "CidrIpv6", "PrefixListIds": "PrefixListId", "UserIdGroupPairs": "GroupId"}
    for kind, name in kinds.items():
        for source in permission.get(kind, []):
            yield f"{what}:{source.get(name, '?')}"


def book_warning(beside: Sequence[Mapping[str, Any]]) -> str:
    """What the preset `book` means, in plain words. `beside` are the doors of services that listen beside SSH."""
    listen = " and ".join(["SSH", *(f"{door['rule_desc']} (port {door['ports']})" for door in beside)])
    return (
        "ec2_instance_group_preset: book opens the ports 22, 80, 443, 2376, 5432, 6379, 8888 and 27017 to the whole internet (0.0.0.0/0), "
        "as the book does. Databases behind such a group were wiped by the tens of thousands: whatever listens on these ports will be "
        f"found and tried by strangers. Nothing of this project but {listen} listens there: the stores stay on the containers' own "
        "network, and Jupyter without TLS on the machine's loopback. A container that you publish on one of these ports is open to all. "
        "Without the preset, the next run closes them."
    )
