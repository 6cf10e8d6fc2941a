"""A pull of more than 100 MB: asked at a terminal, refused in a script, and left on the machine by `run`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slipway import arguments, batch, lab, plays, projects, render
from slipway.model import Exit, Failure, RefusalError, Result
from slipway.render import Progress
from slipway.runs import Choice
from tests.conftest import PROJECT

EXAMPLE = PROJECT / "examples" / "adult"
MINE = Choice(None, "adult-run-0b1c2d3e4f50")
WAITING = {"files": 2, "bytes": 412_000_000}
REASON = "2 files, 412 MB, wait on the machine, and nothing was fetched: that is more than 100 MB. The largest: models/."


class Machine:
    """Plays that have 412 MB to fetch, and what they were asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def play(self, _verb: str, _playbook: str, _options: Any, variables: dict[str, Any], *_more: Any, **_named: Any) -> Result:
        self.asked.append(variables["project_most_mb"])
        sync = {"direction": "pull", "moved": [], "removed": [], "left": {}, "told": [], "conflicts": [], "bytes": 0, "ignored": {}}
        instance = {"id": "i-0", "type": "t2.micro", "state": "running"}
        if variables["project_most_mb"]:
            failure = Failure("project : Tell why", "slipway", REASON, Exit.REFUSED)
            return Result(failure, 0, 1.0, {"sync": sync, "waiting": WAITING, "instance": instance}, Path("log"))
        return Result(None, 1, 1.0, {"sync": sync | {"moved": ["models/a"], "bytes": 412_000_000}, "instance": instance}, Path("log"))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    found = Machine()
    monkeypatch.setattr(plays, "play", found.play)
    monkeypatch.setattr(plays, "STATE", tmp_path)
    monkeypatch.setattr(lab, "need", lambda _options: None)
    return found


def test_a_script_is_refused_with_the_line_to_type(machine: Machine) -> None:
    with pytest.raises(RefusalError) as refused:
        projects.sync(arguments.parse(["pull", str(EXAMPLE), "--overwrite"]))
    assert str(refused.value) == f"{REASON} To fetch it: python orchestrate.py pull {EXAMPLE} --overwrite --yes"
    assert refused.value.code is Exit.REFUSED
    assert machine.asked == [100]


def test_executed_notebooks_that_have_come_are_told_all_the_same(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"name": "adult-run-1", "project": "adult", "notebook": "ipynb/a.ipynb", "output": "runs/1-a.ipynb", "digest": "1"}
    told = {"state": "ended", "exit_code": 2, "said": "no kernel is called ir", "parameters": [], **names}
    answer = machine.play

    def play(*given: Any, **more: Any) -> Result:
        found = answer(*given, **more)
        return replace(found, published={**found.published, "ended_runs": [told]})

    monkeypatch.setattr(plays, "play", play)
    with pytest.raises(RefusalError):
        projects.sync(arguments.parse(["pull", str(EXAMPLE)]))
    assert capsys.readouterr().err.count("adult-run-1 has ended, and left no executed notebook: no kernel is called ir") == 1


@pytest.mark.parametrize("flag", ["--yes", "--dry-run"])
def test_yes_and_a_dry_run_are_not_asked(machine: Machine, capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert projects.sync(arguments.parse(["pull", str(EXAMPLE), flag])) is Exit.DONE
    assert machine.asked == [0]
    assert "Files     1 fetched, 412 MB: models/a" in capsys.readouterr().out


@pytest.mark.parametrize(("word", "asked"), [("y", [100, 0]), ("", [100])])
def test_at_a_terminal_it_is_asked(machine: Machine, monkeypatch: pytest.MonkeyPatch, word: str, asked: list[int]) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _question: word)
    options = arguments.parse(["pull", str(EXAMPLE)])
    if word:
        assert projects.sync(options) is Exit.DONE
    else:
        with pytest.raises(RefusalError, match=r"^The files stay on the machine\.$"):
            projects.sync(options)
    assert machine.asked == asked


def test_a_push_has_no_such_limit(machine: Machine) -> None:
    assert projects.sync(arguments.parse(["push", str(EXAMPLE)])) is Exit.DONE
    assert machine.asked == [0]


def test_a_run_leaves_it_there_and_says_how_it_comes(machine: Machine, tmp_path: Path) -> None:
    notebook = next((EXAMPLE / "ipynb").glob("*.ipynb"))
    options = arguments.parse(["run", str(notebook)])
    wanted = batch.job(options)
    back = batch.fetch(options, tmp_path, wanted.output, Progress())
    assert back.failure is None
    document = batch.document(options, wanted, 0, back, MINE)
    assert document["waiting"] == WAITING | {"command": f"python orchestrate.py pull {EXAMPLE}"}
    json.dumps(document)
    text = render.run_text(document, EXAMPLE)
    assert "Left      2 files, 412 MB, stay on the machine: more than a run fetches unasked.\n          Fetch them with: python " in text
    all_of_it = batch.fetch(arguments.parse(["run", str(notebook), "--yes"]), tmp_path, wanted.output, Progress())
    assert batch.document(options, wanted, 0, all_of_it, MINE)["waiting"] is None
