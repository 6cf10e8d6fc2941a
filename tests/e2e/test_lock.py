"""Two commands at once: one works, the other names it and ends with 3; a killed one leaves no overlap."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.conftest import Checkout


def begin(machine: Checkout) -> subprocess.Popen[str]:
    """Start `up` and return when its play runs."""
    python = machine.path / ".venv" / "bin" / "python"
    runs = machine.path / ".slipway" / "runs"
    before = set(runs.glob("*-up-*"))
    nothing = subprocess.DEVNULL
    process = subprocess.Popen([python, "orchestrate.py", "up"], cwd=machine.path, stdin=nothing, stdout=nothing, stderr=nothing, text=True)
    deadline = time.monotonic() + 60
    while not [folder for folder in set(runs.glob("*-up-*")) - before if events(folder)]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return process


def events(run: Path) -> list[Path]:
    return list((run / "artifacts" / "run" / "job_events").glob("*.json"))


def refused(machine: Checkout) -> None:
    for words in (["up"], ["destroy", "slipway"], ["lab", "down", "--yes"]):
        second = machine.orchestrate(*words)
        assert second.returncode == 3, second.stderr
        assert "orchestrate.py up (process" in second.stderr
    play = machine.run("ansible-playbook", "site.yml")
    assert play.returncode == 3, play.stderr
    assert "orchestrate.py up (process" in play.stderr


def test_two_at_once(machine: Checkout) -> None:
    first = begin(machine)
    refused(machine)
    # What only reads is let through.
    assert machine.answer("status")["instance"]["state"] == "running"
    assert first.wait(timeout=300) == 0
    assert machine.answer("up")["changed"] == 0


def test_a_killed_command_leaves_no_overlap(machine: Checkout) -> None:
    first = begin(machine)
    first.kill()
    first.wait()
    # Its play goes on or dies with it: as long as it lives, nobody else gets in.
    while play := machine.plays():
        second = machine.orchestrate("open")
        if play[0] in machine.plays():
            assert second.returncode == 3, second.stderr
            assert "orchestrate.py up (process" in second.stderr
    assert machine.answer("up")["changed"] == 0
