"""Which run of the tests bakes an image, and how often."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab import image_sets
from lab.config import BadInputError
from tests import machines


def items(*files: str) -> Any:
    return [SimpleNamespace(path=Path("tests", file)) for file in files]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Apart from the run that this test is part of."""
    monkeypatch.setenv(image_sets.VARIABLE, f"tests-{os.getpid()}-own")
    monkeypatch.setattr(machines._Run, "many", machines._Run.many)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(image_sets, "_SETS", tmp_path / "images")


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ([], 0),
        (["unit/a.py", "unit/b.py", "lab/c.py", "images/d.py", "molecule/e.py"], 0),
        (["e2e/a.py"] * 9, 0),
        ([f"e2e/{name}.py" for name in "abcd"], 0),
        ([f"e2e/{name}.py" for name in "abcde"], 1),
    ],
)
def test_a_run_of_few_machines_bakes_nothing(files: list[str], wanted: int) -> None:
    machines.count(items(*files))
    baked: list[bool] = []
    machines.once(lambda: baked.append(True))
    assert len(baked) == wanted


def test_a_run_of_one_worker_bakes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(image_sets.VARIABLE)
    machines.count(items(*(f"e2e/{name}.py" for name in "abcde")))
    machines.once(lambda: pytest.fail("it has baked"))


def test_one_bakes_and_the_others_wait_for_it() -> None:
    machines.count(items(*(f"e2e/{name}.py" for name in "abcde")))
    said: list[str] = []

    def bake() -> None:
        said.append("begun")
        time.sleep(0.2)
        said.append("baked")

    def worker() -> None:
        machines.once(bake)
        said.append("made")

    threads = [threading.Thread(target=worker) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert said == ["begun", "baked", "made", "made", "made"]


def test_one_that_fails_is_not_tried_again() -> None:
    machines.count(items(*(f"e2e/{name}.py" for name in "abcde")))
    with pytest.raises(ZeroDivisionError):
        machines.once(lambda: print(1 // 0))
    machines.once(lambda: pytest.fail("it was tried again"))


@pytest.mark.parametrize("name", ["..", "a/b", "A", "-a", "a b", "a" * 41])
def test_a_name_that_cannot_be_a_folders_is_bad_input(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(image_sets.VARIABLE, name)
    with pytest.raises(BadInputError, match="Allowed"):
        image_sets.asked()


def test_the_sets_of_runs_that_are_gone_are_removed_and_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for name in (f"tests-{ended.pid}", f"tests-{os.getppid()}", "mine"):
        image_sets.folder(name).mkdir(parents=True)
    controller = machines.Controller()
    assert image_sets.names() == sorted([f"tests-{os.getppid()}", "mine"])
    assert os.environ[image_sets.VARIABLE] == f"tests-{os.getpid()}"
    image_sets.folder(f"tests-{os.getpid()}").mkdir()
    controller.pytest_unconfigure()
    assert image_sets.names() == sorted([f"tests-{os.getppid()}", "mine"])
