"""The lock, between processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slipway import lock
from tests.conftest import PROJECT

HOLD = "import sys, time; from pathlib import Path; from slipway import lock\nwith lock.held(Path(sys.argv[1]), 'a test'):\n"
SHARE = "    import subprocess; subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]])\n"
PLAY = HOLD.partition("with")[0] + "lock.share(Path(sys.argv[1])); print('shared', flush=True); time.sleep(3)"
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


def test_machines_of_the_lab_share_one_and_those_of_aws_do_not(tmp_path: Path) -> None:
    assert lock.path(tmp_path, "lab", "a") == lock.path(tmp_path, "lab", "../b")
    assert lock.path(tmp_path, "aws", "a") != lock.path(tmp_path, "aws", "b")
    assert lock.path(tmp_path, "aws", "../../b").parent == tmp_path / "locks"
