"""A stranger's proof: the AWS CLI leads an instance through its whole life, with the settings that `lab status` prints."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Checkout

IMAGES = "Name=name,Values=slipway-lab/images/hvm-ssd-gp3/debian-12-amd64-server-*"
MEMORY = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null | head -n 1"


class Cli:
    """`aws ec2 …` as a user types it, with no settings but the lab's."""

    def __init__(self, lab: Checkout, folder: Path) -> None:
        self.lab = lab
        printed = lab.orchestrate("lab", "status").stdout
        self.settings = dict(re.findall(r"(AWS_\w+)=(\S+)", printed))
        self.settings |= {"AWS_CONFIG_FILE": str(folder / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"), "AWS_PAGER": ""}

    def __call__(self, *words: str) -> Any:
        """The JSON, or the text that is none, of a call that succeeds."""
        done = self.lab.run("aws", "ec2", *words, **self.settings)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return json.loads(done.stdout) if done.stdout.startswith(("{", "[", '"')) else done.stdout

    def refusal(self, *words: str) -> str:
        """The error code of a call that is refused."""
        done = self.lab.run("aws", "ec2", *words, **self.settings)
        assert done.returncode != 0, done.stdout
        found = re.search(r"An error occurred \((\S+)\) when calling", done.stderr)
        assert found, done.stderr
        return found[1]

    def facts(self, instance: str) -> dict[str, Any]:
        return dict(self("describe-instances", "--instance-ids", instance)["Reservations"][0]["Instances"][0])


@pytest.fixture
def aws(lab: Checkout, tmp_path: Path) -> Cli:
    if shutil.which("aws", path=str(lab.path / ".venv" / "bin")) is None and shutil.which("aws") is None:
        pytest.skip("the AWS CLI is not installed: there is no command `aws`")
    return Cli(lab, tmp_path)


@pytest.fixture
def key(aws: Cli, tmp_path: Path) -> Iterator[Path]:
    """A key pair `stranger`, whose private half stays here."""
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    aws("import-key-pair", "--key-name", "stranger", "--public-key-material", f"fileb://{path}.pub")
    yield path
    aws("delete-key-pair", "--key-name", "stranger")
    assert aws.refusal("describe-key-pairs", "--key-names", "stranger") == "InvalidKeyPair.NotFound"


@pytest.fixture
def group(aws: Cli) -> Iterator[str]:
    """A security group that lets nobody in yet."""
    made = str(aws("create-security-group", "--group-name", "stranger", "--description", "tests")["GroupId"])
    yield made
    aws("delete-security-group", "--group-id", made)
    assert aws.refusal("describe-security-groups", "--group-ids", made) == "InvalidGroup.NotFound"


@pytest.fixture
def instance(aws: Cli, key: Path, group: str) -> Iterator[str]:
    image = aws("describe-images", "--filters", IMAGES, "--query", "sort_by(Images, &CreationDate)[-1].ImageId")
    words = ["--image-id", image, "--instance-type", "t2.micro", "--key-name", "stranger", "--security-group-ids", group]
    tags = "ResourceType=instance,Tags=[{Key=Name,Value=stranger}]"
    made = str(aws("run-instances", *words, "--tag-specifications", tags)["Instances"][0]["InstanceId"])
    yield made
    aws("terminate-instances", "--instance-ids", made)
    aws("wait", "instance-terminated", "--instance-ids", made)
    assert aws.facts(made)["State"]["Name"] == "terminated"


def opens(address: str, seconds: float) -> bool:
    """Whether port 22 opens within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection((address, 22), timeout=2).close()
        except OSError:
            time.sleep(0.2)
        else:
            return True
    return False


def login(aws: Cli, instance: str, key: Path, command: str) -> str:
    """What a command prints on the host, whose keys are known from its console alone."""
    address = aws.facts(instance)["PublicIpAddress"]
    shown: list[tuple[str, str]] = []
    # A host that still boots has not shown them yet.
    for _ in range(60):
        console = aws("get-console-output", "--instance-id", instance, "--output", "text", "--query", "Output")
        if shown := re.findall(r"^(ssh-\w+|ecdsa-\S+) (\S+)", console, re.M):
            break
        time.sleep(1)
    known = key.with_name("known_hosts")
    known.write_text("".join(f"{address} {kind} {body}\n" for kind, body in shown))
    options = ["-i", str(key), "-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=5"]
    # At the first connections the host may still be booting.
    for _ in range(20):
        done = subprocess.run(["ssh", *options, f"ubuntu@{address}", command], capture_output=True, text=True, timeout=60)
        if done.returncode != 255 or "Host key" in done.stderr:
            break
        time.sleep(1)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_aws_cli_leads_an_instance_through_its_whole_life(aws: Cli, key: Path, group: str, instance: str) -> None:
    aws("wait", "instance-running", "--instance-ids", instance)
    first = aws.facts(instance)
    named = aws("describe-instances", "--filters", "Name=tag:Name,Values=stranger", "Name=instance-state-name,Values=running")
    assert [item["InstanceId"] for item in named["Reservations"][0]["Instances"]] == [instance]

    # The door follows the group.
    ssh = ["--group-id", group, "--protocol", "tcp", "--port", "22", "--cidr", "198.18.0.0/15"]
    assert not opens(first["PublicIpAddress"], 3)
    aws("authorize-security-group-ingress", *ssh)
    assert aws.refusal("authorize-security-group-ingress", *ssh) == "InvalidPermission.Duplicate"
    assert login(aws, instance, key, "id -un") == "ubuntu"
    aws("revoke-security-group-ingress", *ssh)
    assert not opens(first["PublicIpAddress"], 3)
    aws("authorize-security-group-ingress", *ssh)
    assert login(aws, instance, key, "echo kept | sudo tee /var/lib/kept && sync") == "kept"

    # The type changes only while it is stopped.
    small = ["modify-instance-attribute", "--instance-id", instance, "--instance-type", "Value=t2.small"]
    assert aws.refusal(*small) == "IncorrectInstanceState"
    assert aws.refusal("delete-security-group", "--group-id", group) == "DependencyViolation"
    aws("stop-instances", "--instance-ids", instance)
    aws("wait", "instance-stopped", "--instance-ids", instance)
    assert "PublicIpAddress" not in aws.facts(instance)
    aws(*small)
    started = aws("start-instances", "--instance-ids", instance)["StartingInstances"][0]
    assert started["PreviousState"]["Name"] == "stopped"
    aws("wait", "instance-running", "--instance-ids", instance)

    second = aws.facts(instance)
    assert second["InstanceType"] == "t2.small"
    assert second["PublicIpAddress"] != first["PublicIpAddress"]
    assert second["PrivateIpAddress"] == first["PrivateIpAddress"]
    assert login(aws, instance, key, "cat /var/lib/kept") == "kept"
    assert int(login(aws, instance, key, MEMORY)) == 2 * 1024**3


def settled(aws: Cli, wanted: str, *words: str) -> None:
    """Ask until a thing is in this state. The CLI's own waiters look every 15 seconds."""
    for _ in range(60):
        if (now := aws(*words, "--output", "text").strip()) == wanted:
            return
        time.sleep(0.3)
    raise AssertionError(f"{now}, and not {wanted}")


def test_a_file_goes_by_snapshot_and_image_to_a_machine_with_a_larger_disk(aws: Cli, key: Path, group: str, instance: str) -> None:
    aws("wait", "instance-running", "--instance-ids", instance)
    aws("authorize-security-group-ingress", "--group-id", group, "--protocol", "tcp", "--port", "22", "--cidr", "198.18.0.0/15")
    login(aws, instance, key, "echo written before > note && sync")
    root = aws.facts(instance)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    snapshot = str(aws("create-snapshot", "--volume-id", root, "--description", "of the stranger")["SnapshotId"])
    settled(aws, "completed", "describe-snapshots", "--snapshot-ids", snapshot, "--query", "Snapshots[0].State")
    image = str(aws("create-image", "--instance-id", instance, "--name", "stranger", "--no-reboot")["ImageId"])
    settled(aws, "available", "describe-images", "--image-ids", image, "--query", "Images[0].State")

    disk = "DeviceName=/dev/sda1,Ebs={VolumeSize=25}"
    words = ["--image-id", image, "--instance-type", "t2.micro", "--key-name", "stranger", "--security-group-ids", group]
    made = str(aws("run-instances", *words, "--block-device-mappings", disk)["Instances"][0]["InstanceId"])
    try:
        aws("wait", "instance-running", "--instance-ids", made)
        assert login(aws, made, key, "cat note") == "written before"
        assert login(aws, made, key, "df --output=size --block-size=1G / | tail -n 1") == "25"
        # By the snapshot itself, as a second disk.
        zone = aws.facts(made)["Placement"]["AvailabilityZone"]
        volume = str(aws("create-volume", "--snapshot-id", snapshot, "--availability-zone", zone)["VolumeId"])
        settled(aws, "available", "describe-volumes", "--volume-ids", volume, "--query", "Volumes[0].State")
        aws("attach-volume", "--volume-id", volume, "--instance-id", made, "--device", "/dev/sdf")
        read = "sudo mount -o nouuid /dev/xvdf /mnt && cat /mnt/home/ubuntu/note && sudo umount /mnt"
        assert login(aws, made, key, read) == "written before"
        assert aws.refusal("delete-volume", "--volume-id", volume) == "VolumeInUse"
    finally:
        aws("terminate-instances", "--instance-ids", made)
        aws("wait", "instance-terminated", "--instance-ids", made)
    aws("delete-volume", "--volume-id", volume)
    aws("deregister-image", "--image-id", image)
    mine = aws("describe-snapshots", "--owner-ids", "self", "--filters", f"Name=volume-id,Values={root}")["Snapshots"]
    for each in mine:
        aws("delete-snapshot", "--snapshot-id", each["SnapshotId"])
    assert {snapshot} < {each["SnapshotId"] for each in mine}
