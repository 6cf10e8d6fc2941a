"""Which networks a lab takes: those that collide with nothing that this computer reaches. Pure, but for `here`."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from itertools import chain, product
from pathlib import Path

#: The variable with networks of the user's choice.
VARIABLE = "SLIPWAY_LAB_NETWORKS"
#: Public ones are of the range that RFC 2544 keeps for tests, so that no real host is shadowed.
PUBLIC = IPv4Network("198.18.0.0/15")
#: Private ones are of RFC 1918: first those that VPNs, homes and Docker's own networks have least often.
_PRIVATE = ("10.200.0.0/13", "10.208.0.0/12", "10.224.0.0/12", "10.96.0.0/11", "172.24.0.0/13", "10.0.0.0/10", "172.16.0.0/13")
#: What an engine takes by itself: 172.17.0.0/16 and the next ones, then those of 192.168.0.0/16.
_ENGINE = (IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16"))
#: netdevice(7): SIOCGIFADDR and SIOCGIFNETMASK.
_ADDRESS, _MASK = 0x8915, 0x891B
_SIZES = {"the private network": 16, "the public network": 24, "the network inside of hosts": 16}
_EXAMPLE = (
    f"Allowed: a /16 and a /24 of IPv4, such as {VARIABLE}=10.66.0.0/16,198.18.66.0/24; a second /16 is for the engines inside of hosts."
)


class NetworksError(Exception):
    """Networks that the lab cannot take: the text says why, and what is allowed."""


@dataclass(frozen=True)
class Networks:
    """A lab's networks: that of private addresses, that of public ones, and what the engines inside of hosts take; None, their default."""

    private: IPv4Network
    public: IPv4Network
    inside: IPv4Network | None = None


@dataclass(frozen=True)
class Taken:
    """What this computer has: the networks of its own addresses and of its engine, and what it reaches by routes, but for the default."""

    own: tuple[IPv4Network, ...] = ()
    routed: tuple[IPv4Network, ...] = ()


def collides(wanted: IPv4Network, taken: Taken) -> bool:
    """Whether a network of the lab would cut this computer off from something near, or be cut off itself.

    Of two routes the kernel takes the longer one. So the lab is reached beside a VPN's 0.0.0.0/1 or 10.0.0.0/8, but not beside a route
    into it. A network in which this computer has an address is no place for other hosts, whatever its size.
    """
    return any(map(wanted.overlaps, taken.own)) or any(wanted.overlaps(net) and net.prefixlen >= wanted.prefixlen for net in taken.routed)


def choose(taken: Taken) -> Networks | None:
    """The first private and public network that collide with nothing; if there are such, some that no route covers at all."""
    # What a route covers may have hosts that the user needs, so it is taken last.
    everything = Taken((*taken.own, *taken.routed))
    private = _first(_privates(), everything) or _first(_privates(), taken)
    public = _first(PUBLIC.subnets(new_prefix=24), everything) or _first(PUBLIC.subnets(new_prefix=24), taken)
    if private is None or public is None:
        return None
    return Networks(private, public, _inside(private, taken))


def _inside(private: IPv4Network, taken: Taken) -> IPv4Network | None:
    """Another choice than an engine's own, if a route leads there: containers could not reach what lies behind it."""
    if not any(net.overlaps(route) and route.prefixlen >= net.prefixlen for net, route in product(_ENGINE, taken.routed)):
        return None
    others = [net for net in _privates() if net != private]
    return _first(others, Taken((*taken.own, *taken.routed))) or _first(others, taken)


def _privates() -> Iterator[IPv4Network]:
    return chain.from_iterable(IPv4Network(each).subnets(new_prefix=16) for each in _PRIVATE)


def _first(candidates: Iterable[IPv4Network], taken: Taken) -> IPv4Network | None:
    return next((net for net in candidates if not collides(net, taken)), None)


