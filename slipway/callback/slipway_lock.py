"""Ansible's side of the lock (slipway/lock.py): the play holds it, whoever started it and whatever becomes of that."""

from __future__ import annotations

DOCUMENTATION = r"""
name: slipway_lock
type: aggregate
short_description: Let one play at a time change a machine
description:
  - Ends the run with exit code 3 before its first task where another command works on the machine.
  - Plays that only read, and check mode, take no lock.
"""

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from slipway import lock  # the project is no installed package

READING = ("advise.yml", "find.yml", "runs.yml", "status.yml")
REFUSED = 3


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

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._playbook = os.path.basename(playbook._file_name)
        if lock.SHARED in os.environ:
            # ansible-runner has it ignored. A play whose reader was killed must end with it: it would wait for its own results for ever.
            signal.signal(signal.SIGHUP, signal.SIG_DFL)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        if self._took or self._playbook in READING or context.CLIARGS.get("check"):
            return
        try:
            self._take(play)
        except lock.HeldError as held:
            self._display.error(str(held), wrap_text=False)
            # No exception of Ansible's own ends a run from here with a code of its choice.
            raise SystemExit(REFUSED) from held

    def _take(self, play: Any) -> None:
        shared = os.environ.get(lock.SHARED)
        if shared:
            lock.share(Path(shared), self._held)
        else:
            variables = play.get_variable_manager()
            inventories = [Path(source).resolve() for source in variables._inventory._sources]
            target = "lab" if any(PROJECT / "inventory" / "lab" in (source, *source.parents) for source in inventories) else "aws"
            # Of a host, for inventories give it to all hosts.
            given = variables.get_vars(play=play, host=variables._inventory.get_host("localhost"), include_hostvars=False)
            name = str(given.get("slipway_name", ""))
            lock.take(lock.path(PROJECT / ".slipway", target, name), f"ansible-playbook {self._playbook}", self._held)
        self._took = True
