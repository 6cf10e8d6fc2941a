"""The host key of the first connection: what goes into the user data, and what of a host's answer is taken."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible.module_utils import basic

from tests.conftest import PROJECT
from tests.modules import load, read

first = load("ec2_first_key")
module, consoles = (read("roles", "ec2_instance", "library", f"{name}.py") for name in ("ec2_first_key", "ec2_host_keys"))
SCRIPT = (PROJECT / "roles" / "ec2_instance" / "files" / "own_host_keys.sh").read_text()
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
    assert f'MARK = b"{first.MARK}"' in SCRIPT


@pytest.mark.parametrize(
    ("said", "keys"),
    [
        ([f"{OWN}\n", f"{RSA} root@host\n"], [OWN, RSA]),
        ([f"{RSA}\n", "\n", f"{OWN}\n", f"{OWN}\n"], [OWN, RSA]),
    ],
)
def test_the_hosts_own_keys_are_read_from_its_answer(said: list[str], keys: list[str]) -> None:
    assert first.own_keys(said, ONCE) == keys


@pytest.mark.parametrize(
    "said", [[], ["\n"], [f"{ONCE}\n"], [f"{OWN}\n", f"{ONCE} root@host\n"], ["no key\n"], [f"* {OWN}\n"], [f"{OWN}\x1b[2J\n"]]
)
def test_an_answer_with_anything_but_the_hosts_own_keys_is_not_taken(said: list[str]) -> None:
    with pytest.raises(first.WrongAnswerError):
        first.own_keys(said, ONCE)


def test_the_known_keys_of_an_instance_are_those_under_its_id() -> None:
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


def test_a_connection_that_says_nothing_more_does_not_keep_the_next_one_out(tmp_path: Path) -> None:
    # The computer that lost its network: no end of the connection comes. The script waits a second here, and on a host longer.
    waits_less = re.sub(r"(timeout) [0-9]+", r"\1 1", SCRIPT)
    script = waits_less.replace("/etc/ssh", str(tmp_path)).replace("/run/", f"{tmp_path}/")
    for kind in ("rsa", "ecdsa", "ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(tmp_path / f"ssh_host_{kind}_key")], check=True)
    command, pipe = ["sh", "-c", script, "sh", ONCE], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as silent:
        assert silent.stdout
        assert "end\n" in iter(silent.stdout.readline, "")
        try:
            assert silent.wait(20) != 0
        finally:
            silent.kill()
    after = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=pipe, text=True, timeout=20)
    assert after.stdout.endswith("end\n")


@pytest.mark.parametrize("content", ["", "no key\n", "ssh-ed25519\n"])
def test_a_public_half_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / "first_host_key.pub").write_text(content)
    given = {"instance_id": "i-1", "name": "new", "state_dir": str(tmp_path), "script": "/none"}
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode())
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    with pytest.raises(SystemExit):
        module.main()
    said = json.loads(capsys.readouterr().out)
    assert said["exit_code"] == 4
    assert said["msg"].endswith(f"ssh-keygen -y -f {tmp_path}/first_host_key > {tmp_path}/first_host_key.pub")


@pytest.mark.parametrize("launched_with_one", [False, True])
def test_a_console_without_keys_is_told_with_the_way_to_go_on(launched_with_one: bool) -> None:
    asked = {"instance_id": "i-1", "path": "/known_hosts", "timeout": 600, "first_key": launched_with_one}
    said = consoles.missing(asked)
    assert ("type `up` there" in said) is launched_with_one
    assert said.lower().endswith("compare its key by other means and add it to /known_hosts under the name i-1.")


def test_the_script_of_the_host_has_the_time_to_end_by_itself() -> None:
    waits = [int(seconds) for seconds in re.findall(r"timeout ([0-9]+)", SCRIPT)]
    assert len(waits) == 3
    assert sum(waits) < module.LONGEST
