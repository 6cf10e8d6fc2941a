"""The host key of the first connection: what goes into the user data, and what of a host's answer is taken."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import PROJECT
from tests.modules import load

first = load("ec2_first_key")
ONCE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJc1ZPQkbOMwI8XbQ6n2m2mAnmE1bSSFV9ufO4hO2rCk"
OWN = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOwnwnwnwnwnwnwnwnwnwnwnwnwnwnwnwnwnwnwnwnwn"
RSA = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "first_host_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    return path


def test_the_user_data_is_a_cloud_config_with_that_key_alone(key: Path) -> None:
    private, public = key.read_text(), key.with_suffix(".pub").read_text()
    data = first.user_data(private, public)
    assert data.startswith("#cloud-config\n")
    assert yaml.safe_load(data) == {
        "ssh_deletekeys": True,
        "ssh": {"emit_keys_to_console": False},
        "ssh_keys": {"ed25519_private": private, "ed25519_public": public.strip()},
    }
    assert data == first.user_data(private, public)
    assert len(data) < 2000


def test_the_fingerprint_is_openssh_s(key: Path) -> None:
    shown = subprocess.run(["ssh-keygen", "-lf", str(key.with_suffix(".pub"))], capture_output=True, text=True, check=True).stdout
    assert first.fingerprint(key.with_suffix(".pub").read_text()) == shown.split()[1]


def test_the_script_of_the_host_knows_the_user_data_by_its_mark() -> None:
    assert f'MARK = b"{first.MARK}"' in (PROJECT / "roles" / "ec2_instance" / "files" / "own_host_keys.sh").read_text()


@pytest.mark.parametrize(
    ("said", "keys"),
    [
        ([f"{OWN}\n", f"{RSA} root@host\n"], [OWN, RSA]),
        ([f"{RSA}\n", "\n", f"{OWN}\n", f"{OWN}\n"], [OWN, RSA]),
    ],
)
def test_the_hosts_own_keys(said: list[str], keys: list[str]) -> None:
    assert first.own_keys(said, ONCE) == keys


@pytest.mark.parametrize(
    "said", [[], ["\n"], [f"{ONCE}\n"], [f"{OWN}\n", f"{ONCE} root@host\n"], ["no key\n"], [f"* {OWN}\n"], [f"{OWN}\x1b[2J\n"]]
)
def test_an_answer_that_is_not_taken(said: list[str]) -> None:
    with pytest.raises(first.WrongAnswerError):
        first.own_keys(said, ONCE)


def test_what_is_known_of_an_instance() -> None:
    lines = [f"i-1 {OWN}", f"i-2 {RSA}", "", "# i-1 comment", f"i-1 {RSA} comment"]
    assert first.known(lines, "i-1") == [OWN, RSA]
    assert first.known(lines, "i-3") == []


@pytest.mark.parametrize(
    ("said", "stranger"),
    [
        ("Host key verification failed.", True),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", True),
        ("ssh: connect to host 198.18.0.9 port 22: Connection refused", False),
        ("ubuntu@198.18.0.9: Permission denied (publickey).", False),
        ("", False),
    ],
)
def test_a_stranger_is_told_from_a_host_that_is_not_up_yet(said: str, stranger: bool) -> None:
    assert first.is_stranger(said) is stranger
