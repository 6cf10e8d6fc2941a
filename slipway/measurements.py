"""The measurements of memory that are kept on this computer, by the image that they were made with."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway import lock, render
from slipway.model import STATE

#: What `measure` knows in the image.
MODELS = ("KNeighborsClassifier", "DecisionTreeClassifier", "LogisticRegression", "SVC")
_FIELDS = (
    "baseline",
    "rows",
    "cols",
    "model",
    "ended",
    "step",
    "use_mib",
    "fit_mib",
    "needed_mib",
    "peak_mib",
    "limit_mib",
    "seconds",
    "score",
    "type",
)
_BASELINE = ("no notebook", None, None, None)

Row = Mapping[str, Any]
Shape = tuple[int, int]


@dataclass
class Measurements:
    """Those of one image. Each is written down as soon as it is made."""

    folder: Path
    rows: list[Row]

    @classmethod
    def of(cls, target: str, image: str) -> Measurements:
        """Another image has other libraries, which take other memory."""
        folder = STATE / target / "measured" / re.sub(r"[^A-Za-z0-9.]+", "-", image)
        path = folder / "memory.json"
        return cls(folder, json.loads(path.read_text()) if path.exists() else [])

    def add(self, found: Sequence[Row]) -> None:
        """In the place of older ones of the same; but what a machine with more memory has found meanwhile stays, if this did not end."""

        def change(rows: list[Row]) -> list[Row]:
            kept = {_key(row): row for row in rows}
            taken = {_key(row): row for row in found if not _beyond(row, kept.get(_key(row)))}
            return [row for row in rows if _key(row) not in taken] + list(taken.values())

        self._change(change)

    def forget(self, shapes: Sequence[Shape], models: Sequence[str]) -> None:
        """Those that are to be made again."""
        again = {_BASELINE, *((None, *shape, model) for shape in shapes for model in (None, *models))}
        self._change(lambda rows: [row for row in rows if _key(row) not in again])

    def missing(self, shapes: Sequence[Shape], models: Sequence[str], limit_mib: int, seconds: int) -> Iterator[list[str]]:
        """What is still to be measured, as the words for the container; looks at what is there by then.

        What died is measured again where there is more memory, and so is what was cut at its limit; what was cut, where it may take
        longer. Where an array died so does every model of it.
        """
        if self._due(_BASELINE, limit_mib, seconds):
            yield ["baselines"]
        for shape in shapes:
            if self._due((None, *shape, None), limit_mib, seconds):
                yield [*map(str, shape)]
        for shape in shapes:
            for model in models:
                if self.found((None, *shape, None)).get("ended") == "done" and self._due((None, *shape, model), limit_mib, seconds):
                    yield [*map(str, shape), model]

    def found(self, key: tuple[Any, ...]) -> Row:
        """The measurement of a baseline, or of rows, columns and model; empty where there is none."""
        return next((row for row in self.rows if _key(row) == key), {})

    def _due(self, key: tuple[Any, ...], limit_mib: int, seconds: int) -> bool:
        row = self.found(key)
        cut = row.get("ended") == "cut"
        # At its limit a notebook may read its libraries' files again and again, for longer than it is given.
        starved = row.get("ended") == "out of memory" or (cut and (row["peak_mib"] or 0) >= row["limit_mib"])
        return not row or (starved and row["limit_mib"] < limit_mib) or (cut and row["allowed_seconds"] < seconds)

    def models(self) -> dict[str, Any]:
        """What was fitted to them, by model; "none" is the array alone."""
        path = self.folder / "models.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def report(self, models: Mapping[str, Any], figure: bytes) -> dict[str, str]:
        """Write down what they came to, and return the files."""
        table = io.StringIO(newline="")
        lines = csv.DictWriter(table, _FIELDS, extrasaction="ignore")
        lines.writeheader()
        lines.writerows(self.rows)
        self._write("models.json", render.as_json(models).encode())
        self._write("memory.png", figure)
        self._write("memory.csv", table.getvalue().encode())
        return {kind: str(self.folder / f"memory.{kind}") for kind in ("json", "csv", "png")}

    def _change(self, change: Callable[[list[Row]], list[Row]]) -> None:
        """Change what is kept now: a command on another machine may have added to it since this one read it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with lock.alone(self.folder / "memory.lock"):
            path = self.folder / "memory.json"
            self.rows = change(json.loads(path.read_text()) if path.exists() else [])
            self._write(path.name, json.dumps(self.rows, indent=1).encode())

    def _write(self, name: str, content: bytes) -> None:
        """Whoever reads it meanwhile, or after a kill, finds the last one whole."""
        part = self.folder / f"{name}.{os.getpid()}.part"
        part.write_bytes(content)
        part.replace(self.folder / name)


def _beyond(row: Row, kept: Row | None) -> bool:
    """Whether what is kept says more than a row that did not come to its end."""
    if kept is None or row.get("ended") in (None, "done"):
        return False
    return bool(kept["ended"] == "done" or kept["limit_mib"] > row["limit_mib"])


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in ("baseline", "rows", "cols", "model"))
