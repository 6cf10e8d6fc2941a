"""An image is made on a machine of its own, holds nothing of any machine, and is taken only as long as it holds this version's contents."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import docker
import pytest

from lab import disks
from tests.conftest import Checkout, own_lab
from tests.e2e.support import canary, interruptions

pytestmark = [
    pytest.mark.xdist_group("bake"),
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="the lab has no real disks without root: then `bake` is refused (tests/unit)"),
]

#: What says whose machine it was. Its private keys are looked for by the canary.
IDENTITY = "cat /etc/machine-id /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub /home/ubuntu/.ssh/authorized_keys /etc/docker/key.json"
#: Looked for on the image's disk, which is mounted at /mnt: a line for each file that has a needle, or that no image may have.
LOOK = r"""
set -u
needles=$(cat)
grep --recursive --devices=skip --text --fixed-strings --files-with-matches --no-messages --file=<(printf '%s\n' "$needles") /mnt
[ ! -s /mnt/etc/machine-id ] || echo machine-id
for kind in 'etc/ssh/ssh_host_*' 'home/*/.ssh/*' 'root/.ssh/*' 'var/log/journal/*' 'var/lib/cloud/[!s]*' 'var/lib/cloud/seed/*' \
    'var/lib/dhcp/*' 'tmp/*' \
    'var/lib/docker/containers/*' 'var/lib/docker/volumes/*' var/lib/docker/engine-id etc/docker/key.json etc/slipway \
    'home/*/.bash_history' 'root/.bash_history' 'home/*/.ansible' 'root/.ansible' home/ubuntu/slipway; do
    ls -d /mnt/$kind 2> /dev/null
done
find /mnt/var/log -type f
echo end
"""


@dataclass
class Baked:
    """A lab with one image, what the machine had that it was made on, and what the command said."""

    lab: Checkout
    image: str
    before: str
    said: dict[str, Any]


def in_host(lab: Checkout, instance: str, command: str) -> str:
    """What a command prints there, run as root by the engine: a machine that is being cleaned answers no SSH."""
    done = docker.from_env().containers.get(f"{lab.lab.id}-{instance}").exec_run(["sh", "-c", command])
    return str(done.output.decode())


def telling(text: str) -> list[str]:
    """What in keys and ids is of one machine alone: the first line of a private key's text is the same for all."""
    found = re.findall(r"[A-Za-z0-9+/=_-]{32,}|(?:[A-Z0-9]{4}:){11}[A-Z0-9]{4}|i-[0-9a-f]{17}", text)
    return sorted({word for word in found if not word.startswith("b3BlbnNzaC1rZXkt")})


def instances(lab: Checkout) -> dict[str, str]:
    """Those that are not terminated, by their machine's name."""
    found = (item for each in lab.ec2().describe_instances()["Reservations"] for item in each["Instances"])
    living = (item for item in found if item["State"]["Name"] != "terminated")
    return {next(tag["Value"] for tag in item["Tags"] if tag["Key"] == "slipway"): item["InstanceId"] for item in living}


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Baked]:
    """An image, by a command that was killed while its machine was being cleaned, and by the same one again."""
    with own_lab(tmp_path_factory.mktemp("bake"), plain=True) as lab:
        assert lab.orchestrate("lab", "up").returncode == 0
        assert not disks.lacking()
        command = interruptions.begin(lab, ["bake", "--disk", "10"], interruptions.task("Send what cleans it"))
        machine = instances(lab)["slipway-bake"]
        folder = lab.path / ".slipway" / "lab" / "machines" / "slipway-bake"
        own = [path.read_text() for path in [*sorted(folder.glob("*key*")), folder / "known_hosts"]]
        before = "\n".join([in_host(lab, machine, IDENTITY), *own])
        # It goes on until the machine is marked.
        interruptions.Command(lab, command, frozenset(), 0).until(interruptions.task("Make the image"))
        interruptions.kill(lab, command, "slipway-bake")
        assert command.returncode == -signal.SIGKILL
        said = lab.answer("bake", "--disk", "10")
        yield Baked(lab, said["image"]["id"], before, said)


def test_a_bake_that_was_killed_is_finished_and_leaves_no_machine(baked: Baked) -> None:
    assert baked.said["step"] in ("halt", "image")
    assert baked.said["image"]["state"] == "current"
    assert baked.said["image"]["usd_per_month"] == pytest.approx(0.5)
    ec2 = baked.lab.ec2()
    assert "slipway-bake" not in instances(baked.lab)
    assert not ec2.describe_key_pairs(Filters=[{"Name": "key-name", "Values": ["slipway-slipway-bake"]}])["KeyPairs"]
    assert not ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["slipway-slipway-bake"]}])["SecurityGroups"]
    assert not (baked.lab.path / ".slipway" / "lab" / "machines" / "slipway-bake").exists()
    again = baked.lab.answer("bake")
    assert (again["step"], again["image"]["id"], again["changed"]) == ("done", baked.image, 0)


