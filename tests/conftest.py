"""One checkout of the project for all tests that need hosts, with a lab of its own: the user's is left alone."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.config import Config

from lab import config, disks, image_sets
from slipway import lock
from tests import durations, machines

PROJECT = Path(__file__).resolve().parent.parent


#: In a run of one worker: quick answers first; what ends the lab last.
ORDER = ("unit", "lint", "images", "lab", "e2e", "molecule")
#: Each group runs on one worker, because its tests share a machine. The longest come first (`tools/durations` shows them), but for the
#: linters, which have a processor's time to themselves while the lab's images are built.
GROUPS = ("examples", "projects", "linters", "machine", "resize", "faults", "bare machines")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    parallel = hasattr(config, "workerinput")

    def place(item: pytest.Item) -> tuple[int, int, str, bool]:
        folder, last = ORDER.index(item.path.parent.name), item.get_closest_marker("last") is not None
        if not parallel:
            return int(last), folder, "", last
        if (group := _group(item)) in GROUPS:
            return 0, GROUPS.index(group), group, last
        return 1, -folder, group, last

    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=place)


def pytest_collection_finish(session: pytest.Session) -> None:
    machines.count(session.items)
    # A pytest whose pytest-xdist does not know the marks would give each test to another worker, and each of them its own machine.
    if getattr(session.config.option, "loadgroup", False) and hasattr(session.config, "workerinput"):
        lost = [item.nodeid for item in session.items if not item.nodeid.endswith(f"@{_group(item)}")]
        if lost:
            raise pytest.UsageError(f"pytest-xdist does not see the group of {len(lost)} tests, {lost[0]} for one")


def _group(item: pytest.Item) -> str:
    """Its tests are run by one worker, as they share what one of them makes. A file that does not say otherwise is a group."""
    marked = item.get_closest_marker("xdist_group")
    return str(marked.args[0]) if marked else str(item.path.relative_to(PROJECT))


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts something in the background has it ignore Ctrl-C, and so would each command that a test starts and interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(durations.Worker())
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(durations.Log(config, PROJECT / ".durations"))
        if (getattr(config.option, "numprocesses", None) or 0) > 1:
            config.pluginmanager.register(machines.Controller())


@dataclass(frozen=True)
class Checkout:
    """A copy of the project, used as a user would: by its commands."""

    path: Path

    def run(self, *command: str, timeout: float = 900, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the checkout. AWS settings of the one who tests stay outside."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "ANSIBLE_", "MOLECULE_"))}
        if self.path in _PLAIN:
            clean.pop(image_sets.VARIABLE, None)
        clean["PATH"] = f"{self.path / '.venv' / 'bin'}{os.pathsep}{clean['PATH']}"
        began, made = time.time(), self._asked("RunInstances")
        try:
            return subprocess.run(
                command,
                cwd=self.path,
                env=clean | environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        finally:
            words = [word for word in command if word not in ("/usr/bin/env", "python3", "orchestrate.py")]
            kind = "machine" if self._asked("RunInstances") > made else "resize" if words[0] == "resize" else "command"
            durations.add(kind, " ".join(words)[:100], began)

    def _asked(self, action: str) -> int:
        """How often the lab's API was asked for something, so far."""
        with contextlib.suppress(FileNotFoundError):
            return (self.path / ".slipway" / "lab" / "requests.jsonl").read_bytes().count(f'"{action}"'.encode())
        return 0

    def orchestrate(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`python orchestrate.py …` from a bare shell: the system's Python, which has none of the project's packages."""
        return self.run("/usr/bin/env", "python3", "orchestrate.py", *words, **environment)

    def answer(self, *words: str) -> dict[str, Any]:
        """The JSON of a command that must succeed."""
        done = self.orchestrate(*words, "--json")
        assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
        return dict(json.loads(done.stdout))

    def ssh_config(self, machine: str = "slipway") -> Path:
        """The project's own SSH settings of the machine, which `destroy` removes."""
        return self.path / ".slipway" / "lab" / "machines" / machine / "ssh_config"

    def on_host(self, command: str, stdin: str = "", machine: str = "slipway") -> str:
        """What a shell command prints on the machine, over the project's own SSH settings."""
        config = str(self.ssh_config(machine))
        done = subprocess.run(["ssh", "-F", config, machine, command], input=stdin, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def given(self, variables: dict[str, Any], file: str = "mine.yml") -> Iterator[Path]:
        """A file of the user's own variables, as the README tells; it comes after the lab's own, and the last one holds."""
        path = self.path / "inventory" / "lab" / "group_vars" / "all" / file
        with path.open("x") as text:
            yaml.safe_dump(variables, text)
        try:
            yield path
        finally:
            path.unlink()

    def containers(self) -> list[str]:
        """The ids of the default machine's containers."""
        return sorted(self.on_host("docker ps --quiet --no-trunc").split())

    @property
    def lab(self) -> config.Lab:
        """The lab of this checkout."""
        lab = config.load(self.path / ".slipway" / "lab")
        assert lab is not None
        return lab

    def fault(self, **wanted: Any) -> None:
        """Ask the lab for a fault (lab/faults.py has the list)."""
        request = urllib.request.Request(self.lab.endpoint + config.FAULTS, json.dumps(wanted).encode())
        urllib.request.urlopen(request, timeout=30).close()

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """What the lab's API was asked so far, oldest first, without the first so many, and without what locks a machine.

        A lock is given back when its command has ended, by a process of its own.
        """
        # The last line may be just being written.
        whole, _, _ = (self.lab.root / "requests.jsonl").read_text().rpartition("\n")
        asked = [json.loads(line) for line in whole.splitlines()]
        return [line for line in asked if not line["params"].get("GroupName", "").endswith(".lock")][since:]

    def plays(self, name: str = "slipway") -> list[int]:
        """The processes of this computer that a play of `orchestrate.py` on the machine has, by their environment."""
        mark = f"{lock.SHARED}={lock.path(self.path / '.slipway', 'lab', name)}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes().split(b"\0") and b"ansible" in path.with_name("cmdline").read_bytes():
                    found.append(int(path.parent.name))
        return sorted(found)

    def ec2(self) -> Any:
        """A boto3 client of the lab's API. It retries nothing, so that a test sees each answer."""
        return _client(self.lab.endpoint)


@functools.cache
def _client(endpoint: str) -> Any:
    from lab.control import CREDENTIALS, REGION

    return boto3.client(
        "ec2",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["access_key"],
        aws_secret_access_key=CREDENTIALS["secret_key"],
        config=Config(retries={"total_max_attempts": 1}),
    )


#: The images that a machine of the lab is given, by service.
IMAGES: dict[str, str] = yaml.safe_load((PROJECT / "inventory" / "lab" / "group_vars" / "all" / "lab.yml").read_text())["stack_images"]


def ssh_group(ec2: Any, name: str) -> str:
    """A security group that lets this machine in by SSH, and its id."""
    group = str(ec2.create_security_group(GroupName=name, Description="tests")["GroupId"])
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "198.18.0.0/15"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[ssh])
    return group


#: With these variables of the user's own a machine is made from no baked image.
PLAIN = {"ec2_instance_image_contents": ""}
#: The copies whose labs take nothing from the run's image.
_PLAIN: set[Path] = set()


@contextlib.contextmanager
def own_lab(folder: Path, umask: int = 0, *, plain: bool = False) -> Iterator[Checkout]:
    """A copy of the project in a folder, with a lab of its own, which is removed at the end.

    Its machines come from the run's image, if the run has one; `plain`: never, as a user's before a `bake`.
    """
    if plain:
        _PLAIN.add(folder / "slipway")
    else:
        machines.once(lambda: _bake(folder / "image"))
    with _lab(folder / "slipway", umask) as here:
        yield here


@contextlib.contextmanager
def _lab(path: Path, umask: int = 0) -> Iterator[Checkout]:
    here = copy_project(path, umask)
    yield here
    done = here.orchestrate("lab", "down", "--yes")
    assert done.returncode == 0, done.stderr


def _bake(path: Path) -> None:
    """Make the run's image, in a lab whose records and faults are no test's."""
    with _lab(path) as here:
        done = here.orchestrate("lab", "up")
        assert done.returncode == 0, done.stderr
        if not disks.lacking():
            # Any machine of the tests has so large a disk.
            here.answer("bake", "--disk", "10")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A copy of the project in a folder whose name has a space, an accent and a percent sign, as git makes it under umask 077."""
    with own_lab(tmp_path_factory.mktemp("a chéckout%2F"), umask=0o077) as here:
        yield here


def copy_project(path: Path, umask: int = 0) -> Checkout:
    """Copy the files that git knows or would take, without the permissions of `umask`."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        source, target = PROJECT / name, path / name
        if source.is_symlink() or source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    for folder, _, files in os.walk(path):
        for each in (Path(folder), *(Path(folder, file) for file in files)):
            if not each.is_symlink():
                each.chmod(each.stat().st_mode & 0o777 & ~umask)
    (path / ".venv").symlink_to(sys.prefix)
    # A tunnel that is closed for a while, in a resize, must find its port again: no two checkouts of a run choose the same ones.
    first = 10_000 + zlib.crc32(str(path).encode()) % 200 * 100
    ports = path / "inventory" / "lab" / "group_vars" / "all" / "lab_ports.yml"
    ports.write_text(f"tunnel_local_port: {first}\n")
    return Checkout(path)


# The test of the end removes the machine and its lab, and another group may come after it: each file looks at both.
@pytest.fixture(scope="module")
def lab(checkout: Checkout) -> Checkout:
    """The checkout with its lab running."""
    done = checkout.orchestrate("lab", "up")
    assert done.returncode == 0, done.stderr
    return checkout


@pytest.fixture(scope="module")
def machine(lab: Checkout) -> Checkout:
    """The checkout with the default machine up."""
    if not lab.ssh_config().exists():
        lab.answer("up")
    return lab
