"""Whose host answers: its key is known before the first connection, and a swapped one ends the command."""

from __future__ import annotations

import docker
import pytest

from tests.conftest import Checkout
from tests.e2e.support.machines import described

pytestmark = pytest.mark.xdist_group("machine")


def test_the_keys_are_the_consoles_by_the_instances_id(machine: Checkout) -> None:
    instance = described(machine)["InstanceId"]
    known = (machine.path / ".slipway" / "lab" / "machines" / "slipway" / "known_hosts").read_text().splitlines()
    console = machine.ec2().get_console_output(InstanceId=instance)["Output"]
    assert known
    for line in known:
        name, kind, key = line.split()
        assert name == instance
        assert f"{kind} {key}" in console


def test_a_swapped_key_ends_with_5_and_nothing_is_sent(machine: Checkout) -> None:
    known = machine.path / ".slipway" / "lab" / "machines" / "slipway" / "known_hosts"
    right = known.read_text()
    sent = machine.on_host("sudo journalctl --unit ssh --since '1 hour ago' | grep -c Accepted")
    # No connection is left to go on with.
    engine = docker.from_env()
    ended = engine.containers.get(f"{machine.lab.id}-{right.split()[0]}").exec_run(["pkill", "-f", "sshd: ubuntu"])
    assert ended.exit_code == 0, ended.output
    # As when another host answers at the address: the key is not the one that the console showed.
    instance = right.split()[0]
    known.write_text(f"{instance} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJc1ZPQkbOMwI8XbQ6n2m2mAnmE1bSSFV9ufO4hO2rCk\n")
    try:
        for verb in ("up", "status", "open"):
            refused = machine.orchestrate(verb)
            assert refused.returncode == 5, refused.stderr
            assert "host key" in refused.stderr.lower()
    finally:
        known.write_text(right)
    # One more by the line that asks.
    assert int(machine.on_host("sudo journalctl --unit ssh --since '1 hour ago' | grep -c Accepted")) == int(sent) + 1
