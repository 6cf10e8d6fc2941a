"""One change at a time on a machine: a file lock that lives as long as the play does, even if its wrapper was killed.

A command takes its machine's lock alone (LOCK_EX), then shares it (LOCK_SH) with the play that it starts, which takes its own share.
The next command wants it alone, and gets it when both are gone: the kernel drops a lock with its last process.
Machines of one lab do not keep each other out. Each of their commands also has a share of the lab's lock; `lab down` wants that alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

#: Set, to the lock's path, for a play whose wrapper has the lock.
SHARED = "SLIPWAY_LOCK_SHARED"
_LAB = "lab.lock"


class HeldError(Exception):
    """Another command has the lock; the text names it."""


def path(state: Path, target: str, name: str) -> Path:
    """The lock of a machine."""
    # A hash, for a name may be no file's name, and is refused later.
    return state / "locks" / f"{target}-{hashlib.sha256(name.encode()).hexdigest()[:12]}.lock"


def of_start(state: Path) -> Path:
    """The lock of what starts the lab: it works on no machine, and keeps the lab from being removed meanwhile."""
    return path(state, "lab", "")


def of_lab(state: Path) -> Path:
    """The lock of the whole lab, with all of its machines."""
    return state / "locks" / _LAB


def of_folder(state: Path, folder: Path) -> Path:
    """The lock of a project's folder on this computer, which is synced with more than one machine."""
    return state / "locks" / f"folder-{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:12]}.lock"


@contextmanager
def alone(lock: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock, as soon as no other process has it. `waiting` is called before a wait, and may refuse it.

    It is not shared with a play: if the wrapper alone is killed, the play goes on without it.
    """
    lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as held_until:
        descriptor = _open(lock, held_until)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def held(lock: Path, command: str, what: str = "this machine") -> Iterator[None]:
    """Hold the lock for a command that starts a play. Raises HeldError if another command has it; the text calls the machine `what`."""
    with ExitStack() as held_until:
        descriptor = take(lock, command, held_until, what)
        # A machine's is shared with the play. Not in one step: another command may come between, and then has it.
        if lock.name != _LAB:
            _flock(descriptor, fcntl.LOCK_SH, lock, what)
        yield


def take(lock: Path, command: str, held_until: ExitStack, what: str = "this machine") -> int:
    """Take the lock alone until the stack is closed, and return its descriptor. Raises HeldError if another command has it."""
    lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _share_lab(lock, held_until)
    descriptor = _open(lock, held_until)
    _flock(descriptor, fcntl.LOCK_EX, lock, what)
    mine = {"command": command, "pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(mine).encode(), 0)
    return descriptor


def share(lock: Path, held_until: ExitStack) -> None:
    """Take a play's share of its wrapper's lock. Raises HeldError if the wrapper has ended and another command came."""
    _share_lab(lock, held_until)
    _flock(_open(lock, held_until), fcntl.LOCK_SH, lock)


def _share_lab(lock: Path, held_until: ExitStack) -> None:
    """Of a machine of the lab: keep the lab from being removed."""
    if lock.name != _LAB and lock.name.startswith("lab-"):
        lab = lock.with_name(_LAB)
        _flock(_open(lab, held_until), fcntl.LOCK_SH, lab)


def _open(lock: Path, held_until: ExitStack) -> int:
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    held_until.callback(os.close, descriptor)
    return descriptor


def _flock(descriptor: int, kind: int, lock: Path, what: str = "this machine") -> None:
    # A command that lists the holders of the lab tries each machine's lock for a moment: that is no holder.
    for wait in (0.1, 0.1, None):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError as held_by_another:
            if wait is None:
                named = "the lab" if lock.name == _LAB else what
                raise HeldError(f"Another command works on {named}: {_holders(lock)}. Wait for its end.") from held_by_another
            time.sleep(wait)


def note(lock: Path) -> dict[str, str]:
    """What the command that has it has written: `command`, `pid` and `since`. Raises OSError, ValueError or KeyError if it has not."""
    found = json.loads(lock.read_text())
    return {key: str(found[key]) for key in ("command", "pid", "since")}


def given_back(state: Path, seconds: float = 15) -> None:
    """Wait until the keepers (slipway/keeper.py) of commands that have ended have ended too, for so long at most."""
    deadline = time.monotonic() + seconds
    for marker in (state / "locks").glob("*.keeper"):
        held = marker.with_suffix(".lock")
        if held.exists() and _is_held(held):
            # Of another command, which goes on; but for a moment a keeper has it itself.
            time.sleep(0.2)
            if _is_held(held):
                continue
        with marker.open("rb") as file:
            while time.monotonic() < deadline:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(0.1)


def _holders(lock: Path) -> str:
    """The commands that have it; of the lab's, also those that work on one of its machines."""
    locks = [lock]
    if lock.name == _LAB:
        locks = [each for each in (lock, *sorted(lock.parent.glob("lab-*.lock"))) if _is_held(each)]
    return "; ".join(filter(None, map(_note, locks))) or f"it has just begun ({lock})"


def _is_held(lock: Path) -> bool:
    """Whether a process has it: the lab's alone (its shares are those of machines), or a share of a machine's."""
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if lock.name == _LAB else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _note(lock: Path) -> str | None:
    """What the command that had it last has written."""
    try:
        return "{command} (process {pid}, since {since})".format(**note(lock))
    except (OSError, ValueError, KeyError):
        return None
