"""The command `run`: a notebook from its begin to its end, on the machine."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slipway import arguments, executed, killed, lab, parameters, plays, projects, render
from slipway.model import Exit, Failure, RefusalError, Result
from slipway.render import Progress


@dataclass(frozen=True)
class Job:
    """A notebook to be run: its project's folder and name, its path inside, its parameters and kernel, and when it was asked for."""

    folder: Path
    project: str
    notebook: Path
    parameters: list[str]
    stamp: str
    kernel: str | None = None

    @property
    def output(self) -> str:
        """The executed notebook, in the project's folder."""
        return f"runs/{self.stamp}-{self.notebook.stem}.ipynb"


def job(options: argparse.Namespace) -> Job:
    """What the options ask for. Everything that is wrong with it ends here."""
    notebook = Path(options.notebook).absolute()
    options.project = str(projects.above(notebook.parent, f"NOTEBOOK: {options.notebook!r} lies in no project"))
    folder, settings = projects.project(options)
    relative = _notebook(folder, notebook, options.notebook)
    # To the microsecond: two runs of one notebook, on two machines or of two loops, may begin within one second.
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
    return Job(folder, settings["name"], relative, parameters.words(options), stamp, getattr(options, "kernel", None))


def run(options: argparse.Namespace) -> Exit:
    """Execute a notebook on the machine, in a container that is removed afterwards, and bring back what it made."""
    wanted = job(options)
    lab.need(options)
    progress = Progress()
    there = ready(options, wanted, progress)
    if there.failure:
        return plays.failed(options, there, there.failure)
    code = execute(options, there.published["ssh_config"], wanted)
    back = fetch(options, wanted.folder, wanted.output, progress)
    told = document(options, wanted, code, back)
    if back.failure and options.json:
        return plays.failed(options, back, back.failure, told)
    print(render.as_json(told) if options.json else render.run_text(told, wanted.folder))
    return plays.failed(options, back, back.failure) if back.failure else ending(code)


def ready(options: argparse.Namespace, wanted: Job, progress: Progress) -> Result:
    """Bring the files to the machine, and see that the project runs there."""
    # Whatever git says of the notebook: it is what is asked for.
    variables = projects.variables_of(options, wanted.folder) | {"project_always_sent": [str(wanted.notebook)]}
    result = plays.play("run", "playbooks/project/run.yml", options, variables, progress)
    if not result.failure:
        plays.running_instance(options, result)
        if result.published.get("services", {}).get("jupyter", {}).get("state") != "running":
            deploy = f"{plays.command(options, 'deploy')} {shlex.quote(str(wanted.folder))}"
            raise RefusalError(f"{wanted.project} does not run. Start it with: {deploy}")
    return result


def fetch(options: argparse.Namespace, folder: Path, output: str, progress: Progress, wait: bool = True) -> Result:
    """Bring back the executed notebook, then the files that it made, but for more than a pull fetches unasked.

    Without `wait` that fails if another command syncs the folder.
    """
    variables = arguments.common(options) | {
        "project_path": str(folder),
        "project_fetched": [output],
        "project_most_mb": 0 if options.yes else projects.MOST_MB,
    }
    with ExitStack() as held:
        try:
            with told_by_signals():
                held.enter_context(plays.syncing(folder, wait))
        except (RefusalError, KeyboardInterrupt) as ended:
            # A result like any other: a machine that is larger for this run only still has its way back before it.
            why = str(ended) or f"Interrupted, while another command was syncing the folder {folder}."
            failure = Failure("Wait for the folder", "localhost", f"{why} {output} stays on the machine.", Exit.REFUSED)
            return Result(failure, 0, 0.0, {}, Path())
        back = plays.play("run", "playbooks/project/back.yml", options, variables, progress)
    # What nobody is asked about waits there. The executed notebook is here.
    return replace(back, failure=None) if projects.waiting(back) else back


def document(options: argparse.Namespace, wanted: Job, code: int, back: Result) -> dict[str, Any]:
    """The document of `run --json`, which docs/json.md describes."""
    died = killed.of_run(wanted.folder / wanted.output)
    pull = f"{plays.command(options, 'pull')} {shlex.quote(str(wanted.folder))}"
    return {
        "project": wanted.project,
        "notebook": str(wanted.notebook),
        "executed": wanted.output if (wanted.folder / wanted.output).exists() else None,
        "exit_code": code,
        "out_of_memory": code == executed.KILLED,
        "fetched": back.published.get("sync", {}).get("moved", []),
        "waiting": projects.waiting(back) | {"command": pull} if projects.waiting(back) else None,
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


def container(project: str, stamp: str) -> str:
    """The name of a run's container."""
    return f"{project}-run-{stamp}"


def execute(options: argparse.Namespace, ssh_config: str, wanted: Job) -> int:
    """Run it, with what it says as it comes: to stderr where an answer for programs goes to stdout. Returns its exit code."""
    name = container(wanted.project, wanted.stamp)
    inside = ["docker", "compose", "--progress", "quiet", "run", "--rm", "--no-TTY", "--quiet-pull", "--name", name, "batch"]
    words = [
        "python",
        "-s",
        "/slipway/run_notebook.py",
        str(wanted.notebook),
        wanted.output,
        *wanted.parameters,
        *([f"--kernel={wanted.kernel}"] if wanted.kernel is not None else []),
    ]
    line = f"cd projects/{shlex.quote(wanted.project)} && {shlex.join([*inside, *words])}"
    return followed(options, ssh_config, line, name)


def followed(options: argparse.Namespace, ssh_config: str, line: str, name: str) -> int:
    """Run a line on the machine that shows a container, and return its exit code. Ctrl-C stops that container first."""
    ssh = ["ssh", "-F", ssh_config, plays.name(options)]
    stdout = sys.stderr if options.json else None
    # In a session of its own: Ctrl-C is for the container, whose last words SSH brings.
    process = subprocess.Popen([*ssh, line], stdin=subprocess.DEVNULL, stdout=stdout, start_new_session=True)
    try:
        with told_by_signals():
            return process.wait()
    except KeyboardInterrupt:
        subprocess.run(
            [*ssh, f"docker stop {shlex.quote(name)}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=False,
            start_new_session=True,
        )
        process.wait()
        raise


@contextmanager
def told_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP are told as Ctrl-C is: what was begun on the machine is ended in order."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def hang_up(*_: object) -> None:
        # The terminal is gone, and with it the place for words.
        with Path(os.devnull).open("w") as nowhere:
            for stream in (1, 2):
                if os.isatty(stream):
                    os.dup2(nowhere.fileno(), stream)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, told) for number, told in ((signal.SIGTERM, interrupt), (signal.SIGHUP, hang_up))}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _notebook(folder: Path, notebook: Path, given: str) -> Path:
    """Its path inside the project."""
    real = notebook.resolve()
    if not real.is_relative_to(folder.resolve()):
        raise RefusalError(f"NOTEBOOK: {given!r} is outside the project {folder}. Allowed: a notebook inside it.", Exit.BAD_INPUT)
    relative = real.relative_to(folder.resolve())
    if real.suffix != ".ipynb" or not real.is_file() or relative.parts[0] == "runs":
        raise RefusalError(f"NOTEBOOK: {given!r} is no notebook of the project. Allowed: a file NAME.ipynb, not in runs/.", Exit.BAD_INPUT)
    return relative
