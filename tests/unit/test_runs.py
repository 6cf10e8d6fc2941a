"""Batch runs as the machine tells of them: which one a command joins, fetches or begins, and what is told."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from slipway import runs
from slipway.runs import Choice, Run
from tests.modules import load

machine = load("stack_runs")
HERE = Path("/home/ann/survey")
DIGEST = "0b1c2d3e4f50a1b2c3"
NAME = "survey-run-0b1c2d3e4f50"
OUTPUT = "runs/20260501T120003.481516-a.ipynb"


def run(state: str = "running", name: str = NAME, **more: Any) -> Run:
    ended = {"exit_code": 0, "ended": "2026-05-01T12:10:00.5Z"} if state == "ended" else {"exit_code": None, "ended": None}
    facts = {"out_of_memory": False, "begun": "2026-05-01T12:00:00.5Z", "said": None, "notebook": "ipynb/a.ipynb", "kernel": None}
    names = {
        "name": name,
        "project": "survey",
        "digest": DIGEST,
        "origin": runs.origin(HERE),
        "place": runs.place(HERE),
        "output": OUTPUT,
        "parameters": ("rows=7",),
    }
    return Run(**{"state": state, **facts, **ended, **names, **more})


ELSEWHERE = {"origin": "ann@desk:/home/ann/survey", "place": "elsewhere"}


@pytest.mark.parametrize(
    ("found", "joined", "name"),
    [
        ([], None, NAME),
        ([run()], 0, NAME),
        # Its command was killed before it began: the same command begins it.
        ([run("created")], 0, NAME),
        # Its results were not fetched, or not wholly.
        ([run("ended")], 0, NAME),
        ([run("ended", exit_code=1)], 0, NAME),
        # What goes on counts first.
        ([run("ended"), run(name=f"{NAME}-1")], 1, f"{NAME}-1"),
        ([run(**ELSEWHERE)], 0, NAME),
        ([run("ended", **ELSEWHERE)], 0, NAME),
        ([run(digest="another"), run("ended", digest="another too")], None, NAME),
    ],
    ids=[
        "none",
        "goes on",
        "made and not begun",
        "ended",
        "failed",
        "two of them",
        "goes on, from elsewhere",
        "ended, from elsewhere",
        "others",
    ],
)
def test_the_same_command_joins_its_run_or_begins_one_under_a_free_name(found: list[Run], joined: int | None, name: str) -> None:
    assert runs.choose(found, "survey", DIGEST, HERE) == Choice(None if joined is None else found[joined], name, joined=joined is not None)


def test_another_one_begins_if_it_is_asked_for() -> None:
    assert runs.choose([run()], "survey", DIGEST, HERE, again="20260501T130000.1") == Choice(None, f"{NAME}-20260501T130000.1")


def test_what_was_begun_elsewhere_and_is_here_is_begun_again_under_a_free_name(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / OUTPUT).write_text("{}")
    there = run("ended", **ELSEWHERE)
    assert runs.choose([there], "survey", DIGEST, tmp_path) == Choice(None, f"{NAME}-1")
    both = [there, replace(there, name=f"{NAME}-1")]
    assert runs.choose(both, "survey", DIGEST, tmp_path) == Choice(None, f"{NAME}-2")
    # In the folder that it was begun from, a run has come when the machine has forgotten it.
    mine = replace(there, place=runs.place(tmp_path))
    assert runs.choose([mine], "survey", DIGEST, tmp_path) == Choice(mine, NAME, joined=True)


def project(folder: Path, source: str = "1", **more: Any) -> Path:
    (folder / "ipynb").mkdir(parents=True, exist_ok=True)
    cell = {"cell_type": "code", "source": source, "outputs": [], "execution_count": None, "metadata": {}} | more
    (folder / "ipynb/a.ipynb").write_text(json.dumps({"cells": [cell], "metadata": {"kernelspec": {"name": "python3"}}}))
    (folder / "lib").mkdir(exist_ok=True)
    (folder / "lib/stores.py").write_text("x = 1\n")
    return folder


def told(folder: Path, words: list[str] | None = None, kernel: str | None = None) -> str:
    return runs.digest(folder, Path("ipynb/a.ipynb"), words or [], kernel)


def test_a_pipe_in_lib_is_not_waited_for(tmp_path: Path) -> None:
    folder = project(tmp_path)
    os.mkfifo(folder / "lib" / "pipe")
    assert told(folder) == told(folder)


def test_another_notebook_parameter_kernel_or_module_makes_another_run(tmp_path: Path) -> None:
    folder = project(tmp_path)
    first = told(folder)
    others = {told(folder, ["a=1"]), told(folder, ["--text=a=1"]), told(folder, kernel="ir"), told(project(folder, "2"))}
    project(folder)
    (folder / "lib/stores.py").write_text("x = 2\n")
    others.add(told(folder))
    project(folder)
    (folder / "lib/new.py").write_text("")
    others.add(told(folder))
    (folder / "lib/new.py").unlink()
    notebook = folder / "ipynb/a.ipynb"
    notebook.write_text(notebook.read_text().replace("python3", "ir"))
    others.add(told(folder))
    # Almost a notebook: all of its bytes count.
    notebook.write_text("{")
    others.add(told(folder))
    assert len(others) == 8
    assert first not in others


def test_outputs_caches_and_editors_files_make_no_other_run(tmp_path: Path) -> None:
    folder = project(tmp_path)
    first = told(folder, ["a=1", "b=2"])
    project(folder, source=["1"], outputs=[{"output_type": "stream", "text": "x"}], execution_count=7)  # type: ignore[arg-type]
    (folder / "lib/__pycache__").mkdir()
    (folder / "lib/__pycache__/stores.cpython-312.pyc").write_bytes(b"1")
    (folder / "data.csv").write_text("1")
    for name in (".DS_Store", ".stores.py.swp", "stores.py~", "#stores.py#", "run.log"):
        (folder / "lib" / name).write_text("x")
    assert told(folder, ["b=2", "a=1"]) == first


def test_odd_files_in_lib_are_told_apart(tmp_path: Path) -> None:
    folder = project(tmp_path)
    seen = {told(folder)}
    (folder / "lib/gone").symlink_to("nowhere")
    seen.add(told(folder))
    (Path(str(folder / "lib") + "/a\udcff\n'{{ 7*7 }}")).write_text("")
    seen.add(told(folder))
    # A link to a folder above it has no end.
    (folder / "lib/loop").symlink_to("..", target_is_directory=True)
    seen.add(told(folder))
    (folder / "lib/sub").mkdir()
    (folder / "lib/sub/stores.py").write_text("x = 1\n")
    seen.add(told(folder))
    assert len(seen) == 5


@pytest.mark.parametrize(
    ("one", "ago", "says"),
    [
        (run(), timedelta(minutes=12), "running for 12 min"),
        (run("created", begun=None), timedelta(), "made, and not begun"),
        (run("ended"), timedelta(hours=1), "every cell ran, 60 min ago"),
        (run("ended", exit_code=1), timedelta(hours=5), "failed, 5 h ago"),
        (run("ended", exit_code=137, out_of_memory=True), timedelta(days=3), "out of memory, 3 days ago"),
        # The machine has lost its power, or it was killed: no fault of its memory.
        (run("ended", exit_code=137), timedelta(), "ended from outside"),
        (run("ended", exit_code=255), timedelta(), "ended from outside"),
        (run("ended", exit_code=3), timedelta(), "ended with 3"),
        (run("ended", exit_code=130), timedelta(), "stopped"),
    ],
)
def test_a_runs_state_is_told_with_its_time(one: Run, ago: timedelta, says: str) -> None:
    # Some seconds more are the same number of minutes.
    then = (datetime.now(UTC) - ago - timedelta(seconds=2)).isoformat()
    timed = replace(one, begun=one.begun and then, ended=one.ended and then)
    assert says in runs.how(runs.document(timed))


def command(verb: str) -> str:
    return f"python orchestrate.py {verb}"


def test_each_is_told_with_what_to_type() -> None:
    going = run(parameters=("rows=7", "--text=month=01 é", "--yaml=a: 'x'"), kernel="ir")
    refused = run("ended", exit_code=2, said="no kernel is called ir\x1b[31m", **ELSEWHERE)
    text = "\n".join(runs.lines(map(runs.document, (going, run("ended"), refused)), command))
    assert f"Run       {NAME}: ipynb/a.ipynb -p rows=7 -r 'month=01 é' -y 'a: '\"'\"'x'\"'\"'' -k ir" in text
    assert f"Stop it: python orchestrate.py runs --stop {NAME}" in text
    assert f"begun from {runs.origin(HERE)}" in text
    assert f"Fetch them: python orchestrate.py runs {HERE} --pull" in text
    # Which folder here has that project is not known.
    assert "Fetch them: python orchestrate.py runs PROJECT --pull" in text
    assert "no kernel is called ir?[31m" in text
    assert runs.lines([runs.document(refused)], command, Path("/home/ann/my survey"))[-1].endswith("runs '/home/ann/my survey' --pull")


def inspected(**more: Any) -> dict[str, Any]:
    """As the engine tells of a container."""
    state = {
        "Status": "exited",
        "ExitCode": 0,
        "OOMKilled": False,
        "StartedAt": "2026-05-01T12:00:05.4Z",
        "FinishedAt": "2026-05-01T12:10:00Z",
    }
    told = runs.labels(DIGEST, OUTPUT, Path("ipynb/a.ipynb"), ["x={{ 7*7 }}", "--yaml=a: [1, 2]"], None, HERE)
    labels = {"com.docker.compose.project": "survey", **told} | more.pop("labels", {})
    return {"Name": f"/{NAME}", "Created": "2026-05-01T12:00:04Z", "State": state | more, "Config": {"Labels": labels}}


NEVER = "0001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("more", "state", "code", "memory"),
    [
        ({}, "ended", 0, False),
        ({"Status": "running", "FinishedAt": NEVER}, "running", None, False),
        ({"Status": "paused", "FinishedAt": NEVER}, "running", None, False),
        ({"Status": "created", "StartedAt": NEVER, "FinishedAt": NEVER}, "created", None, False),
        ({"ExitCode": 137, "OOMKilled": True}, "ended", 137, True),
        ({"ExitCode": 137}, "ended", 137, False),
        ({"Status": "dead", "ExitCode": 255}, "ended", 255, False),
        ({"labels": {"slipway.run.parameters": "{"}}, "ended", 0, False),
    ],
)
def test_a_runs_facts_arrive_as_the_machine_tells_them(more: dict[str, Any], state: str, code: int | None, memory: bool) -> None:
    facts = machine.facts(inspected(**more))
    assert (facts["state"], facts["exit_code"], facts["out_of_memory"]) == (state, code, memory)
    # It arrives as it was told.
    (found,) = runs.of({"batch_runs": [facts]})
    assert (found.digest, found.output, found.origin, found.name) == (DIGEST, OUTPUT, runs.origin(HERE), NAME)
    assert found.parameters == (() if more.get("labels") else ("x={{ 7*7 }}", "--yaml=a: [1, 2]"))


def test_a_container_with_labels_of_another_program_is_no_run() -> None:
    facts = machine.facts(inspected(labels={"slipway.run.digest": ""}))
    assert runs.of({"batch_runs": [facts]}) == []
    assert not machine.is_run({"Labels": {"com.docker.compose.oneoff": "True"}})
    assert not machine.is_run({"Labels": None})
    assert runs.of({}) == []


def test_what_is_here_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / OUTPUT).write_text("{}")
    mine = run("ended", origin=runs.origin(tmp_path), place=runs.place(tmp_path))
    fetched = run("ended", origin=f"ann@desk:{tmp_path}", place="elsewhere")
    assert runs.waiting([run(), mine, fetched]) == [run(), mine]


def test_what_has_arrived_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    done = {"state": "done", "exit_code": 0, "notebook": "ipynb/a.ipynb"}
    (tmp_path / OUTPUT).write_text(json.dumps({"metadata": {"slipway": done}}))
    (line,) = runs.arrived([run("ended")], tmp_path)
    assert line == f"{NAME} has ended. Executed: {tmp_path / OUTPUT}"
    (line,) = runs.arrived([run("ended", output="runs/none.ipynb", exit_code=2, said="no kernel is called ir")], tmp_path)
    assert line == f"{NAME} has ended, and left no executed notebook: no kernel is called ir"


def test_what_another_folder_began_waits_for_that_one(tmp_path: Path) -> None:
    told = {
        "name": NAME,
        "project": "survey",
        "state": "ended",
        "exit_code": 0,
        "notebook": "ipynb/a.ipynb",
        "parameters": [],
        "digest": DIGEST,
    }
    theirs, mine = (
        told | {"place": "elsewhere", "output": "runs/1-a.ipynb"},
        told | {"place": runs.place(tmp_path), "output": "runs/2-a.ipynb"},
    )
    published = {"ended_runs": [theirs, mine]}
    assert [run.output for run in runs.brought(published, tmp_path, runs.executed_here(tmp_path))] == ["runs/1-a.ipynb", "runs/2-a.ipynb"]
    (tmp_path / "runs").mkdir()
    for name in ("1-a.ipynb", "2-a.ipynb", "notes.txt"):
        (tmp_path / "runs" / name).write_text("{}")
    assert runs.executed_here(tmp_path) == {"runs/1-a.ipynb", "runs/2-a.ipynb"}
    assert [run.output for run in runs.brought(published, tmp_path, runs.executed_here(tmp_path))] == ["runs/2-a.ipynb"]
