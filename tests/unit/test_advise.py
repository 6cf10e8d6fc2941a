"""Which memory is asked for, and what is said of types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slipway import advise, arguments
from slipway.advise import Need
from slipway.measurements import Measurements
from slipway.model import Exit, RefusalError, Result

FITTED = {"weights": {"base": 200.0, "array": 1.5, "rows": 2.0}, "error": 0.08, "most_rows": 10_000, "most_array_mib": 100.0, "shapes": 6}
CURRENT = {"type": "t2.micro", "memory_mib": 1024, "price_per_hour": 0.0188, "changes": True}
SMALL = {"type": "t3a.small", "memory_mib": 2048, "price_per_hour": 0.026, "changes": True}
DEAR = {"type": "x.small", "memory_mib": 2048, "price_per_hour": None, "changes": True}


def shape(folder: Path, *words: str, rows: list[dict[str, Any]] | None = None, fitted: dict[str, Any] | None = None) -> Need:
    kept = Measurements(folder, list(rows or []))
    (folder / "models.json").write_text(json.dumps({"SVC": fitted} if fitted else {}))
    return advise._of_shape(arguments.parse(["advise", *words, "--model", "SVC"]), kept)


def told(need: Need, *types: dict[str, Any], limit: int = 364, machine: int | None = 1300) -> dict[str, Any]:
    """The document for this need, by what the roles publish."""
    fits = {"limit_mib": limit, "machine_mib": machine, "most_mib": None if machine else 304, "beside": ["redis"], "stacks": ["adult"]}
    published = {"fits": fits, "advice": {"types": list(types), "current": CURRENT}, "instance": {"type": "t2.micro"}}
    return advise._document(arguments.parse(["advise", "--peak", "1"]), need, Result(None, 0, 1.0, published, Path()))


def test_a_shape_that_was_measured_needs_what_it_needed(tmp_path: Path) -> None:
    row = {"rows": 1000, "cols": 20, "model": "SVC", "ended": "done", "needed_mib": 300}
    need = shape(tmp_path, "--rows", "1000", "--cols", "20", rows=[row], fitted=FITTED)
    assert (need.how, need.peak_mib, need.asked_mib) == ("measured", 300, 315)


def test_another_shape_is_predicted_with_the_error_on_shapes_that_were_held_out(tmp_path: Path) -> None:
    need = shape(tmp_path, "--rows", "8192", "--cols", "1024", fitted=FITTED)
    # 64 MiB, and half a MiB for the rows.
    assert (need.how, need.peak_mib) == ("predicted", 200 + 96 + 1)
    assert need.asked_mib == round(297 * 1.08)
    unknown = shape(tmp_path, "--rows", "8192", "--cols", "1024", fitted=FITTED | {"error": None})
    assert unknown.asked_mib == round(297 * 1.2)


@pytest.mark.parametrize(
    ("words", "fitted", "said"),
    [
        (["--rows", "1000", "--cols", "20"], None, "too few shapes of SVC were measured"),
        (["--rows", "20001", "--cols", "20"], FITTED, "far beyond what was measured, 10000 rows"),
        (["--rows", "10000", "--cols", "3000"], FITTED, "far beyond what was measured, 10000 rows and 100 MiB"),
    ],
)
def test_without_a_measurement_there_is_no_number_but_what_to_measure(
    words: list[str], fitted: dict[str, Any] | None, said: str, tmp_path: Path
) -> None:
    with pytest.raises(RefusalError, match=said) as refused:
        shape(tmp_path, *words, fitted=fitted)
    assert f"measure {' '.join(words)} --models SVC" in str(refused.value)
    assert refused.value.code is Exit.REFUSED


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--rows", "1"],
        ["--rows", "1", "--cols", "1"],
        ["--model", "SVC"],
        ["--peak", "1", "--rows", "1"],
        ["--peak", "0"],
        ["a.ipynb", "--peak", "1"],
    ],
)
def test_wrong_words_of_advise_are_bad_input(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advise.lab, "need", lambda _options: None)
    with pytest.raises(RefusalError) as refused:
        advise.advise(arguments.parse(["advise", *words]))
    assert refused.value.code is Exit.BAD_INPUT


def test_advice_names_the_cheapest_type_its_price_and_what_to_type() -> None:
    document = told(Need("that", "given", 500, 0.0), SMALL, DEAR)
    assert document["take"] == {"type": "t3a.small", "memory_mib": 2048, "price_per_hour": 0.026, "changes": True, "delta_per_hour": 0.0072}
    assert document["commands"] == ["python orchestrate.py resize t3a.small"]
    text = advise.text(document)
    assert "Jupyter has 364 MiB, where it would be out of memory" in text
    assert "Machine   1300 MiB or more leave Jupyter so much beside redis, adult" in text
    assert "Take      t3a.small (2048 MiB, 0.0260 USD per hour), +0.0072 USD per hour" in text
    assert "Else      x.small (2048 MiB, price unknown)" in text


def test_what_fits_stays_where_nothing_is_cheaper() -> None:
    document = told(Need("that", "measured", 300, 0.05), CURRENT)
    assert document["fits"]
    assert document["commands"] == []
    assert "Stay      on t2.micro" in advise.text(document)


def test_if_the_machine_has_the_memory_and_jupyter_does_not_a_deploy_is_advised() -> None:
    document = told(Need("that", "given", 360, 0.0), CURRENT, limit=300, machine=1000)
    assert (document["fits"], document["enough"], document["commands"]) == (False, True, ["python orchestrate.py up"])
    assert "Stay      on t2.micro: it has that" in advise.text(document)


def test_if_no_machine_or_type_is_enough_that_is_said() -> None:
    capped = advise.text(told(Need("that", "given", 500, 0.0), machine=None))
    assert "memory_mib: 304 in slipway.yml keeps Jupyter below that" in capped
    huge = advise.text(told(Need("that", "given", 10**7, 0.0), machine=10**7))
    assert "of this zone has that. Run fewer services" in huge


def test_a_type_of_another_architecture_is_advised_as_a_new_machine() -> None:
    document = told(Need("that", "given", 500, 0.0), SMALL | {"type": "t4g.small", "changes": False})
    assert document["commands"] == ["python orchestrate.py up --type t4g.small --name NAME"]
    assert "a new machine with a name of its own" in advise.text(document)


def executed(folder: Path, stamp: str, **facts: Any) -> None:
    (folder / "runs").mkdir(exist_ok=True)
    known = {
        "notebook": "ipynb/a.ipynb",
        "state": "done",
        "exit_code": 0,
        "needed_mib": 250,
        "limit_mib": 364,
        "begun": "2026-01-01T12:00:00",
    }
    (folder / "runs" / f"{stamp}-a.ipynb").write_text(
        json.dumps({"metadata": {"slipway": known | {"parameters": {}} | facts}, "cells": []})
    )


def of_notebook(folder: Path, given: list[str] | None = None) -> Need:
    return advise._of_notebook(arguments.parse(["advise", "a.ipynb"]), folder, "ipynb/a.ipynb", given)


def test_a_notebook_needs_what_its_last_run_did(tmp_path: Path) -> None:
    executed(tmp_path, "20260101T120000", needed_mib=250)
    executed(tmp_path, "20260102T120000", needed_mib=300, parameters={"rows": 1000, "scale": 0.5})
    executed(tmp_path, "20260103T120000", needed_mib=900, state="running", exit_code=None)
    executed(tmp_path, "20260103T130000", needed_mib=200, exit_code=1)
    executed(tmp_path, "20260103T140000", needed_mib=200, exit_code=143)
    executed(tmp_path, "20260104T120000", needed_mib=900, notebook="ipynb/b.ipynb")
    assert of_notebook(tmp_path).peak_mib == 300
    assert of_notebook(tmp_path, []).peak_mib == 250
    assert of_notebook(tmp_path, ["rows=1e3", "scale=5e-1"]).peak_mib == 300
    with pytest.raises(RefusalError, match=r"No run of ipynb/a.ipynb with these parameters has been measured"):
        of_notebook(tmp_path, ["rows=2000", "scale=0.5"])


def test_a_notebook_that_died_is_given_twice_the_memory(tmp_path: Path) -> None:
    executed(tmp_path, "20260101T120000", exit_code=137)
    need = of_notebook(tmp_path)
    assert (need.how, need.asked_mib) == ("doubled", 728)
    assert "nobody has seen its peak" in advise.text(told(need, SMALL))


def test_the_line_to_type_has_what_the_run_had_by_which_the_need_is_known(tmp_path: Path) -> None:
    executed(tmp_path, "20260101T120000", exit_code=137, parameters={"rows": 1000, "name": "two words"}, kernel="ir")
    options = arguments.parse(["advise", "a.ipynb"])
    commands = advise._commands(options, of_notebook(tmp_path), SMALL, "t2.micro", fitting=False, enough=False)
    assert commands[1] == "python orchestrate.py run a.ipynb -p rows=1000 -r 'name=two words' -k ir --on t3a.small"
    executed(tmp_path, "20260102T120000")
    commands = advise._commands(options, of_notebook(tmp_path), SMALL, "t2.micro", fitting=False, enough=False)
    assert commands[1] == "python orchestrate.py run a.ipynb --on t3a.small"


def test_a_notebook_that_never_ran_has_no_number(tmp_path: Path) -> None:
    with pytest.raises(
        RefusalError, match=r"No run of ipynb/a.ipynb has been measured. Each run to the end measures: python orchestrate.py run"
    ):
        of_notebook(tmp_path)


@pytest.mark.parametrize(
    "metadata", ["[]", '{"metadata": []}', '{"metadata": {"slipway": [1, 2]}}', '{"metadata": {"slipway": {"exit_code": 0}}}', "nothing"]
)
def test_a_run_whose_record_was_edited_counts_for_nothing(metadata: str, tmp_path: Path) -> None:
    executed(tmp_path, "20260101T120000", needed_mib=250)
    (tmp_path / "runs" / "20260102T120000-a.ipynb").write_text(metadata)
    assert of_notebook(tmp_path).peak_mib == 250


def test_what_is_to_be_typed_has_the_project_and_the_parameters_as_a_shell_takes_them(tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    options = arguments.parse(["advise", "--project", str(folder), "--rows", "1000", "--cols", "20", "--model", "SVC"])
    with pytest.raises(RefusalError) as refused:
        advise._of_shape(options, Measurements(tmp_path, []))
    assert f"measure '{folder}' --rows 1000" in str(refused.value)
    options = arguments.parse(["run", "a.ipynb", "-p", "name=two words"])
    with pytest.raises(RefusalError) as refused:
        advise._of_notebook(options, folder, "ipynb/a.ipynb", options.parameter)
    assert f"run '{folder}/ipynb/a.ipynb' -p 'name=two words'" in str(refused.value)
