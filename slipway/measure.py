"""The command `measure`: what shapes of data and models take of memory, each in a container of its own on the machine."""

from __future__ import annotations

import argparse
import base64
import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway import arguments, lab, plays, projects, render, signals
from slipway.measurements import MODELS, Measurements, Row, Shape
from slipway.model import Exit, RefusalError, Result
from slipway.render import Progress

#: Of the tables, each array ten times as large as the one before: 16 kB to 1.6 GB.
SHAPES: tuple[Shape, ...] = ((100, 20), (1000, 20), (1000, 200), (10_000, 200), (10_000, 2000), (100_000, 2000))
#: The container of one measurement ends itself then.
_SECONDS = 300


@dataclass(frozen=True)
class Machine:
    """Where it is measured: Jupyter's stack on the machine, the limit of its container in MiB, and its image."""

    ssh: Sequence[str]
    folder: str
    stack: str
    type: str
    limit_mib: int
    image: str

    def run(self, words: Sequence[str], given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program of the batch container, in one that is removed afterwards. What an interrupted command left there ends."""
        self.end()
        inside = ["docker", "compose", "--progress", "quiet", "run", "--rm", "--no-TTY", "--quiet-pull", "--name", self._container, "batch"]
        line = f"cd {shlex.quote(self.folder)} && {shlex.join([*inside, 'python', *words])}"
        return subprocess.run([*self.ssh, line], input=given, capture_output=True, text=True, check=False)

    def end(self) -> None:
        """Remove the container, if it is there."""
        subprocess.run([*self.ssh, f"docker rm --force {shlex.quote(self._container)}"], capture_output=True, check=False)

    @property
    def _container(self) -> str:
        return f"{self.stack}-measure"


def measure(options: argparse.Namespace) -> Exit:
    """Measure what is missing, and answer with all of it. Each measurement is kept at once: the same command goes on where it was."""
    shapes, models, seconds = _wanted(options)
    lab.need(options)
    progress = Progress()
    result = look(options, "measure", progress)
    if result.failure:
        return plays.failed(options, result, result.failure)
    there = machine(options, result)
    kept = Measurements.of(options.target, there.image)
    if "again" in options:
        kept.forget(shapes, models)
    done = 0
    try:
        with signals.told_by_signals():
            for words in kept.missing(shapes, models, there.limit_mib, seconds):
                found = _measured(there, words, seconds)
                kept.add(found)
                done += len(found)
                for row in found:
                    progress.say(f"{_what(row)}: {_came_to(row)}")
            drawn = _report(there, kept)
    except KeyboardInterrupt:
        there.end()
        raise
    after = look(options, "measure", progress)
    if after.failure:
        return plays.failed(options, after, after.failure)
    files = kept.report(drawn["models"], base64.b64decode(drawn["figure"]))
    document = {
        "type": there.type,
        "limit_mib": there.limit_mib,
        "image": there.image,
        "measured": done,
        "baselines": [row for row in kept.rows if row.get("baseline")],
        "arrays": [kept.found((None, *shape, None)) for shape in shapes],
        "models": [row for shape in shapes for model in models if (row := kept.found((None, *shape, model)))],
        "predictions": drawn["models"],
        "services": {name: facts["health"] for name, facts in sorted(after.published["services"].items())},
        "files": files,
    }
    print(render.as_json(document) if options.json else text(document))
    return Exit.DONE


def look(options: argparse.Namespace, verb: str, progress: Progress) -> Result:
    """What the stack is now: the project's where one is named, else the machine's own."""
    if "project" not in options:
        return plays.play(verb, "playbooks/status.yml", options, arguments.variables(options), progress)
    folder, _ = projects.project(options)
    return plays.play(verb, "playbooks/project/status.yml", options, projects.variables_of(options, folder), progress)


def machine(options: argparse.Namespace, result: Result) -> Machine:
    """The machine of a look. Raises RefusalError where Jupyter does not run there."""
    plays.running_instance(options, result)
    stack, folder, start = "slipway", "slipway", plays.command(options, "up")
    if "project" in options:
        path, settings = projects.project(options)
        stack = settings["name"]
        folder, start = f"projects/{stack}", f"{plays.command(options, 'deploy')} {shlex.quote(str(path))}"
    jupyter = result.published.get("services", {}).get("jupyter", {})
    if jupyter.get("state") != "running":
        raise RefusalError(f"Jupyter of {stack} does not run. Start it with: {start}")
    ssh = ["ssh", "-F", result.published["ssh_config"], plays.name(options)]
    return Machine(ssh, folder, stack, result.published["instance"]["type"], jupyter["memory_limit_mib"], jupyter["image"])


def _wanted(options: argparse.Namespace) -> tuple[list[Shape], list[str], int]:
    """Shapes, models, and seconds for one of them."""
    rows, cols = getattr(options, "rows", None), getattr(options, "cols", None)
    models, seconds = list(dict.fromkeys(getattr(options, "models", MODELS))), getattr(options, "seconds", _SECONDS)
    if (rows is None) != (cols is None):
        raise RefusalError("--rows and --cols belong together: each number of rows is measured with each of columns.", Exit.BAD_INPUT)
    shapes = [(row, col) for row in rows for col in cols] if rows and cols else SHAPES
    return sorted(set(shapes), key=lambda shape: (shape[0] * shape[1], shape)), models, seconds


def _measured(there: Machine, words: Sequence[str], seconds: int) -> list[Row]:
    """What one container found. Raises RefusalError where it found nothing."""
    ended = there.run(["/slipway/measure.py", *words, "--seconds", str(seconds)])
    found = [
        json.loads(line) | {"type": there.type, "allowed_seconds": seconds} for line in ended.stdout.splitlines() if line.startswith("{")
    ]
    if ended.returncode or not found:
        said = "\n".join((ended.stderr or ended.stdout).strip().splitlines()[-5:])
        raise RefusalError(
            f"{' '.join(words)} could not be measured:\n{said}\nWhat was measured is kept: the same command goes on.", Exit.FAILED
        )
    return found


def _report(there: Machine, kept: Measurements) -> dict[str, Any]:
    """What the measurements come to; the image has the libraries for it."""
    asked = {"measurements": [row for row in kept.rows if not row.get("baseline")], "limit_mib": there.limit_mib, "type": there.type}
    ended = there.run(["/slipway/measure_report.py"], json.dumps(asked))
    if ended.returncode:
        said = "\n".join(ended.stderr.strip().splitlines()[-5:])
        raise RefusalError(f"The figure could not be drawn:\n{said}\nWhat was measured is kept: the same command goes on.", Exit.FAILED)
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def _what(row: Row) -> str:
    if row.get("baseline"):
        return str(row["baseline"])
    return f"{row['rows']} x {row['cols']}" + (f" {row['model']}" if row["model"] else "")


def _came_to(row: Row) -> str:
    if row.get("baseline"):
        return f"{row['use_mib']} MiB"
    if row["ended"] == "out of memory":
        return f"out of memory at {row['limit_mib']} MiB"
    least = f"at least {row['needed_mib']} MiB, cut" if row["ended"] == "cut" else f"{row['needed_mib']} MiB"
    return f"{least} after {row['seconds']:.0f} s"


def _here(row: Row, limit_mib: int) -> str:
    """The same on a machine that may have less memory than the one where it was measured."""
    beyond = f" on a {row['type']}: too much for this machine" if (row["needed_mib"] or 0) > limit_mib else ""
    return _came_to(row) + beyond


def text(document: Mapping[str, Any]) -> str:
    """Both tables for people, and what may be foretold of other shapes."""
    lines = [f"Jupyter's container has {document['limit_mib']} MiB on this {document['type']}.", "", "Arrays (the book's Table 1-2)"]
    lines.append(f"  {'rows x columns':>16}  {'array':>10}  {'in use':>9}")
    lines += [f"  {row['baseline']:>16}  {'':>10}  {row['use_mib']:>5} MiB" for row in document["baselines"]]
    for row in document["arrays"]:
        use = f"{row['use_mib']:>5} MiB" if row.get("use_mib") else row.get("ended", "not measured")
        use += f" on a {row['type']}: too much for this machine" if (row.get("needed_mib") or 0) > document["limit_mib"] else ""
        lines.append(f"  {_what(row):>16}  {_size(row):>10}  {use:>9}")
    lines += ["", "Models (Table 1-3): the most memory that fit and score needed"]
    lines += [f"  {_shape(row):>16}  {row['model']:<22}  {_here(row, document['limit_mib'])}" for row in document["models"]]
    lines += ["", "Other shapes are foretold from these, with the largest error on shapes that were held out:"]
    for name, found in document["predictions"].items():
        error = "no shape to hold out" if found["error"] is None else f"{found['error']:.1%} on {found['held_out']} shapes"
        lines.append(f"  {'array alone' if name == 'none' else name:<22}  {error}, up to arrays of {found['most_array_mib']:g} MiB")
    if missing := [name for name in MODELS if name not in document["predictions"]]:
        lines.append(f"  not for {', '.join(missing)}: too few shapes were measured to their end")
    sick = [name for name, health in document["services"].items() if health != "healthy"]
    lines += ["", f"Services  {'not healthy: ' + ', '.join(sick) if sick else 'all healthy: ' + ', '.join(document['services'])}"]
    lines.append(f"Files     {document['files']['png']}, .csv and .json")
    return "\n".join(lines)


def _shape(row: Row) -> str:
    return f"{row['rows']} x {row['cols']}"


def _size(row: Row) -> str:
    size = row["rows"] * row["cols"] * 8
    return f"{size / 1e6:g} MB"
