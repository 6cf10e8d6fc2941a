"""How a run is watched: a connection that is lost, and the ways to end a command. The `ssh` is a program that ends as it is told."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway import arguments, watch
from slipway.model import RefusalError
from slipway.signals import ToldToEndError

SSH = """#!/bin/bash
echo "$4" >> {folder}/lines
code=$(head -n 1 {folder}/codes); sed -i 1d {folder}/codes
[ "$code" = kill ] && kill -KILL $$
[ "$code" = wait ] && {{ : > {folder}/waits; exec sleep 60; }}
echo said; exit "$code"
"""
NAME = "survey-run-0b1c2d3e4f50"


@pytest.fixture
def options() -> argparse.Namespace:
    return arguments.parse(["run", "a.ipynb"])


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """An `ssh` that ends with these codes, one a call, and keeps its lines."""
    program = tmp_path / "bin/ssh"
    program.parent.mkdir()
    program.write_text(SSH.format(folder=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(watch, "_EVERY", 0.05)

    def ends(*codes: int | str) -> Path:
        (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes))
        return tmp_path / "lines"

    return ends


def test_a_connection_that_comes_back_shows_the_last_lines(
    ssh: Callable[..., Path], options: argparse.Namespace, capfd: pytest.CaptureFixture[str]
) -> None:
    # The engine is started again, too.
    lines = ssh(255, "kill", 253, 0)
    assert watch.follow(options, "/dev/null", NAME) == 0
    tails = re.findall(r"--tail (\S+)", lines.read_text())
    assert tails == ["all", "20", "20", "20"]
    assert capfd.readouterr().err.count(f"{NAME} goes on there. Trying again for 60 s.") == 1


@pytest.mark.parametrize(
    ("code", "says"), [(255, "The connection to the machine is lost."), (253, "The engine of the machine does not answer.")]
)
def test_a_connection_that_does_not_come_back_leaves_the_run(
    ssh: Callable[..., Path], options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch, code: int, says: str
) -> None:
    monkeypatch.setattr(watch, "RECONNECT_SECONDS", 0.2)
    ssh(*[code] * 50)
    with pytest.raises(watch.LeftError) as left:
        watch.follow(options, "/dev/null", NAME)
    assert (str(left.value), left.value.begun) == (says, True)


@pytest.mark.parametrize("code", [0, 1, 2, 137, 143, watch.GONE])
def test_the_command_ends_with_the_runs_exit_code(ssh: Callable[..., Path], options: argparse.Namespace, code: int) -> None:
    ssh(code)
    assert watch.follow(options, "/dev/null", NAME) == code


def in_the_wait(tmp_path: Path, number: int) -> threading.Thread:
    """Send the signal when the ssh is there."""

    def send() -> None:
        while not (tmp_path / "waits").exists():
            threading.Event().wait(0.02)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_told_to_end_leaves_its_run(
    ssh: Callable[..., Path], options: argparse.Namespace, tmp_path: Path, number: int
) -> None:
    lines = ssh("wait")
    sender = in_the_wait(tmp_path, number)
    with pytest.raises(watch.LeftError, match="The command was ended"):
        watch.follow(options, "/dev/null", NAME)
    sender.join()
    assert "docker stop" not in lines.read_text()


def test_ctrl_c_in_a_script_stops_the_run(options: argparse.Namespace, ssh: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    lines = ssh(0)
    watch.interrupted(options, "/dev/null", NAME, KeyboardInterrupt())
    assert lines.read_text() == f"timeout 60 docker stop --time 30 {NAME}\n"


@pytest.mark.parametrize(("answer", "stops"), [("y", True), ("n", False), ("", False), (KeyboardInterrupt(), False), (EOFError(), False)])
def test_ctrl_c_at_a_terminal_asks(
    options: argparse.Namespace, ssh: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, answer: str | BaseException, stops: bool
) -> None:
    def typed(question: str) -> str:
        assert f"Stop {NAME} too?" in question
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", typed)
    lines = ssh(0)
    if stops:
        watch.interrupted(options, "/dev/null", NAME, KeyboardInterrupt())
    else:
        with pytest.raises(watch.LeftError):
            watch.interrupted(options, "/dev/null", NAME, KeyboardInterrupt())
    assert lines.exists() == stops


def test_told_to_end_is_no_ctrl_c() -> None:
    with pytest.raises(watch.LeftError):
        watch.interrupted(arguments.parse(["run", "a.ipynb", "--yes"]), "/dev/null", NAME, ToldToEndError())


def begin(options: argparse.Namespace) -> watch.Begun:
    labels = {"slipway.run.output": "runs/1-a $(id).ipynb", "slipway.run.parameters": '["x={{ 7*7 }}"]'}
    return watch.begin(options, "/dev/null", "survey", NAME, labels, ["python", "a b.ipynb", "-x=$(id)"])


def test_a_run_begins_in_the_background_with_its_labels_and_quoted_words(ssh: Callable[..., Path], options: argparse.Namespace) -> None:
    lines = ssh(0)
    # What the machine says: another command's, if that was first.
    assert begin(options) == watch.Begun("said")
    line = lines.read_text()
    for words in (f"--name {NAME}", "--detach", "'slipway.run.output=runs/1-a $(id).ipynb'", "'a b.ipynb' '-x=$(id)'"):
        assert words in line


def test_a_begin_that_fails_is_refused_and_a_lost_one_is_left(ssh: Callable[..., Path], options: argparse.Namespace) -> None:
    ssh(1)
    with pytest.raises(RefusalError, match="The run cannot be begun"):
        begin(options)
    for lost in (255, "kill"):
        ssh(lost)
        with pytest.raises(watch.LeftError) as left:
            begin(options)
        assert not left.value.begun


DOCKER = """#!/bin/bash
case "$*" in
  inspect*) [ $(cat {folder}/inspected) = 0 ] && exec cat {folder}/inspect; cat {folder}/inspect >&2; exit 1 ;;
  ps*) cat {folder}/ps ;;
  logs*) echo said ;;
  wait*) cat {folder}/wait ;;
  *) echo "$*" >> {folder}/did ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lines are carried out here, with a `docker` that answers as its files say."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "docker").write_text(DOCKER.format(folder=tmp_path))
    # As sshd does, by the user's shell.
    (programs / "ssh").write_text('#!/bin/bash\nbash -c "$4"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(watch, "RECONNECT_SECONDS", 0.1)
    monkeypatch.setattr(watch, "_EVERY", 0.05)
    for name, text in {"inspect": "exited", "inspected": "0", "wait": "0", "ps": ""}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


OUTPUT = "runs/20260501T120003.481516-a $(id) {{ 7*7 }}.ipynb"


def test_a_run_that_does_not_go_on_is_not_found_in_its_own_question(machine: Path, options: argparse.Namespace) -> None:
    assert watch.found(options, "/dev/null", OUTPUT) == ("", False)
    (machine / "ps").write_text(f"{json.dumps('other')} {json.dumps('runs/1-b.ipynb')}\n")
    assert watch.found(options, "/dev/null", OUTPUT) == ("", False)


def test_one_that_goes_on_is_found_by_its_output(machine: Path, options: argparse.Namespace) -> None:
    (machine / "ps").write_text(f"{json.dumps('other')} {json.dumps('runs/1-b.ipynb')}\n{json.dumps(NAME)} {json.dumps(OUTPUT)}\n")
    assert watch.found(options, "/dev/null", OUTPUT) == (NAME, True)


def test_one_that_is_being_begun_is_found_without_a_name(machine: Path, options: argparse.Namespace) -> None:
    with subprocess.Popen(["bash", "-c", "sleep 30; true", "compose", OUTPUT]) as begins:
        try:
            assert watch.found(options, "/dev/null", OUTPUT) == ("", True)
        finally:
            begins.kill()


@pytest.mark.parametrize(
    ("inspect", "inspected", "wait", "code"),
    [
        ("exited", "0", "0", 0),
        ("exited", "0", "137", 137),
        # The machine lost its power.
        ("exited", "0", "255", 143),
        ("exited", "0", "253", 143),
        ("Error: No such object: x", "1", "", watch.GONE),
        ("Error response from daemon: no such container", "1", "", watch.GONE),
    ],
)
def test_the_machines_answer_decides_how_a_run_ended(
    machine: Path, options: argparse.Namespace, inspect: str, inspected: str, wait: str, code: int
) -> None:
    (machine / "inspect").write_text(f"{inspect}\n")
    (machine / "inspected").write_text(inspected)
    (machine / "wait").write_text(wait)
    # Docker's errors go to standard error, which the line reads too.
    assert watch.follow(options, "/dev/null", NAME) == code


def test_an_engine_that_does_not_answer_is_no_end(machine: Path, options: argparse.Namespace) -> None:
    (machine / "inspect").write_text("Cannot connect to the Docker daemon")
    (machine / "inspected").write_text("1")
    with pytest.raises(watch.LeftError, match="The engine of the machine does not answer"):
        watch.follow(options, "/dev/null", NAME)


def test_one_that_never_began_is_begun(machine: Path, options: argparse.Namespace) -> None:
    (machine / "inspect").write_text("created")
    assert watch.follow(options, "/dev/null", NAME) == 0
    assert (machine / "did").read_text() == f"start {NAME}\n"
