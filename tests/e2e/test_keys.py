"""Whose key it is, and which region's machine: nothing that cannot be made again is lost or replaced."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Checkout

pytestmark = pytest.mark.xdist_group("machine")

NAME = "own-key"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "my kéy"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "3072", "-N", "", "-f", str(path)], check=True)
    return path


def provision(lab: Checkout, **variables: str) -> str:
    """The recap of the playbook alone: no services are needed here."""
    given = json.dumps({"slipway_name": NAME} | variables)
    done = lab.run("ansible-playbook", "playbooks/provision.yml", "--extra-vars", given)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.partition("PLAY RECAP")[2]


@pytest.fixture(scope="module")
def machine(lab: Checkout, key: Path) -> Iterator[Path]:
    """The folder of a machine that was made with the user's own key."""
    provision(lab, ec2_instance_key_file=str(key))
    yield lab.path / ".slipway" / "lab" / "machines" / NAME
    gone = lab.orchestrate("destroy", NAME, "--name", NAME)
    assert gone.returncode == 0, gone.stderr
    # Only the link to it was the machine's.
    assert key.exists()
    assert key.with_name(key.name + ".pub").exists()


def fingerprints(lab: Checkout) -> list[str]:
    return [pair["KeyFingerprint"] for pair in lab.ec2().describe_key_pairs()["KeyPairs"]]


def test_every_later_command_finds_the_users_key(lab: Checkout, machine: Path) -> None:
    assert (machine / "ssh_config").exists()
    assert lab.orchestrate("ssh", "--name", NAME, "id", "-un").stdout.strip() == "ubuntu"
    assert lab.orchestrate("ssh", "--name", NAME, "cd / && pwd").stdout.strip() == "/"
    assert "changed=0" in provision(lab)


def test_a_key_that_is_not_here_is_never_replaced(lab: Checkout, machine: Path) -> None:
    before, kept = fingerprints(lab), (machine / "ssh_key").readlink()
    (machine / "ssh_key").unlink()
    try:
        for verb in ("up", "status"):
            refused = lab.orchestrate(verb, "--name", NAME)
            assert refused.returncode == 3, refused.stderr
            assert str(machine / "ssh_key") in refused.stderr
        assert fingerprints(lab) == before
        assert not (machine / "ssh_key").exists()
    finally:
        (machine / "ssh_key").symlink_to(kept)


def test_another_region_does_not_take_the_machine_for_its_own(lab: Checkout, machine: Path) -> None:
    for words in (["destroy", NAME], ["up"], ["status"]):
        refused = lab.orchestrate(*words, "--name", NAME, "--region", "eu-west-1")
        assert refused.returncode == 2, refused.stderr
        assert "us-east-1" in refused.stderr
    assert (machine / "ssh_key").exists()
    assert lab.orchestrate("ssh", "--name", NAME, "true").returncode == 0
