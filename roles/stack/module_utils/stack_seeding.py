"""Whether PostgreSQL's first start still runs the project's files, and is worth waiting for: pure, of what was seen of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.stack_blame import blame, has_failed

#: Of one processor, between two looks: an idle server and its health check take less, one that works takes more.
WORKS = 0.02


@dataclass(frozen=True)
class Limits:
    """Seconds: how long the first start may take, and how long it may do nothing meanwhile."""

    whole: float
    idle: float


@dataclass(frozen=True)
class Seen:
    """One look at PostgreSQL's container, with what is remembered of those before.

    `began` and `at` are times in seconds, `cpu` the processor's seconds that it has used so far, `said` what its first start does, empty
    if that is over; `moved` is when it was last seen to do something.
    """

    began: float
    at: float
    cpu: float
    said: str
    moved: float

    def after(self, at: float, cpu: float, said: str) -> Seen:
        """The next look."""
        works = said != self.said or cpu - self.cpu >= WORKS * (at - self.at)
        return Seen(self.began, at, cpu, said, at if works else self.moved)


def state(services: Mapping[str, Mapping[str, Any]], asked: Sequence[str], seen: Seen, limits: Limits, first: bool) -> str:
    """`done` if all are healthy, `failed` if one has failed, `none` if no first start goes on at the `first` look.

    Else `seeding`; `idle` if PostgreSQL has done nothing for too long, and `late` if all of it takes too long.
    """
    found = blame(services, asked)
    if not found.failed:
        return "done"
    if any(has_failed(services[name]) for name in found.failed):
        return "failed"
    if first and not seen.said:
        return "none"
    if seen.at - seen.began > limits.whole:
        return "late"
    return "idle" if seen.at - seen.moved > limits.idle else "seeding"


def told(state: str, seen: Seen, limits: Limits) -> str:
    """What people read of it."""
    if state == "seeding":
        doing, until = seen.said or "Its first start is over.", f"for {limits.whole:.0f} s in all"
        return f"PostgreSQL is not ready after {seen.at - seen.began:.0f} s. {doing} Waiting as long as it works, {until}."
    if state == "idle":
        return f"PostgreSQL has done nothing for {limits.idle:.0f} s (stack_seed_idle_seconds). {seen.said}".strip()
    if state == "late":
        more = "It goes on there, and `deploy` waits for it again."
        return f"PostgreSQL is not ready after {limits.whole:.0f} s (stack_seed_seconds). {seen.said} {more}"
    return ""
