"""The log of durations: what a run writes, and what `tools/durations` makes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import durations
from tests.conftest import PROJECT

ROWS = [
    ("machine", "up --json", 100.0, 0, "gw0"),
    ("command", "status --json", 5.0, 100, "gw0"),
    ("resize", "resize t2.medium", 60.0, 105, "gw0"),
    ("test", "tests/e2e/test_a.py::test_long[{x}]", 170.0, 0, "gw0"),
    ("test", "tests/e2e/test_b.py::test_other", 30.0, 10, "gw1"),
    ("test", "tests/unit/test_c.py (7 of under 1 s)", 2.0, 0, ""),
    ("failed", "tests/e2e/test_b.py::test_other (call)", 29.0, 11, "gw1"),
    ("run", "-m not long", 200.0, 0, ""),
]


def written(path: Path, rows: list[tuple[str, str, float, int, str]]) -> Path:
    path.write_text(durations.HEADER + "".join("\t".join(map(str, row)) + "\n" for row in rows))
    return path


def shown(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, PROJECT / "tools" / "durations", *words], capture_output=True, text=True)


def report(nodeid: str, when: str, seconds: float, properties: list[Any] | None = None, failed: bool = False) -> Any:
    facts = {"nodeid": nodeid, "when": when, "duration": seconds, "start": 0.0, "stop": seconds, "failed": failed}
    return SimpleNamespace(worker_id="gw0", user_properties=properties or [], **facts)


def test_a_run_writes_its_tests_and_commands(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    log = durations.Log(pytestconfig, tmp_path / "durations")
    log.grouped = True
    command = ("duration", ("resize", "resize t2.medium\tand\nmore", 9.5, log.began + 1))
    log.pytest_runtest_logreport(report("tests/a.py::test_x[a@b]@group", "setup", 2.0))
    log.pytest_runtest_logreport(report("tests/a.py::test_x[a@b]@group", "call", 10.0, [command], failed=True))
    log.pytest_runtest_logreport(report("tests/a.py::test_x[a@b]@group", "teardown", 0.5))
    for when in ("setup", "call", "teardown"):
        log.pytest_runtest_logreport(report("tests/a.py::test_short@group", when, 0.1))
    # What was written so far stays, even if the run is cut off.
    (path,) = (tmp_path / "durations").glob("*.tsv")
    kinds = [line.split("\t")[:3] for line in path.read_text().splitlines()[1:]]
    assert kinds == [
        ["setup", "tests/a.py::test_x[a@b]", "2.0"],
        ["resize", r"resize t2.medium\tand\nmore", "9.5"],
        ["failed", "tests/a.py::test_x[a@b] (call)", "10.0"],
        ["test", "tests/a.py::test_x[a@b]", "12.5"],
    ]
    log.pytest_sessionfinish(SimpleNamespace(config=pytestconfig))  # type: ignore[arg-type]
    empty = durations.Log(pytestconfig, tmp_path / "none")
    empty.pytest_sessionfinish(SimpleNamespace(config=pytestconfig))  # type: ignore[arg-type]
    assert not (tmp_path / "none").exists()
    assert "test\ttests/a.py (1 of under 1 s)\t0.3\t" in path.read_text()
    assert path.read_text().splitlines()[-1].startswith("run\t")


def test_one_log_is_summed_up(tmp_path: Path) -> None:
    done = shown(written(tmp_path / "new.tsv", ROWS))
    assert done.returncode == 0, done.stderr
    for line in (
        "     200 s  the run",
        "     170 s  gw0 was done after",
        "     100 s  1 commands that made a machine",
        "      60 s  1 resizes",
        "     170 s     1 x  tests/e2e/test_a.py",
        "     170 s  gw0    tests/e2e/test_a.py::test_long[{x}]",
        "      29 s  gw1    tests/e2e/test_b.py::test_other (call)",
    ):
        assert line in done.stdout.splitlines()


def test_two_logs_are_compared(tmp_path: Path) -> None:
    old = written(tmp_path / "old.tsv", ROWS)
    new = written(tmp_path / "new.tsv", [*ROWS[:3], ("test", "tests/e2e/test_a.py::test_long[{x}]", 90.0, 0, "gw0"), *ROWS[5:]])
    done = shown(old, new)
    assert done.returncode == 0, done.stderr
    assert "     100      100 s  1 and 1 commands that made a machine" in done.stdout.splitlines()
    assert "     170       90 s  tests/e2e/test_a.py::test_long[{x}]" in done.stdout.splitlines()
    # One that is gone.
    assert "      30        - s  tests/e2e/test_b.py::test_other" in done.stdout.splitlines()


@pytest.mark.parametrize("words", [["nowhere.tsv"], ["a", "b", "c"], [str(PROJECT / "README.md")]])
def test_what_is_no_log_is_refused(words: list[str]) -> None:
    done = shown(*words)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) <= 6
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough_gets_no_traceback(tmp_path: Path) -> None:
    words = [sys.executable, PROJECT / "tools" / "durations", written(tmp_path / "new.tsv", ROWS)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
