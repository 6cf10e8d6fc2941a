"""Two computers with one account: checkouts of the project that use one lab's API as they would use AWS, each with its own state folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.control import CREDENTIALS, REGION
from tests.conftest import Checkout, copy_project


@dataclass(frozen=True)
class Computer:
    """A checkout that knows the account by its environment alone, as on AWS."""

    checkout: Checkout
    environment: dict[str, str]

    @property
    def state(self) -> Path:
        """What it keeps of all of its machines."""
        return self.checkout.path / ".slipway" / "aws"

    def machine(self, name: str) -> Path:
        """What it keeps of a machine: the key, and the passwords."""
        return self.state / "machines" / name

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command of the checkout's environment."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "ANSIBLE_"))}
        clean["PATH"] = f"{self.checkout.path / '.venv' / 'bin'}{os.pathsep}{clean['PATH']}"
        return subprocess.Popen(
            command,
            cwd=self.checkout.path,
            env=clean | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def orchestrate(self, *words: str) -> Ended:
        """A command of `orchestrate.py`, to its end."""
        return ended(self.start("python", "orchestrate.py", *words, "--target", "aws"))

    def keep(self, name: str) -> dict[str, bytes]:
        """What would be lost with the machine's folder: the key, and each password."""
        folder = self.machine(name)
        files = [
            path for path in folder.rglob("*") if path.is_file() and (path.name.startswith("ssh_key") or path.parent.name == "secrets")
        ]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@dataclass(frozen=True)
class Ended:
    """How a command ended, and all that it said."""

    code: int
    said: str


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait for the end."""
    said, _ = process.communicate(timeout=600)
    return Ended(process.returncode, said)


#: The command `up` with the playbook that makes a machine without services: its lock, its play, and its exit code.
_PROVISION = """
import sys
from slipway import arguments, plays
options = arguments.parse(["up", "--target", "aws", "--name", *sys.argv[1:]])
with plays.locked(options, "orchestrate.py up"):
    result = plays.play("up", "playbooks/provision.yml", options, arguments.variables(options))
sys.exit(plays.failed(options, result, result.failure) if result.failure else 0)
"""


def provision(name: str, *more: str) -> tuple[str, ...]:
    """`up`, without services."""
    return ("python", "-c", _PROVISION, name, *more)


def computer(lab: Checkout, folder: Path) -> Computer:
    """Another computer, whose account is the lab's."""
    here = copy_project(folder)
    theirs = yaml.safe_load((here.path / "inventory" / "lab" / "group_vars" / "all" / "lab.yml").read_text())
    mine = {key: value for key, value in theirs.items() if key not in ("aws_connection", "slipway_region", "stack_registry_push")}
    # The engine that both have takes images at the lab's own port.
    mine["stack_registry_push"] = f"127.0.0.1:{lab.lab.registry_port}"
    mine["ec2_instance_ssh_cidrs"] = [str(lab.lab.public_cidr)]
    settings = here.path / "inventory" / "aws" / "group_vars" / "all"
    (settings / "mine.yml").write_text(yaml.safe_dump(mine))
    shutil.copy(here.path / "inventory" / "lab" / "group_vars" / "all" / "lab_ports.yml", settings / "ports.yml")
    keys = {"AWS_ACCESS_KEY_ID": CREDENTIALS["access_key"], "AWS_SECRET_ACCESS_KEY": CREDENTIALS["secret_key"]}
    return Computer(here, keys | {"AWS_ENDPOINT_URL": lab.lab.endpoint, "AWS_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"})


def at_once(first: tuple[Computer, tuple[str, ...]], second: tuple[Computer, tuple[str, ...]], apart: float) -> tuple[Ended, Ended]:
    """Start both commands, the second so many seconds after the first, and wait for both."""
    processes = []
    for number, (each, command) in enumerate((first, second)):
        if number:
            time.sleep(apart)
        processes.append(each.start(*command))
    return ended(processes[0]), ended(processes[1])


def instances(ec2: Any, name: str) -> list[str]:
    """The living instances of a name."""
    living = {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}
    found = ec2.describe_instances(Filters=[{"Name": "tag:slipway", "Values": [name]}, living])["Reservations"]
    return [item["InstanceId"] for each in found for item in each["Instances"]]


def kept(ec2: Any, name: str) -> tuple[list[str], list[str]]:
    """The ids of a machine's key pair and of its security group: another id is another one."""
    pairs = ec2.describe_key_pairs(Filters=[{"Name": "key-name", "Values": [f"slipway-{name}"]}])["KeyPairs"]
    groups = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [f"slipway-{name}"]}])["SecurityGroups"]
    return [pair["KeyPairId"] for pair in pairs], [group["GroupId"] for group in groups]
