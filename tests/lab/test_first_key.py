"""The first connection to a new machine: checked by a key that was made before it, which is nowhere afterwards."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Checkout, ssh_group
from tests.modules import load

#: On the lab of that file.
pytestmark = pytest.mark.xdist_group("tests/lab/test_instances.py")

first = load("ec2_first_key")


def keygen(path: Path) -> str:
    """A new key at this path; its public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text().strip()


class New:
    """A machine that was launched with a host key for the first connection, and the folder of the command that makes it."""

    def __init__(self, lab: Checkout, folder: Path) -> None:
        self.lab, self.ec2, self.folder = lab, lab.ec2(), folder
        self.known_hosts, self.first = folder / "known_hosts", folder / "first_host_key"
        self.once = keygen(self.first)
        self.private = self.first.read_text()
        keygen(folder / "ssh_key")
        self.ec2.import_key_pair(KeyName="first-key", PublicKeyMaterial=(folder / "ssh_key.pub").read_bytes())
        self.group = ssh_group(self.ec2, "first-key")
        images = self.ec2.describe_images(Filters=[{"Name": "name", "Values": ["slipway-lab/*"]}])["Images"]
        asked = {"ImageId": images[0]["ImageId"], "InstanceType": "t2.micro", "KeyName": "first-key", "SecurityGroupIds": [self.group]}
        made = self.ec2.run_instances(MinCount=1, MaxCount=1, UserData=first.user_data(self.private, self.once), **asked)
        self.id = made["Instances"][0]["InstanceId"]
        self.ec2.get_waiter("instance_running").wait(InstanceIds=[self.id], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        self.address = self.ec2.describe_instances(InstanceIds=[self.id])["Reservations"][0]["Instances"][0]["PublicIpAddress"]
        (folder / "ssh_config").write_text(
            f"Host new\n    HostName {self.address}\nHost *\n    User ubuntu\n    IdentityFile {folder}/ssh_key\n    IdentitiesOnly yes\n"
            f"    UserKnownHostsFile {self.known_hosts}\n    HostKeyAlias {self.id}\n    StrictHostKeyChecking yes\n    ConnectTimeout 5\n"
        )

    def have_first(self, private: str, public: str) -> None:
        """The first key is in the folder, as before its end."""
        self.first.write_text(private)
        self.first.chmod(0o600)
        self.first.with_suffix(".pub").write_text(public + "\n")

    def exchange(self, fingerprint: str = "") -> dict[str, Any]:
        """Run the role's module in a shell with an odd TMPDIR, and return its answer."""
        script = self.lab.path / "roles" / "ec2_instance" / "files" / "own_host_keys.sh"
        given = {"instance_id": self.id, "name": "new", "state_dir": str(self.folder), "script": str(script), "timeout": 60}
        given |= {"fingerprint": fingerprint or first.fingerprint(self.once)}
        utils = str(self.lab.path / "roles" / "ec2_instance" / "module_utils")
        where = ["--inventory", "localhost,", "--connection", "local", "--extra-vars", f"ansible_python_interpreter={sys.executable}"]
        words = ["ansible", "localhost", *where, "--module-name", "ec2_first_key", "--args", json.dumps(given)]
        odd = self.folder / "é %h"
        odd.mkdir(exist_ok=True)
        said = self.lab.run(*words, TMPDIR=str(odd), ANSIBLE_MODULE_UTILS=utils, ANSIBLE_LOAD_CALLBACK_PLUGINS="false").stdout
        return dict(json.loads(said[said.index(" => {") + 4 : said.rindex("}") + 1])) | {"failed": "| FAILED!" in said}

    def begin(self) -> list[str]:
        """What a command has learned that was killed before it could say that it had written it down."""
        trusted = self.folder / "trusted"
        trusted.write_text(f"{self.id} {self.once}\n")
        script = (self.lab.path / "roles" / "ec2_instance" / "files" / "own_host_keys.sh").read_text()
        remote = shlex.join(["sudo", "sh", "-c", script, "sh", self.once])
        command = ["ssh", "-F", str(self.folder / "ssh_config"), f"-oUserKnownHostsFile={trusted}", "new", remote]
        deadline = time.monotonic() + 60
        while (done := subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)).returncode == 255:
            assert time.monotonic() < deadline, done.stderr
            time.sleep(0.3)
        assert "served" not in done.stdout
        return sorted(done.stdout.splitlines()[1:-1])

    def on_host(self, command: str) -> str:
        done = subprocess.run(["ssh", "-F", str(self.folder / "ssh_config"), "new", command], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def served(self) -> list[str]:
        """The keys that the host shows to all."""
        for _ in range(20):
            shown = subprocess.run(["ssh-keyscan", "-T", "5", self.address], capture_output=True, text=True, timeout=60).stdout
            if found := sorted(" ".join(line.split()[1:3]) for line in shown.splitlines() if line[:1] != "#"):
                return found
            time.sleep(0.3)
        return []

    def known(self) -> list[str]:
        return list(first.known(self.known_hosts.read_text().splitlines() if self.known_hosts.exists() else [], self.id))

    def console(self) -> str:
        return str(self.ec2.get_console_output(InstanceId=self.id)["Output"])


@pytest.fixture(scope="module")
def new(lab: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[New]:
    machine = New(lab, tmp_path_factory.mktemp("new"))
    yield machine
    machine.ec2.terminate_instances(InstanceIds=[machine.id])
    machine.ec2.get_waiter("instance_terminated").wait(InstanceIds=[machine.id], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    machine.ec2.delete_key_pair(KeyName="first-key")
    machine.ec2.delete_security_group(GroupId=machine.group)


# In this order: one machine's life.
def test_a_stranger_at_the_address_is_refused_and_is_sent_nothing(new: New, tmp_path: Path) -> None:
    other = keygen(tmp_path / "other")
    new.have_first((tmp_path / "other").read_text(), other)
    assert new.served() == [new.once]
    refused = new.exchange(first.fingerprint(other))
    assert (refused["failed"], refused.get("exit_code")) == (True, 5), refused
    assert "Nothing was sent" in refused["msg"]
    # So that the true command can go on.
    assert new.first.exists()
    assert new.known() == []
    new.have_first(new.private, new.once)


def test_killed_before_the_keys_are_written_down_the_host_serves_the_first(new: New) -> None:
    keys = new.begin()
    assert len(keys) == 3
    assert new.served() == [new.once]
    # Nothing of the stranger's command came through.
    new.known_hosts.write_text(f"{new.id} {new.once}\n")
    said = new.on_host("sudo journalctl --unit ssh --no-pager")
    new.known_hosts.unlink()
    assert said.count("Accepted") == 2, said
    assert new.begin() == keys


def test_killed_after_the_keys_were_written_down_the_same_command_finishes(new: New) -> None:
    keys = new.begin()
    new.known_hosts.write_text("".join(f"{new.id} {key}\n" for key in keys))
    assert new.served() == [new.once]
    done = new.exchange()
    assert (done["changed"], done.get("keys")) == (True, keys), done
    assert new.served() == new.known() == keys
    assert not new.first.exists()
    assert not new.first.with_suffix(".pub").exists()


def test_killed_before_it_forgets_the_first_key_the_same_command_finishes(new: New) -> None:
    keys = new.known()
    new.have_first(new.private, new.once)
    done = new.exchange()
    assert (done["changed"], done.get("keys")) == (True, keys), done
    assert new.known() == new.served() == keys
    assert not new.first.exists()


def test_a_host_that_lost_its_power_half_way_goes_on(new: New) -> None:
    keys = new.known()
    new.on_host("sudo mkdir -m 0700 /etc/ssh/slipway-own && sudo cp -p /etc/ssh/ssh_host_*_key* /etc/ssh/slipway-own/")
    new.have_first(new.private, new.once)
    assert new.exchange()["keys"] == keys
    assert new.known() == new.served() == keys
    assert new.on_host("ls /etc/ssh | grep -c slipway; true").strip() == "0"


def test_the_console_shows_the_hosts_own_keys_and_no_others(new: New) -> None:
    for key in new.known():
        assert key in new.console()
    assert new.once.split()[1] not in new.console()


def test_the_first_key_is_nowhere_on_the_host_after_a_reboot_either(new: New) -> None:
    lines = "\n".join(line for line in new.private.splitlines()[2:-1] if len(line) > 16)
    look = "sudo grep -raFls --devices=skip --file=/dev/stdin /etc /home /root /run /tmp /var"
    find = f"printf '%s\\n' {shlex.quote(lines)} | {look} | grep -v /journal/; true"
    assert new.on_host("cloud-init status --wait >/dev/null; " + find) == ""
    boot = new.on_host("stat -c %Y /proc/1")
    new.ec2.reboot_instances(InstanceIds=[new.id])
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        time.sleep(0.5)
        try:
            if new.on_host("stat -c %Y /proc/1; cloud-init status --wait >/dev/null").splitlines()[0] != boot.strip():
                break
        except AssertionError:
            continue
    # cloud-init has fetched it again.
    assert "x" * 70 in new.on_host("sudo cat /var/lib/cloud/instance/user-data.txt")
    assert new.on_host(find) == ""
    assert new.served() == new.known()


def test_another_instances_first_key_is_removed_and_nothing_else_done(new: New, tmp_path: Path) -> None:
    before = new.known()
    new.have_first("PRIVATE\n", keygen(tmp_path / "other"))
    assert new.exchange()["changed"] is False
    assert not new.first.exists()
    assert new.known() == before


def test_a_host_that_shows_the_first_key_later_is_refused(new: New) -> None:
    put = f"printf '%s\\n' {shlex.quote(new.private.strip())} | sudo tee /etc/ssh/ssh_host_ed25519_key >/dev/null"
    others = "/etc/ssh/ssh_host_rsa_key* /etc/ssh/ssh_host_ecdsa_key* /etc/ssh/ssh_host_ed25519_key.pub"
    new.on_host(f"{put}; sudo rm {others}; sudo systemctl restart ssh")
    assert new.served() == [new.once]
    refused = subprocess.run(["ssh", "-F", str(new.folder / "ssh_config"), "new", "true"], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 255
    assert "Host key verification failed" in refused.stderr
