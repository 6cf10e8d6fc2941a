"""The book's figures beside ours: which one stands beside which, in which unit, and how many times it is."""

from __future__ import annotations

import csv
import importlib.util
from importlib.machinery import SourceFileLoader
from typing import Any

import pytest

from tests.conftest import PROJECT

SPEC = importlib.util.spec_from_loader("tables", SourceFileLoader("tables", str(PROJECT / "tools" / "tables")))
assert SPEC is not None
assert SPEC.loader is not None
tables = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tables)


def measured(rows: int, cols: int, model: str | None = None, **more: Any) -> dict[str, Any]:
    ended = {"ended": "done", "use_mib": 220, "needed_mib": 400, "fit_mib": 76.1 if model else None}
    return {"rows": rows, "cols": cols, "model": model} | ended | more


@pytest.fixture
def found() -> dict[str, Any]:
    shapes = [(100, 20), (1000, 20), (1000, 200), (10_000, 200), (10_000, 2000), (100_000, 2000)]
    died = {"ended": "out of memory", "use_mib": None, "needed_mib": 800, "fit_mib": None}
    uses = [("KNeighborsClassifier", 224), ("DecisionTreeClassifier", 219), ("LogisticRegression", 216), ("SVC", 216)]
    models = [measured(100, 20, name, use_mib=use, fit_mib=0.4) for name, use in uses]
    models += [measured(10_000, 2000, "DecisionTreeClassifier", use_mib=372, needed_mib=449)]
    models += [
        measured(10_000, 2000, "SVC", ended="cut", needed_mib=575, fit_mib=199.6),
        measured(10_000, 2000, "LogisticRegression", **died),
    ]
    named = (("no notebook", 91), ("notebook running", 129), ("scikit-learn imported", 213))
    baselines = [{"baseline": name, "use_mib": use} for name, use in named]
    arrays = [measured(*shape, use_mib=137) for shape in shapes[:-1]] + [measured(*shapes[-1], **died)]
    return {"limit_mib": 800, "type": "t2.micro", "baselines": baselines, "arrays": arrays, "models": models}


def test_table_1_2_has_each_size_in_mib_and_the_use_with_scikit_learn(found: dict[str, Any]) -> None:
    lines = list(tables.arrays(found, tables.book("table-1-2.csv")))
    assert lines[2:6] == [
        "| server, no notebook |  | 49.73 MiB | 91 MiB | 1.8 |  |",
        "| notebook open |  | 87.18 MiB | 129 MiB | 1.5 |  |",
        "| scikit-learn imported |  | 148.3 MiB | 213 MiB | 1.4 |  |",
        # The book prints .016, in decimal MB. Of the four notebooks' uses the median.
        "| 100 x 20 | 0.0153 MiB | 152 MiB | 218 MiB | 1.4 | 137 MiB |",
    ]
    assert lines[-1] == "| 100000 x 2000 | 1526 MiB | **memory exception** | **out of memory** |  | **out of memory** |"
    assert len(lines) == 2 + 3 + 6


def test_table_1_3_has_peaks_and_differences(found: dict[str, Any]) -> None:
    lines = {tuple(each.strip("| ").split(" | ")[:2]): each for each in tables.models(found, tables.book("table-1-3.csv"))}
    assert lines["10000 x 2000", "DecisionTreeClassifier"].endswith("| 333.6 MiB | 449 MiB | 1.3 | 76.5 MiB | 76.1 MiB | 0.99 |")
    assert lines["10000 x 2000", "SVC"].endswith("| 491.9 MiB | at least 575 MiB | 1.2 | 235.6 MiB | 199.6 MiB | 0.85 |")
    assert lines["10000 x 2000", "LogisticRegression"].endswith("| 564.9 MiB | **out of memory** |  | 306.3 MiB |  |  |")
    # Its array died, so that it was not tried.
    assert lines["10000 x 2000", "KNeighborsClassifier"].endswith("| 275.1 MiB | **out of memory** |  | 18.7 MiB |  |  |")
    assert len(lines) == 2 + 20


def test_the_page_keeps_what_stands_around_the_tables(found: dict[str, Any]) -> None:
    before = tables.PAGE.read_text()
    page = tables.page(before, {"Jupyter alone": found})
    assert page.partition("<!-- tools/tables")[0] == before.partition("<!-- tools/tables")[0]
    assert page.partition("<!-- to here -->")[2] == before.partition("<!-- to here -->")[2]
    assert "#### Jupyter alone: Jupyter's container has 800 MiB" in page
    assert tables.page(page, {"Jupyter alone": found}) == page


@pytest.mark.parametrize("name", ["table-1-2.csv", "table-1-3.csv"])
def test_the_books_data_are_whole(name: str) -> None:
    with (tables.BOOK / name).open(newline="") as file:
        rows = list(csv.DictReader(file))
    shapes = {(row["rows"], row["cols"]) for row in rows if row["rows"]}
    assert {(int(rows), int(cols)) for rows, cols in shapes} >= {(100, 20), (1000, 20), (1000, 200), (10_000, 200), (10_000, 2000)}
    # In the book's own units: decimal MB in two rows, else MiB.
    sizes = {
        (int(row["rows"]), int(row["cols"])): float(row["size_in_python_memory_mb"]) for row in rows if row.get("size_in_python_memory_mb")
    }
    for (count, columns), size in sizes.items():
        unit = 1e6 if count * columns * 8 < 2**20 else 2**20
        assert size == pytest.approx(count * columns * 8 / unit, rel=1e-3)
    for row in (row for row in rows if row.get("difference_mb") and row["rows"]):
        rest = float(row["dataset_and_fit_peak_mb"]) - float(row["dataset_system_usage_mb"])
        assert rest == pytest.approx(float(row["difference_mb"]), abs=0.11)
