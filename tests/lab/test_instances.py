"""The lab's EC2: instances are real hosts, and what EC2 promises of them holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from botocore.exceptions import ClientError

from lab import config
from tests.conftest import Checkout, ssh_group


class Host:
    """An instance with a key pair of the test's own."""

    def __init__(self, lab: Checkout, folder: Path) -> None:
        self.lab = lab
        self.key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        self.ec2.import_key_pair(KeyName="lab-test", PublicKeyMaterial=self.key.with_suffix(".pub").read_bytes())
        images = self.ec2.describe_images(Filters=[{"Name": "name", "Values": ["slipway-lab/*"]}])["Images"]
        self.image = max(images, key=lambda image: image["CreationDate"])["ImageId"]
        self.group = ssh_group(self.ec2, "lab-test")
        self.id = self.launch()["InstanceId"]

    @property
    def ec2(self) -> Any:
        """A client of the API, where it is now: one that is started again may have to take another port."""
        return self.lab.ec2()

    def launch(self, **changes: Any) -> dict[str, Any]:
        wanted = {"ImageId": self.image, "InstanceType": "t2.micro", "KeyName": "lab-test", "SecurityGroupIds": [self.group]}
        return dict(self.ec2.run_instances(MinCount=1, MaxCount=1, **wanted | changes)["Instances"][0])

    def facts(self) -> dict[str, Any]:
        return dict(self.ec2.describe_instances(InstanceIds=[self.id])["Reservations"][0]["Instances"][0])

    def until(self, state: str) -> None:
        waiter = self.ec2.get_waiter(f"instance_{state}")
        waiter.wait(InstanceIds=[self.id], WaiterConfig={"Delay": 1, "MaxAttempts": 120})

    def ssh(self, command: str, seconds: float = 30) -> str:
        """Run a command on the host, waiting for SSH. The host's key is the test's to ignore: the address changes."""
        options = ["-i", str(self.key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=5"]
        deadline = time.monotonic() + seconds
        while True:
            address = f"ubuntu@{self.facts()['PublicIpAddress']}"
            done = subprocess.run(["ssh", *options, address, command], capture_output=True, text=True, timeout=60)
            if done.returncode != 255 or time.monotonic() > deadline:
                assert done.returncode == 0, done.stderr
                return done.stdout
            time.sleep(0.3)


@pytest.fixture(scope="module")
def host(lab: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(lab, tmp_path_factory.mktemp("host"))
    yield host
    if host.facts()["State"]["Name"] != "terminated":
        host.ec2.terminate_instances(InstanceIds=[host.id])
        host.until("terminated")
    host.ec2.delete_key_pair(KeyName="lab-test")
    host.ec2.delete_security_group(GroupId=host.group)


def identity(lab: Checkout) -> dict[str, Any]:
    """What the API says of itself."""
    with urllib.request.urlopen(lab.lab.endpoint + config.IDENTITY, timeout=10) as answer:
        return dict(json.load(answer))


MEMORY = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null | head -n 1"


def test_a_host_runs_systemd_and_lets_the_key_in(host: Host) -> None:
    host.until("running")
    # systemd 252 tells the end of a start that is under way to root alone.
    assert host.ssh("cat /proc/1/comm; sudo systemctl is-system-running --wait; sudo id -u").split() == ["systemd", "running", "0"]


def test_a_host_has_the_memory_of_its_type(host: Host) -> None:
    assert int(host.ssh(MEMORY)) == 1024**3


def test_stop_and_start_keep_the_disk_and_change_the_public_address(host: Host) -> None:
    host.ssh("echo kept | sudo tee /var/lib/kept /home/ubuntu/kept && sync")
    before = host.facts()
    host.ec2.stop_instances(InstanceIds=[host.id])
    host.until("stopped")
    assert "PublicIpAddress" not in host.facts()
    host.ec2.modify_instance_attribute(InstanceId=host.id, InstanceType={"Value": "t2.small"})
    host.ec2.start_instances(InstanceIds=[host.id])
    host.until("running")
    after = host.facts()
    assert host.ssh("cat /var/lib/kept /home/ubuntu/kept").split() == ["kept", "kept"]
    assert int(host.ssh(MEMORY)) == 2 * 1024**3
    assert after["PublicIpAddress"] != before["PublicIpAddress"]
    assert after["PrivateIpAddress"] == before["PrivateIpAddress"]


def test_a_reboot_keeps_the_address(host: Host) -> None:
    before, boot = host.facts()["PublicIpAddress"], host.ssh("stat -c %Y /proc/1")
    host.ec2.reboot_instances(InstanceIds=[host.id])
    deadline = time.monotonic() + 60
    while host.ssh("stat -c %Y /proc/1", seconds=60) == boot:
        assert time.monotonic() < deadline, "the host did not reboot"
        time.sleep(0.5)
    assert host.facts()["PublicIpAddress"] == before


def test_the_state_outlives_the_api(lab: Checkout, host: Host) -> None:
    before = host.facts()
    os.kill(identity(lab)["pid"], signal.SIGKILL)
    started = lab.orchestrate("lab", "up")
    assert started.returncode == 0, started.stderr
    after = host.facts()
    assert {key: after[key] for key in ("InstanceId", "State", "PublicIpAddress", "PrivateIpAddress")} == {
        key: before[key] for key in ("InstanceId", "State", "PublicIpAddress", "PrivateIpAddress")
    }
    assert host.ssh("echo still here").strip() == "still here"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"InstanceType": "t2.mega"}, "InvalidParameterValue"),
        ({"KeyName": "no-such-key"}, "InvalidKeyPair.NotFound"),
        ({"ImageId": "ami-00000000000000000"}, "InvalidAMIID.NotFound"),
    ],
)
def test_what_does_not_exist_is_refused(lab: Checkout, host: Host, change: dict[str, str], code: str) -> None:
    mine = {"label": f"slipway.lab={lab.lab.id}"}
    hosts = docker.from_env().containers.list(all=True, filters=mine, ignore_removed=True)
    with pytest.raises(ClientError) as refusal:
        host.launch(**change)
    assert refusal.value.response["Error"]["Code"] == code
    assert docker.from_env().containers.list(all=True, filters=mine, ignore_removed=True) == hosts


