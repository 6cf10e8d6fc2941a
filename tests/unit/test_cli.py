"""Words that end before any playbook starts."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from slipway import cli
from slipway.cli import main
from tests.conftest import PROJECT


def test_without_an_environment_one_line_names_the_command_that_makes_it(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "orchestrate.py", tmp_path)
    done = subprocess.run(["/usr/bin/env", "python3", "orchestrate.py", "status"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "make .venv" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "COMMAND"),
        (["upp"], "invalid choice: 'upp'"),
        (["up", "--typ=t2.micro", "--nonsense"], "--nonsense"),
        (["logs", "--tail", "ten"], "invalid int value: 'ten'"),
        (["--target", "gcp", "up"], "invalid choice: 'gcp'"),
        (["lab", "upp"], "invalid choice: 'upp'"),
    ],
)
def test_wrong_words_end_with_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert said in capsys.readouterr().err


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
    assert "Allowed: such as i-0a1b2c3d4e5f60718. Nothing was changed." in capsys.readouterr().err


@pytest.mark.parametrize("value", ["{{ 7*7 }}", "{% raw %}", "{# x #}"])
@pytest.mark.parametrize("option", ["--name", "--type", "--disk", "--key-file", "--region", "--services"])
def test_what_ansible_would_evaluate_is_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", option, value, "--json"]) == 2
    printed = capsys.readouterr()
    assert value in printed.err
    assert json.loads(printed.out)["code"] == 2
