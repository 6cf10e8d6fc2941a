"""The lock, between processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible import context

from slipway import lock
from slipway.callback import slipway_lock
from tests.conftest import PROJECT

HOLD = "import sys, time; from pathlib import Path; from slipway import lock\nwith lock.held(Path(sys.argv[1]), 'a test'):\n"
SHARE = "    import subprocess; subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]])\n"
PLAY = HOLD.partition("with")[0] + (
    "from contextlib import ExitStack\nheld = ExitStack(); lock.share(Path(sys.argv[1]), held)\nprint('shared', flush=True); time.sleep(3)"
)
READY = "    print('held', flush=True); time.sleep(60)\n"


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", *words], cwd=PROJECT, stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_the_second_is_told_the_first_and_gets_it_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "x.lock"
    first = start(HOLD + READY, str(path))
    assert line(first) == "held"
    with pytest.raises(lock.HeldError, match=rf"a test \(process {first.pid}, since 20"), lock.held(path, "mine"):
        pass
    first.kill()
    first.wait()
    with lock.held(path, "mine"):
        assert f'"pid": {os.getpid()}' in path.read_text()


def test_a_play_keeps_the_lock_of_its_killed_wrapper(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    wrapper = start(HOLD + SHARE + READY, str(path), PLAY)
    assert {line(wrapper), line(wrapper)} == {"held", "shared"}
    wrapper.kill()
    wrapper.wait()
    with pytest.raises(lock.HeldError), lock.held(path, "mine"):
        pass
    deadline = time.monotonic() + 30
    while True:
        try:
            with lock.held(path, "mine"):
                return
        except lock.HeldError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_each_machine_has_a_lock_of_its_own(tmp_path: Path) -> None:
    assert lock.path(tmp_path, "aws", "../../b").parent == tmp_path / "locks"
    assert lock.path(tmp_path, "aws", "a") != lock.path(tmp_path, "lab", "a")
    for target in ("lab", "aws"):
        with lock.held(lock.path(tmp_path, target, "a"), "mine"), lock.held(lock.path(tmp_path, target, "b"), "another"):
            pass


def test_the_lab_is_removed_only_when_no_command_works_on_one_of_its_machines(tmp_path: Path) -> None:
    machines = [lock.path(tmp_path, "lab", name) for name in ("a", "b", "c")]
    lab = lock.of_lab(tmp_path)
    with lock.held(machines[2], "command c"):
        pass
    with lock.held(lab, "lab down"):
        for wanted in (machines[0], lab):
            with pytest.raises(lock.HeldError, match=r"on the lab: lab down \("), lock.held(wanted, "mine"):
                pass
    with lock.held(machines[0], "command a"), lock.held(machines[1], "command b"):
        with pytest.raises(lock.HeldError, match="on the lab") as refused, lock.held(lab, "lab down"):
            pass
        assert "command a (process" in str(refused.value)
        assert "command b (process" in str(refused.value)
        assert "command c" not in str(refused.value)
        assert "lab down" not in str(refused.value)
    with lock.held(lab, "lab down"):
        pass


def test_a_play_keeps_the_lab_of_its_killed_wrapper(tmp_path: Path) -> None:
    path = lock.path(tmp_path, "lab", "a")
    wrapper = start(HOLD + SHARE + READY, str(path), PLAY)
    assert {line(wrapper), line(wrapper)} == {"held", "shared"}
    wrapper.kill()
    wrapper.wait()
    with pytest.raises(lock.HeldError, match=r"a test \(process"), lock.held(lock.of_lab(tmp_path), "lab down"):
        pass
    with lock.held(lock.path(tmp_path, "lab", "b"), "another"):
        pass


def test_who_wants_it_alone_waits_for_the_first_to_end(tmp_path: Path) -> None:
    path, waited = lock.of_folder(tmp_path, tmp_path), []
    first = start(HOLD.replace("lock.held(Path(sys.argv[1]), 'a test')", "lock.alone(Path(sys.argv[1]))") + READY, str(path))
    assert line(first) == "held"

    def waiting() -> None:
        waited.append(first.poll())
        first.kill()

    with lock.alone(path, waiting):
        assert first.wait() == -9
    with lock.alone(path, waiting):
        pass
    assert waited == [None]


@pytest.mark.parametrize(
    ("playbook", "expected"),
    [
        ("deploy.yml", ["here", "in EC2"]),
        # What only this computer has, and what ends another command's lock.
        ("open.yml", ["here"]),
        ("unlock.yml", ["here"]),
        ("status.yml", []),
    ],
)
def test_only_plays_that_change_a_machine_keep_other_computers_out(
    playbook: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    took: list[str] = []
    monkeypatch.setattr(slipway_lock.CallbackModule, "_take", lambda *_: took.append("here"))
    monkeypatch.setattr(slipway_lock.CallbackModule, "_keep", lambda *_: took.append("in EC2"))
    monkeypatch.setattr(context, "CLIARGS", {})
    callback = slipway_lock.CallbackModule()
    callback._playbook = playbook
    callback.v2_playbook_on_play_start(None)
    assert took == expected
