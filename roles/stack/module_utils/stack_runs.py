"""Batch runs: a notebook's container tells by its labels what it runs, and stays until its results were fetched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ansible.module_utils.stack_engine import RUNNING, Engine, GoneError

#: What the labels of a run begin with; `run` of the wrapper sets them.
LABEL = "slipway.run."
#: Docker's time of what has not happened.
_NEVER = "0001-"
#: So much of the last line of one that could not begin is told.
_MOST_SAID = 300


def is_run(container: Mapping[str, Any]) -> bool:
    """Whether it is a batch run's."""
    return f"{LABEL}output" in (container.get("Labels") or {})


def of_all(containers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The batch runs among these containers, in the order in which they were made. Raises OSError."""
    found = []
    for item in containers:
        if is_run(item):
            # One that was removed meanwhile is no longer there.
            with suppress(GoneError):
                run = facts(Engine().ask(f"/containers/{item['Id']}/json"))
                if run["state"] == "ended" and run["exit_code"] not in (0, 1):
                    run["said"] = _said(item["Id"])
                found.append(run)
    return sorted(found, key=lambda run: run["created"])


def facts(inspected: Mapping[str, Any]) -> dict[str, Any]:
    """What the engine tells of a run's container.

    `state` is created, running or ended; `exit_code` that of one that has ended; `begun` and `ended` are ISO 8601 or null.
    """
    state, labels = inspected["State"], inspected["Config"]["Labels"]
    running, begun = state["Status"] in RUNNING, _when(state["StartedAt"])
    ended = not running and begun is not None
    return {
        "name": inspected["Name"].lstrip("/"),
        "project": labels.get("com.docker.compose.project", ""),
        "created": inspected["Created"],
        "state": "running" if running else "ended" if ended else "created",
        "exit_code": state["ExitCode"] if ended else None,
        "out_of_memory": ended and bool(state["OOMKilled"]),
        "begun": begun,
        "ended": _when(state["FinishedAt"]) if ended else None,
        "said": None,
        "parameters": _words(labels.get(f"{LABEL}parameters", "")),
        **{key: labels.get(LABEL + key) or None for key in ("output", "notebook", "kernel", "digest", "origin", "place")},
    }


def _when(time: str) -> str | None:
    return None if time.startswith(_NEVER) else time


def _words(text: str) -> list[str]:
    """A label may have been written by hand."""
    with suppress(ValueError, TypeError):
        return [str(word) for word in json.loads(text)]
    return []


def _said(container_id: str) -> str | None:
    """The last line of what a run said on standard error."""
    with suppress(OSError):
        raw = Engine().fetch(f"/containers/{container_id}/logs", 65536, stderr="1", tail="1")
        # Each part has a head of 8 bytes: which stream, and how long.
        text = raw[8:].decode(errors="replace").strip()
        return " ".join(text.split())[:_MOST_SAID] or None
    return None
