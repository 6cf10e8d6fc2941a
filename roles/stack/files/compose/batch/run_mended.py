"""A notebook that is almost valid, made valid: what Jupyter opens and papermill runs is run here too.

nbformat says what the format lacks; each of its errors is mended at its place, until none is left.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
from nbformat.corpus.words import generate_corpus_id
from nbformat.validator import iter_validate

#: The format that is written.
MAJOR, MINOR = 4, 5
#: What stands for a key that the format requires.
_REQUIRED: dict[str, Any] = {"metadata": {}, "outputs": [], "execution_count": None, "source": "", "name": "python3", "display_name": ""}
_KINDS = ("code", "markdown", "raw")
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
#: Each error takes one key away or gives one; a notebook with more is no notebook.
_MOST = 1000


class NoNotebookError(Exception):
    """The file is no notebook; the text says why."""


def read(path: Path) -> tuple[nbformat.NotebookNode, list[str]]:
    """The notebook without its outputs, as papermill begins, and what was mended, each once."""
    raw = json.loads(path.read_bytes().decode("utf-8-sig"))
    if not isinstance(raw, dict):
        raise NoNotebookError("it holds no JSON object")
    major = raw.get("nbformat", MAJOR if "cells" in raw else 3 if "worksheets" in raw else None)
    if major not in (1, 2, 3, MAJOR):
        raise NoNotebookError(f"its nbformat is {major!r}; allowed: 1 to {MAJOR}")
    if major < MAJOR:
        raw = json.loads(nbformat.writes(nbformat.reads(json.dumps(_older(raw, major)), as_version=MAJOR)))
    if not isinstance(raw.get("cells"), list):
        raise NoNotebookError("it has no list of cells")
    mended = [f"nbformat {major} read as {MAJOR}"] if major < MAJOR else []
    return nbformat.from_dict(mend(raw, mended)), list(dict.fromkeys(mended))


def _older(raw: dict[str, Any], major: int) -> dict[str, Any]:
    """With what nbformat's converter expects of each cell. Outputs are made again."""
    sheets = raw.get("worksheets") or []
    cells = [cell for sheet in sheets for cell in sheet.get("cells") or []]
    for each in (raw, *sheets, *cells):
        each["metadata"] = each.get("metadata") or {}
    for cell in cells:
        if cell.get("cell_type") == "code":
            cell |= {"outputs": [], "input": cell.get("input") or "", "language": "python", "collapsed": False, "prompt_number": None}
        else:
            cell |= {"source": cell.get("source") or ""}
    return raw | {"nbformat": major, "nbformat_minor": raw.get("nbformat_minor") or 0, "worksheets": sheets}


def mend(raw: dict[str, Any], mended: list[str]) -> dict[str, Any]:
    """The notebook of version 4 made valid in its place. Adds to `mended` what was done."""
    raw["cells"] = [cell for cell in raw["cells"] if isinstance(cell, dict)]
    raw |= {"nbformat": MAJOR, "nbformat_minor": MINOR}
    if not isinstance(raw.get("metadata"), dict):
        raw["metadata"] = {}
        mended.append("the notebook had no metadata")
    ids: set[str] = set()
    for number, cell in enumerate(raw["cells"], start=1):
        _whole(cell)
        found = cell.get("id")
        if not isinstance(found, str) or not _ID.fullmatch(found) or found in ids:
            cell["id"] = generate_corpus_id()
            if found is not None:
                mended.append(f"cell {number}: its id is another cell's, or none")
        ids.add(cell["id"])
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
        _until_valid(cell, f"{cell['cell_type']}_cell", f"cell {number}", mended)
    cells, raw["cells"] = raw["cells"], []
    _until_valid(raw, None, "the notebook", mended)
    return raw | {"cells": cells}


def _whole(cell: dict[str, Any]) -> None:
    """Its kind is one of the format's, and its source is a text."""
    if cell.get("cell_type") not in _KINDS:
        cell["cell_type"] = "raw"
    source = cell.get("source")
    cell["source"] = "".join(map(str, source)) if isinstance(source, list) else str(source or "")


def _until_valid(node: dict[str, Any], kind: str | None, place: str, mended: list[str]) -> None:
    for _ in range(_MOST):
        error = next(iter(iter_validate(node, ref=kind, version=MAJOR, version_minor=MINOR)), None)
        if error is None:
            return
        mended.append(f"{place}: {_mend(node, error)}")
    raise NoNotebookError(f"{place} has too many faults")


def _mend(node: dict[str, Any], error: Any) -> str:
    """Mend one fault of the node; returns what it was."""
    path = list(error.absolute_path)
    at: Any = node
    for step in path:
        at = at[step]
    where = ".".join(map(str, path))
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in at)
        # A kernelspec's display name is the name, for want of another.
        at[missing] = at.get("name", "python3") if missing == "display_name" else _REQUIRED.get(missing, "")
        return f"no {'.'.join([*map(str, path), missing])}"
    if error.validator == "additionalProperties":
        unknown = sorted(set(at) - set(error.schema.get("properties", {})))
        for name in unknown:
            del at[name]
        return f"unknown {', '.join(unknown)}"
    if error.validator == "uniqueItems":
        at[:] = list(dict.fromkeys(map(str, at)))
        return f"{where} has one entry twice"
    if not path:
        raise NoNotebookError(error.message.splitlines()[0])
    above: Any = node
    for step in path[:-1]:
        above = above[step]
    del above[path[-1]]
    return f"{where} is {str(at)[:40]!r}"
