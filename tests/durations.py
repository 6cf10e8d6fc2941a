"""The log of durations: what each test of a run took, and each command that it waited for: machines and resizes by themselves.

A run writes `.durations/TIME.tsv`, a row as soon as something ends, so a run that is cut off leaves one too. `tools/durations` reads it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import pytest

#: The columns: what it was, its name, seconds, seconds from the run's begin to its own, and the worker that did it.
HEADER = "kind\tname\tseconds\tbegan\tworker\n"
#: Shorter tests are summed up by file. In seconds.
SHORT = 1.0

#: What the commands of the present test took: kind, words, seconds, and when it began (seconds since the epoch).
Row = tuple[str, str, float, float]
_rows: list[Row] = []


def add(kind: str, name: str, began: float) -> None:
    """Note something that has just ended: a `command`, a `machine` (a command that made one) or a `resize`."""
    _rows.append((kind, name, time.time() - began, began))


class Worker:
    """In each worker: hands what was noted to the reports, which travel to the controller."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        report: pytest.TestReport = yield
        report.user_properties = [*report.user_properties, *(("duration", row) for row in _rows)]
        _rows.clear()
        return report  # type: ignore[return-value]


class Log:
    """In the controller: writes the file, and names each test that takes a minute or more when it ends."""

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self.plugins = config.pluginmanager
        self.began = time.time()
        self.folder = folder
        #: xdist adds the name of each test's group then.
        self.grouped = config.getoption("dist", "no") == "loadgroup"
        #: Opened with the first row: a run without tests leaves no log.
        self.file: TextIO | None = None
        #: The parts of a test that is not at its end, and the short tests of each file.
        self.parts: dict[str, float] = {}
        self.short: dict[str, list[float]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.duration >= 60 and (terminal := self.plugins.get_plugin("terminalreporter")):
            terminal.write(f"\n{report.duration:.0f} s: {report.when} of {report.nodeid}\n")
        worker = getattr(report, "worker_id", "main")
        for key, row in report.user_properties:
            if key == "duration":
                self._write(*row, worker)  # type: ignore[misc]
        test = report.nodeid.rpartition("@")[0] if self.grouped else report.nodeid
        if report.failed:
            self._write("failed", f"{test} ({report.when})", report.duration, report.start, worker)
        if report.when == "setup" and report.duration >= SHORT:
            self._write("setup", test, report.duration, report.start, worker)
        self.parts[report.nodeid] = self.parts.get(report.nodeid, 0) + report.duration
        if report.when == "teardown":
            seconds = self.parts.pop(report.nodeid)
            if seconds >= SHORT:
                self._write("test", test, seconds, report.stop - seconds, worker)
            else:
                self.short.setdefault(report.nodeid.partition("::")[0], []).append(seconds)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.file is None and not self.short:
            return
        for file, each in sorted(self.short.items()):
            self._write("test", f"{file} ({len(each)} of under {SHORT:.0f} s)", sum(each), self.began, "")
        self._write("run", " ".join(session.config.invocation_params.args), time.time() - self.began, self.began, "")
        if self.file:
            self.file.close()

    def _write(self, kind: str, name: str, seconds: float, began: float, worker: Any) -> None:
        if self.file is None:
            self.folder.mkdir(exist_ok=True)
            self.file = (self.folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}.tsv").open("w", buffering=1)
            self.file.write(HEADER)
        plain = name.encode("unicode_escape").decode()
        self.file.write(f"{kind}\t{plain}\t{seconds:.1f}\t{began - self.began:.0f}\t{worker}\n")
