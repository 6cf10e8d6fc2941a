"""What a machine's memory holds is measured, and what follows from it is true."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from slipway.measurements import MODELS
from tests.conftest import PROJECT, Checkout
from tests.e2e.support.machines import SMALL, kind
from tests.e2e.support.refusals import changes

pytestmark = pytest.mark.xdist_group("faults")

STORES = {"mongo", "postgres", "redis"}
#: Of a t2.micro and a t2.medium, as `measure` has written them there. What a t2.micro cannot even make stays what it found itself.
RECORDED = [
    row for row in json.loads((PROJECT / "tests" / "unit" / "recorded" / "measurements.json").read_text()) if row.get("rows") != 100_000
]
#: What a t2.micro cannot make: the array alone.
BIGGEST = (None, 100_000, 2000, None)
#: What Jupyter may use beside its stores: on a machine of 1 GiB, and on one of 2.
LIMIT, LARGER = 364, 1132
#: Shapes whose models take some seconds: SVC's time grows with the square of the rows, a tree's with their logarithm.
ROWS, COLS = (400, 600, 800, 1000), (25_000, 35_000, 45_000)
PAIRS, SEED = 6, 2026


@pytest.fixture(scope="module")
def micro(machine: Checkout) -> Iterator[Checkout]:
    """A t2.micro with Jupyter and the three stores, and what was measured there. It ends as a larger type, which no other test expects."""
    assert kind(machine) == SMALL
    yield machine
    done = machine.orchestrate("destroy", "--yes")
    assert done.returncode == 0, done.stderr


def killed_in_between(here: Checkout, rows: int, *words: str) -> dict[str, Any]:
    """The document of `measure`, which was killed as soon as it had kept so many rows more, and then given again."""
    had = len(kept(here))
    python = here.path / ".venv" / "bin" / "python"
    command = [python, "orchestrate.py", "measure", *words]
    process = subprocess.Popen(command, cwd=here.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 300
    while len(kept(here)) < had + rows:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = kept(here)
    document = here.answer("measure", *words)
    # It went on where it was: what had been measured stays as it was.
    assert kept(here)[: len(before)] == before
    assert document["measured"] == len(kept(here)) - len(before) > 0
    return document


def file(here: Checkout) -> Path | None:
    return next((here.path / ".slipway" / "lab" / "measured").glob("*/memory.json"), None)


def shape(row: dict[str, Any]) -> tuple[Any, ...]:
    """Which measurement a row is of."""
    return tuple(row.get(name) for name in ("baseline", "rows", "cols", "model"))


def kept(here: Checkout) -> list[dict[str, Any]]:
    path = file(here)
    return list(json.loads(path.read_text())) if path else []


@pytest.mark.long
def test_one_measurement_fills_all_rows_of_both_tables(micro: Checkout) -> None:
    tables = killed_in_between(micro, 5)
    assert [row["baseline"] for row in tables["baselines"]] == ["no notebook", "notebook running", "scikit-learn imported"]
    assert len(tables["arrays"]) == 6
    assert len(tables["baselines"]) + len(tables["models"]) == 23
    the_biggest_died_alone(micro, tables)
    assert {row["ended"] for row in tables["arrays"][:-1]} == {"done"}
    assert {row["model"] for row in tables["models"] if row["ended"] == "done"} == set(MODELS)
    assert "SVC" not in tables["predictions"]
    for written in tables["files"].values():
        assert Path(written).stat().st_size > 0


def the_biggest_died_alone(micro: Checkout, tables: dict[str, Any]) -> None:
    """The largest shape had more than there is; every store lives, and nothing is left of it on the machine."""
    biggest = tables["arrays"][-1]
    assert (shape(biggest), biggest["ended"], biggest["limit_mib"]) == (BIGGEST, "out of memory", LIMIT)
    assert set(tables["services"].values()) == {"healthy"}
    services = micro.answer("status")["services"]
    assert set(services) > STORES
    assert not any(facts["out_of_memory"] for facts in services.values())
    assert "measure" not in micro.on_host("docker ps --all --format '{{.Names}}'")


def test_killed_in_between_it_goes_on_and_a_second_measurement_agrees(micro: Checkout) -> None:
    # 112 MB, of which a t2.micro bears the array and one of the models.
    words = ["--rows", "7000", "--cols", "2000", "--models", "LogisticRegression"]
    first = killed_in_between(micro, 1, *words)
    again = micro.answer("measure", "--again", *words)
    # The three baselines too.
    assert again["measured"] == 5
    for table in ("arrays", "models"):
        (old,), (new,) = first[table], again[table]
        assert (old["ended"], new["ended"]) == ("done", "done")
        assert abs(new["needed_mib"] / old["needed_mib"] - 1) <= 0.05, (old, new)


def test_without_a_measurement_there_is_no_number_but_what_to_measure(micro: Checkout) -> None:
    words = ["--rows", "4000", "--cols", "9000"]
    for model in ("SVC", "LogisticRegression"):
        refused = micro.orchestrate("advise", *words, "--model", model)
        assert refused.returncode == 3, refused.stdout
        assert f"python orchestrate.py measure {' '.join(words)} --models {model}" in refused.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["measure", "--rows", "100"], "--rows and --cols belong together"),
        (["measure", "--models", "SVM"], "'SVM'"),
        (["advise"], "One of them, whole"),
        (["advise", "--rows", "1", "--cols", "1", "--model", "SVM"], "'SVM'"),
        (["advise", "--peak", "0"], "1 to 10000000"),
        (["advise", "nowhere.ipynb"], "nowhere.ipynb"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(micro: Checkout, words: list[str], said: str) -> None:
    asked = len(micro.requests())
    refused = micro.orchestrate(*words)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert said in refused.stderr
    assert changes(micro.requests()[asked:]) == []


def pairs(here: Checkout, part: slice) -> dict[tuple[str, str], list[str]]:
    """By shape, models by lot: by what was measured a machine of 1 GiB cannot hold them, and one of 2 GiB can."""
    from slipway import advise

    folder = file(here)
    assert folder
    fitted = json.loads((folder.parent / "models.json").read_text())

    def needs(rows: int, cols: int, model: str) -> float:
        known = rows * cols * 8 / 2**20 < 2 * fitted[model]["most_array_mib"]
        return advise.foretold(fitted[model]["weights"], rows, cols) if known else 0

    pool = [
        (rows, cols, model)
        for rows, cols, model in product(ROWS, COLS, MODELS)
        # Where the array alone all but fills the container, a kernel may take minutes to die.
        if LIMIT * 1.1 < needs(rows, cols, model) < LARGER / 1.2 and not LIMIT * 0.85 < needs(rows, cols, "none") < LIMIT * 1.1
    ]
    chosen: dict[tuple[str, str], list[str]] = {}
    for rows, cols, model in random.Random(SEED).sample(pool, PAIRS)[part]:
        chosen.setdefault((str(rows), str(cols)), []).append(model)
    return chosen


@pytest.fixture(scope="module")
def measured(micro: Checkout) -> dict[str, Any]:
    """What `measure` says if all is measured but the biggest shape: it measures that one now."""
    path = file(micro)
    assert path
    known = {shape(row) for row in RECORDED}
    mine = [row for row in kept(micro) if shape(row) not in known]
    path.write_text(json.dumps([*mine, *RECORDED]))
    document = micro.answer("measure")
    # Only the biggest shape can be missing, and is where the test of both tables did not run.
    assert document["measured"] == int(BIGGEST not in map(shape, mine))
    return document


def test_the_biggest_shape_dies_alone(micro: Checkout, measured: dict[str, Any]) -> None:
    the_biggest_died_alone(micro, measured)


#: The first of the pairs, and the others.
FIRST, OTHERS = slice(1), slice(1, None)


@pytest.mark.timeout(2400)
@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("part", [pytest.param(FIRST, id="the first"), pytest.param(OTHERS, id="the others", marks=pytest.mark.long)])
def test_on_the_advised_type_it_runs_and_one_size_smaller_it_dies(micro: Checkout, part: slice) -> None:
    if kind(micro) != SMALL:
        assert micro.answer("resize", SMALL)["outcome"] == "resized"
    chosen = pairs(micro, part)
    taken = set()
    for (rows, cols), models in chosen.items():
        for model in models:
            advice = micro.answer("advise", "--rows", rows, "--cols", cols, "--model", model)
            assert (advice["how"], advice["fits"]) == ("predicted", False)
            assert advice["take"]["memory_mib"] == 2048
            assert advice["take"]["delta_per_hour"] > 0
            taken.add(advice["take"]["type"])
    for (rows, cols), models in chosen.items():
        document = micro.answer("measure", "--rows", rows, "--cols", cols, "--models", *models)
        # The array alone, which no model is without, or each model.
        assert {row["ended"] for row in document["models"] or document["arrays"]} == {"out of memory"}, document
    (wanted,) = taken
    assert micro.answer("resize", wanted)["outcome"] == "resized"
    for (rows, cols), models in chosen.items():
        document = micro.answer("measure", "--rows", rows, "--cols", cols, "--models", *models)
        assert document["limit_mib"] == LARGER
        assert [row["ended"] for row in (*document["arrays"], *document["models"])] == ["done"] * (1 + len(models)), document
    assert kind(micro) == wanted
