"""The command `run`: a notebook from its begin to its end, on the machine."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slipway import arguments, executed, killed, lab, parameters, plays, projects, render, runs, signals, watch
from slipway.model import Exit, Failure, RefusalError, Result
from slipway.render import Progress
from slipway.runs import Choice, Run
from slipway.watch import LeftError

#: For a run that the engine did not begin.
NOT_BEGUN = 1
#: Bytes of a notebook's name that its executed copy has.
_LONGEST = 200


@dataclass(frozen=True)
class Job:
    """A notebook to be run: its project's folder and name, its path inside, its parameters and kernel, and when it was asked for."""

    folder: Path
    project: str
    notebook: Path
    parameters: list[str]
    stamp: str
    kernel: str | None = None
    #: What tells it from other runs.
    digest: str = ""

    @property
    def output(self) -> str:
        """The executed notebook, in the project's folder."""
        return f"runs/{self.stamp}{self._end}"

    def of(self, output: str) -> Job:
        """The same job with the output of a run of it."""
        return replace(self, stamp=Path(output).name.removesuffix(self._end))

    @property
    def _end(self) -> str:
        """How the output's name ends. A file's name may have 255 bytes, and the stamp and rsync's name meanwhile take some."""
        stem = self.notebook.stem
        while len(os.fsencode(stem)) > _LONGEST:
            stem = stem[:-1]
        return f"-{stem}.ipynb"


def job(options: argparse.Namespace) -> Job:
    """What the options ask for. Everything that is wrong with it ends here."""
    notebook = Path(options.notebook).absolute()
    options.project = str(projects.above(notebook.parent, f"NOTEBOOK: {options.notebook!r} lies in no project"))
    folder, settings = projects.project(options)
    relative = _notebook(folder, notebook, options.notebook)
    # To the microsecond: two runs of one notebook, on two machines or of two loops, may begin within one second.
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
    words, kernel = parameters.words(options), getattr(options, "kernel", None)
    return Job(folder, settings["name"], relative, words, stamp, kernel, runs.digest(folder, relative, words, kernel))


def run(options: argparse.Namespace) -> Exit:
    """Execute a notebook on the machine, in a container of its own, and bring back what it made."""
    wanted = job(options)
    lab.need(options)
    progress = Progress()
    there, choice = ready(options, wanted, progress)
    if there.failure:
        return plays.failed(options, there, there.failure)
    return have(options, wanted, choice, there.published["ssh_config"], progress)


def ready(options: argparse.Namespace, wanted: Job, progress: Progress) -> tuple[Result, Choice]:
    """See that the project runs on the machine, and bring the files there unless the same run is there already. And what is to be done."""
    again = wanted.stamp if "again" in options else ""
    # Whatever git says of the notebook: it is what is asked for.
    variables = projects.variables_of(options, wanted.folder) | {"project_always_sent": [str(wanted.notebook)]}
    first = variables | ({} if again else {"slipway_run_digest": wanted.digest})
    result = plays.play("run", "playbooks/project/run.yml", options, first, progress)
    choice = runs.choose(runs.of(result.published, wanted.project), wanted.project, wanted.digest, wanted.folder, again)
    if not result.failure:
        plays.running_instance(options, result)
        if not choice.run and "sync" not in result.published:
            # The same run has ended, and its results are here.
            result = plays.play("run", "playbooks/project/run.yml", options, variables, progress)
    jupyter = result.published.get("services", {}).get("jupyter", {})
    if not result.failure and not choice.run and jupyter.get("state") != "running":
        deploy = f"{plays.command(options, 'deploy')} {shlex.quote(str(wanted.folder))}"
        raise RefusalError(f"{wanted.project} does not run. Start it with: {deploy}")
    return result, choice


