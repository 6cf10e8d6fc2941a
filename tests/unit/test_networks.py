"""Which networks a lab takes beside what the computer has."""

from __future__ import annotations

import os
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from lab import config, networks
from lab.networks import Networks, NetworksError, Taken

HOME_LAN, ENGINE = "192.168.1.0/24", "172.17.0.0/16"


def taken(routed: str = "", own: str = f"{HOME_LAN} {ENGINE}") -> Taken:
    return Taken(tuple(map(IPv4Network, own.split())), tuple(map(IPv4Network, routed.split())))


#: Routes, and networks of the computer's own besides; the networks that are chosen.
CHOICES = [
    ("", "", "10.200.0.0/16 198.18.0.0/24"),
    # Further labs.
    ("", "10.200.0.0/16 198.18.0.0/24", "10.201.0.0/16 198.18.1.0/24"),
    ("", "10.200.0.0/16", "10.201.0.0/16 198.18.0.0/24"),
    # VPNs: for everything, as OpenVPN and WireGuard have it; for a company; a proxy's addresses that are none.
    ("0.0.0.0/1 128.0.0.0/1", "10.8.0.2/32", "10.200.0.0/16 198.18.0.0/24"),
    ("0.0.0.0/1 128.0.0.0/1 10.8.0.0/24", "10.8.0.0/24", "10.200.0.0/16 198.18.0.0/24"),
    ("10.0.0.0/8", "", "172.24.0.0/16 198.18.0.0/24"),
    ("198.18.0.0/16", "", "10.200.0.0/16 198.19.0.0/24"),
    ("198.18.0.0/15", "", "10.200.0.0/16 198.18.0.0/24"),
    # A route into it, or to the same network.
    ("10.200.7.0/24", "", "10.201.0.0/16 198.18.0.0/24"),
    ("10.200.0.0/16 198.18.0.9/32", "", "10.201.0.0/16 198.18.1.0/24"),
    ("10.200.0.0/15", "", "10.202.0.0/16 198.18.0.0/24"),
    # All of RFC 1918 is routed: containers inside take what no engine takes by itself.
    ("10.0.0.0/8 172.16.0.0/12 192.168.0.0/16", "", "10.200.0.0/16 198.18.0.0/24 10.201.0.0/16"),
    ("172.20.0.0/16", "", "10.200.0.0/16 198.18.0.0/24 10.201.0.0/16"),
    # A network with an address of this computer is no place for others, whatever its size.
    ("", "10.0.0.0/8", "172.24.0.0/16 198.18.0.0/24"),
    ("0.0.0.0/1", "10.0.0.0/8", "172.24.0.0/16 198.18.0.0/24"),
]


@pytest.mark.parametrize(("routed", "own", "wanted"), CHOICES)
def test_the_first_networks_that_collide_with_nothing_are_chosen(routed: str, own: str, wanted: str) -> None:
    assert networks.choose(taken(routed, f"{HOME_LAN} {ENGINE} {own}")) == Networks(*map(IPv4Network, wanted.split()))


@pytest.mark.parametrize("own", ["10.0.0.0/8 172.16.0.0/12", "198.18.0.0/15", "0.0.0.0/0"])
def test_without_a_free_network_none_is_chosen(own: str) -> None:
    assert networks.choose(taken("", own)) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 networks"),
        (" , ", "0 networks"),
        ("10.66.0.0/16", "1 networks"),
        ("10.66.0.0/16,198.18.66.0/24,172.30.0.0/16,10.67.0.0/16", "4 networks"),
        ("ten,198.18.66.0/24", "'ten' is no network"),
        ("10.66.0.1/16,198.18.66.0/24", "host bits set"),
        ("10.66.0.0/15,198.18.66.0/24", "the private network is a /16"),
        ("10.66.0.0/16,198.18.66.0/25", "the public network is a /24"),
        ("10.66.0.0/16,198.18.66.0/24,172.30.0.0/24", "the network inside of hosts is a /16"),
        ("10.66.0.0/16,10.66.7.0/24", "10.66.7.0/24 overlaps another"),
        ("10.66.0.0/16,198.18.66.0/24,10.66.0.0/16", "10.66.0.0/16 overlaps another"),
        ("127.0.0.0/16,198.18.66.0/24", "no host can have an address"),
        ("0.0.0.0/16,198.18.66.0/24", "no host can have an address"),
        ("10.66.0.0/16,224.0.0.0/24", "no host can have an address"),
        ("fd00::/16,198.18.66.0/24", "is no network"),
        ("\u0661\u0660.66.0.0/16,198.18.66.0/24", "is no network"),
    ],
)
def test_networks_that_cannot_be_read_are_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(NetworksError) as refused:
        networks.read(text)
    assert said in str(refused.value)
    assert "SLIPWAY_LAB_NETWORKS" in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["10.66.0.0/16,198.18.66.0/24", " 10.66.0.0/16  198.18.66.0/24 ", "10.66.0.0/16,198.18.66.0/24,172.30.0.0/16"]
)
def test_networks_of_the_users_choice_are_taken(text: str) -> None:
    found = networks.given(text, taken("0.0.0.0/1 10.0.0.0/8"))
    assert found == Networks(*map(IPv4Network, text.replace(",", " ").split()))


