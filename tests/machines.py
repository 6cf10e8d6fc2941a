"""Machines of a run's tests come from one image, which the first test that needs a machine bakes, in a lab of its own.

Only in a run with several workers and many tests of machines: of a few machines, each is made sooner by itself.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from lab import image_sets

#: In so many files of tests/e2e or more there are many machines.
_MANY = 5
_PREFIX = "tests-"


class Controller:
    """In the process that starts the workers: the run's set of images, by a name that they and their labs find in the environment."""

    def __init__(self) -> None:
        self._name = f"{_PREFIX}{os.getpid()}"
        # Of runs that were killed.
        for name in image_sets.names():
            if name.startswith(_PREFIX) and not Path("/proc", name.removeprefix(_PREFIX)).exists():
                image_sets.forget(name)
        os.environ[image_sets.VARIABLE] = self._name
        _note(self._name).unlink(missing_ok=True)

    def pytest_unconfigure(self) -> None:
        """Remove what the run has made: labs keep what they have."""
        image_sets.forget(self._name)
        _note(self._name).unlink(missing_ok=True)


class _Run:
    """What this worker has collected."""

    many = False


def count(items: Iterable[pytest.Item]) -> None:
    """Tell whether these tests make many machines."""
    _Run.many = len({item.path for item in items if item.path.parent.name == "e2e"}) >= _MANY


def once(bake: Callable[[], None]) -> None:
    """Bake if it is worth it and no other worker has; while one bakes, the others wait, and it has their share of the processors."""
    name = os.environ.get(image_sets.VARIABLE, "")
    if not _Run.many or not name:
        return
    with _note(name).open("a+") as note:
        fcntl.flock(note, fcntl.LOCK_EX)
        note.seek(0)
        if note.read():
            return
        # One that fails is not tried by each.
        note.write("begun")
        note.flush()
        bake()


def _note(name: str) -> Path:
    return Path(tempfile.gettempdir(), f"slipway-{name}.lock")
