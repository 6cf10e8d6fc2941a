"""What was killed for memory: what people read of it, and the line to type that would make it fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slipway import killed, render

WHEN = "2026-05-01T12:10:03+00:00"


def death(who: str, notebook: str | None = None, times: int = 1, when: str | None = WHEN, peak: int | None = 364) -> dict[str, Any]:
    return {"who": who, "notebook": notebook, "times": times, "when": when, "limit_mib": 364, "peak_mib": peak}


def document(*deaths: dict[str, Any], service: str = "jupyter", fit_type: str | None = "t2.small", **more: Any) -> dict[str, Any]:
    facts = {"state": "running", "health": "healthy", "memory_limit_mib": 364, "out_of_memory": bool(deaths), "killed": list(deaths)}
    instance = {"id": "i-0", "type": "t2.micro", "state": "running"}
    published = {"instance": instance, "services": {service: facts}, "fit_mib": 1510, "fit_type": fit_type}
    return killed.complete(render.status_document("lab", published, None), lambda verb: f"python orchestrate.py {verb} --name x", **more)


@pytest.mark.parametrize(
    ("service", "dead", "line"),
    [
        (
            "jupyter",
            death("kernel", "work/big data é.ipynb"),
            "the kernel of work/big data é.ipynb (2026-05-01 12:10:03 UTC): the limit is 364 MiB, the peak was 364 MiB",
        ),
        ("jupyter", death("kernel", times=3), "a kernel without a notebook, in jupyter (3 times, last 2026-05-01 12:10:03 UTC): the limit"),
        ("postgres", death("process", when=None), "a process in postgres: the limit is 364 MiB, the peak was 364 MiB"),
        ("worker-2", death("process", times=2, when=None), "a process in worker-2 (2 times): the limit"),
        ("mongo", death("service", peak=None), "mongo itself (2026-05-01 12:10:03 UTC): the limit is 364 MiB, the peak was unknown"),
        ("jupyter", death("kernel", "work/{who}\x1b[2J\n.ipynb"), "the kernel of work/{who}?[2J?.ipynb ("),
    ],
)
def test_each_is_one_line(service: str, dead: dict[str, Any], line: str) -> None:
    lines = killed.lines(document(dead, service=service))
    assert lines[0].startswith(f"Killed    {line}")
    assert lines[1:] == [
        "Memory    What ran out of it would have twice its limit on t2.small (1510 MiB or more):",
        "          python orchestrate.py resize t2.small --name x",
    ]


def notebook(folder: Path, name: str, source: str = "ipynb/big data.ipynb", **told: Any) -> Path:
    path = folder / "runs" / name
    path.parent.mkdir(exist_ok=True)
    facts = {"notebook": source, "begun": WHEN, "place": "cell 2 of 5", "limit_mib": 364, "peak_mib": 363, "exit_code": 137}
    path.write_text(json.dumps({"cells": [], "metadata": {"slipway": facts | told}}))
    return path


def test_of_each_notebook_the_last_run_counts(tmp_path: Path) -> None:
    assert killed.of_runs(tmp_path) == []
    notebook(tmp_path, "20260501T120000-big data.ipynb")
    notebook(tmp_path, "20260501T120001.481516-mended.ipynb", source="ipynb/mended.ipynb")
    notebook(tmp_path, "20260501T120002-mended.ipynb", exit_code=0)
    notebook(tmp_path, "20260501T120003-running.ipynb", exit_code=None)
    (tmp_path / "runs" / "20260501T120004-edited.ipynb").write_text("{")
    (tmp_path / "runs" / "20260501T120005-older.ipynb").write_text('{"metadata": {}}')
    (tmp_path / "runs" / "mine.ipynb").write_text("[]")
    (run,) = killed.of_runs(tmp_path)
    assert (run["who"], run["notebook"], run["cell"], run["limit_mib"], run["peak_mib"]) == (
        "run",
        "ipynb/big data.ipynb",
        "cell 2 of 5",
        364,
        363,
    )
    assert killed.starved([run]) == {"jupyter": 364}
    assert killed.starved([]) == {}


def test_a_run_that_died_is_told_with_the_lines_that_would_do(tmp_path: Path) -> None:
    (tmp_path / "ipynb").mkdir()
    (tmp_path / "ipynb" / "big data.ipynb").touch()
    notebook(tmp_path, "20260501T120000-big data.ipynb")
    lines = killed.lines(document(folder=tmp_path, runs=killed.of_runs(tmp_path)))
    assert (
        lines[0]
        == "Killed    the run of ipynb/big data.ipynb, cell 2 of 5 (2026-05-01 12:10:03 UTC): the limit is 364 MiB, the peak was 363 MiB"
    )
    assert lines[2:] == [
        "          python orchestrate.py resize t2.small --name x",
        f"          python orchestrate.py run --name x '{tmp_path}/ipynb/big data.ipynb' --on t2.small",
    ]
    # The same of a kernel, whose path is Jupyter's; once for both, and not for a notebook that is on the machine only.
    here, there = death("kernel", "work/ipynb/big data.ipynb"), death("kernel", "work/only there.ipynb")
    whole = document(here, there, folder=tmp_path, runs=killed.of_runs(tmp_path))
    assert len(whole["fit"]["commands"]) == 2


def test_the_run_is_made_again_with_its_parameters_and_its_kernel(tmp_path: Path) -> None:
    (tmp_path / "ipynb").mkdir()
    (tmp_path / "ipynb" / "big data.ipynb").touch()
    notebook(tmp_path, "20260501T120000-big data.ipynb", parameters={"n": 3, "name": "007"}, kernel="my env's")
    (run,) = killed.of_runs(tmp_path)
    assert run["kernel"] == "my env's"
    _, again = document(folder=tmp_path, runs=[run])["fit"]["commands"]
    assert again.endswith("""big data.ipynb' -p n=3 -r name=007 -k 'my env'"'"'s' --on t2.small""")
    # Text that was written there by hand names no kernel.
    notebook(tmp_path, "20260501T120001-big data.ipynb", kernel=["x"])
    assert " -k " not in document(folder=tmp_path, runs=killed.of_runs(tmp_path))["fit"]["commands"][1]


def test_a_run_is_not_told_where_jupyter_has_more_by_now(tmp_path: Path) -> None:
    notebook(tmp_path, "20260501T120000-big data.ipynb", limit_mib=363)
    assert document(folder=tmp_path, runs=killed.of_runs(tmp_path))["out_of_memory"] == []


def test_where_the_machine_has_the_memory_no_other_is_asked_for(tmp_path: Path) -> None:
    assert document(death("process"), fit_type="t2.micro")["fit"]["commands"] == ["python orchestrate.py up --name x"]
    mine = document(death("process"), fit_type="t2.micro", folder=tmp_path, most_mib=390)
    assert killed.lines(mine)[2:] == [
        "          Raise memory_mib in slipway.yml first, which is 390.",
        f"          python orchestrate.py deploy --name x {tmp_path}",
    ]


def test_where_no_type_is_large_enough_something_else_is_named() -> None:
    whole = document(death("process"), fit_type=None)
    assert "on a machine of 1510 MiB or more." in killed.lines(whole)[1]
    assert "run fewer services" in killed.lines(whole)[2]
    # `up` has not looked for one.
    assert len(killed.lines(whole | {"changed": 0})) == 2