@pytest.mark.parametrize(("text", "near"), [("10.66.0.0/16,192.168.1.0/24", HOME_LAN), ("10.9.0.0/16,198.18.66.0/24", "10.9.8.0/24")])
def test_networks_of_the_users_choice_that_collide_are_refused(text: str, near: str) -> None:
    with pytest.raises(NetworksError, match=f"collides with {near}"):
        networks.given(text, taken("10.9.8.0/24 10.0.0.0/8"))


def test_routes_are_read_as_the_kernel_writes_them() -> None:
    table = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
    table += "eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\ntun0 00000000 00000000 0001 0 0 0 00000080 0 0 0\n"
    table += "br-1 0000C80A 00000000 0001 0 0 0 0000FFFF 0 0 0\n"
    assert networks.routed(table) == [IPv4Network("0.0.0.0/1"), IPv4Network("10.200.0.0/16")]


@pytest.mark.parametrize(
    ("tables", "found"),
    [
        # As iproute2 6.1 prints it: Tailscale's table, with a subnet of its own and an exit node; the kernel's own table.
        ('[{"dst":"default","gateway":"192.0.2.1","dev":"eth0","flags":[]}]', ""),
        (
            '[{"dst":"10.200.0.0/16","dev":"tailscale0","table":"52","flags":[]},{"dst":"100.100.100.100","dev":"tailscale0","table":"52"},'
            '{"dst":"default","dev":"tailscale0","table":"52"},{"type":"throw","dst":"127.0.0.0/8","table":"52"},'
            '{"type":"local","dst":"192.168.1.5","dev":"eth0","table":"local"},{"type":"broadcast","dst":"192.168.1.255","table":"local"}]',
            "10.200.0.0/16 100.100.100.100/32",
        ),
        ('[{"type":"unreachable","dst":"10.201.0.0/16","table":"7"},{"dst":"0.0.0.0/0","table":"7"}]', "10.201.0.0/16"),
        # None is there, or another program of that name.
        ("", ""),
        ("[]", ""),
        ("Usage: ip [OPTIONS]", ""),
        ('{"dst": 1}', ""),
        ('[{"type":"unicast"}]', ""),
    ],
)
def test_the_routes_of_all_tables_are_read(tables: str, found: str) -> None:
    assert networks.routed_by_all(tables) == list(map(IPv4Network, found.split()))


@pytest.mark.parametrize(("code", "wanted"), [(0, True), (1, False)])
def test_a_route_of_another_table_is_found(code: int, wanted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ip").write_text(f'#!/bin/sh\necho \'[{{"dst":"203.0.113.0/24","table":"52"}}]\'\nexit {code}\n')
    (tmp_path / "ip").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert (IPv4Network("203.0.113.0/24") in networks.here([]).routed) == wanted


def test_this_computers_own_networks_are_found() -> None:
    found = networks.here([IPv4Network(ENGINE)])
    assert {IPv4Network("127.0.0.0/8"), IPv4Network(ENGINE)} <= set(found.own)
    assert not set(found.own) & set(found.routed)


def test_a_lab_keeps_its_networks(tmp_path: Path) -> None:
    lab = config.Lab(tmp_path, 5190, *map(IPv4Network, ("10.66.0.0/16", "203.0.113.0/24", "172.30.0.0/16")), registry_port=7)
    lab.save()
    assert config.load(tmp_path) == lab
    assert '"controller_cidr": "203.0.113.0/24"' in (tmp_path / "lab.json").read_text()


def test_a_lab_of_an_earlier_release_keeps_its_networks(tmp_path: Path) -> None:
    (tmp_path / "lab.json").write_text('{"port": 5181, "number": 3, "registry_port": 7}')
    lab = config.load(tmp_path)
    assert lab == config.Lab(tmp_path, 5181, IPv4Network("10.203.0.0/16"), IPv4Network("198.18.3.0/24"), None, 7)
    assert lab.registry_ip == "10.203.255.250"
