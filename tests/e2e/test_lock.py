"""Two commands at once: one works, the other names it and ends with 3; a killed one leaves no overlap."""

from __future__ import annotations

import signal
import time

import pytest

from tests.conftest import Checkout
from tests.e2e.support.interruptions import begin, task

pytestmark = pytest.mark.xdist_group("machine")

#: A step of some seconds: its result comes when the wrapper, which would read it, is gone.
STEP = "Send the Compose files, then the settings and secrets"


def refused(machine: Checkout) -> None:
    for words in (["up"], ["destroy", "slipway"], ["lab", "down", "--yes"]):
        second = machine.orchestrate(*words)
        assert second.returncode == 3, second.stderr
        assert "orchestrate.py up (process" in second.stderr
    play = machine.run("ansible-playbook", "site.yml")
    assert play.returncode == 3, play.stderr
    assert "orchestrate.py up (process" in play.stderr


def test_a_second_command_is_refused_while_one_works_and_status_is_not(machine: Checkout) -> None:
    first = begin(machine, ["up"], lambda run, _: any(run.glob("artifacts/run/job_events/*.json")))
    refused(machine)
    # What only reads is let through.
    assert machine.answer("status")["instance"]["state"] == "running"
    assert first.wait(timeout=300) == 0
    assert machine.answer("up")["changed"] == 0


@pytest.mark.long
def test_a_killed_command_leaves_no_overlap(machine: Checkout) -> None:
    first = begin(machine, ["up"], task(STEP))
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert machine.plays()
    # Its play ends with its step: as long as it lives, nobody else gets in.
    deadline = time.monotonic() + 120
    while play := machine.plays():
        assert time.monotonic() < deadline, "the play of a killed wrapper goes on for ever"
        second = machine.orchestrate("open")
        if play[0] in machine.plays():
            assert second.returncode == 3, second.stderr
            assert "orchestrate.py up (process" in second.stderr
    assert machine.answer("up")["changed"] == 0
