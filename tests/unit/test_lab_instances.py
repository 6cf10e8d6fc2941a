"""An instance of the lab whose host takes longer than EC2's answer."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from lab import instances


def test_groups_that_change_while_a_host_is_made_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    followed, made = threading.Event(), threading.Event()
    hosts = SimpleNamespace(close_door=lambda _, door: (told.append(door), followed.set()))
    monkeypatch.setattr(instances.World, "hosts", hosts, raising=False)
    monkeypatch.setattr(instances, "save", lambda: None)
    monkeypatch.setattr(instances, "PATIENCE_SECONDS", 0.01)
    instance = object.__new__(instances.LabInstance)
    instance.id, instance.door = "i-1", "closed"
    # As after ModifyInstanceAttribute, which moto has carried out meanwhile.
    monkeypatch.setattr(instances.LabInstance, "_door", lambda self: setattr(self, "door", "open") or "open")
    instance._carry_out(instances.PENDING, instances.RUNNING, instances.TERMINATED, lambda: made.wait(10) and None)
    assert instance._state.name == "pending"
    made.set()
    assert followed.wait(10)
    assert (instance._state.name, told) == ("running", ["open"])