def have(options: argparse.Namespace, wanted: Job, choice: Choice, ssh_config: str, progress: Progress) -> Exit:
    """Begin the run, or join the one that there is, and bring back what it made."""
    wanted = _told_of(options, wanted, choice.run, progress)
    try:
        wanted, choice = begin(options, ssh_config, wanted, choice)
        if "detach" in options and (choice.run is None or choice.run.goes_on):
            return gone_on(options, wanted, choice)
        code = watch.follow(options, ssh_config, choice.name)
    except LeftError as left:
        return gone_on(options, wanted, choice, left)
    back = fetch(options, wanted.folder, wanted.output, progress, kept=choice.name)
    told = document(options, wanted, code_of(code, wanted, choice.name, back), back, choice)
    if back.failure and options.json:
        ended = plays.failed(options, back, back.failure, told)
    else:
        print(render.as_json(told) if options.json else render.run_text(told, wanted.folder))
        ended = plays.failed(options, back, back.failure) if back.failure else ending(told["exit_code"])
    # One that has ended well has an executed notebook: what did not come is there to be fetched.
    came = told["executed"] is not None
    told_all = (came or code != 0) if not back.failure else (back.failure.code is Exit.REFUSED and came)
    # One that was begun from another folder waits for that one.
    mine = any(run.name == choice.name and run.place == runs.place(wanted.folder) for run in runs.ended(back.published))
    if told_all and mine:
        watch.forget(options, ssh_config, choice.name)
    return ended


def _told_of(options: argparse.Namespace, wanted: Job, run: Run | None, progress: Progress) -> Job:
    """Say that the run is there already, if it is; and the job with that run's output."""
    if run is None:
        return wanted
    how = f"{run.name} is that run, {runs.how(runs.document(run))}"
    progress.say(f"{how}: {'this command joins it' if run.goes_on else 'it is not run again'}. Another one: {plays.again(options)} --again")
    return wanted.of(run.output)


def gone_on(options: argparse.Namespace, wanted: Job, choice: Choice, why: LeftError | None = None, more: str = "") -> Exit:
    """Tell that the run goes on without this command: as it was asked for, or for this reason."""
    told = document(options, wanted, None, None, choice)
    same = shlex.join(word for word in options.words if word not in ("--detach", "--again"))
    shown = f"`{plays.command(options, 'runs')}` shows it. `python orchestrate.py {same}` joins it, and has its results"
    goes_on = "runs on the machine" if why is None else "runs on, on the machine" if why.begun else "may run on the machine"
    text = f"{f'{why} ' if why else ''}{choice.name} {goes_on}: {shown}; a `pull` has them too, when it has ended."
    text = "\n".join(filter(None, [text, more]))
    if options.json:
        print(render.as_json(told | ({"error": text, "code": int(Exit.FAILED)} if why else {})))
    print(text, file=sys.stderr if why or options.json else sys.stdout)
    return Exit.FAILED if why else Exit.DONE


def code_of(code: int, wanted: Job, name: str, back: Result | None) -> int:
    """With what the run ended: by the machine's word, or by the executed notebook where another command has had it forgotten."""
    if ended := next((run for run in runs.ended(back.published if back else {}) if run.name == name), None):
        return ended.code
    told = executed.facts(wanted.folder / wanted.output)
    if code == watch.GONE or told.get("state") == "running":
        # Another command had it forgotten, or it was ended from outside.
        return int(told["exit_code"]) if told.get("state") == "done" else runs.ENDED_FROM_OUTSIDE
    return code


def fetch(options: argparse.Namespace, folder: Path, output: str, progress: Progress, wait: bool = True, kept: str = "") -> Result:
    """Bring back the executed notebooks of this run and of those that have ended, then the files that they made, but for more than a pull
    fetches unasked. Of those the machine forgets all but the run that is `kept`.

    Without `wait` that fails if another command syncs the folder.
    """
    variables = arguments.common(options) | {
        "project_path": str(folder),
        "slipway_fetched": [output],
        "slipway_kept_runs": [kept],
        "slipway_place": runs.place(folder),
        "project_most_mb": 0 if options.yes else projects.MOST_MB,
    }
    had = runs.executed_here(folder)
    with ExitStack() as held:
        try:
            with signals.told_by_signals():
                held.enter_context(plays.syncing(folder, wait))
        except (RefusalError, KeyboardInterrupt) as ended:
            # A result like any other: a machine that is larger for this run only still has its way back before it.
            why = str(ended) or f"Interrupted, while another command was syncing the folder {folder}."
            failure = Failure("Wait for the folder", "localhost", f"{why} {output} stays on the machine.", Exit.REFUSED)
            return Result(failure, 0, 0.0, {}, Path())
        back = plays.play("run", "playbooks/project/back.yml", options, variables, progress)
    for line in runs.arrived((run for run in runs.brought(back.published, folder, had) if run.output != output), folder):
        progress.say(line)
    # What a person would be asked about waits there. The executed notebook is here.
    return replace(back, failure=None) if projects.waiting(back) else back


