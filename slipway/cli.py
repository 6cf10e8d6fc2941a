"""What each command does: options -> a run -> an answer and an exit code."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from slipway import arguments, lab, lock, receipt, render
from slipway.model import STATE, Exit, Failure, RefusalError, Request, Result
from slipway.render import Progress


def main(argv: Sequence[str]) -> int:
    """Do what the words say and return the exit code."""
    options = arguments.parse(argv)
    try:
        with _locked(options):
            return int(_COMMANDS[options.command](options))
    except RefusalError as refusal:
        return _refused(options, str(refusal), refusal.code)
    except BrokenPipeError:
        # As in `status | head`: the reader has seen enough. The interpreter's own last flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except (KeyboardInterrupt, EOFError):
        return _refused(options, "Interrupted. The same command again finishes the job.", Exit.FAILED)


@contextmanager
def _locked(options: argparse.Namespace) -> Iterator[None]:
    """Keep other commands out while one changes something."""
    changes = options.command in _CHANGING or (options.command == "lab" and options.action != "status")
    if not changes or "dry_run" in options:
        yield
        return
    options.lock = lock.path(STATE, "lab" if options.command == "lab" else options.target, _name(options))
    command = f"orchestrate.py {options.command}" + (f" {options.action}" if options.command == "lab" else "")
    try:
        with lock.held(options.lock, command):
            yield
    except lock.HeldError as held:
        raise RefusalError(str(held)) from held


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
    result = _play("up", "site.yml", options, variables, progress, check, skip="lab")
    if result.failure:
        return _failed(options, result, result.failure)
    document = _status(options, result) | {"changed": result.changed, "seconds": result.seconds}
    if options.json:
        print(render.as_json(document))
    elif check:
        print(f"{result.changed} changes would be made.")
    else:
        print(render.status_text(document, partial(_command, options)))
        print(f"changed={result.changed} in {result.seconds:.0f} s")
    wanted = getattr(options, "type", None)
    if wanted and document["instance"] and document["instance"]["type"] != wanted:
        print(
            f"The instance keeps its type {document['instance']['type']}: `up` never changes that of one that exists; resize does.",
            file=sys.stderr,
        )
    return Exit.DONE


def _status_command(options: argparse.Namespace) -> Exit:
    if lab.is_down(options):
        document = render.status_document(options.target, {}, None)
    else:
        result = _play("status", "playbooks/status.yml", options, arguments.variables(options))
        document = _status(options, result)
        if result.failure:
            # What EC2 says of the instance helps most when the host itself says nothing.
            if document["instance"] and not options.json:
                print(render.status_text(document, partial(_command, options)))
            return _failed(options, result, result.failure)
    print(render.as_json(document) if options.json else render.status_text(document, partial(_command, options)))
    return Exit.DONE


def _open(options: argparse.Namespace) -> Exit:
    lab.need(options)
    result = _play("open", "playbooks/open.yml", options, arguments.variables(options), Progress())
    if result.failure:
        return _failed(options, result, result.failure)
    _running_instance(options, result)
    document = {key: value for key, value in _status(options, result).items() if key in ("target", "exposure", "url", "certificate_sha256")}
    print(render.as_json(document) if options.json else document["url"])
    if document["certificate_sha256"] and not options.json:
        print(render.certificate_line(document), file=sys.stderr)
    return Exit.DONE


def _logs(options: argparse.Namespace) -> Exit:
    command = ["docker", "compose", "logs", "--tail", str(getattr(options, "tail", 100))]
    command += ["--follow"] if "follow" in options else []
    # Inside the stack's folder, whose .env names the files.
    return _on_the_machine(options, f"cd slipway && {shlex.join([*command, '--', *getattr(options, 'service', [])])}")


def _ssh(options: argparse.Namespace) -> Exit:
    """One word is a line for the shell there, as ssh takes it; several are a command and its arguments."""
    words = getattr(options, "remote", [])
    words = words[1:] if words[:1] == ["--"] else words
    return _on_the_machine(options, words[0] if len(words) == 1 else shlex.join(words))


def _on_the_machine(options: argparse.Namespace, command: str) -> Exit:
    """Become ssh, with the machine's own settings. Returns only where there is no machine."""
    lab.need(options)
    result = _play("ssh", "playbooks/find.yml", options, arguments.variables(options))
    if result.failure:
        return _failed(options, result, result.failure)
    _running_instance(options, result)
    command_line = ["ssh", "-F", result.published["ssh_config"], _name(options), *([command] if command else [])]
    os.execvp("ssh", command_line)  # noqa: S606 (to become ssh: its terminal, signals and exit code)


def _resize(options: argparse.Namespace) -> Exit:
    lab.need(options)
    variables, check = arguments.variables(options), "dry_run" in options
    if check or (sys.stdin.isatty() and not options.yes):
        plan = _play("resize", "playbooks/resize.yml", options, variables, Progress(check=True), check=True)
        if plan.failure:
            return _failed(options, plan, plan.failure)
        document = plan.published["resize_plan"]
        if check:
            print(render.as_json(document) if options.json else receipt.plan_text(document, _name(options)))
            return Exit.DONE
        if document["needed"]:
            print(receipt.plan_text(document, _name(options)), file=sys.stderr)
            if render.ask("Go on? [y/N] ", _command(options, "resize --yes")).lower() not in ("y", "yes"):
                raise RefusalError("Nothing was changed.")
    result = _play("resize", "playbooks/resize.yml", options, variables, Progress())
    done = dict(result.published.get("resize", {}))
    if done:
        done |= {"seconds": result.seconds, "url": _status(options, result)["url"]}
    if result.failure and (options.json or not done):
        return _failed(options, result, result.failure, done)
    print(render.as_json(done) if options.json else receipt.text(done))
    return _failed(options, result, result.failure) if result.failure else Exit.DONE


