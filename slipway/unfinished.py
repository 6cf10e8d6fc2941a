"""The way back from a burst: what is left of it stands in the instance's tags, whoever comes next finishes it.

A resize up writes `slipway-burst-…`, the next resize takes it away (roles/ec2_resize).
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from slipway import arguments, batch, executed, plays, projects, receipt, watch, words
from slipway.model import Exit, Failure, RefusalError, Result
from slipway.render import Progress

RESIZE = "playbooks/resize.yml"


@dataclass(frozen=True)
class Burst:
    """What the tags tell; `run` is the executed notebook's name, `folder` the project's."""

    origin: str
    wanted: str
    project: str
    folder: Path
    run: str

    @property
    def output(self) -> str:
        """The executed notebook, in the project's folder."""
        return f"runs/{self.run}"

    @property
    def result(self) -> Path:
        """The executed notebook on this computer."""
        return self.folder / self.output


@dataclass(frozen=True)
class Left:
    """What is left to do: when its results are had (`before` the resize that ends it, `after`, or none), and that resize's variables."""

    results: str
    back: Mapping[str, Any]


@dataclass(frozen=True)
class Ending:
    """What came of the way back: what was left to do, its resize, what was fetched, and what went wrong first."""

    left: Left
    back: Result
    fetched: Result | None
    wrong: tuple[Result, Failure] | None


def of(published: Mapping[str, Any]) -> Burst | None:
    """The burst that the machine is in."""
    tags = (published.get("instance") or {}).get("burst")
    if not tags:
        return None
    # Who may tag the instance is not who has this computer: a name leads to no other folder, and a type is one.
    kinds = {"from": words.TYPE, "to": words.TYPE, "project": words.PROJECT_NAME, "run": words.PLAIN_FILE}
    if not all(key in tags and kind.fits(str(tags[key])) for key, kind in kinds.items()):
        raise RefusalError(f"The tags slipway-burst-… of the instance are none of this project's: {json.dumps(tags)}. Remove them first.")
    return Burst(tags["from"], tags["to"], tags["project"], Path(tags.get("folder") or ""), tags["run"])


def left(burst: Burst, resize_to: str | None) -> Left:
    """Decide by the mark of a resize that was left half-way, if any."""
    if resize_to is None:
        return Left("before", {"ec2_resize_type": burst.origin})
    if resize_to == burst.wanted:
        return Left("none", {"ec2_resize_rollback": True})
    # On its way back; or to a third type that somebody has asked for by Ansible alone, which then counts.
    return Left("after", {"ec2_resize_type": resize_to})


def first(options: argparse.Namespace, command: Callable[[argparse.Namespace], int]) -> int:
    """Do a command; where a burst was left unfinished, that first."""
    try:
        return command(options)
    except plays.BurstLeftError:
        held = nullcontext() if getattr(options, "locked", False) else plays.locked(options, f"orchestrate.py {options.command}")
        with held:
            code, _ = finish(options)
        return command(options) if code is Exit.DONE else code


def ended(options: argparse.Namespace, command: Callable[[argparse.Namespace], Exit]) -> Exit:
    """Do a `resize`, which ends a burst: its results come first, or afterwards where the machine is half-way."""
    if "dry_run" in options:
        return command(options)
    look = plays.play("resize", "playbooks/find.yml", options, arguments.common(options))
    burst = None if look.failure else of(look.published)
    if burst is None:
        return command(options)
    progress, instance = Progress(), look.published["instance"]
    when = left(burst, instance["resize_to"]).results if instance["state"] == "running" else "after"
    if when == "before":
        wait(options, burst, look.published["ssh_config"], progress)
        tell(burst, fetch(options, burst, progress), progress)
    code = command(options)
    if when == "after" and code is Exit.DONE:
        tell(burst, fetch(options, burst, progress), progress)
    return code


def finish(options: argparse.Namespace) -> tuple[Exit, Burst | None]:
    """End a burst that was left, and say what was done."""
    progress = Progress()
    look = plays.play("run", "playbooks/find.yml", options, arguments.common(options), progress)
    if look.failure:
        return plays.failed(options, look, look.failure), None
    burst, instance = of(look.published), look.published["instance"]
    if burst is None:
        return Exit.DONE, None
    if not instance["resize_to"]:
        # Stopped by somebody else: `up` starts it as it is, and the next command ends the burst.
        plays.running_instance(options, look)
    progress.say(f"First the end of a burst: {burst.run} of {burst.project}, on {burst.wanted}, since {instance['burst'].get('since')}.")
    end = come_back(options, burst, look.published, progress)
    if end.left.results == "none":
        progress.say(f"{burst.run} had not begun: there is no result.")
    else:
        tell(burst, end.fetched, progress)
    # Files that were changed on both sides may wait, a machine that is too large may not.
    if end.wrong and (end.back.failure or not burst.result.exists()):
        return failed(options, burst, end), burst
    progress.say(receipt.cost_line(instance["burst"]))
    return Exit.DONE, burst


