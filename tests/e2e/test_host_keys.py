"""Whose host answers: its key is known before the first connection, and a swapped one ends the command."""

from __future__ import annotations

import base64
from pathlib import Path

import docker
import pytest
import yaml
from cryptography.hazmat.primitives import serialization

from tests.conftest import Checkout
from tests.e2e.support import canary
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
    # As when another host answers at the address.
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


def first_key(machine: Checkout) -> str:
    """The private half of the key that the machine answered its first connection with: EC2 keeps the user data."""
    asked = {"InstanceId": described(machine)["InstanceId"], "Attribute": "userData"}
    data = machine.ec2().describe_instance_attribute(**asked)["UserData"]["Value"]
    return str(yaml.safe_load(base64.b64decode(data))["ssh_keys"]["ed25519_private"])


def test_the_first_key_is_nowhere_any_more(machine: Checkout) -> None:
    key = serialization.load_ssh_private_key(first_key(machine).encode(), password=None)
    secret = key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    # As it lies in the file of a key too, so it would be found.
    assert any(form in first_key(machine) for form in canary.forms(secret))
    here = {Path(place).name for place in canary.look_here(machine, [secret])}
    assert (here, canary.look_on_host(machine, [secret])) == (set(), set())


def test_a_host_that_shows_the_first_key_is_refused(machine: Checkout) -> None:
    host = docker.from_env().containers.get(f"{machine.lab.id}-{described(machine)['InstanceId']}")

    def as_root(*words: str) -> None:
        done = host.exec_run(list(words))
        assert done.exit_code == 0, done.output

    as_root("sh", "-c", "mkdir /root/own && mv /etc/ssh/ssh_host_* /root/own/")
    try:
        as_root("sh", "-c", 'umask 077; printf %s "$1" > /etc/ssh/ssh_host_ed25519_key', "sh", first_key(machine))
        as_root("systemctl", "restart", "ssh")
        # No connection is left to go on with.
        host.exec_run(["pkill", "--full", "^sshd: ubuntu@notty"])
        refused = machine.orchestrate("status")
        assert refused.returncode == 5, refused.stderr
        assert "Nothing was sent" in refused.stderr
    finally:
        as_root("sh", "-c", "rm -f /etc/ssh/ssh_host_*; mv /root/own/ssh_host_* /etc/ssh/ && rmdir /root/own && systemctl restart ssh")
