"""The lab's disks: real filesystems that fill and grow, and copies of them, with EC2's states and refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest
from botocore.exceptions import ClientError

from lab import disks, process
from lab.hosts import INSTANCE_LABEL
from tests.conftest import Checkout

GIB = 1024**3


class Machine:
    """An instance without a key: what it has is read as root, by the engine."""

    def __init__(self, lab: Checkout) -> None:
        self.lab = lab
        images = self.ec2.describe_images(Filters=[{"Name": "name", "Values": ["slipway-lab/*"]}])["Images"]
        self.image = max(images, key=lambda image: image["CreationDate"])["ImageId"]
        self.made: list[str] = []
        self.id = self.launch()

    @property
    def ec2(self) -> Any:
        """A client of the API, where it is now."""
        return self.lab.ec2()

    def launch(self, image: str = "", disk: int = 8, **more: Any) -> str:
        mapping = [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": disk}}]
        wanted = {"ImageId": image or self.image, "InstanceType": "t3.micro", "BlockDeviceMappings": mapping}
        instance = str(self.ec2.run_instances(MinCount=1, MaxCount=1, **wanted | more)["Instances"][0]["InstanceId"])
        self.made.append(instance)
        return instance

    def run(self, command: str, instance: str = "", *, code: int = 0) -> str:
        """What a command prints there."""
        [host] = docker.from_env().containers.list(filters={"label": f"{INSTANCE_LABEL}={instance or self.id}"})
        ended, output = host.exec_run(["sh", "-c", command])
        said = str(output.decode())
        assert ended == code, said
        return said.strip()

    def facts(self, instance: str = "") -> dict[str, Any]:
        return dict(self.ec2.describe_instances(InstanceIds=[instance or self.id])["Reservations"][0]["Instances"][0])

    def root(self, instance: str = "") -> str:
        """The id of its root volume."""
        return str(self.facts(instance)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"])

    def gib(self) -> int:
        """The size of its root filesystem, as `df` says."""
        return int(self.run("df --output=size --block-size=1M / | tail -n 1")) // 1000


@pytest.fixture(scope="module")
def machine(lab: Checkout) -> Iterator[Machine]:
    machine = Machine(lab)
    yield machine
    machine.ec2.terminate_instances(InstanceIds=machine.made)
    for volume in machine.ec2.describe_volumes()["Volumes"]:
        machine.ec2.delete_volume(VolumeId=volume["VolumeId"])
    for image in machine.ec2.describe_images(Owners=["self"])["Images"]:
        # One that the run's tests share stays.
        if not image["Name"].startswith("slipway-lab/") and "slipway-contents" not in {tag["Key"] for tag in image.get("Tags", [])}:
            machine.ec2.deregister_image(ImageId=image["ImageId"])
    for snapshot in machine.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
        if not snapshot.get("Description", "").startswith("Auto-created"):
            machine.ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])


def until(state: str, look: Callable[[], str]) -> None:
    deadline = time.monotonic() + 20
    while (now := look()) != state:
        assert time.monotonic() < deadline, f"{now}, and not {state}"
        time.sleep(0.1)


def refusal(call: Callable[..., Any], **words: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**words)
    return str(refused.value.response["Error"]["Code"])


def snapshot_of(machine: Machine, volume: str) -> str:
    made = machine.ec2.create_snapshot(VolumeId=volume)
    assert made["State"] == "pending"
    name = str(made["SnapshotId"])
    until("completed", lambda: str(machine.ec2.describe_snapshots(SnapshotIds=[name])["Snapshots"][0]["State"]))
    return name


def volume_from(machine: Machine, snapshot: str, size: int) -> str:
    made = machine.ec2.create_volume(SnapshotId=snapshot, Size=size, AvailabilityZone="us-east-1a")
    assert made["State"] == "creating"
    name = str(made["VolumeId"])
    until("available", lambda: str(machine.ec2.describe_volumes(VolumeIds=[name])["Volumes"][0]["State"]))
    return name


def test_all_of_a_host_lies_on_one_disk_of_the_volumes_size(machine: Machine) -> None:
    places = ("/", "/etc", "/usr", "/var/lib", "/home", "/opt")
    assert len({machine.run(f"stat --format %d {place}") for place in places}) == 1
    assert machine.gib() == 8


def test_a_disk_that_is_full_takes_nothing_more(machine: Machine) -> None:
    machine.run("fallocate --length 7000M /ballast")
    said = machine.run("dd if=/dev/zero of=/filled bs=1M conv=fsync", code=1)
    assert "No space left on device" in said
    assert int(machine.run("df --output=avail / | tail -n 1")) < 1024
    machine.run("rm /filled /ballast")


def test_a_disk_grows_while_it_is_used_and_again_only_after_six_hours(machine: Machine) -> None:
    root, modify = machine.root(), machine.ec2.modify_volume

    def state() -> str:
        return str(machine.ec2.describe_volumes_modifications(VolumeIds=[root])["VolumesModifications"][-1]["ModificationState"])

    assert refusal(modify, VolumeId=root, Size=7) == "InvalidParameterValue"
    assert refusal(modify, VolumeId=root, Size=20000) == "InvalidParameterValue"
    assert modify(VolumeId=root, Size=12)["VolumeModification"]["ModificationState"] == "modifying"
    assert refusal(modify, VolumeId=root, Size=13) == "IncorrectModificationState"
    until("optimizing", state)
    # The disk is larger, and the filesystem takes it when it is told to.
    assert machine.gib() == 8
    machine.run("xfs_growfs /")
    assert machine.gib() == 12
    until("completed", state)
    assert refusal(modify, VolumeId=root, Size=13) == "VolumeModificationRateExceeded"
    machine.lab.fault(volume=root, does="let hours pass", hours=6)
    assert modify(VolumeId=root, Size=13)["VolumeModification"]["OriginalSize"] == 12


def test_what_was_not_written_is_lost_with_the_power_and_what_was_is_kept(machine: Machine) -> None:
    machine.run("echo written > /kept; sync; echo late > /lost")
    machine.lab.fault(instance=machine.id, does="lose power")
    machine.ec2.start_instances(InstanceIds=[machine.id])
    assert machine.run("cat /kept; test ! -e /lost && echo gone").split() == ["written", "gone"]


def test_a_machine_from_an_image_has_what_was_installed_before(machine: Machine) -> None:
    # As a package's own scripts do: files of /usr and of dpkg, and one of a user.
    machine.run("cp /bin/true /usr/local/bin/installed; echo before > /home/ubuntu/note; chown ubuntu: /home/ubuntu/note")
    made = machine.ec2.create_image(InstanceId=machine.id, Name="mine", NoReboot=False)
    assert refusal(machine.ec2.create_image, InstanceId=machine.id, Name="mine") == "InvalidAMIName.Duplicate"
    image = str(made["ImageId"])
    until("available", lambda: str(machine.ec2.describe_images(ImageIds=[image])["Images"][0]["State"]))
    [disk] = machine.ec2.describe_images(ImageIds=[image])["Images"][0]["BlockDeviceMappings"]
    assert refusal(machine.ec2.delete_snapshot, SnapshotId=disk["Ebs"]["SnapshotId"]) == "InvalidSnapshot.InUse"
    mapping = [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 5}}]
    small = {"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, "BlockDeviceMappings": mapping}
    assert refusal(machine.ec2.run_instances, **small) == "InvalidBlockDeviceMapping"

    machine.run("echo after > /home/ubuntu/note")
    copy = machine.launch(image, 30)
    assert machine.run("installed && stat --format %U /home/ubuntu/note && cat /home/ubuntu/note", copy).split() == ["ubuntu", "before"]
    assert int(machine.run("df --output=size --block-size=1G / | tail -n 1", copy)) == 30
    # By another way: an image of a snapshot that is registered.
    registered = machine.ec2.register_image(
        Name="registered",
        RootDeviceName="/dev/sda1",
        Architecture="x86_64",
        VirtualizationType="hvm",
        BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": disk["Ebs"]["SnapshotId"]}}],
    )["ImageId"]
    until("available", lambda: str(machine.ec2.describe_images(ImageIds=[registered])["Images"][0]["State"]))
    assert machine.run("cat /home/ubuntu/note", machine.launch(registered, 13)) == "before"


def test_a_volume_of_a_snapshot_is_attached_read_and_let_go_of(machine: Machine) -> None:
    ec2 = machine.ec2
    machine.run("echo of the root > /note; sync")
    snapshot = snapshot_of(machine, machine.root())
    assert refusal(ec2.create_volume, SnapshotId=snapshot, Size=2, AvailabilityZone="us-east-1a") == "InvalidParameterValue"
    volume, elsewhere = volume_from(machine, snapshot, 14), ec2.create_volume(Size=1, AvailabilityZone="us-east-1b")["VolumeId"]
    where = {"InstanceId": machine.id, "Device": "/dev/sdf"}
    until("available", lambda: str(ec2.describe_volumes(VolumeIds=[elsewhere])["Volumes"][0]["State"]))
    assert refusal(ec2.attach_volume, VolumeId=elsewhere, **where) == "InvalidVolume.ZoneMismatch"
    assert refusal(ec2.detach_volume, VolumeId=machine.root()) == "OperationNotPermitted"
    assert refusal(ec2.detach_volume, VolumeId=volume) == "IncorrectState"

    ec2.attach_volume(VolumeId=volume, **where)
    assert refusal(ec2.attach_volume, VolumeId=volume, **where) == "VolumeInUse"
    assert refusal(ec2.delete_volume, VolumeId=volume) == "VolumeInUse"
    machine.run("mount -o nouuid /dev/nvme1n1 /mnt")
    assert machine.run("cat /mnt/note") == "of the root"
    assert machine.run("blockdev --getsize64 /dev/nvme1n1") == str(14 * GIB)
    # It is held as long as a filesystem on it is mounted, and comes again with the host's next start.
    ec2.detach_volume(VolumeId=volume)
    assert ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Attachments"][0]["State"] == "busy"
    machine.run("umount /mnt")
    until("available", lambda: str(ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"]))
    machine.run("ls /dev/nvme1n1", code=2)
    ec2.attach_volume(VolumeId=volume, **where)
    ec2.stop_instances(InstanceIds=[machine.id])
    ec2.start_instances(InstanceIds=[machine.id])
    machine.run("mount -o nouuid /dev/nvme1n1 /mnt && umount /mnt")
    ec2.detach_volume(VolumeId=volume)


def test_a_running_instance_gets_another_root_from_a_snapshot(machine: Machine) -> None:
    ec2 = machine.ec2
    machine.run("echo first > /note; sync")
    snapshot, old = snapshot_of(machine, machine.root()), machine.root()
    machine.run("echo second > /note; sync")
    before = machine.facts()
    task = ec2.create_replace_root_volume_task(InstanceId=machine.id, SnapshotId=snapshot)["ReplaceRootVolumeTask"]
    name = task["ReplaceRootVolumeTaskId"]

    def state() -> str:
        [found] = ec2.describe_replace_root_volume_tasks(ReplaceRootVolumeTaskIds=[name])["ReplaceRootVolumeTasks"]
        return str(found["TaskState"])

    until("succeeded", state)
    assert machine.run("cat /note") == "first"
    after = machine.facts()
    assert [after[key] for key in ("PublicIpAddress", "PrivateIpAddress")] == [
        before[key] for key in ("PublicIpAddress", "PrivateIpAddress")
    ]
    # The earlier root is kept, with what was on it.
    assert ec2.describe_volumes(VolumeIds=[old])["Volumes"][0]["State"] == "available"
    assert machine.root() != old


def test_disks_and_snapshots_outlive_the_api(machine: Machine) -> None:
    machine.run("echo kept > /note; sync")
    snapshot = snapshot_of(machine, machine.root())
    known = process.identity(machine.lab.lab)
    assert known
    os.kill(known["pid"], signal.SIGKILL)
    assert machine.lab.orchestrate("lab", "up").returncode == 0
    volume = machine.ec2.create_volume(SnapshotId=snapshot, AvailabilityZone="us-east-1a")["VolumeId"]
    assert machine.ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Size"] == 13


def test_a_first_disk_whose_filling_was_killed_is_let_go_of(machine: Machine) -> None:
    scratch = disks.STORE / "pool" / "bases" / "killed.part"
    scratch.write_bytes(b"")
    os.truncate(scratch, GIB)
    disks._make_xfs(scratch)
    disks._FILLING.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", scratch, disks._FILLING], check=True)
    disks._forget_half(scratch)
    assert (disks._mounted(disks._FILLING), disks._attached(scratch), scratch.exists()) == (None, None, False)
