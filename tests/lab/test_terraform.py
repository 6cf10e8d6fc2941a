"""A stranger's proof: Terraform's AWS provider makes an instance, sees no difference, changes its type and removes it all.

It runs where `terraform` or `tofu` is installed and gets the AWS provider: from its registry, or from a mirror that Terraform's
own settings name (TF_CLI_CONFIG_FILE, TF_CLI_ARGS_init).
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lab.control import CREDENTIALS, REGION
from tests.conftest import Checkout

FILES = Path(__file__).with_name("terraform")


class Terraform:
    """Terraform in a folder of its own, against the lab."""

    def __init__(self, command: str, lab: Checkout, folder: Path) -> None:
        self.command, self.lab, self.folder = command, lab, folder
        shutil.copytree(FILES, folder, dirs_exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
        given = {"endpoint": lab.lab.endpoint, "region": REGION, "public_key": (folder / "key.pub").read_text().strip(), **CREDENTIALS}
        wanted = ("endpoint", "region", "access_key", "secret_key", "public_key")
        (folder / "terraform.tfvars.json").write_text(json.dumps({name: given[name] for name in wanted}))

    def try_(self, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        quiet = {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
        return self.lab.run(self.command, f"-chdir={self.folder}", verb, "-no-color", *words, timeout=600, **quiet)

    def __call__(self, verb: str, *words: str, instance_type: str) -> None:
        done = self.try_(verb, "-input=false", f"-var=instance_type={instance_type}", *words)
        # `plan -detailed-exitcode` ends with 2 where there is something to change.
        assert done.returncode == 0, done.stdout + done.stderr

    def outputs(self) -> dict[str, str]:
        done = self.try_("output", "-json")
        return {name: str(item["value"]) for name, item in json.loads(done.stdout).items()}


@pytest.fixture
def terraform(lab: Checkout, tmp_path: Path) -> Iterator[Terraform]:
    command = shutil.which("terraform") or shutil.which("tofu")
    if command is None:
        pytest.skip("Terraform is not installed: there is no command `terraform` or `tofu`")
    made = Terraform(command, lab, tmp_path / "terraform")
    ready = made.try_("init", "-input=false")
    if ready.returncode != 0:
        why = next((line for line in reversed(ready.stderr.splitlines()) if line.strip(" │╷╵")), "no message").strip(" │")
        pytest.skip(f"Terraform is installed, and its AWS provider cannot be had: {why}")
    yield made
    # What a failed test left; after a whole one there is nothing to do.
    made("destroy", "-auto-approve", instance_type="t2.micro")


def described(lab: Checkout, instance: str) -> dict[str, Any]:
    return dict(lab.ec2().describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0])


def banner(address: str) -> str:
    """What SSH says first. The host may still be booting."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with socket.create_connection((address, 22), timeout=5) as connection:
                return connection.recv(100).decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


def test_terraform_leads_an_instance_through_its_whole_life(lab: Checkout, terraform: Terraform) -> None:
    terraform("apply", "-auto-approve", instance_type="t2.micro")
    made = terraform.outputs()
    first = described(lab, made["id"])
    assert banner(first["PublicIpAddress"]).startswith("SSH-2.0-")
    terraform("plan", "-detailed-exitcode", instance_type="t2.micro")

    # The provider stops the instance, changes its type and starts it.
    terraform("apply", "-auto-approve", instance_type="t2.small")
    second = described(lab, made["id"])
    assert (second["InstanceType"], second["State"]["Name"]) == ("t2.small", "running")
    assert second["PublicIpAddress"] != first["PublicIpAddress"]
    assert terraform.outputs() == made
    assert banner(second["PublicIpAddress"]).startswith("SSH-2.0-")
    terraform("plan", "-detailed-exitcode", instance_type="t2.small")

    terraform("destroy", "-auto-approve", instance_type="t2.small")
    assert described(lab, made["id"])["State"]["Name"] == "terminated"
    ec2 = lab.ec2()
    for look in (lambda: ec2.describe_key_pairs(KeyNames=["terraform"]), lambda: ec2.describe_security_groups(GroupIds=[made["group"]])):
        with pytest.raises(ClientError, match="NotFound"):
            look()
