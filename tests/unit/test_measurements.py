"""The measurements that are kept, and which of them are still to be made."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from slipway import arguments, measure, measurements
from slipway.measurements import Measurements
from slipway.model import Exit, RefusalError

SHAPES = [(100, 20), (1000, 20)]
MODELS = ["SVC"]


def row(rows: int, cols: int, model: str | None = None, ended: str = "done", limit: int = 364) -> dict[str, Any]:
    return {
        "rows": rows,
        "cols": cols,
        "model": model,
        "ended": ended,
        "needed_mib": 200,
        "peak_mib": 250,
        "limit_mib": limit,
        "use_mib": 150,
        "seconds": 1.0,
        "allowed_seconds": 300,
    }


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measurements:
    monkeypatch.setattr(measurements, "STATE", tmp_path)
    return Measurements.of("lab", "registry.lab:5000/slipway/jupyter@sha256:00ff")


def missing(kept: Measurements, limit: int = 364, seconds: int = 300) -> list[str]:
    return [" ".join(words) for words in kept.missing(SHAPES, MODELS, limit, seconds)]


def test_arrays_come_first_and_models_of_those_that_there_are(kept: Measurements) -> None:
    found = []
    for words in kept.missing(SHAPES, MODELS, 364, 300):
        found.append(" ".join(words))
        if words == ["baselines"]:
            kept.add([{"baseline": "no notebook", "use_mib": 90}, {"baseline": "notebook running", "use_mib": 130}])
        else:
            died = words == ["1000", "20"]
            kept.add([row(int(words[0]), int(words[1]), (words[2:] or [None])[0], "out of memory" if died else "done")])
    assert found == ["baselines", "100 20", "1000 20", "100 20 SVC"]
    assert missing(kept) == []


def test_what_was_measured_stays_where_the_command_is_killed(kept: Measurements) -> None:
    kept.add([row(100, 20)])
    again = Measurements.of("lab", "registry.lab:5000/slipway/jupyter@sha256:00ff")
    assert missing(again) == ["baselines", "1000 20", "100 20 SVC"]
    assert Measurements.of("lab", "another").rows == []


def test_what_another_machine_adds_meanwhile_stays(kept: Measurements) -> None:
    beside = Measurements.of("lab", "registry.lab:5000/slipway/jupyter@sha256:00ff")
    kept.add([row(100, 20)])
    beside.add([row(1000, 20)])
    kept.add([row(100, 20, "SVC")])
    rows = Measurements.of("lab", "registry.lab:5000/slipway/jupyter@sha256:00ff").rows
    assert [(each["rows"], each["model"]) for each in rows] == [(100, None), (1000, None), (100, "SVC")]


def test_what_dies_on_a_small_machine_does_not_replace_what_ended_on_a_large_one(kept: Measurements) -> None:
    beside = Measurements.of("lab", "registry.lab:5000/slipway/jupyter@sha256:00ff")
    kept.add([row(100, 20, ended="out of memory"), row(1000, 20)])
    # Both measure it at once; the large one is done first.
    beside.add([row(100, 20, limit=2668)])
    kept.add([row(100, 20, ended="out of memory")])
    beside.add([row(1000, 20, limit=2668)])
    beside.add([row(5000, 20, ended="cut", limit=2668)])
    kept.add([row(5000, 20, ended="out of memory")])
    assert kept.found((None, 5000, 20, None))["limit_mib"] == 2668
    assert [(each["rows"], each["ended"], each["limit_mib"]) for each in beside.rows[:2]] == [(100, "done", 2668), (1000, "done", 2668)]


def test_what_died_is_measured_again_where_there_is_more_memory(kept: Measurements) -> None:
    kept.add([{"baseline": "no notebook"}, row(100, 20), row(1000, 20), row(100, 20, "SVC"), row(1000, 20, "SVC", "out of memory")])
    assert missing(kept) == []
    assert missing(kept, 1132) == ["1000 20 SVC"]
    kept.add([row(1000, 20, "SVC", "cut", 1132)])
    assert missing(kept, 2668) == []
    # What was cut may take longer.
    assert missing(kept, 2668, 301) == ["1000 20 SVC"]
    # At its limit it had no chance.
    kept.add([row(1000, 20, "SVC", "cut", 1132) | {"peak_mib": 1132}])
    assert missing(kept, 1132) == []
    assert missing(kept, 2668) == ["1000 20 SVC"]


def test_forgotten_ones_are_made_again_and_others_stay(kept: Measurements) -> None:
    kept.add([{"baseline": "no notebook"}, *(row(rows, 20, model) for rows in (100, 1000, 5000) for model in (None, "SVC"))])
    kept.forget(SHAPES, MODELS)
    assert [(each["rows"], each["model"]) for each in kept.rows] == [(5000, None), (5000, "SVC")]


def test_the_files_hold_every_measurement(kept: Measurements) -> None:
    kept.add([row(100, 20), row(100, 20, "SVC", "out of memory")])
    files = kept.report({"SVC": {"weights": {}}}, b"\x89PNG")
    assert [each["ended"] for each in json.loads(Path(files["json"]).read_text())] == ["done", "out of memory"]
    with Path(files["csv"]).open() as file:
        assert [line["ended"] for line in csv.DictReader(file)] == ["done", "out of memory"]
    assert Path(files["png"]).read_bytes() == b"\x89PNG"
    assert kept.models() == {"SVC": {"weights": {}}}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rows", "100"], "--rows and --cols belong together"),
        (["--cols", "100"], "--rows and --cols belong together"),
        (["--rows", "9", "--cols", "20"], "--rows: '9' cannot be used. Allowed: a whole number, 10 to 100000000."),
        (["--rows", "100", "--cols", "0"], "--cols: '0' cannot be used. Allowed: a whole number, 1 to 1000000."),
        (["--models", "svc"], "--models: 'svc' cannot be used. Allowed: KNeighborsClassifier, "),
        (["--seconds", "0"], "--seconds: '0' cannot be used. Allowed: a whole number, 1 to 86400."),
    ],
)
def test_bad_input_is_refused_before_the_machine_is_asked(words: list[str], said: str) -> None:
    with pytest.raises(RefusalError, match=said.replace("(", r"\(")) as refused:
        measure.measure(arguments.parse(["measure", *words]))
    assert refused.value.code is Exit.BAD_INPUT


def test_measure_without_words_measures_all_of_the_tables() -> None:
    shapes, models, seconds = measure._wanted(arguments.parse(["measure"]))
    assert (shapes[0], shapes[-1], len(shapes), len(models), seconds) == ((100, 20), (100_000, 2000), 6, 4, 300)
