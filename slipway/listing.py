"""`runs`: batch runs of the machine that go on, and those whose results are not here."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from slipway import arguments, lab, plays, projects, render, runs
from slipway.model import Exit, RefusalError, Result
from slipway.render import Progress
from slipway.runs import Run

#: Option -> the role variable that it sets.
_VARIABLES = {"stop": "stack_stopped_runs", "forget": "stack_forgotten_runs"}


def command(options: argparse.Namespace) -> Exit:
    """List runs; fetch what those of a project gave, or stop or forget one."""
    if len(given := [f"--{each}" for each in ("pull", "stop", "forget") if each in options]) > 1:
        raise RefusalError(f"{' and '.join(given)}: cannot be used together. Allowed: one of them.", Exit.BAD_INPUT)
    if "pull" in options:
        return projects.sync(options)
    lab.need(options)
    name = projects.stack_name(options) if "project" in options else None
    folder = Path(options.project) if "project" in options and projects.is_project(Path(options.project), str(name)) else None

    def look(**more: Any) -> Result:
        return plays.play("runs", "playbooks/project/runs.yml", options, arguments.common(options) | more, Progress())

    result = look()
    if result.failure:
        return plays.failed(options, result, result.failure)
    plays.running_instance(options, result)
    if (engine := result.published.get("engine", "running")) != "running":
        raise RefusalError(
            f"Which runs there are is not known: the engine does not answer ({engine}). Start it with: {plays.command(options, 'up')}"
        )
    found = runs.of(result.published, name)
    for verb in _VARIABLES:
        if verb in options:
            _checked(verb, getattr(options, verb), found)
            result = look(**{_VARIABLES[verb]: [getattr(options, verb)]})
            if result.failure:
                return plays.failed(options, result, result.failure)
            found = runs.of(result.published, name)
    documents = [runs.document(run) for run in runs.waiting(found, folder)]
    if options.json:
        print(render.as_json({"runs": documents}))
    else:
        lines = runs.lines(documents, partial(plays.command, options), folder)
        print("\n".join(lines) or "No batch run goes on, and the results of all that have ended are here.")
    return Exit.DONE


def _checked(verb: str, name: str, found: list[Run]) -> None:
    """Refuse to stop what has ended, and to forget what goes on."""
    allowed = [run.name for run in found if run.goes_on or verb == "forget"]
    run = next((run for run in found if run.name == name), None)
    if run is None or name not in allowed:
        has, may = " It has ended." if run else "", ", ".join(allowed) or "none, for there is no such run"
        raise RefusalError(f"--{verb}: {name!r} cannot be used.{has} Allowed: {may}.", Exit.BAD_INPUT)
    if verb == "forget" and run.state == "running":
        raise RefusalError(f"{name} still runs. Stop it first: --stop {name}")