def document(options: argparse.Namespace, wanted: Job, code: int | None, back: Result | None, choice: Choice) -> dict[str, Any]:
    """The document of `run --json`, which docs/json.md describes. Of a run that goes on there is no code."""
    died = killed.of_run(wanted.folder / wanted.output) if code is not None else None
    pull = f"{plays.command(options, 'pull')} {shlex.quote(str(wanted.folder))}"
    waiting = projects.waiting(back) if back else None
    return {
        "run": choice.name,
        "state": "running" if code is None else "ended",
        "joined": choice.joined,
        "project": wanted.project,
        "notebook": str(wanted.notebook),
        "executed": wanted.output if (wanted.folder / wanted.output).exists() else None,
        "exit_code": code,
        "out_of_memory": code == executed.KILLED,
        "fetched": back.published.get("sync", {}).get("moved", []) if back else [],
        "waiting": waiting | {"command": pull} if waiting else None,
        "memory": _memory(options, died, wanted.folder) if died else None,
        "burst": None,
    }


def ending(code: int) -> Exit:
    """The command's exit code, by that of the batch run."""
    return Exit.DONE if code == 0 else Exit.BAD_INPUT if code == Exit.BAD_INPUT else Exit.FAILED


def _memory(options: argparse.Namespace, died: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What the run that died had, and what would fit; both as in the document of `status`."""
    variables = projects.variables_of(options, folder) | {"stack_starved": killed.starved([died])}
    look = plays.play("run", "playbooks/project/status.yml", options, variables)
    if look.failure:
        return {"out_of_memory": [died], "fit": None}
    most_mib = projects.project(options)[1]["memory_mib"]
    return {"out_of_memory": [died], "fit": plays.status(options, look, folder=folder, runs=[died], most_mib=most_mib)["fit"]}


def begin(options: argparse.Namespace, ssh_config: str, wanted: Job, choice: Choice) -> tuple[Job, Choice]:
    """Begin the run, unless it is there, and return the job with the output that it has, and whether it was there.

    Raises LeftError if the run goes on without this command.
    """
    if choice.run:
        return wanted, choice
    words = ["python", "-s", "/slipway/run_notebook.py", str(wanted.notebook), wanted.output, *wanted.parameters]
    words += [f"--digest={wanted.digest}", *([f"--kernel={wanted.kernel}"] if wanted.kernel is not None else [])]
    labels = runs.labels(wanted.digest, wanted.output, wanted.notebook, wanted.parameters, wanted.kernel, wanted.folder)
    begun = watch.begin(options, ssh_config, wanted.project, choice.name, labels, words)
    if begun.interrupted:
        watch.interrupted(options, ssh_config, choice.name, begun.interrupted)
    return wanted.of(begun.output), replace(choice, joined=begun.output != wanted.output)


def _notebook(folder: Path, notebook: Path, given: str) -> Path:
    """Its path inside the project."""
    real = notebook.resolve()
    if not real.is_relative_to(folder.resolve()):
        raise RefusalError(f"NOTEBOOK: {given!r} is outside the project {folder}. Allowed: a notebook inside it.", Exit.BAD_INPUT)
    relative = real.relative_to(folder.resolve())
    if real.suffix != ".ipynb" or not real.is_file() or relative.parts[0] == "runs":
        raise RefusalError(f"NOTEBOOK: {given!r} is no notebook of the project. Allowed: a file NAME.ipynb, not in runs/.", Exit.BAD_INPUT)
    return relative
