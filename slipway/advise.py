"""The command `advise`: the cheapest type whose memory holds what was measured, or is foretold from measurements."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway import arguments, batch, executed, lab, measure, parameters, plays, projects, render
from slipway.measurements import Measurements
from slipway.model import Exit, RefusalError, Result
from slipway.render import Progress

MIB = 2**20
#: Of these parts a prediction is made, as roles/stack/files/compose/batch/measure_report.py has fitted them: bytes of a row, and what
#: SVC keeps of its kernel matrix, in bytes.
_A_ROW, _KERNEL_MATRIX = 64, 200e6
#: Two measurements of the same differ by so much; a prediction whose error is not known may be off by so much.
_MEASURED, _UNKNOWN = 0.05, 0.2
#: Beyond so many times what was measured nothing is foretold.
_BEYOND = 2


@dataclass(frozen=True)
class Need:
    """What is to fit, in MiB. `how` it is known: measured, predicted, given, or doubled, where it died at half of it.

    `options` of `run`, as a shell takes them, make the run again that it is known from.
    """

    what: str
    how: str
    peak_mib: int
    margin: float
    options: str = ""

    @property
    def asked_mib(self) -> int:
        """With the margin."""
        return round(self.peak_mib * (1 + self.margin))


def advise(options: argparse.Namespace) -> Exit:
    """Say which type holds it, and what that costs."""
    given = [name for name in ("notebook", "model", "peak") if name in options]
    if len(given) != 1 or ("model" in options) != ("rows" in options) or ("rows" in options) != ("cols" in options):
        raise RefusalError("Allowed: a NOTEBOOK, or --rows with --cols and --model, or --peak. One of them, whole.", Exit.BAD_INPUT)
    lab.need(options)
    progress = Progress()
    if "notebook" in options:
        job = batch.job(options)
        need = _of_notebook(options, job.folder, str(job.notebook))
    elif "peak" in options:
        need = Need("what you named", "given", options.peak, 0.0)
    else:
        result = measure.look(options, "advise", progress)
        if result.failure:
            return plays.failed(options, result, result.failure)
        need = _of_shape(options, Measurements.of(options.target, measure.machine(options, result).image))
    result = _asked(options, need, progress)
    if result.failure:
        return plays.failed(options, result, result.failure)
    document = _document(options, need, result)
    print(render.as_json(document) if options.json else text(document))
    return Exit.DONE


def wanted_type(options: argparse.Namespace, folder: Path, notebook: str) -> str:
    """The type for a run of this notebook with these parameters. Raises RefusalError where it was not measured, or nothing holds it."""
    need = _of_notebook(options, folder, notebook, parameters.words(options))
    result = _asked(options, need, Progress())
    if result.failure:
        raise RefusalError(result.failure.reason, result.failure.code)
    document = _document(options, need, result)
    if document["fits"]:
        return str(document["current"]["type"])
    if not document["take"] or document["enough"]:
        raise RefusalError(text(document))
    return str(document["take"]["type"])


def _of_notebook(options: argparse.Namespace, folder: Path, notebook: str, given: Sequence[str] | None = None) -> Need:
    """What its last run took; with parameters, the last one that had these."""
    told = [facts for path in sorted((folder / "runs").glob("*.ipynb"), reverse=True) if (facts := executed.facts(path))]
    # One that failed or was stopped on its way has needed less than the whole.
    runs = [facts for facts in told if facts.get("notebook") == notebook and facts.get("exit_code") in (0, executed.KILLED)]
    mine = next((facts for facts in runs if given is None or parameters.are(facts["parameters"], given)), None)
    if mine is None:
        other = " with these parameters" if runs else ""
        asked = parameters.shell(given or [], getattr(options, "kernel", None))
        raise RefusalError(
            f"No run of {notebook}{other} has been measured. "
            f"Each run to the end measures: {_run(options, folder / notebook, asked)}\n"
            f"Or name what it needs: {plays.command(options, 'advise')} --project {shlex.quote(str(folder))} --peak MIB"
        )
    what = notebook + "".join(f" {name}={value}" for name, value in sorted(mine.get("parameters", {}).items()))
    if mine["exit_code"] == executed.KILLED:
        died = f"{what}, which died at {mine['limit_mib']} MiB"
        return Need(died, "doubled", 2 * int(mine["limit_mib"] or 0), 0.0, parameters.again(mine))
    needed = int(mine["needed_mib"] or mine["peak_mib"] or 0)
    return Need(f"{what}, by its run of {mine['begun'][:16].replace('T', ' ')}", "measured", needed, _MEASURED, parameters.again(mine))


def _run(options: argparse.Namespace, path: Path, more: str, on: str = "") -> str:
    """The line to type for a run with these options."""
    line = f"{plays.command(options, 'run')} {shlex.quote(str(path))}{more}"
    return f"{line} --on {on}" if on else line


def _of_shape(options: argparse.Namespace, kept: Measurements) -> Need:
    """What was measured of this shape, or is foretold of it. No measurement, no number: then it says what to measure."""
    rows, cols, model = options.rows, options.cols, options.model
    what = f"{rows} x {cols} {model}"
    row = kept.found((None, rows, cols, model))
    if row.get("ended") == "done" and row.get("needed_mib"):
        return Need(what, "measured", row["needed_mib"], _MEASURED)
    # Before the numbers, which would take it for one of them.
    place = f" {shlex.quote(options.project)}" if "project" in options else ""
    line = f"{plays.command(options, 'measure')}{place} --rows {rows} --cols {cols} --models {model}"
    fitted = kept.models().get(model)
    if fitted is None:
        raise RefusalError(f"Nothing can be said of {what}: too few shapes of {model} were measured to their end. Measure it: {line}")
    array = rows * cols * 8 / MIB
    if rows > _BEYOND * fitted["most_rows"] or array > _BEYOND * fitted["most_array_mib"]:
        raise RefusalError(
            f"Nothing can be said of {what}: it is far beyond what was measured, "
            f"{fitted['most_rows']} rows and {fitted['most_array_mib']:g} MiB. "
            f"Measure it, on a larger machine if need be: {line}"
        )
    return Need(
        what,
        "predicted",
        round(foretold(fitted["weights"], rows, cols)),
        max(_MEASURED, _UNKNOWN if fitted["error"] is None else fitted["error"]),
    )


def foretold(weights: Mapping[str, float], rows: int, cols: int) -> float:
    """The peak in MiB of a model with these weights."""
    parts = {
        "base": 1.0,
        "array": rows * cols * 8 / MIB,
        "rows": rows * _A_ROW / MIB,
        "kernel_matrix": min(4 * rows**2, _KERNEL_MATRIX) / MIB,
    }
    return sum(weight * parts[name] for name, weight in weights.items())


def _asked(options: argparse.Namespace, need: Need, progress: Progress) -> Result:
    """Which memory the machine must have for it, and which types have that."""
    variables = {"stack_wanted_mib": need.asked_mib, "ec2_resize_any_architecture": "any_architecture" in options}
    if "project" in options:
        folder, _ = projects.project(options)
        result = plays.play("advise", "playbooks/project/advise.yml", options, projects.variables_of(options, folder) | variables, progress)
    else:
        result = plays.play("advise", "playbooks/advise.yml", options, arguments.variables(options) | variables, progress)
    if not result.failure:
        plays.running_instance(options, result)
    return result


def _document(options: argparse.Namespace, need: Need, result: Result) -> dict[str, Any]:
    """The document of `advise --json`, which docs/json.md describes."""
    fits, advice = result.published["fits"], result.published.get("advice") or {"types": [], "current": None}
    current = advice["current"] or {"type": result.published["instance"]["type"], "memory_mib": None, "price_per_hour": None}
    take = next(iter(advice["types"]), None)
    now = current["price_per_hour"]

    def told(item: Mapping[str, Any]) -> dict[str, Any]:
        price = item["price_per_hour"]
        return {
            **{key: item[key] for key in ("type", "memory_mib", "price_per_hour", "changes")},
            "delta_per_hour": None if price is None or now is None else round(price - now, 4),
        }

    fitting = fits["limit_mib"] >= need.asked_mib
    # The machine has the memory, and its settings do not give it: they are older than what there is now.
    enough = not fitting and bool(fits["machine_mib"]) and (current["memory_mib"] or 0) >= fits["machine_mib"]
    return {
        "what": need.what,
        "how": need.how,
        "peak_mib": need.peak_mib,
        "margin": need.margin,
        "asked_mib": need.asked_mib,
        "machine_mib": fits["machine_mib"],
        "most_mib": fits["most_mib"],
        "beside": [*fits["beside"], *fits["stacks"]],
        "current": {key: current.get(key) for key in ("type", "memory_mib", "price_per_hour")} | {"limit_mib": fits["limit_mib"]},
        "fits": fitting,
        "enough": enough,
        "take": told(take) if take else None,
        "others": [told(item) for item in advice["types"][1:]],
        "commands": _commands(options, need, take, current["type"], fitting, enough),
    }


def _commands(options: argparse.Namespace, need: Need, take: Mapping[str, Any] | None, now: str, fitting: bool, enough: bool) -> list[str]:
    """What to type for it."""
    if enough:
        return [
            f"{plays.command(options, 'deploy')} {shlex.quote(options.project)}" if "project" in options else plays.command(options, "up")
        ]
    if not take or take["type"] == now:
        return []
    if not take["changes"]:
        return [f"{plays.command(options, 'up')} --type {take['type']} --name NAME"]
    resize = f"{plays.command(options, 'resize')} {take['type']}"
    if fitting or "notebook" not in options:
        return [resize]
    return [resize, _run(options, Path(options.notebook), need.options, take["type"])]


_HOW = {
    "measured": "measured",
    "predicted": "predicted from measurements of other shapes",
    "given": "as you say",
    "doubled": "twice what was too little: nobody has seen its peak",
}


def text(document: Mapping[str, Any]) -> str:
    """For people."""
    current, take = document["current"], document["take"]
    indented = [f"          {line}" for line in document["commands"]]
    asked = f", asked for with {document['margin']:.0%} more: {document['asked_mib']} MiB" if document["margin"] else ""
    lines = [
        f"For       {document['what']}",
        f"Peak      {document['peak_mib']} MiB, {_HOW[document['how']]}{asked}",
        f"Now       {current['type']}, {_usd(current['price_per_hour'])}: Jupyter has {current['limit_mib']} MiB, "
        + ("which holds it" if document["fits"] else "where it would be out of memory"),
    ]
    beside = f" beside {', '.join(document['beside'])}" if document["beside"] else ""
    if document["machine_mib"] is None:
        most = document["most_mib"]
        return "\n".join(
            [*lines, f"No type   memory_mib: {most} in slipway.yml keeps Jupyter below that on any machine. Raise it, and deploy."]
        )
    lines.append(f"Machine   {document['machine_mib']} MiB or more leave Jupyter so much{beside}")
    if take is None:
        return "\n".join(
            [*lines, "No type   of this zone has that. Run fewer services or stacks beside it (rest), or take the data in parts."]
        )
    if document["enough"]:
        lines.append(f"Stay      on {current['type']}: it has that, and its services were given less. Deploy them anew:")
        return "\n".join([*lines, *indented])
    stay = take["type"] == current["type"]
    lines.append(f"{'Stay      on ' if stay else 'Take      '}{_type(take)}" + ("" if stay else f", {_delta(take)}"))
    if document["others"]:
        lines.append("Else      " + "; ".join(_type(item) for item in document["others"]))
    if not take["changes"]:
        lines.append("          Of another architecture: a new machine with a name of its own, not this one.")
    return "\n".join([*lines, *indented])


def _type(item: Mapping[str, Any]) -> str:
    return f"{item['type']} ({item['memory_mib']} MiB, {_usd(item['price_per_hour'])})"


def _usd(price: float | None) -> str:
    return "price unknown" if price is None else f"{price:.4f} USD per hour"


def _delta(item: Mapping[str, Any]) -> str:
    return "difference unknown" if item["delta_per_hour"] is None else f"{item['delta_per_hour']:+.4f} USD per hour"
