"""Kernels and runs that are at work, in the words that refuse a stop."""

from __future__ import annotations

from typing import Any

import pytest

from tests.modules import load

at_work: Any = load("stack_at_work")


def kernel(path: str | None, state: str) -> dict[str, Any]:
    return {"path": path, "state": state}


@pytest.mark.parametrize(
    ("said", "busy"),
    [
        ([], []),
        ([kernel("work/a é.ipynb", "busy")], ["the kernel of work/a é.ipynb in survey"]),
        ([kernel(None, "busy")], ["a kernel without a notebook in survey"]),
        ([kernel("a.ipynb", state) for state in ("idle", "starting", "dead", "unknown")], []),
        ([kernel("\033[2Ja.ipynb", "busy"), kernel("b.ipynb", "idle")], ["the kernel of ?[2Ja.ipynb in survey"]),
    ],
)
def test_only_busy_kernels_are_at_work(said: list[dict[str, Any]], busy: list[str]) -> None:
    assert at_work.kernels("survey", said) == busy


STATE = {"Status": "running", "StartedAt": "2026-05-01T12:00:00Z", "ExitCode": 0, "OOMKilled": False}


@pytest.mark.parametrize(
    ("labels", "command", "said"),
    [
        (
            {"slipway.run.output": "runs/x.ipynb", "slipway.run.notebook": "ipynb/train.ipynb"},
            "",
            "the run c-1 of ipynb/train.ipynb in survey",
        ),
        ({}, "python -s /slipway/measure.py array 10 10", "a measurement (c-1) in survey"),
        ({}, "sleep 300", "the container c-1 in survey"),
    ],
)
def test_a_run_or_measurement_is_called_by_what_it_works_on(labels: dict[str, str], command: str, said: str) -> None:
    item = {"Labels": {"com.docker.compose.project": "survey", **labels}, "Names": ["/c-1"], "Command": command}
    inspected = {"State": STATE, "Config": {"Labels": item["Labels"]}, "Name": "/c-1", "Created": "2026-05-01T12:00:00Z"}
    assert at_work.run(item, inspected) == said
