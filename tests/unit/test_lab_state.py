"""What the lab makes of hosts that ended while its API was away."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest

from lab import state

KILLED = 137


class Stopped(SimpleNamespace):
    """An instance as `believe_hosts` sees it."""

    def ended_inside(self, code: int, again: bool) -> None:
        self.did.append(f"ended inside: {code}, {again}")

    def reboot(self) -> None:
        self.did.append("reboots")


@pytest.mark.parametrize(
    ("before", "code", "did"),
    [
        ("running", state.HALTED, ["ended inside: 130, False"]),
        ("running", state.REBOOTED, ["reboots"]),
        ("running", KILLED, ["stopped", "unmounted"]),
        # By the lab: a stop, and a halt for an image.
        ("stopping", state.HALTED, ["stopped", "unmounted"]),
        ("halted", state.HALTED, ["stopped", "unmounted"]),
        ("stopped", state.HALTED, []),
    ],
)
def test_a_host_that_ended_while_no_one_listened(monkeypatch: pytest.MonkeyPatch, before: str, code: int, did: list[str]) -> None:
    instance = found(monkeypatch, before, code)
    state.believe_hosts(moving=True)
    assert instance.did == did


def test_a_host_that_the_lab_reboots_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = found(monkeypatch, "running", state.HALTED)
    monkeypatch.setattr(state.World, "rebooting", {"i-1"})
    state.believe_hosts()
    assert (instance.did, instance._state.name) == ([], "running")


def found(monkeypatch: pytest.MonkeyPatch, before: str, code: int) -> Any:
    """An instance in this state, whose host's first process ended so."""
    states = {"running": state.RUNNING, "halted": state.RUNNING, "stopping": state.STOPPING, "stopped": state.STOPPED}
    instance: Any = Stopped(id="i-1", did=[], halted=before == "halted", _state=copy.copy(states[before]))
    hosts = SimpleNamespace(
        running=lambda: {"i-1": False}, ended=lambda _: code, unmount=lambda instance_id: instance.did.append("unmounted")
    )
    monkeypatch.setattr(state.World, "hosts", hosts, raising=False)
    monkeypatch.setattr(state, "everyone", lambda: iter([instance]))
    monkeypatch.setattr(state, "save", lambda: None)
    monkeypatch.setattr(state.Instance, "stop", lambda self: self.did.append("stopped"))
    return instance