def read(text: str) -> Networks:
    """The networks of the user's choice. Raises NetworksError."""
    words = text.replace(",", " ").split()
    if len(words) not in (2, 3):
        raise NetworksError(f"{VARIABLE}={text!r}: {len(words)} networks. {_EXAMPLE}")
    found: list[IPv4Network] = []
    for word, (what, size) in zip(words, _SIZES.items(), strict=False):
        try:
            net = IPv4Network(word)
        except ValueError as wrong:
            raise NetworksError(f"{VARIABLE}: {word!r} is no network ({wrong}). {_EXAMPLE}") from wrong
        if net.prefixlen != size:
            raise NetworksError(f"{VARIABLE}: {word}: {what} is a /{size}. {_EXAMPLE}")
        if (
            net.is_loopback
            or net.is_multicast
            or net.is_link_local
            or net.is_unspecified
            or net.is_reserved
            or net[0] in IPv4Network("0.0.0.0/8")
        ):
            raise NetworksError(f"{VARIABLE}: {word}: no host can have an address of this network. {_EXAMPLE}")
        if any(map(net.overlaps, found)):
            raise NetworksError(f"{VARIABLE}: {word} overlaps another one of these. {_EXAMPLE}")
        found.append(net)
    return Networks(*found)


def given(text: str, taken: Taken) -> Networks:
    """The networks of the user's choice. Raises NetworksError if they cannot be read, or collide."""
    wanted = read(text)
    for net in (wanted.private, wanted.public):
        if collides(net, taken):
            near = next(each for each in (*taken.own, *taken.routed) if each.overlaps(net))
            raise NetworksError(
                f"{VARIABLE}: {net} collides with {near}, which this computer has or reaches (`ip route`). Name another one."
            )
    return wanted


def here(engine: Sequence[IPv4Network]) -> Taken:
    """What this computer has. `engine`: the networks of its Docker engine."""
    own = (*engine, *filter(None, (_addressed(name) for _, name in socket.if_nameindex())))
    routes = dict.fromkeys([*routed(Path("/proc/net/route").read_text()), *routed_by_all(_all_tables())])
    # To a network of its own there is a route too.
    return Taken(own, tuple(route for route in routes if route not in own))


def _addressed(interface: str) -> IPv4Network | None:
    """The network of the interface's address, if it has one."""
    asked = struct.pack("256s", os.fsencode(interface))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            address, mask = (fcntl.ioctl(any_socket, what, asked)[20:24] for what in (_ADDRESS, _MASK))
        except OSError:
            return None
    return IPv4Network((int.from_bytes(address, "big") & int.from_bytes(mask, "big"), int.from_bytes(mask, "big").bit_count()))


def _all_tables() -> str:
    """The routes of all tables, as `ip` prints them; nothing without that program, or if it knows no JSON (BusyBox)."""
    # Not in every PATH.
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    command = ["ip", "-4", "-json", "route", "show", "table", "all"]
    try:
        done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


#: Of ip-route(8) what leads elsewhere, or nowhere. `local` and the like are addresses of this computer, `throw` asks the next table.
_LEADING = ("unicast", "unreachable", "blackhole", "prohibit")


def routed_by_all(tables: str) -> list[IPv4Network]:
    """What is reached by a route of any table, from `ip -4 -json route show table all`: a VPN may have its own. Without default routes."""
    try:
        routes = json.loads(tables)
        named = [route["dst"] for route in routes if route.get("type", "unicast") in _LEADING]
        return [net for net in (IPv4Network(each) for each in named if each != "default") if net.prefixlen]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def routed(table: str) -> list[IPv4Network]:
    """What is reached by a route, from /proc/net/route. The default route is not among them."""
    lines = [line.split() for line in table.splitlines()[1:]]
    # Hexadecimal, in the byte order of the machine (proc_pid_net(5)).
    words = [(int(line[1], 16), int(line[7], 16)) for line in lines]
    numbers = [tuple(int.from_bytes(word.to_bytes(4, sys.byteorder), "big") for word in pair) for pair in words]
    return [IPv4Network((address, mask.bit_count())) for address, mask in numbers if mask]
