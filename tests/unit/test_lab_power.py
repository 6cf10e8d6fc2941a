"""Ends of the lab's hosts that the lab did not bring about."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from urllib3.exceptions import ProtocolError

from lab import power
from lab.hosts import INSTANCE_LABEL


class OverError(BaseException):
    """The end of the process, in which the watcher is."""


def test_the_watcher_outlives_the_engine_and_an_odd_event(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []
    odd: dict[str, Any] = {"Actor": {"Attributes": {}}}
    halt = {"Actor": {"Attributes": {INSTANCE_LABEL: "i-1", "exitCode": "130"}}}

    def events(**_: Any) -> Iterator[dict[str, Any]]:
        answers = iter(streams.pop(0))
        for each in answers:
            if isinstance(each, BaseException):
                raise each
            yield each

    # An engine that ends breaks the answer that it is giving: so docker-py's reader of events ends.
    streams: list[list[Any]] = [[ProtocolError("Response ended prematurely")], [odd], [halt], [OverError()]]
    monkeypatch.setattr(power.World, "lab", SimpleNamespace(id="slipway-1"), raising=False)
    monkeypatch.setattr(power, "_ended", lambda instance_id, code: seen.append((instance_id, code)))
    monkeypatch.setattr(power, "time", SimpleNamespace(time=lambda: 0.0, sleep=lambda _: None))
    with pytest.raises(OverError):
        power._watch(SimpleNamespace(events=events))  # type: ignore[arg-type]
    assert seen == [("i-1", 130)]
