"""Words that end before any playbook starts."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slipway import arguments, cli, lock, unfinished
from slipway.cli import main
from tests.conftest import PROJECT


def test_without_an_environment_one_line_names_the_command_that_makes_it(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "orchestrate.py", tmp_path)
    shutil.copytree(PROJECT / "slipway", tmp_path / "slipway")
    done = subprocess.run(["/usr/bin/env", "python3", "orchestrate.py", "status"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "make .venv" in done.stderr


def test_a_python_whose_starter_sets_variables_is_entered_once(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "orchestrate.py", tmp_path)
    (tmp_path / "slipway").symlink_to(PROJECT / "slipway")
    starter = tmp_path / ".venv" / "bin" / "python"
    starter.parent.mkdir(parents=True)
    # As Nix' is: of 20 starts the last would end the test.
    starter.write_text(
        f"#!/bin/sh\necho x >>{tmp_path}/starts\n[ $(wc -l <{tmp_path}/starts) -lt 20 ] || exit 9\n"
        f'export PYTHONNOUSERSITE=true VIRTUAL=1\nexec {sys.executable} -c "import sys; sys.prefix = {str(tmp_path / ".venv")!r}; '
        "sys.argv = sys.argv[1:]; import runpy; sys.path.insert(0, '.'); runpy.run_path(sys.argv[0], run_name='__main__')\" \"$@\"\n"
    )
    starter.chmod(0o755)
    done = subprocess.run([sys.executable, "orchestrate.py", "upp"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "'upp' cannot be used" in done.stderr) == (2, True)
    assert (tmp_path / "starts").read_text() == "x\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "COMMAND"),
        (["upp"], "'upp' cannot be used. Allowed: up, new, stop, start, resize"),
        (["up", "--typ=t2.micro", "--nonsense"], "--nonsense"),
        (["run", "x.ipynb", "-y", "{a: 1, a: 2}"], "a is given twice"),
        (["logs", "--tail", "ten"], "--tail: 'ten' cannot be used"),
        (["--target", "gcp", "up"], "--target: 'gcp' cannot be used. Allowed: lab, aws."),
        (["lab", "upp"], "'upp' cannot be used. Allowed: up, down, status, reset, aws."),
    ],
)
def test_wrong_words_end_with_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    "words", [["--target", "aws", "--json", "--yes", "destroy", "x"], ["destroy", "x", "--target", "aws", "--json", "--yes"]]
)
def test_an_option_means_the_same_before_and_after_the_command(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool, bool]] = []

    def destroy(options: argparse.Namespace) -> int:
        seen.append((options.target, options.json, options.yes))
        return 0

    monkeypatch.setitem(cli._COMMANDS, "destroy", destroy)
    assert main(words) == 0
    assert seen == [("aws", True, True)]


@pytest.mark.parametrize(
    "word", ["", " ", "twin", "i-", "i-12345678 ", "i-0A1B2C3D", "i-0a1b2c3d4", "i-0a1b2c3d4e5f6071z", "i-\u0660a1b2c3d"]
)
def test_what_is_no_instances_id_is_refused(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    # An empty one would mean the machine.
    assert main(["destroy", "slipway", "--instance", word]) == 2
    assert "i-0a1b2c3d4e5f60718" in capsys.readouterr().err


REDIS = str(PROJECT / "examples" / "jupyter-redis")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reseed", REDIS], "has no postgres. Allowed: a project with postgres among its services; it has jupyter, redis."),
        (["reseed", REDIS, "--volume", "jupyter-redis_postgres_data"], "has no postgres."),
        (["deploy", REDIS, "--scale", "worker=2"], "--scale: cannot be used. Allowed: for a project with worker among its services"),
        (["logs", "--project", "../.."], "PROJECT: '../..' cannot be used. Allowed: a project's folder, with a slipway.yml, or its name"),
        (["rest", "../.."], "PROJECT: '../..' cannot be used."),
        (["remove", "a\nb"], "PROJECT: 'a\\nb' cannot be used."),
        (["runs", "{{ 7*7 }}"], "PROJECT: '{{ 7*7 }}' cannot be used."),
        (["run", f"{REDIS}/ipynb/20261124-share-a-key.ipynb", "-p", "a=1", "-p", "a=2"], "a is given twice."),
    ],
)
def test_what_the_project_does_not_have_is_refused_before_the_machine_is_asked(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--target", "aws", *words]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


def test_logs_may_begin_with_what_comes() -> None:
    assert arguments.parse(["logs", "--tail", "0", "--follow"]).tail == 0


@pytest.mark.parametrize(("parent", "expected"), [(0, 1), (1, 1), (2, 0)])
def test_the_first_process_of_a_container_waits_for_its_keepers(parent: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[Path] = []
    monkeypatch.setattr(os, "getppid", lambda: parent)
    monkeypatch.setattr(lock, "given_back", waits.append)
    monkeypatch.setitem(cli._COMMANDS, "status", lambda _: 3)
    monkeypatch.setattr(unfinished, "first", lambda options, command: command(options))
    assert main(["status"]) == 3
    assert len(waits) == expected
