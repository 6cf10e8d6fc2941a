"""What the lab makes of hosts that ended while its API was away."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab import root_volumes, state
from lab.machine_images import LabAmi
from lab.rules import RefusalError

KILLED = 137


class Stopped(SimpleNamespace):
    """An instance as `believe_hosts` sees it."""

    def ended_inside(self, code: int, again: bool) -> None:
        self.did.append(f"ended inside: {code}, {again}")

    def reboot(self) -> None:
        self.did.append("reboots")


class Backend(SimpleNamespace):
    """A region as it is read back from the state."""

    def all_instances(self) -> list[Any]:
        return list(self.instances)


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
def test_a_host_that_ended_while_the_lab_was_away_is_followed(
    monkeypatch: pytest.MonkeyPatch, before: str, code: int, did: list[str]
) -> None:
    instance = found(monkeypatch, before, code)
    state.believe_hosts(moving=True)
    assert instance.did == did


def test_a_host_that_the_lab_reboots_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = found(monkeypatch, "running", state.HALTED)
    monkeypatch.setattr(state.World, "rebooting", {"i-1"})
    state.believe_hosts()
    assert (instance.did, instance._state.name) == ([], "running")


def test_what_an_earlier_process_was_making_has_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    images = [kept(LabAmi, ready=ready, _state="available") for ready in (math.inf, 1.0)]
    tasks = [root_volumes.Task("i-1", "snap-1", "", False, state=now) for now in ("pending", "in-progress", "succeeded")]
    amis = dict(enumerate([*images, SimpleNamespace(state="available")]))
    before = Backend(amis=amis, instances=[SimpleNamespace(replacements=tasks), SimpleNamespace()])
    (tmp_path / "state").write_bytes(pickle.dumps({"regions": {"us-east-1": before}, "launched": {}}))
    backends: dict[str, dict[str, Any]] = {state.DEFAULT_ACCOUNT_ID: {}}
    monkeypatch.setattr(state, "ec2_backends", backends)
    monkeypatch.setattr(state, "believe_hosts", lambda moving: None)
    monkeypatch.setattr(state.World, "lab", SimpleNamespace(state_file=tmp_path / "state"), raising=False)
    state.restore()
    backend = backends[state.DEFAULT_ACCOUNT_ID]["us-east-1"]
    tasks = backend.instances[0].replacements
    assert [image.state for image in backend.amis.values()] == ["failed", "available", "available"]
    assert [task.state for task in tasks] == ["failed-detached", "failed-detached", "succeeded"]
    assert [bool(task.complete) for task in tasks] == [True, True, False]


def test_a_root_that_is_too_large_is_refused_and_makes_no_task() -> None:
    block = SimpleNamespace(volume_id="vol-1")
    instance = SimpleNamespace(
        id="i-1", replacements=(), first_snapshot="snap-1", root_device_name="/dev/sda1", block_device_mapping={"/dev/sda1": block}
    )
    backend: Any = SimpleNamespace(
        get_instance=lambda _: instance,
        get_volume=lambda name: SimpleNamespace(id=name, size=8),
        get_snapshot=lambda name: SimpleNamespace(id=name, volume_size=9),
    )
    with pytest.raises(RefusalError, match="is larger than"):
        root_volumes.create({"InstanceId": "i-1"}, backend)
    assert instance.replacements == ()


def kept(kind: type, **fields: Any) -> Any:
    """An object as it is read back from the state."""
    made = object.__new__(kind)
    vars(made).update(fields)
    return made


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
