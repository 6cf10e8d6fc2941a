"""Ansible's side of the lock (slipway/lock.py): the play holds it, whoever started it and whatever becomes of that."""

from __future__ import annotations

DOCUMENTATION = r"""
name: slipway_lock
type: aggregate
short_description: Let one play at a time change a machine
description:
  - Ends the run with exit code 3 before its first task where another command works on the machine.
  - Plays that only read, and check mode, take no lock.
  - Names the command to the role ec2_instance (C(SLIPWAY_HOLDER)), which takes the machine's lock in EC2 for it, and so keeps other
    computers out. The keeper (slipway/keeper.py) gives that back.
"""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from slipway import lock  # the project is no installed package

READING = ("advise.yml", "find.yml", "list.yml", "runs.yml", "status.yml")
#: The first ends the lock of another command; the others only start the lab, or open a tunnel, which is of this computer. They take it on
#: this computer alone: the way to a machine does not wait for the end of another computer's command.
HERE_ALONE = ("unlock.yml", "lab.yml", "open.yml")
REFUSED, FAILED = 3, 4
#: Names the command to the role ec2_instance.
HOLDER = "SLIPWAY_HOLDER"


class CallbackModule(CallbackBase):
    """Takes the lock at the first play; the process keeps it until it ends."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "slipway_lock"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._playbook = ""
        self._held = ExitStack()
        self._took = False
        self._kept = False
        # A play that was started by another one's task would take that one's lock for its own.
        os.environ.pop(HOLDER, None)

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._playbook = os.path.basename(playbook._file_name)
        if lock.SHARED in os.environ:
            # ansible-runner has it ignored. A play whose reader was killed must end with it: it would wait for its own results for ever.
            signal.signal(signal.SIGHUP, signal.SIG_DFL)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        if self._playbook in READING or context.CLIARGS.get("check"):
            return
        try:
            if not self._took:
                self._take(play)
            if not self._kept and self._playbook not in HERE_ALONE:
                self._keep(play)
        except lock.HeldError as held:
            self._display.error(str(held), wrap_text=False)
            # No exception of Ansible's own ends a run from here with a code of its choice.
            raise SystemExit(REFUSED) from held
        except Exception as reason:
            # Ansible would only warn of it, and go on without a lock.
            self._display.error(f"The machine could not be locked: {reason}", wrap_text=False)
            raise SystemExit(FAILED) from reason

    def _take(self, play: Any) -> None:
        shared = os.environ.get(lock.SHARED)
        if shared:
            self._lock = Path(shared)
            lock.share(self._lock, self._held)
        else:
            variables = play.get_variable_manager()
            inventories = [Path(source).resolve() for source in variables._inventory._sources]
            target = "lab" if any(PROJECT / "inventory" / "lab" in (source, *source.parents) for source in inventories) else "aws"
            self._lock = lock.path(PROJECT / ".slipway", target, str(_variables(play).get("slipway_name", "")))
            lock.take(self._lock, f"ansible-playbook {self._playbook}", self._held)
        self._took = True

    def _keep(self, play: Any) -> None:
        """Name the command to the role, and start the keeper of its lock."""
        given = _variables(play)
        if "aws_connection" not in given:
            # Of another inventory: the play has no way to EC2.
            return
        try:
            connection = Templar(loader=play.get_loader(), variables=given).template(given["aws_connection"])
        except AnsibleError:
            # A lab that this run is to start has no address yet: the next play finds it.
            if (PROJECT / ".slipway" / "lab" / "lab.json").exists():
                raise
            return
        mine = holder(self._lock, lock.note(self._lock))
        os.environ[HOLDER] = json.dumps(mine)
        self._kept = True
        # One for all plays of a command.
        marker = self._lock.with_suffix(".keeper")
        if marker.exists() and marker.read_text() == mine["id"]:
            return
        marker.write_text(mine["id"])
        clean = {name: value for name, value in os.environ.items() if name not in (lock.SHARED, HOLDER)}
        # Not as an argument, which every process could read.
        with tempfile.TemporaryFile("w+") as told:
            json.dump({"lock": str(self._lock), "id": mine["id"], "connection": connection}, told)
            told.seek(0)
            nowhere = subprocess.DEVNULL
            # Of a session of its own: neither Ctrl-C nor a terminal that is closed ends it.
            command = [sys.executable, "-P", str(PROJECT / "slipway" / "keeper.py")]
            subprocess.Popen(command, stdin=told, stdout=nowhere, stderr=nowhere, env=clean, start_new_session=True)


def _variables(play: Any) -> dict[str, Any]:
    """Those of the controller."""
    manager = play.get_variable_manager()
    # Of a host, for inventories give them to all hosts.
    return dict(manager.get_vars(play=play, host=manager._inventory.get_host("localhost")))


def holder(path: Path, note: dict[str, str]) -> dict[str, str]:
    """The command that has the lock, as roles/ec2_instance/module_utils/ec2_once.py describes it."""
    # The running kernel, and what a container has of its own.
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    place = f"{boot} {os.readlink('/proc/self/ns/pid')} {os.readlink('/proc/self/ns/mnt')}"
    one = hashlib.sha256("\0".join([place, str(path), note["pid"], note["since"]]).encode()).hexdigest()[:32]
    words = {"command": note["command"], "since": note["since"], "lock": str(path)}
    return {"id": one, "computer": socket.gethostname(), "place": place, **words}
