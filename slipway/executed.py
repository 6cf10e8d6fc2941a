"""What an executed notebook tells of its run: `run_notebook.py` writes it into the metadata, from the run's begin on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway import parameters

if TYPE_CHECKING:
    from slipway.batch import Job

#: What a batch run ends with whose memory ran out.
KILLED = 137
#: What stands for a fact that is missing. Of another kind than these, or a number, none is.
_FACTS: dict[str, Any] = {"notebook": "", "parameters": {}, "begun": "", "state": "", "place": ""}
_FACTS |= dict.fromkeys(["exit_code", "peak_mib", "limit_mib", "needed_mib"])


def facts(path: Path) -> dict[str, Any]:
    """The metadata of a run; nothing where there is no such notebook, or of one that somebody has edited."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        told = _FACTS | dict(json.loads(path.read_text())["metadata"]["slipway"])
        if all(isinstance(told[name], int if kept is None and told[name] is not None else type(kept)) for name, kept in _FACTS.items()):
            return told
    return {}


def line(path: Path) -> str:
    """How a run went that nobody waited for, and where its result is."""
    told = facts(path)
    if not path.exists():
        return f"{path.name} had not begun: there is no result."
    if told.get("state") == "running":
        return f"{path.name} was ended from outside, in {told.get('place')}. The partial result: {path}"
    return f"{_how(told)}: {path}"


def _how(told: Mapping[str, Any]) -> str:
    if told.get("exit_code") == 0:
        return "Executed"
    return f"{'Out of memory' if told.get('exit_code') == KILLED else 'Failed'} in {told.get('place')}"


def same(path: Path, job: Job) -> bool:
    """Whether this is what the job would give: its notebook, as it is now, with its parameters, run to the end."""
    told = facts(path)
    return (
        path.is_relative_to(job.folder)
        and (told.get("state"), told.get("exit_code"), told.get("notebook")) == ("done", 0, str(job.notebook))
        and told.get("kernel") == job.kernel
        and parameters.are(told["parameters"], job.parameters)
        and _sources(path) == _sources(job.folder / job.notebook)
    )


def _sources(path: Path) -> list[str]:
    # One that has no cells of this format, as nbformat 3, or that a run has to mend, is like no other.
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        cells = json.loads(path.read_text())["cells"]
        return ["".join(cell["source"]) for cell in cells if "injected-parameters" not in cell.get("metadata", {}).get("tags", [])]
    return [str(path)]
