"""What a batch run is called, and how its results wait for another command's sync."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from slipway import arguments, batch, lock, new, plays
from slipway.render import Progress


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    new.make("survey", ("jupyter",))
    return next((tmp_path / "survey" / "ipynb").glob("*.ipynb"))


def test_two_runs_that_begin_at_once_have_results_of_their_own(notebook: Path) -> None:
    jobs = [batch.job(arguments.parse(["run", str(notebook), "--name", name])) for name in ("a", "b")]
    assert len({job.output for job in jobs}) == 2
    for job in jobs:
        # As in 20260501T120003.481516-NAME.ipynb.
        assert job.output.partition("-")[2] == notebook.name


def test_while_another_command_syncs_the_folder_nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plays, "STATE", tmp_path)
    options = arguments.parse(["run", "a.ipynb"])
    with lock.alone(lock.of_folder(tmp_path, tmp_path / "survey")):
        # As the larger machine of a burst does: it comes back first.
        at_once = batch.fetch(options, tmp_path / "survey", "runs/x-a.ipynb", Progress(), wait=False)
        assert at_once.failure
        assert at_once.failure.reason == (
            f"Another command is syncing the folder {tmp_path / 'survey'}. runs/x-a.ipynb stays on the machine."
        )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_wait_that_is_interrupted_is_a_result_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(plays, "STATE", tmp_path)
    options = arguments.parse(["run", "a.ipynb"])
    with lock.alone(lock.of_folder(tmp_path, tmp_path / "survey")):
        threading.Timer(0.3, os.kill, (os.getpid(), number)).start()
        ended = batch.fetch(options, tmp_path / "survey", "runs/x-a.ipynb", Progress())
    assert ended.failure
    assert ended.failure.reason.startswith("Interrupted, while another command was syncing")


@pytest.mark.parametrize("stem", ["first", "n" * 249, "分析" * 41, "é" * 120 + "x"])
def test_the_executed_copy_of_a_notebook_has_a_name_that_a_file_can_have(stem: str) -> None:
    job = batch.Job(Path("/p"), "p", Path("ipynb", f"{stem}.ipynb"), [], "20261130T132614.123456")
    name = Path(job.output).name
    # rsync receives it under a name with a dot before and seven characters after it.
    assert len(name.encode()) <= 255 - len(".XXXXXX.")
    assert name.startswith(f"20261130T132614.123456-{stem[:60]}")
    assert job.of("runs/20251130T132614.123456" + job._end).stamp == "20251130T132614.123456"
