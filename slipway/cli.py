"""What each command does: options -> a run -> an answer and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from slipway import (
    advise,
    arguments,
    bake,
    burst,
    lab,
    listing,
    lock,
    machine,
    measure,
    pause,
    plays,
    projects,
    receipt,
    render,
    standing,
    top,
    unfinished,
)
from slipway.model import STATE, Exit, RefusalError, Result
from slipway.render import Progress


def main(argv: Sequence[str]) -> int:
    """Do what the words say and return the exit code."""
    try:
        options = arguments.parse(argv)
    except RefusalError as refusal:
        # Before they are read, its words say only that JSON is wanted.
        return plays.refused(argparse.Namespace(json="--json" in argv), str(refusal), refusal.code)
    try:
        with _locked(options):
            return int(unfinished.first(options, _COMMANDS[options.command]))
    except RefusalError as refusal:
        return plays.refused(options, str(refusal), refusal.code)
    except BrokenPipeError:
        # As in `status | head`: the reader has seen enough. The interpreter's own last flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except (KeyboardInterrupt, EOFError):
        return plays.refused(options, "Interrupted. The same command again finishes the job.", Exit.FAILED)
    finally:
        # With the first process of a container, or of a service, all others are killed, and its keeper would give nothing back.
        if os.getppid() <= 1:
            lock.given_back(STATE)


def _locked(options: argparse.Namespace) -> AbstractContextManager[object]:
    """Keep other commands out while one changes something: off its machine, or off the whole lab."""
    if options.command == "lab" and options.action != "status":
        of_lab = plays.lab_starting if options.action in ("up", "aws") else plays.lab_locked
        return of_lab(f"orchestrate.py lab {options.action}")
    if (options.command in _CHANGING or "on" in options) and "dry_run" not in options and "listed" not in options:
        return plays.locked(options, f"orchestrate.py {options.command}")
    return nullcontext()


def _up(options: argparse.Namespace) -> Exit:
    check = "dry_run" in options
    progress = Progress(check=check)
    variables = arguments.variables(options)
    if options.target == "lab":
        if check and lab.is_down(options):
            print("The lab does not run: it would be started, and a new machine made in it.", file=sys.stderr)
            if options.json:
                print(render.as_json(render.status_document(options.target, {}, None)))
            return Exit.DONE
        lab.start(progress)
    # The lab was started above.

    def play(**more: bool) -> Result:
        return plays.play("up", "site.yml", options, variables | more, progress, check, skip="lab")

    result = projects.with_room(options, play)
    if result.failure:
        return plays.failed(options, result, result.failure)
    document = plays.status(options, result) | pause.found(result) | {"changed": result.changed, "seconds": result.seconds}
    pause.tell(options, document, result, check)
    wanted = getattr(options, "type", None)
    if wanted and document["instance"] and document["instance"]["type"] != wanted:
        print(
            f"The instance keeps its type {document['instance']['type']}: `up` never changes that of one that exists; resize does.",
            file=sys.stderr,
        )
    return Exit.DONE


def _status_command(options: argparse.Namespace) -> Exit:
    if "project" in options:
        return projects.show(options)
    if lab.is_down(options):
        document = render.status_document(options.target, {}, None)
    else:
        result = plays.play("status", "playbooks/status.yml", options, arguments.variables(options))
        document = plays.status(options, result)
        if result.failure:
            # What EC2 says of the instance helps most when the host itself says nothing.
            if document["instance"] and not options.json:
                print(render.status_text(document, partial(plays.command, options)))
            return plays.failed(options, result, result.failure)
    print(render.as_json(document) if options.json else render.status_text(document, partial(plays.command, options)))
    return Exit.DONE


def _open(options: argparse.Namespace) -> Exit:
    if "project" in options:
        return projects.show(options)
    lab.need(options)
    result = plays.play("open", "playbooks/open.yml", options, arguments.variables(options), Progress())
    if pause.is_down(result.published) and not result.failure:
        result = pause.back(options, "open", Progress())
    if result.failure:
        return plays.failed(options, result, result.failure)
    plays.running_instance(options, result)
    whole = plays.status(options, result)
    if not standing.serves(whole):
        raise RefusalError(standing.closed(whole, "slipway", plays.command(options, "up"), plays.command(options, "logs")))
    document = {key: whole[key] for key in ("target", "exposure", "url", "certificate_sha256")} | pause.found(result)
    if "local_port" in options and document["exposure"] == "public":
        raise RefusalError("--local-port: Jupyter is reached by TLS here, without a tunnel. Nothing was changed.")
    print(render.as_json(document) if options.json else document["url"])
    if document["certificate_sha256"] and not options.json:
        print(render.certificate_line(document), file=sys.stderr)
    return Exit.DONE


def _resize(options: argparse.Namespace) -> Exit:
    lab.need(options)
    variables, check = arguments.variables(options), "dry_run" in options
    if check or (sys.stdin.isatty() and not options.yes):
        plan = plays.play("resize", "playbooks/resize.yml", options, variables, Progress(check=True), check=True)
        if plan.failure:
            return plays.failed(options, plan, plan.failure)
        document = receipt.plan_document(plan.published)
        if check:
            print(render.as_json(document) if options.json else receipt.plan_text(document, plays.name(options)))
            return Exit.DONE
        if document["needed"]:
            print(receipt.plan_text(document, plays.name(options)), file=sys.stderr)
            if render.ask("Go on? [y/N] ", plays.command(options, "resize --yes")).lower() not in ("y", "yes"):
                raise RefusalError("Nothing was changed.")
    result = plays.play("resize", "playbooks/resize.yml", options, variables, Progress())
    done = dict(result.published.get("resize", {}))
    if done:
        done |= {"seconds": result.seconds, "url": plays.status(options, result)["url"]}
    if result.failure and (options.json or not done):
        return plays.failed(options, result, result.failure, done)
    print(render.as_json(done) if options.json else receipt.text(done))
    return plays.failed(options, result, result.failure) if result.failure else Exit.DONE


def _destroy(options: argparse.Namespace) -> Exit:
    name = plays.name(options)
    confirmed = getattr(options, "confirm", name if options.yes else None)
    check = "dry_run" in options
    variables = arguments.variables(options)
    if lab.is_down(options):
        print("The lab does not run: there is nothing to remove.", file=sys.stderr)
        if options.json:
            print(render.as_json({"target": options.target, "name": name, "changed": 0, "seconds": 0.0}))
        return Exit.DONE
    if confirmed is None and check:
        confirmed = name
    instance = getattr(options, "instance", None)
    if confirmed is None:
        what = f"the machine {name}" if instance is None else f"the instance {instance} of the machine {name}"
        question = f"This removes {what} with all its data. Type {'its name' if instance is None else 'the name of the machine'} to go on: "
        confirmed = render.ask(question, plays.command(options, f"destroy {name}"))
    variables |= {"ec2_instance_destroy_confirm": confirmed}
    result = plays.play("destroy", "playbooks/destroy.yml", options, variables, Progress(check=check), check)
    if result.failure:
        return plays.failed(options, result, result.failure)
    if options.json:
        print(render.as_json({"target": options.target, "name": name, "changed": result.changed, "seconds": result.seconds}))
    elif result.changed == 0:
        what = f"there is no machine {name}" if instance is None else f"{instance} of {name} was removed before"
        print(f"Nothing to remove: {what} (target {options.target}).")
    else:
        what = name if instance is None else f"{instance} of {name}, which stays"
        print(f"{'Would remove' if check else 'Removed'} {what}: changed={result.changed} in {result.seconds:.0f} s")
    return Exit.DONE


def _unlock(options: argparse.Namespace) -> Exit:
    """End the lock that a command of another computer has left; one of this computer is never the one, for this command has its lock."""
    lab.need(options)
    look = plays.play("unlock", "playbooks/unlock.yml", options, arguments.variables(options), check=True)
    if look.failure:
        return plays.failed(options, look, look.failure)
    holder, ended = look.published["lock_holder"], False
    if holder and "dry_run" not in options:
        who = f"The machine {plays.name(options)} is locked by this command: {render.holder_words(holder)}."
        question = f"{who}\nIf it still works, two commands will change the machine at once. End its lock? [y/N] "
        if not options.yes and render.ask(question, plays.command(options, "unlock --yes")).lower() not in ("y", "yes"):
            raise RefusalError("Nothing was changed.")
        # That command's alone: it may have ended, and another one come, while this one asked.
        variables = arguments.variables(options) | {"ec2_instance_unlock_id": holder["id"]}
        result = plays.play("unlock", "playbooks/unlock.yml", options, variables)
        if result.failure:
            return plays.failed(options, result, result.failure)
        ended = result.changed > 0
    document = {"target": options.target, "name": plays.name(options), "holder": holder, "ended": ended}
    print(render.as_json(document) if options.json else render.unlock_text(document))
    return Exit.DONE


_CHANGING = ("up", "bake", "stop", "start", "open", "resize", "destroy", "unlock", "measure", *projects.CHANGING)
_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "up": _up,
    "bake": bake.bake,
    "status": _status_command,
    "stop": pause.stop,
    "start": pause.start,
    "resize": partial(unfinished.ended, command=_resize),
    "open": _open,
    "logs": machine.logs,
    "ssh": machine.ssh,
    "top": top.top,
    "destroy": _destroy,
    "unlock": _unlock,
    "lab": lab.command,
    **projects.COMMANDS,
    "run": burst.run,
    "runs": listing.command,
    "measure": measure.measure,
    "advise": advise.advise,
}
