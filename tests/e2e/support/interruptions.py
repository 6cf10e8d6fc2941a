"""Commands that are interrupted at a point of their play, told by the play's events and by what the lab's API was asked."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Checkout

#: Whether a run has come so far: its folder, and the calls that change EC2 since the command began.
Reached = Callable[[Path, list[str]], bool]


def task(name: str) -> Reached:
    """The play has begun this task."""
    # Each event is read once: on two cores a test that waits must not keep them from what it waits for.
    read: set[Path] = set()

    def reached(run: Path, _: list[str]) -> bool:
        for path in set(run.glob("artifacts/run/job_events/*.json")) - read:
            # Events come and go while they are written.
            with contextlib.suppress(FileNotFoundError, ValueError):
                event = json.loads(path.read_text())
                read.add(path)
                if event.get("event") == "playbook_on_task_start" and event["event_data"]["task"] == name:
                    return True
        return False

    return reached


def request(action: str) -> Reached:
    """EC2 has carried out this call."""
    return lambda _, calls: action in calls


def calls(lab: Checkout, since: int) -> list[str]:
    """What the lab's API was asked and did, dry runs left out."""
    return [line["action"] for line in lab.requests(since) if line["params"].get("DryRun") != "true" and line["error"] is None]


@dataclass(frozen=True)
class Command:
    """A command that runs, with what there was before it."""

    lab: Checkout
    process: subprocess.Popen[bytes]
    runs: frozenset[Path]
    asked: int

    def until(self, reached: Reached) -> None:
        """Return when its play is at the point."""
        deadline = time.monotonic() + 600
        try:
            while not any(reached(run, calls(self.lab, self.asked)) for run in _runs(self.lab) - self.runs):
                assert self.process.poll() is None, f"it ended before the point, with {self.process.returncode}"
                assert time.monotonic() < deadline
                time.sleep(0.1)
        except BaseException:
            # It would keep the tests that follow from its machine.
            kill_all(self.process)
            raise


def _runs(lab: Checkout) -> frozenset[Path]:
    return frozenset((lab.path / ".slipway" / "runs").glob("*"))


def _as_at_a_terminal() -> None:
    """A shell in the background, or nohup, has its programs ignore these."""
    for each in (signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)


def started(lab: Checkout, words: Sequence[str], told: Path = Path(os.devnull)) -> Command:
    """Start a command of `orchestrate.py`; what it tells of its way goes to the file."""
    runs, asked = _runs(lab), len(lab.requests())
    nothing = subprocess.DEVNULL
    python = lab.path / ".venv" / "bin" / "python"
    with told.open("w") as file:
        process = subprocess.Popen(
            [python, "orchestrate.py", *words], cwd=lab.path, stdin=nothing, stdout=nothing, stderr=file, preexec_fn=_as_at_a_terminal
        )
    return Command(lab, process, runs, asked)


def begin(lab: Checkout, words: Sequence[str], reached: Reached, told: Path = Path(os.devnull)) -> subprocess.Popen[bytes]:
    """Start a command of `orchestrate.py`, and return when its play is at the point."""
    command = started(lab, words, told)
    command.until(reached)
    return command.process


def kill(lab: Checkout, process: subprocess.Popen[bytes], name: str = "slipway") -> None:
    """End the wrapper, the play and its modules on this computer, as a crash of it does."""
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    # ansible-runner gives the play a session of its own. It may start another process while the list is made.
    while plays := lab.plays(name):
        assert time.monotonic() < deadline, f"the processes {plays} do not end"
        for play in plays:
            with contextlib.suppress(ProcessLookupError):
                os.kill(play, signal.SIGKILL)


def kill_alone(lab: Checkout, process: subprocess.Popen[bytes], name: str = "slipway") -> None:
    """End the wrapper alone, and wait until its play is no more: that goes on for a while."""
    process.kill()
    process.wait()
    _no_play(lab, name)


def _no_play(lab: Checkout, name: str) -> None:
    deadline = time.monotonic() + 300
    while lab.plays(name):
        assert time.monotonic() < deadline, f"the play of {name} does not end"
        time.sleep(0.2)


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """End a command with every process below it, also those of sessions of their own."""
    parents = [line.split() for line in subprocess.check_output(["ps", "-eo", "pid=,ppid="], text=True).splitlines()]
    found = [process.pid]
    for parent in found:
        found += [int(child) for child, of in parents if int(of) == parent]
    for each in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    process.wait()


def end(lab: Checkout, process: subprocess.Popen[bytes], how: signal.Signals, name: str = "slipway") -> None:
    """End the command by a signal, and wait until its play is no more: one that was not told goes on for a while."""
    if how is signal.SIGKILL:
        kill(lab, process, name)
        return
    process.send_signal(how)
    process.wait(timeout=300)
    _no_play(lab, name)