def test_machines_from_it_have_identities_of_their_own_and_find_all_there(baked: Baked) -> None:
    up = baked.lab.orchestrate("up", "--services", "redis,jupyter")
    assert up.returncode == 0, up.stderr
    assert f"Machine image: {baked.image}" in up.stderr
    for step in ("Install the engine", "Get it from the controller", "Build the image", "Install Compose"):
        assert step not in up.stderr
    one = instances(baked.lab)["slipway"]
    two = baked.lab.ec2().run_instances(ImageId=baked.image, InstanceType="t3.micro", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    # The second makes its own at its first boot.
    ids = (
        "until cut -d ' ' -f 2 /etc/ssh/ssh_host_ed25519_key.pub; do sleep 0.2; done 2> /dev/null; cat /etc/machine-id; "
        "until docker info --format '{{.ID}}' | grep .; do sleep 0.2; done 2> /dev/null"
    )
    mine, other = in_host(baked.lab, one, ids).split(), in_host(baked.lab, two, ids).split()
    baked.lab.ec2().terminate_instances(InstanceIds=[two])
    assert len(mine) == len(other) == 3
    assert not set(mine) & set(other)
    assert not set(mine + other) & set(telling(baked.before))


def test_the_canary_finds_nothing_in_the_image(baked: Baked) -> None:
    ec2, instance = baked.lab.ec2(), instances(baked.lab)["slipway"]
    snapshot = ec2.describe_images(ImageIds=[baked.image])["Images"][0]["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    zone = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]["Placement"]["AvailabilityZone"]
    volume = ec2.create_volume(SnapshotId=snapshot, AvailabilityZone=zone)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})
    ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/sdf")
    baked.lab.on_host("sudo mount -o ro,nouuid,norecovery /dev/nvme1n1 /mnt || sudo mount -o ro,nouuid,norecovery /dev/xvdf /mnt")
    words = telling(baked.before) + canary.needles(canary.secrets(baked.lab.path / ".slipway" / "lab" / "machines" / "slipway"))
    quoted = LOOK.replace("'", "'\\''")
    said = baked.lab.on_host(f"sudo bash -c '{quoted}'", stdin="\n".join(words)).splitlines()
    assert said == ["end"]
    # The look finds what is there.
    found = baked.lab.on_host("sudo grep --count --text --fixed-strings ubuntu: /mnt/etc/passwd")
    assert int(found) == 1
    baked.lab.on_host("sudo umount /mnt")
    ec2.detach_volume(VolumeId=volume)


def taken(lab: Checkout, *words: str) -> str:
    """Which image a new machine would be made from."""
    done = lab.orchestrate("up", "--name", "other", "--dry-run", *words)
    assert done.returncode == 0, done.stderr
    return next(line.partition("Machine image: ")[2].split()[0] for line in done.stderr.splitlines() if "Machine image: " in line)


def test_an_image_that_is_stale_or_half_done_is_not_taken(baked: Baked) -> None:
    ec2 = baked.lab.ec2()
    assert taken(baked.lab) == baked.image
    contents = {"Key": "slipway-contents", "Value": str(baked.said["image"]["contents"])}
    ec2.create_tags(Resources=[baked.image], Tags=[contents | {"Value": "0123456789abcdef"}])
    assert taken(baked.lab) != baked.image
    assert [image["state"] for image in baked.lab.answer("bake", "--list")["images"]] == ["other version"]
    # One that is named is taken.
    assert taken(baked.lab, "--machine-image", baked.image) == baked.image
    ec2.create_tags(Resources=[baked.image], Tags=[contents])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["up", "--name", "other", "--machine-image", "ami-0a1b2c3d"], "ami-0a1b2c3d"),
        (["up", "--name", "other", "--disk", "9", "--machine-image", "OURS"], "at least 10 GiB"),
        (["bake", "--remove", "ami-0a1b2c3d"], "no image that `bake` has made"),
    ],
)
def test_wrong_words_of_bake_are_bad_input(baked: Baked, words: list[str], said: str) -> None:
    done = baked.lab.orchestrate(*[baked.image if word == "OURS" else word for word in words])
    assert done.returncode == 2, done.stderr
    assert said in done.stderr


def test_an_image_is_removed_with_its_snapshot_and_the_machine_stays(baked: Baked) -> None:
    ec2 = baked.lab.ec2()
    [snapshot] = [each["Ebs"]["SnapshotId"] for each in ec2.describe_images(ImageIds=[baked.image])["Images"][0]["BlockDeviceMappings"]]
    assert baked.lab.answer("bake", "--remove", baked.image)["changed"] == 1
    assert baked.lab.answer("bake", "--list")["images"] == []
    assert snapshot not in [each["SnapshotId"] for each in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]]
    assert baked.lab.answer("status")["instance"]["state"] == "running"
    assert taken(baked.lab) != baked.image
