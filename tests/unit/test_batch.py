"""What a batch run is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway import arguments, batch, new


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    new.make("survey", ("jupyter",))
    return next((tmp_path / "survey" / "ipynb").glob("*.ipynb"))


def test_two_runs_that_begin_at_once_have_results_of_their_own(notebook: Path) -> None:
    jobs = [batch.job(arguments.parse(["run", str(notebook), "--name", name])) for name in ("a", "b")]
    assert len({job.output for job in jobs}) == 2
    assert len({batch.container(job.project, job.stamp) for job in jobs}) == 2
    for job in jobs:
        # As in 20260501T120003.481516-NAME.ipynb.
        assert job.output.partition("-")[2] == notebook.name