def come_back(options: argparse.Namespace, burst: Burst, published: Mapping[str, Any], progress: Progress) -> Ending:
    """Wait for the notebook, bring its results back, and give the type back: of these what is left."""
    todo, fetched = left(burst, published["instance"]["resize_to"]), None
    if todo.results == "before":
        wait(options, burst, published["ssh_config"], progress)
        # The larger machine does not wait for another one's sync: it comes back first then.
        fetched = fetch(options, burst, progress, wait_for_folder=False)
    back = plays.play("run", RESIZE, options, arguments.common(options) | dict(todo.back), progress)
    lost = fetched is not None and fetched.failure is not None and not burst.result.exists()
    if not back.failure and (todo.results == "after" or lost):
        fetched = fetch(options, burst, progress)
    return Ending(todo, back, fetched, _first_wrong(back, fetched))


def failed(options: argparse.Namespace, burst: Burst, end: Ending, done: Mapping[str, Any] | None = None) -> Exit:
    """Tell what went wrong on the way back, and where the machine may still be the larger one, what to type."""
    code = plays.failed(options, *end.wrong, done or {}) if end.wrong else Exit.DONE
    if end.back.failure and "resize" not in end.back.published:
        print(still(options, burst, rollback=end.left.results == "none"), file=sys.stderr)
    return code


def still(options: argparse.Namespace, burst: Burst, rollback: bool = False) -> str:
    """How a machine that may still be the larger one becomes the smaller one again."""
    back = f"{plays.command(options, 'resize')} {'--rollback' if rollback else burst.origin}"
    return f"The machine may still be the {burst.wanted}, which costs. Make it the {burst.origin} again with: {back}"


def goes_on(options: argparse.Namespace, burst: Burst, tags: Mapping[str, str]) -> str:
    """What a run costs that goes on without its command, and what ends that."""
    return (
        f"Until then the machine is the {burst.wanted}: {receipt.rate(tags)}. The next command that changes something waits for the "
        f"run's end, fetches its results and makes the machine the {burst.origin} again."
    )


def fetch(options: argparse.Namespace, burst: Burst, progress: Progress, wait_for_folder: bool = True) -> Result | None:
    """Bring the results to the project's folder, where this computer has it."""
    if projects.is_project(burst.folder, burst.project):
        return batch.fetch(options, burst.folder, burst.output, progress, wait_for_folder)
    there = shlex.quote(str(PurePosixPath("projects", burst.project, "work", burst.output)))
    command = f"{plays.command(options, 'ssh')} {shlex.quote(f'cat {there}')} > {shlex.quote(burst.run)}"
    progress.say(
        f"The project {burst.project} is not at {burst.folder}: what its notebook gave, if anything, stays on the machine: {command}"
    )
    return None


def tell(burst: Burst, fetched: Result | None, progress: Progress) -> None:
    """Say what the notebook has given."""
    if fetched is None:
        return
    if burst.result.exists() or not fetched.failure:
        progress.say(executed.line(burst.result))
    if fetched.failure:
        progress.say(f"Not everything came back: {fetched.failure.reason}")


def wait(options: argparse.Namespace, burst: Burst, ssh_config: str, progress: Progress) -> None:
    """Return when the run has ended. Ctrl-C may stop it. Raises RefusalError if the machine does not answer, or the wait was ended."""
    told = False
    while True:
        try:
            name, alive = watch.found(options, ssh_config, burst.output)
            if not alive:
                return
            if not told:
                progress.say(f"{burst.run} still runs: waiting for its end. Ctrl-C stops it, and keeps what it has so far.")
            told = True
            if name:
                watch.follow(options, ssh_config, name, tail="20")
            else:
                time.sleep(1)
        except watch.LeftError as left:
            raise RefusalError(f"{left} Its notebook may still run.\n{still(options, burst)}", Exit.FAILED) from left


def _first_wrong(*results: Result | None) -> tuple[Result, Failure] | None:
    return next(((result, result.failure) for result in results if result and result.failure), None)
