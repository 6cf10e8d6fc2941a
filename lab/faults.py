"""Faults on demand: what tests ask the lab's API to do wrong, each bounded in number or time.

POST /slipway-lab/faults    one of these, as JSON
{"action": "StartInstances", "code": "InsufficientInstanceCapacity", "times": 2, "status": 500}
{"action": "DescribeInstances", "code": "RequestExpired", "clock": 3600}       EC2's clock, which differs by so many seconds
{"action": "StartInstances", "times": 0}                     no fault of this action any more
{"account": {"vcpus": 1, "plan": "FREE"}}                    another quota of virtual CPUs, another plan; {} is as before
{"action": "RunInstances", "lost": true, "times": 1}         done, and the connection closed without an answer
{"instance": ID, "does": "hang on stop", "seconds": 60}      stays `stopping` for so long
{"instance": ID, "does": "refuse ssh", "seconds": 30}        port 22 is closed, and opens again
{"instance": ID, "does": "hang on ssh", "seconds": 30}       connections are accepted, and no banner comes
{"instance": ID, "does": "cut network", "seconds": 30}       no packet reaches the host
{"instance": ID, "does": "lose power"}                       killed at once, nothing written any more; then `stopped`
{"volume": ID, "does": "let hours pass", "hours": 6}         since its last change
{"instance": ID, "does": "vanish"}                           gone with its disk; then `terminated`
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.account import DEFAULTS
from lab.rules import RefusalError

#: A test that forgets its fault must not spoil the next one for longer.
LONGEST_SECONDS = 600


class LostReplyError(ConnectionError):
    """The request was carried out, and its answer must not arrive, as when a network breaks."""


class AskedError(RefusalError):
    """A refusal that a test asked for; `clock` is how many seconds EC2's clock is ahead of this machine's."""

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        code = str(wanted["code"])
        busy = code in ("RequestLimitExceeded", "Unavailable")
        super().__init__(code, f"Asked for by a test: {code}", int(wanted.get("status", 503 if busy else 400)))
        self.clock = float(wanted.get("clock", 0))


@dataclass
class Faults:
    """The faults that were asked for and are still to come."""

    refusals: dict[str, list[RefusalError]] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    account: dict[str, Any] = field(default_factory=lambda: dict(DEFAULTS))
    slow_stops: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, wanted: Mapping[str, Any]) -> None:
        """Take a fault of an action. Raises KeyError or ValueError for one that is not in this module's list."""
        action, times = str(wanted["action"]), int(wanted.get("times", 1))
        if not 0 <= times <= 1000:
            raise ValueError(f"times: {times}. Allowed: 0 to 1000.")
        with self.lock:
            if times == 0:
                self.lost.pop(action, None)
                self.refusals.pop(action, None)
            elif wanted.get("lost"):
                self.lost[action] = times
            else:
                self.refusals[action] = [AskedError(wanted) for _ in range(times)]

    def before(self, action: str, dry_run: bool) -> None:
        """Raise what stands in front of this action. A dry run meets a missing permission, and nothing else."""
        with self.lock:
            waiting = self.refusals.get(action)
            if waiting and (not dry_run or waiting[-1].code == "UnauthorizedOperation"):
                raise waiting.pop()

    def after(self, action: str) -> None:
        """Raise LostReplyError where the answer of this action, which was carried out, must be lost."""
        with self.lock:
            if self.lost.get(action, 0) > 0:
                self.lost[action] -= 1
                raise LostReplyError

    def stop_takes(self, instance_id: str) -> float:
        """Seconds that the next stop of this instance hangs."""
        with self.lock:
            return self.slow_stops.pop(instance_id, 0)


def seconds(wanted: Mapping[str, Any]) -> float:
    """The time that a fault lasts. Raises ValueError where it is none, or longer than a test may."""
    value = float(wanted["seconds"])
    if not 0 < value <= LONGEST_SECONDS:
        raise ValueError(f"seconds: {value}. Allowed: more than 0, at most {LONGEST_SECONDS}.")
    return value


def hours(wanted: Mapping[str, Any]) -> float:
    """The hours that pass for a volume. Raises ValueError for less than none, or more than a week."""
    value = float(wanted["hours"])
    if not 0 < value <= 168:
        raise ValueError(f"hours: {value}. Allowed: more than 0, at most 168.")
    return value
