"""What a security group lets in: the networks and ports that are asked for, and what a group has, in one form."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

SSH_PORT = 22
EVERYWHERE = "0.0.0.0/0"
#: By preset, the ports that are open to the whole internet: of the book, those of chapter 1, and the stores' of chapter 8.
PRESETS: Mapping[str, Mapping[int, str]] = {
    "ssh": {},
    "book": {22: "SSH", 80: "HTTP", 443: "HTTPS", 2376: "Docker", 8888: "Jupyter"},
    "stores": {5432: "PostgreSQL", 6379: "Redis", 27017: "MongoDB"},
}
PROFILE = "AWS_PROFILE"
EXAMPLE = "Allowed: an IPv4 network such as 203.0.113.7/32."

#: One network that may reach a range of ports of one protocol, as text: protocol:from:to:source.
Rule = str


class WrongError(ValueError):
    """A value that cannot be used: `args` are its field, the value found and what is allowed."""


def profiles(named: Iterable[str | None], has_keys: bool, known: Sequence[str]) -> None:
    """Raise WrongError where a profile of the SDK's cannot be used. `named`: those of the environment and of variables, of which one
    counts; `has_keys`: an access key is given too; `known`: the profiles that the SDK's files have."""
    for profile in filter(None, named):
        if has_keys:
            raise WrongError(PROFILE, profile, "AWS_ACCESS_KEY_ID is set too, and one of the two counts. Allowed: unset the other one.")
        if profile not in known:
            raise WrongError(
                PROFILE, profile, f"No file of the AWS SDK has it. Allowed: {', '.join(known) or '`aws configure` makes one'}."
            )


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


def preset(name: str, beside: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All rules of a preset, and those asked for `beside`. A port that the preset opens to the whole internet stays so."""
    opened = PRESETS[name]
    everywhere = [{"proto": "tcp", "ports": port, "cidr_ip": [EVERYWHERE], "rule_desc": what} for port, what in opened.items()]
    return [*everywhere, *(dict(rule) for rule in beside if rule["ports"] not in opened)]


def opens_ssh(name: str) -> bool:
    """Whether a preset opens port 22 to the whole internet; else it is open to the networks that are asked for."""
    return SSH_PORT in PRESETS[name]


def preset_warnings(name: str, beside: Sequence[Mapping[str, Any]], had: Sequence[Rule]) -> list[str]:
    """What a preset means, in plain words. `beside` are the doors of services, `had` what the group lets in until now."""
    opened = PRESETS[name]
    if not opened:
        return []
    listen = " and ".join(["SSH", *(f"{door['rule_desc']} (port {door['ports']})" for door in beside)])
    said = [
        f"ec2_instance_group_preset: {name} opens the ports {_listed(opened)} to the whole internet ({EVERYWHERE}), "
        f"as the book does in chapter {1 if opens_ssh(name) else 8}. Databases behind such a group were wiped by the tens of thousands: "
        "strangers will find and try whatever listens on these ports. "
        f"Nothing of this project but {listen} listens on the machine's address: the stores stay on the containers' own "
        "network, and Jupyter without TLS on the machine's loopback. A container that you publish on one of these ports is open to all. "
        "Without the preset, the next run closes them."
    ]
    # In earlier versions the preset `book` opened the stores' ports too.
    asked = [rule["ports"] for rule in beside]
    for other, ports in PRESETS.items():
        closed = [port for port in ports if port not in (*opened, *asked, SSH_PORT) and f"tcp:{port}:{port}:{EVERYWHERE}" in had]
        if closed:
            said.append(
                f"ec2_instance_group_preset: {name} does not open {_listed(closed)}, which the security group has opened to the whole "
                f"internet until now: `up` and `deploy` close them. ec2_instance_group_preset: {other} opens {_listed(closed)}; "
                "to open single ports beside those of a preset, use ec2_instance_open_ports."
            )
    return said


def _listed(ports: Iterable[int]) -> str:
    *first, last = map(str, ports)
    return f"{', '.join(first)} and {last}" if first else last