def test_up_mends_what_an_engine_that_went_down_left(lab: Checkout, host: Host) -> None:
    engine = docker.from_env()
    before = identity(lab)
    assert host.id in before["running"]
    for name in (f"{lab.lab.id}-registry", f"{lab.lab.id}-{host.id}"):
        engine.containers.get(name).stop()
    started = lab.orchestrate("lab", "up")
    assert started.returncode == 0, started.stderr
    assert engine.containers.get(f"{lab.lab.id}-registry").status == "running"
    # The API is the same: it may have been answering commands on other machines.
    assert identity(lab)["pid"] == before["pid"]
    facts = host.facts()
    assert facts["State"]["Name"] == "stopped"
    assert "PublicIpAddress" not in facts
    host.ec2.start_instances(InstanceIds=[host.id])
    host.until("running")
    assert host.ssh("cat /var/lib/kept").strip() == "kept"


def test_terminate_removes_the_host_and_its_disk(lab: Checkout, host: Host) -> None:
    host.ec2.terminate_instances(InstanceIds=[host.id])
    host.until("terminated")
    mine = {"label": f"slipway.lab.instance={host.id}"}
    assert docker.from_env().containers.list(all=True, filters=mine, ignore_removed=True) == []
    assert docker.from_env().volumes.list(filters=mine) == []


def test_lab_up_again_changes_nothing(lab: Checkout) -> None:
    before = json.loads(lab.orchestrate("lab", "status", "--json").stdout)
    done = lab.orchestrate("lab", "up", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == before
    assert done.stderr == ""
