"""What goes wrong with a machine that is up, and what its user must then see: one table, and a test for each of its rows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.conftest import Checkout

#: The engine's own look comes up to 10 s after a start, and after the end of the command that waited for it.
SEEN = "for _ in $(seq 20); do docker ps | grep -q 'health: starting' || break; sleep 1; done"
SHOWN = f"{SEEN}; docker ps --format '{{{{.Names}}}} {{{{.Status}}}}'"


def serves(machine: Checkout) -> None:
    """Every service is healthy: the fault has left no trace."""
    healthy(machine.on_host(SHOWN).splitlines())


def healthy(shown: list[str]) -> None:
    """Of a machine that shows these containers every service is healthy."""
    assert sorted(line.split()[0] for line in shown) == [f"slipway-{name}-1" for name in ("jupyter", "mongo", "postgres", "redis")]
    assert [line for line in shown if "(healthy)" not in line] == []


@dataclass(frozen=True)
class Fault:
    """A row. While `inject` lasts, the command ends with `code` and says all of `says`; when it is over, `after` holds."""

    #: What goes wrong, in few words; the test's name.
    row: str
    #: Makes the fault on entry and takes it back on exit.
    inject: Callable[[Checkout], AbstractContextManager[object]]
    #: The exit code: 0 done, 2 bad input, 3 refused, 4 failed, 5 needs a person.
    code: int
    #: What the command prints: each of these words.
    says: tuple[str, ...] = ()
    #: The words of `orchestrate.py`.
    words: tuple[str, ...] = ("up",)
    after: Callable[[Checkout], None] = serves
    #: Whether another row is much like it: only a run of all tests has this one too.
    long: bool = False
