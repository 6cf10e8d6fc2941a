"""One change at a time: a file lock that lives as long as the play does, also where its wrapper was killed.

A command takes the lock alone (LOCK_EX), then shares it (LOCK_SH) with the play that it starts, which takes its own share.
Whoever comes next wants it alone, and gets it when both are gone: the kernel drops a lock with its last process.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

#: Set, to the lock's path, for a play whose wrapper has the lock.
SHARED = "SLIPWAY_LOCK_SHARED"


class HeldError(Exception):
    """Another command has the lock; the text names it."""


def path(state: Path, target: str, name: str) -> Path:
    """The lock of a machine. Those of the lab have one, for `lab down` ends them all."""
    # A hash, for a name may be no file's name, and is refused later.
    key = target if target == "lab" else f"{target}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return state / "locks" / f"{key}.lock"


@contextmanager
def held(lock: Path, command: str) -> Iterator[None]:
    """Hold the lock for a command that starts a play. Raises HeldError at once where another one has it."""
    descriptor = take(lock, command)
    try:
        # Not in one step: somebody may come between, and then has it.
        _flock(descriptor, fcntl.LOCK_SH, lock)
        yield
    finally:
        os.close(descriptor)


def take(lock: Path, command: str) -> int:
    """Take the lock alone and return its descriptor, whose end is the lock's. Raises HeldError where another one has it."""
    lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    _flock(descriptor, fcntl.LOCK_EX, lock)
    note = {"command": command, "pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(note).encode(), 0)
    return descriptor


def share(lock: Path) -> int:
    """Take a play's share of its wrapper's lock. Raises HeldError where the wrapper has ended and another one came."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    _flock(descriptor, fcntl.LOCK_SH, lock)
    return descriptor


def _flock(descriptor: int, kind: int, lock: Path) -> None:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError as held_by_another:
        os.close(descriptor)
        raise HeldError(f"Another command works on this machine: {_holder(lock)}. Wait for its end.") from held_by_another


def _holder(lock: Path) -> str:
    try:
        note = json.loads(lock.read_text())
        return f"{note['command']} (process {note['pid']}, since {note['since']})"
    except (OSError, ValueError, KeyError):
        return f"it has just begun ({lock})"