def _destroy(options: argparse.Namespace) -> Exit:
    name = _name(options)
    confirmed = getattr(options, "confirm", name if options.yes else None)
    check = "dry_run" in options
    if lab.is_down(options):
        print("The lab does not run: there is nothing to remove.", file=sys.stderr)
        if options.json:
            print(render.as_json({"target": options.target, "name": name, "changed": 0, "seconds": 0.0}))
        return Exit.DONE
    if confirmed is None and check:
        confirmed = name
    if confirmed is None:
        question = f"This removes the machine {name} with all its data. Type its name to go on: "
        confirmed = render.ask(question, _command(options, f"destroy {name}"))
    variables = arguments.variables(options) | {"ec2_instance_destroy_confirm": confirmed}
    result = _play("destroy", "playbooks/destroy.yml", options, variables, Progress(check=check), check)
    if result.failure:
        return _failed(options, result, result.failure)
    if options.json:
        print(render.as_json({"target": options.target, "name": name, "changed": result.changed, "seconds": result.seconds}))
    elif result.changed == 0:
        print(f"Nothing to remove: there is no machine {name} (target {options.target}).")
    else:
        print(f"{'Would remove' if check else 'Removed'} {name}: changed={result.changed} in {result.seconds:.0f} s")
    return Exit.DONE


def _play(
    verb: str,
    playbook: str,
    options: argparse.Namespace,
    variables: dict[str, Any],
    progress: Progress | None = None,
    check: bool = False,
    skip: str = "",
) -> Result:
    from slipway.runner import run  # ansible-runner takes a while to import, and bad words need no run

    held = getattr(options, "lock", None)
    request = Request(verb=verb, playbook=playbook, target=options.target, variables=variables, check=check, skip=skip, lock=held)
    return run(request, (progress or Progress()).event)


def _status(options: argparse.Namespace, result: Result) -> dict[str, Any]:
    token_file = STATE / options.target / "machines" / _name(options) / "stack" / "secrets" / "jupyter_token"
    published = result.published
    url = published.get("public_url") or (published.get("url") if published.get("tunnel_open") else None)
    return render.status_document(options.target, published, render.url_with_token(url, token_file))


def _name(options: argparse.Namespace) -> str:
    return str(getattr(options, "name", "slipway"))


def _command(options: argparse.Namespace, verb: str) -> str:
    """The line to type for a verb on the same machine."""
    words = ["python", "orchestrate.py", verb]
    words += ["--target", options.target] if options.target != "lab" else []
    for name in ("name", "region"):
        words += [f"--{name}", shlex.quote(getattr(options, name))] if name in options else []
    return " ".join(words)


def _running_instance(options: argparse.Namespace, result: Result) -> None:
    instance = result.published.get("instance")
    if not instance:
        raise RefusalError(f"There is no instance. Make one with: {_command(options, 'up')}")
    if instance["state"] != "running":
        raise RefusalError(f"The instance {instance['id']} is {instance['state']}. Start it with: {_command(options, 'up')}")


def _explained(options: argparse.Namespace, result: Result, why: Failure) -> Failure:
    """What EC2 says of a machine that SSH does not reach: it may be gone."""
    if not why.unreachable or why.code is Exit.NEEDS_A_PERSON:
        return why
    look = _play("look", "playbooks/find.yml", options, arguments.variables(options))
    if look.failure and look.failure.code is Exit.NEEDS_A_PERSON:
        return look.failure
    return replace(why, reason=f"{why.reason}\nLook at {(look.published or result.published).get('way_in', 'its network')}.")


def _failed(options: argparse.Namespace, result: Result, why: Failure, done: Mapping[str, Any] = MappingProxyType({})) -> Exit:
    """Tell why, and of a resize what was done all the same."""
    why = _explained(options, result, why)
    if options.json:
        told = {"error": why.reason, "task": why.task, "host": why.host, "code": int(why.code), "log": str(result.log)}
        print(render.as_json({**done, **told}))
    print(render.failure(why, result.log, _command(options, _again(options))), file=sys.stderr)
    return why.code


def _again(options: argparse.Namespace) -> str:
    """The command's own words, to be typed again."""
    words = [options.command]
    words += [options.type] if options.command == "resize" and "type" in options else []
    words += [f"--{name}" for name in ("snapshot", "rollback", "dry-run") if name.replace("-", "_") in options]
    words += ["--fallback", *options.fallback] if "fallback" in options else []
    words += ["--max-price", options.max_price] if "max_price" in options else []
    return shlex.join(words)


def _refused(options: argparse.Namespace, text: str, code: Exit) -> Exit:
    if options.json:
        print(render.as_json({"error": text, "code": int(code)}))
    print(text, file=sys.stderr)
    return code


_CHANGING = ("up", "open", "resize", "destroy")
_COMMANDS = {
    "up": _up,
    "status": _status_command,
    "resize": _resize,
    "open": _open,
    "logs": _logs,
    "ssh": _ssh,
    "destroy": _destroy,
    "lab": lab.command,
}
