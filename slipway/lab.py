"""The command `lab`, and what other commands ask of the lab."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from slipway import render
from slipway.model import Exit, RefusalError
from slipway.render import Progress


def command(options: argparse.Namespace) -> Exit:
    """Start, remove or show the lab."""
    from lab import aws, control

    progress = Progress()
    with failures():
        if options.action in ("down", "reset"):
            hosts = control.status().hosts
            if hosts and not options.yes:
                question = f"This ends {len(hosts)} instance(s) with their data: {', '.join(sorted(hosts))}. Type 'lab' to go on: "
                if render.ask(question, f"python orchestrate.py lab {options.action} --yes") != "lab":
                    raise RefusalError("Nothing was changed.")
            control.down(progress.say)
        if options.action in ("up", "reset"):
            control.up(progress.say)
        if options.action == "aws":
            aws.up(progress.say)
    state, given = control.status(), aws.here()
    if options.json:
        shown = ("endpoint", "api", "registry", "metadata", "hosts")
        found = {key: getattr(state, key) for key in shown} | {"lacks": state.lacking or None}
        print(render.as_json({**found, "aws": given and {"environment": given.environment, "variables": str(given.variables)}}))
    elif state.endpoint is None:
        print("The lab is down.")
    else:
        print(f"EC2 API   {state.endpoint} ({'answers' if state.api else 'does not answer; start it with: python orchestrate.py lab up'})")
        print(f"Registry  {'runs' if state.registry else 'does not run; start it with: python orchestrate.py lab up'}")
        print(f"Metadata  {'runs' if state.metadata else 'does not run; start it with: python orchestrate.py lab up'}")
        print(f"Disks     {f'recorded only: {state.lacking}' if state.lacking else 'real'}")
        print(f"Hosts     {', '.join(f'{host} ({_word(runs)})' for host, runs in sorted(state.hosts.items())) or 'none'}")
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        keys = " ".join(f"{name}={value}" for name, value in zip(names, control.CREDENTIALS.values(), strict=True))
        # The AWS CLI 1 and boto3 read the region's older name, the AWS CLI 2 and Terraform both.
        regions = f"AWS_REGION={control.REGION} AWS_DEFAULT_REGION={control.REGION}"
        print(f"For other tools: AWS_ENDPOINT_URL={state.endpoint} {regions} {keys}")
        if given:
            print(f"For --target aws: {' '.join(f'{name}={shlex.quote(value)}' for name, value in given.environment.items())}")
            print(f"and its variables: cp {shlex.quote(str(given.variables))} inventory/aws/group_vars/all/")
    return Exit.DONE


def start(progress: Progress) -> None:
    """Start the lab where it does not run."""
    from lab import control

    with failures():
        control.up(progress.say)


@contextmanager
def failures() -> Iterator[None]:
    """What the lab or the engine under it refuses, as a line and an exit code."""
    from docker.errors import DockerException

    from lab.config import BadInputError, LabError

    try:
        yield
    except BadInputError as failure:
        raise RefusalError(str(failure), Exit.BAD_INPUT) from failure
    except LabError as failure:
        raise RefusalError(str(failure), Exit.FAILED) from failure
    except DockerException as failure:
        raise RefusalError(f"The Docker engine refused: {failure}", Exit.FAILED) from failure


def _word(runs: bool) -> str:
    return "running" if runs else "stopped"


def is_down(options: argparse.Namespace) -> bool:
    """Whether the lab is the target, and does not run."""
    if options.target != "lab":
        return False
    from lab import control

    return not control.status().api


def need(options: argparse.Namespace) -> None:
    """Refuse a command that would find no lab."""
    if is_down(options):
        raise RefusalError("The lab does not run. Start it with: python orchestrate.py up")
