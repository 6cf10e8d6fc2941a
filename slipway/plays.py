"""What every command needs: to run a playbook for a machine, and to tell what came of it."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from slipway import arguments, killed, lock, render
from slipway.model import STATE, Exit, Failure, RefusalError, Request, Result
from slipway.render import Progress


class BurstLeftError(Exception):
    """The machine was made larger for one notebook, by a command that did not come to its end. Nothing was changed."""


@contextmanager
def locked(options: argparse.Namespace, command: str) -> Iterator[None]:
    """Keep other commands off the machine, and off its lab."""
    with _held(lock.path(STATE, options.target, name(options)), command):
        options.locked = True
        try:
            yield
        finally:
            # A play that shares what no command holds would keep no other one out.
            options.locked = False


@contextmanager
def locked_beside(options: argparse.Namespace, command: str, machines: Iterable[str]) -> Iterator[None]:
    """Keep other commands off further machines that this one works on, from before its first play on."""
    with ExitStack() as all_of_them:
        for machine in machines if getattr(options, "locked", False) else ():
            all_of_them.enter_context(_held(lock.path(STATE, options.target, machine), command, f"the machine {machine}"))
        yield


def syncing(folder: Path, wait: bool = True) -> AbstractContextManager[None]:
    """Keep syncs with other machines out of a project's folder: what was compared must still be so when it is changed.

    Raises RefusalError if another command has the folder and `wait` is false.
    """

    def waiting() -> None:
        if not wait:
            raise RefusalError(f"Another command is syncing the folder {folder}.")
        print(f"Waiting: another command is syncing the folder {folder}. Ctrl-C ends the wait.", file=sys.stderr)

    return lock.alone(lock.of_folder(STATE, folder), waiting)


def lab_starting(command: str) -> AbstractContextManager[None]:
    """Keep `lab down` and another start off the lab; commands on its machines go on."""
    return _held(lock.of_start(STATE), command, "the start of the lab")


def lab_locked(command: str) -> AbstractContextManager[None]:
    """Keep every other command off the lab and its machines."""
    return _held(lock.of_lab(STATE), command)


@contextmanager
def _held(wanted: Path, command: str, what: str = "this machine") -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(lock.held(wanted, command, what))
        except lock.HeldError as held:
            raise RefusalError(str(held)) from held
        yield


def play(
    verb: str,
    playbook: str,
    options: argparse.Namespace,
    variables: dict[str, Any],
    progress: Progress | None = None,
    check: bool = False,
    skip: str = "",
) -> Result:
    """Run a playbook with what the options say of target and lock. Raises BurstLeftError where it was refused for that."""
    from slipway.runner import run  # ansible-runner takes a while to import, and bad words need no run

    machine = str(variables.get("slipway_name", name(options)))
    held = lock.path(STATE, options.target, machine) if getattr(options, "locked", False) else None
    request = Request(verb=verb, playbook=playbook, target=options.target, variables=variables, check=check, skip=skip, lock=held)
    result = run(request, (progress or Progress()).event)
    if result.failure and result.published.get("burst_left"):
        raise BurstLeftError
    return result


def status(options: argparse.Namespace, result: Result, stack: str = "stack", **more: Any) -> dict[str, Any]:
    """The document of `status --json`, with the token in the URL. `stack` is the folder of the stack's secrets among the machine's,
    `more` what its project has to tell of memory."""
    kept = kept_of(options, stack)
    published = result.published
    url = published.get("public_url") or (published.get("url") if published.get("tunnel_open") else None)
    document = render.status_document(options.target, published, render.url_with_token(url, kept / "secrets" / "jupyter_token"))
    return killed.complete(document, partial(command, options), **more)


def kept_of(options: argparse.Namespace, stack: str) -> Path:
    """What the machine's folder has of a stack: `secrets` and the like are in it."""
    return Path(STATE, options.target, "machines", name(options), stack)


def name(options: argparse.Namespace) -> str:
    """The machine's name."""
    return str(getattr(options, "name", "slipway"))


def command(options: argparse.Namespace, verb: str) -> str:
    """The line to type for a verb on the same machine."""
    words = ["python", "orchestrate.py", verb]
    words += ["--target", options.target] if options.target != "lab" else []
    for each in ("name", "region"):
        words += [f"--{each}", shlex.quote(getattr(options, each))] if each in options else []
    return " ".join(words)


def bring_up(options: argparse.Namespace) -> str:
    """The line to type to bring up what the command is about: a project, or the base stack."""
    if "notebook" in options:
        folders = list(Path(options.notebook).absolute().parents)
    else:
        folders = [Path(options.project).absolute()] if "project" in options else []
    folder = next((each for each in folders if (each / "slipway.yml").is_file()), None)
    return f"{command(options, 'deploy')} {shlex.quote(str(folder))}" if folder else command(options, "up")


def running_instance(options: argparse.Namespace, result: Result) -> None:
    """Refuse if there is no running instance."""
    instance = result.published.get("instance")
    if not instance:
        raise RefusalError(f"There is no instance. Make one with: {bring_up(options)}")
    if instance["state"] != "running":
        raise RefusalError(f"The instance {instance['id']} is {instance['state']}. Start it with: {bring_up(options)}")
    # `status` has it in its answer.
    if options.command != "status" and (burst := render.burst_document(result.published)):
        print("\n".join(render.burst_lines(burst, partial(command, options))), file=sys.stderr)


def _explained(options: argparse.Namespace, result: Result, why: Failure) -> Failure:
    """What EC2 says of a machine that SSH does not reach: it may be gone."""
    if not why.unreachable or why.code is Exit.NEEDS_A_PERSON:
        return why
    look = play("look", "playbooks/find.yml", options, arguments.variables(options))
    if look.failure and look.failure.code is Exit.NEEDS_A_PERSON:
        return look.failure
    return replace(why, reason=f"{why.reason}\nLook at {(look.published or result.published).get('way_in', 'its network')}.")


def failed(options: argparse.Namespace, result: Result, why: Failure, done: Mapping[str, Any] = MappingProxyType({})) -> Exit:
    """Tell why, and of a resize what was done all the same."""
    why = _explained(options, result, why)
    if options.json:
        told = {"error": why.reason, "task": why.task, "host": why.host, "code": int(why.code), "log": str(result.log)}
        print(render.as_json({**done, **told}))
    # Over a volume that its first start left half-made the same command would fail again.
    half_made = bool(result.published.get("seeds_failed")) and options.command == "deploy"
    following = f"{command(options, 'reseed')} {shlex.quote(options.project)}" if half_made else again(options)
    print(render.failure(why, result.log, following, same=not half_made), file=sys.stderr)
    return why.code


def again(options: argparse.Namespace) -> str:
    """The command as it was typed."""
    return f"python orchestrate.py {shlex.join(options.words)}"


def refused(options: argparse.Namespace, text: str, code: Exit) -> Exit:
    """Tell what ended before a playbook was started."""
    if options.json:
        print(render.as_json({"error": text, "code": int(code)}))
    print(text, file=sys.stderr)
    return code
