"""The commands that become `ssh`, with the machine's own settings: `ssh` and `logs`."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from slipway import arguments, killed, lab, plays, projects, render
from slipway.model import Exit, RefusalError, Result
from slipway.words import shown


def ssh(options: argparse.Namespace) -> Exit:
    """One word is a line for the shell there, as ssh takes it; several are a command and its arguments."""
    words = getattr(options, "remote", [])
    words = words[1:] if words[:1] == ["--"] else words
    return _become(options, words[0] if len(words) == 1 else shlex.join(words))


def logs(options: argparse.Namespace) -> int:
    """The services' logs; those that have an end, with what was killed for memory after it."""
    services = getattr(options, "service", [])
    words = ["docker", "compose", "logs", "--tail", str(getattr(options, "tail", 100))]
    words += ["--follow"] if "follow" in options else []
    stack = projects.stack_name(options) if "project" in options else None
    # Inside the stack's folder, whose .env names the files.
    folder = f"projects/{stack}" if stack else "slipway"
    command = f"cd {shlex.quote(folder)} && {shlex.join([*words, '--', *services])}"
    lab.need(options)
    variables = arguments.variables(options) | ({"stack_name": stack, "stack_directory": folder} if stack else {})
    look = plays.play("logs", "playbooks/status.yml", options, variables)
    # Where the host or its engine says nothing, ssh tells.
    if look.failure and "ssh_config" not in look.published:
        return plays.failed(options, look, look.failure)
    plays.running_instance(options, look)
    if not look.failure and look.published.get("engine") == "running":
        _known(options, look.published, stack, services)
    if "follow" in options:
        _exec(options, look, command)
    process = subprocess.Popen(_command_line(options, look.published["ssh_config"], command))
    try:
        code = process.wait()
    except KeyboardInterrupt:
        code = process.wait()
    document = render.status_document(options.target, look.published, None)
    document["out_of_memory"] = [
        each for each in document["out_of_memory"] if not services or each["service"].partition("-")[0] in services
    ]
    if document["out_of_memory"]:
        here = Path(options.project).absolute() if stack and Path(options.project).is_dir() else None
        print("\n".join(killed.lines(killed.complete(document, partial(plays.command, options), here))), file=sys.stderr)
    return code


def _become(options: argparse.Namespace, command: str) -> Exit:
    """Become ssh. Returns only where there is no machine."""
    lab.need(options)
    result = plays.play("ssh", "playbooks/find.yml", options, arguments.variables(options))
    if result.failure:
        return plays.failed(options, result, result.failure)
    plays.running_instance(options, result)
    _exec(options, result, command)


def _exec(options: argparse.Namespace, result: Result, command: str) -> NoReturn:
    os.execvp("ssh", _command_line(options, result.published["ssh_config"], command))  # noqa: S606 (its terminal, signals and exit code)


def _known(options: argparse.Namespace, published: Mapping[str, Any], stack: str | None, services: Sequence[str]) -> None:
    """Refuse a stack that the machine does not have, and services that the stack does not have."""
    has = sorted({re.sub("-[0-9]+$", "", name) for name in published["services"]})
    others = sorted(published.get("stacks") or {})
    if stack and not has and not published.get("kept_volumes"):
        allowed = ", ".join(others) or "none, for the machine has no stack"
        raise RefusalError(f"--project: {shown(stack)} cannot be used. Allowed: {allowed}. Nothing was changed.", Exit.BAD_INPUT)
    if not has:
        start = plays.command(options, "deploy" if stack else "up")
        raise RefusalError(f"{stack or 'slipway'} has no containers, and so no logs. Bring it up with: {start}")
    if unknown := [each for each in services if each not in has]:
        raise RefusalError(f"SERVICE: {shown(unknown[0])} cannot be used. Allowed: {', '.join(has)}. Nothing was changed.", Exit.BAD_INPUT)


def _command_line(options: argparse.Namespace, config: str, command: str) -> list[str]:
    return ["ssh", "-F", config, plays.name(options), *([command] if command else [])]
