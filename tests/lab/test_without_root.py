"""A lab of a user who is not root: it works as one with real disks does, but for what needs them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from lab.config import PROJECT
from tests.conftest import Checkout

pytestmark = pytest.mark.long
USER = 54321


def test_it_says_what_it_lacks_and_refuses_what_needs_it(lab: Checkout, tmp_path_factory: pytest.TempPathFactory) -> None:
    # The engine runs, and its images are there: of the lab that the fixture made.
    socket = Path("/var/run/docker.sock").stat()
    folder = Path("/var/tmp", f"slipway-{os.getpid()}")  # noqa: S108 (made here, for another user)
    folder.mkdir()
    try:
        subprocess.run(["git", "clone", "-q", PROJECT, folder / "mine"], check=True)
        (folder / "mine" / ".venv").symlink_to(PROJECT / ".venv")
        subprocess.run(["chown", "-R", f"{USER}:{USER}", folder], check=True)
        words = ["setpriv", f"--reuid={USER}", f"--regid={USER}", f"--groups={socket.st_gid}", "env", f"HOME={folder}"]
        lab_of = [*words, str(PROJECT / ".venv" / "bin" / "python"), "orchestrate.py", "lab"]

        def run(*more: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run([*lab_of, *more], cwd=folder / "mine", capture_output=True, text=True, timeout=300)

        started = run("up")
        assert started.returncode == 0, started.stderr
        assert "Disks     recorded only: this needs root" in started.stdout
        mine = Checkout(folder / "mine")
        ec2 = mine.ec2()
        image = ec2.describe_images(Filters=[{"Name": "name", "Values": ["slipway-lab/*"]}])["Images"][0]["ImageId"]
        [instance] = ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1)["Instances"]
        facts = ec2.describe_instances()["Reservations"][0]["Instances"][0]
        assert facts["State"]["Name"] == "running"
        volume = facts["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
        ec2.modify_volume(VolumeId=volume, Size=20)
        with pytest.raises(ClientError) as refused:
            ec2.create_snapshot(VolumeId=volume)
        assert refused.value.response["Error"]["Code"] == "UnsupportedOperation"
        assert "this needs root" in refused.value.response["Error"]["Message"]
        ec2.stop_instances(InstanceIds=[instance["InstanceId"]])
        ec2.start_instances(InstanceIds=[instance["InstanceId"]])
        assert json.loads(run("status", "--json").stdout)["hosts"] == {instance["InstanceId"]: True}
    finally:
        if (folder / "mine").exists():
            assert run("down", "--yes").returncode == 0
        shutil.rmtree(folder)
