"""What an executed notebook tells of its run: `run_notebook.py` writes it into the metadata, from the run's begin on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slipway.batch import Job

#: What a batch run ends with whose memory ran out.
KILLED = 137
#: By SIGINT and SIGTERM.
STOPPED = (130, 143)
#: What stands for a fact that is missing. Of another kind than these, or a number, none is.
_FACTS: dict[str, Any] = {"notebook": "", "parameters": {}, "begun": "", "state": "", "place": "", "digest": ""}
_FACTS |= dict.fromkeys(["exit_code", "peak_mib", "limit_mib", "needed_mib"])


def facts(path: Path) -> dict[str, Any]:
    """The metadata of a run; nothing where there is no such notebook, or of one that somebody has edited."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        told = _FACTS | dict(json.loads(path.read_text())["metadata"]["slipway"])
        if all(isinstance(told[name], int if kept is None and told[name] is not None else type(kept)) for name, kept in _FACTS.items()):
            return told
    return {}


def line(path: Path) -> str:
    """How a run went that has ended without its command, and where its result is."""
    told = facts(path)
    if not path.exists():
        return f"{path.name} had not begun: there is no result."
    if told.get("state") == "running":
        return f"{path.name} was ended from outside, in {told.get('place')}. The partial result: {path}"
    return f"{_how(told)}: {path}"


def _how(told: Mapping[str, Any]) -> str:
    code = told.get("exit_code")
    if code == 0:
        return "Executed"
    how = "Out of memory" if code == KILLED else "Stopped" if code in STOPPED else "Failed"
    return f"{how} in {told.get('place')}"


def same(path: Path, job: Job) -> bool:
    """Whether this is what the job would give: of its notebook and `lib` as they are now, with its parameters and kernel."""
    return path.is_relative_to(job.folder) and facts(path).get("digest") == job.digest
