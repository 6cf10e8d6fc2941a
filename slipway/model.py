"""What goes into a run and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
#: What the project keeps on this machine: 0700, and ignored by git.
STATE = PROJECT / ".slipway"


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    BAD_INPUT = 2
    REFUSED = 3
    FAILED = 4
    NEEDS_A_PERSON = 5


class RefusalError(Exception):
    """A command that ends before a playbook was started; the text says why and what to type next."""

    def __init__(self, text: str, code: Exit = Exit.REFUSED) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Request:
    """One run of one playbook.

    `variables` go in as extra variables, `check` means --check --diff, `skip` is a tag to be left out, `lock` one that the caller holds.
    """

    verb: str
    playbook: str
    target: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    check: bool = False
    skip: str = ""
    lock: Path | None = None


@dataclass(frozen=True)
class Failure:
    """Why a run ended: the task, the host, the reason in words and the exit code that fits."""

    task: str
    host: str
    reason: str
    code: Exit
    #: Whether the host could not be reached.
    unreachable: bool = False


@dataclass(frozen=True)
class Result:
    """What a run did. `published` is what its roles gave to set_stats, `seconds` the wall time."""

    failure: Failure | None
    changed: int
    seconds: float
    published: Mapping[str, Any]
    log: Path
