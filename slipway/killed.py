"""What was killed because its memory ran out: of services as the machine tells it, of batch runs as the executed notebooks do."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slipway import executed, parameters

#: So many of a project's notebooks are looked at, those that ran last.
_LOOKED_AT = 10


def of_services(services: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """By service, each of what was killed in it (`services` are the role's)."""
    return [
        {"service": name, "who": each["who"], "notebook": each["notebook"], "parameters": {}, "kernel": None, "cell": None}
        | {key: each[key] for key in ("times", "when", "limit_mib", "peak_mib")}
        for name, facts in sorted(services.items())
        for each in facts.get("killed") or []
    ]


def of_run(path: Path) -> dict[str, Any] | None:
    """The batch run of this executed notebook, if its memory ran out."""
    told = executed.facts(path)
    if told.get("exit_code") != executed.KILLED:
        return None
    facts = {key: told.get(key) for key in ("notebook", "parameters", "kernel")} | {
        "cell": told["place"],
        "times": 1,
        "when": told["begun"],
    }
    return {"service": "jupyter", "who": "run"} | facts | {key: told[key] for key in ("limit_mib", "peak_mib")}


def of_runs(folder: Path) -> list[dict[str, Any]]:
    """Of a project's notebooks those whose last run here has died so."""
    # Of 20260501T120003.481516-NAME.ipynb the name.
    last = {path.name.partition("-")[2]: path for path in sorted((folder / "runs").glob("*-*.ipynb"))}
    newest = sorted(last.values(), reverse=True)[:_LOOKED_AT]
    return [run for run in map(of_run, newest) if run]


def starved(runs: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The largest limit that was not enough for them, by service, for the role to find the memory that would be."""
    limits = [run["limit_mib"] for run in runs if run["limit_mib"]]
    return {"jupyter": max(limits)} if limits else {}


def complete(
    document: dict[str, Any],
    command: Callable[[str], str],
    folder: Path | None = None,
    runs: Sequence[dict[str, Any]] = (),
    most_mib: int = 0,
) -> dict[str, Any]:
    """The document of `status` with the batch runs of its project, and the lines to type for what was killed to fit."""
    limit = document["services"].get("jupyter", {}).get("memory_limit_mib")
    # Where there is more now, nobody knows yet whether that is enough.
    document["out_of_memory"] += [run for run in runs if limit and (run["limit_mib"] or 0) >= limit]
    fit = document["fit"]
    if fit:
        fit["raise_mib"] = most_mib or None
        fit["commands"] = _commands(document, command, folder) if fit["type"] else []
    return document


def _commands(document: Mapping[str, Any], command: Callable[[str], str], folder: Path | None) -> list[str]:
    wanted = document["fit"]["type"]
    if wanted == document["instance"]["type"]:
        # It has the memory: other stacks had it when this one was made, or its settings leave it.
        return [f"{command('deploy')} {shlex.quote(str(folder))}" if folder else command("up")]
    return [command(f"resize {wanted}"), *(f"{command('run')} {path} --on {wanted}" for path in _notebooks(document, folder))]


def _notebooks(document: Mapping[str, Any], folder: Path | None) -> list[str]:
    """The project's notebooks among what was killed, as a shell takes them."""
    if folder is None:
        return []
    found = []
    for each in document["out_of_memory"]:
        path = folder / str(each["notebook"]).removeprefix("work/")
        if each["notebook"] and path.is_file():
            found.append(shlex.quote(str(path)) + parameters.again(each))
    return list(dict.fromkeys(found))


def lines(document: Mapping[str, Any]) -> list[str]:
    """Each of what was killed, and what to type for it to fit."""
    found = [_line(each) for each in document["out_of_memory"]]
    fit = document["fit"]
    if fit:
        enough = f"{fit['memory_mib']} MiB or more"
        where = f"{fit['type']} ({enough})" if fit["type"] else f"a machine of {enough}"
        found.append(f"Memory    What ran out of it would have twice its limit on {where}{':' if fit['commands'] else '.'}")
        if fit["raise_mib"]:
            found.append(f"          Raise memory_mib in slipway.yml first, which is {fit['raise_mib']}.")
        found += [f"          {line}" for line in fit["commands"]]
        # `up` and `deploy` do not look for a type.
        if not fit["type"] and "changed" not in document:
            found.append("          Its family has no such type: run fewer services or stacks at once (`rest`), or take the data in parts.")
    return found


_WHO = {"process": "a process in {service}", "service": "{service} itself", "run": "the run of {notebook}, {cell}"}


def plain(text: str) -> str:
    """Without what a terminal would take for a command of its own."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _line(each: Mapping[str, Any]) -> str:
    """One of what was killed, for people."""
    kernel = "the kernel of {notebook}" if each["notebook"] is not None else "a kernel without a notebook, in {service}"
    what = _WHO.get(each["who"], kernel).format(**each)
    facts = [f"{each['times']} times"] if each["times"] > 1 else []
    facts += [("last " if facts else "") + f"{each['when'][:19].replace('T', ' ')} UTC"] if each["when"] else []
    limit, peak = (f"{each[key]} MiB" if each[key] is not None else "unknown" for key in ("limit_mib", "peak_mib"))
    told = f" ({', '.join(facts)})" if facts else ""
    return f"Killed    {plain(what)}{told}: the limit is {limit}, the peak was {peak}"
