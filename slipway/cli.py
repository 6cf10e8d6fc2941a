"""What each command does: options -> a run -> an answer and an exit code."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from slipway import arguments, render
from slipway.model import Exit, Failure, RefusalError, Request, Result
from slipway.render import Progress


def main(argv: Sequence[str]) -> int:
    """Do what the words say and return the exit code."""
    options = arguments.parse(argv)
    try:
        return int(_COMMANDS[options.command](options))
    except RefusalError as refusal:
        return _refused(options, str(refusal), refusal.code)
    except BrokenPipeError:
        # As in `status | head`: the reader has seen enough. The interpreter's own last flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except (KeyboardInterrupt, EOFError):
        return _refused(options, "Interrupted. The same command again finishes the job.", Exit.FAILED)


def _up(options: argparse.Namespace) -> Exit:
    check = "dry_run" in options
    progress = Progress(check=check)
    variables = arguments.variables(options)
    if options.target == "lab":
        from lab import control

        if check and not control.status().api:
            print("The lab does not run: it would be started, and a new machine made in it.", file=sys.stderr)
            if options.json:
                print(render.as_json(render.status_document(options.target, {}, None)))
            return Exit.DONE
        with _lab_failures():
            control.up(progress.say)
    result = _play("up", "site.yml", options, variables, progress, check)
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
        print(f"The instance keeps its type {document['instance']['type']}: `up` never changes that of one that exists.", file=sys.stderr)
    return Exit.DONE


def _status_command(options: argparse.Namespace) -> Exit:
    if _lab_is_down(options):
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
    _need_lab(options)
    result = _play("open", "playbooks/open.yml", options, arguments.variables(options), Progress())
    if result.failure:
        return _failed(options, result, result.failure)
    _running_instance(options, result)
    url = _status(options, result)["url"]
    print(render.as_json({"target": options.target, "url": url}) if options.json else url)
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
    _need_lab(options)
    result = _play("ssh", "playbooks/find.yml", options, arguments.variables(options))
    if result.failure:
        return _failed(options, result, result.failure)
    _running_instance(options, result)
    command_line = ["ssh", "-F", result.published["ssh_config"], _name(options), *([command] if command else [])]
    os.execvp("ssh", command_line)  # noqa: S606 (to become ssh: its terminal, signals and exit code)


def _destroy(options: argparse.Namespace) -> Exit:
    if "confirm" in options and "name" not in options:
        options.name = options.confirm
    name = _name(options)
    confirmed = getattr(options, "confirm", name if options.yes else None)
    check = "dry_run" in options
    if _lab_is_down(options):
        print("The lab does not run: there is nothing to remove.", file=sys.stderr)
        if options.json:
            print(render.as_json({"target": options.target, "name": name, "changed": 0, "seconds": 0.0}))
        return Exit.DONE
    if confirmed is None and check:
        confirmed = name
    if confirmed is None:
        question = f"This removes the machine {name} with all its data. Type its name to go on: "
        confirmed = _ask(question, _command(options, f"destroy {name}"))
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


def _lab(options: argparse.Namespace) -> Exit:
    from lab import control

    progress = Progress()
    with _lab_failures():
        if options.action in ("down", "reset"):
            hosts = control.status().hosts
            if hosts and not options.yes:
                question = f"This ends {len(hosts)} instance(s) with their data: {', '.join(sorted(hosts))}. Type 'lab' to go on: "
                if _ask(question, f"python orchestrate.py lab {options.action} --yes") != "lab":
                    raise RefusalError("Nothing was changed.")
            control.down(progress.say)
        if options.action in ("up", "reset"):
            control.up(progress.say)
    state = control.status()
    if options.json:
        print(render.as_json({"endpoint": state.endpoint, "api": state.api, "registry": state.registry, "hosts": state.hosts}))
    elif state.endpoint is None:
        print("The lab is down.")
    else:
        print(f"EC2 API   {state.endpoint} ({'answers' if state.api else 'does not answer; start it with: python orchestrate.py lab up'})")
        print(f"Registry  {'runs' if state.registry else 'does not run'}")
        print(f"Hosts     {', '.join(f'{host} ({_word(runs)})' for host, runs in sorted(state.hosts.items())) or 'none'}")
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        keys = " ".join(f"{name}={value}" for name, value in zip(names, control.CREDENTIALS.values(), strict=True))
        print(f"For other tools: AWS_ENDPOINT_URL={state.endpoint} AWS_REGION={control.REGION} {keys}")
    return Exit.DONE


@contextmanager
def _lab_failures() -> Iterator[None]:
    """What the lab or the engine under it refuses, as a line and an exit code."""
    from docker.errors import DockerException

    from lab.config import LabError

    try:
        yield
    except LabError as failure:
        raise RefusalError(str(failure), Exit.FAILED) from failure
    except DockerException as failure:
        raise RefusalError(f"The Docker engine refused: {failure}", Exit.FAILED) from failure


def _word(runs: bool) -> str:
    return "running" if runs else "stopped"


def _play(
    verb: str,
    playbook: str,
    options: argparse.Namespace,
    variables: dict[str, Any],
    progress: Progress | None = None,
    check: bool = False,
) -> Result:
    from slipway.runner import run  # ansible-runner takes a while to import, and bad words need no run

    request = Request(verb=verb, playbook=playbook, target=options.target, variables=variables, check=check)
    return run(request, (progress or Progress()).event)


def _status(options: argparse.Namespace, result: Result) -> dict[str, Any]:
    from slipway.runner import STATE

    token_file = STATE / options.target / "machines" / _name(options) / "stack" / "secrets" / "jupyter_token"
    published = result.published
    url = published.get("url") if published.get("tunnel_open") else None
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


def _lab_is_down(options: argparse.Namespace) -> bool:
    if options.target != "lab":
        return False
    from lab import control

    return not control.status().api


def _need_lab(options: argparse.Namespace) -> None:
    if _lab_is_down(options):
        raise RefusalError("The lab does not run. Start it with: python orchestrate.py up")


def _ask(question: str, instead: str) -> str:
    """Ask at a terminal. Without one, refuse and name the command that needs no question."""
    if not sys.stdin.isatty():
        raise RefusalError(f"This needs a confirmation. Type: {instead}")
    return input(question).strip()


def _failed(options: argparse.Namespace, result: Result, why: Failure) -> Exit:
    if options.json:
        print(render.as_json({"error": why.reason, "task": why.task, "host": why.host, "code": int(why.code), "log": str(result.log)}))
    print(render.failure(why, result.log, _command(options, options.command)), file=sys.stderr)
    return why.code


def _refused(options: argparse.Namespace, text: str, code: Exit) -> Exit:
    if options.json:
        print(render.as_json({"error": text, "code": int(code)}))
    print(text, file=sys.stderr)
    return code


_COMMANDS = {
    "up": _up,
    "status": _status_command,
    "open": _open,
    "logs": _logs,
    "ssh": _ssh,
    "destroy": _destroy,
    "lab": _lab,
}
