"""A batch run over SSH: begin it on the machine, watch it, stop it. It goes on without this computer."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from slipway import plays, render, runs
from slipway.model import Exit, RefusalError
from slipway.signals import ToldToEndError, told_by_signals

#: What SSH itself ends with, and what the line of `_followed` does if the engine does not answer, or if the container is gone.
_NO_WAY, _NO_ENGINE, GONE = 255, 253, 254
#: What docker itself ends with if it cannot start a container.
_NOT_STARTED = 125
#: So long the connection is tried again before a run is left, and so often.
RECONNECT_SECONDS, _EVERY = 60, 3


class LeftError(Exception):
    """The run goes on without this command; the text says why. `begun` is false if it is not known whether it has begun."""

    def __init__(self, text: str, begun: bool = True) -> None:
        super().__init__(text)
        self.begun = begun


@dataclass(frozen=True)
class Begun:
    """A run that was begun: where its executed notebook is to be, in the project's folder, and the signal that came meanwhile."""

    output: str
    interrupted: KeyboardInterrupt | None = None


def begin(options: argparse.Namespace, ssh_config: str, project: str, name: str, labels: Mapping[str, str], words: Sequence[str]) -> Begun:
    """Begin a run of this name. Another command may have begun it meanwhile: then there is one of it, whose output is told.

    Raises RefusalError if it cannot be begun, LeftError if the connection is lost meanwhile, or a second signal comes.
    """
    told = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
    inside = ["docker", "compose", "--progress", "quiet", "run", "--detach", "--no-TTY", "--quiet-pull", "--name", name, *told, "batch"]
    line = f"cd projects/{shlex.quote(project)} && {shlex.join([*inside, *words])} > /dev/null"
    output = f"timeout 30 docker inspect --format '{{{{index .Config.Labels \"{runs.LABEL}output\"}}}}' {shlex.quote(name)}"
    process = subprocess.Popen(
        [*_ssh(options, ssh_config), f"({line}); {output} 2> /dev/null"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Ctrl-C does not reach it: it takes a moment, and then there is something to stop.
        start_new_session=True,
    )
    interrupted = None
    try:
        with told_by_signals():
            try:
                found, said = process.communicate()
            except KeyboardInterrupt as first:
                interrupted = first
                found, said = process.communicate()
    except KeyboardInterrupt as second:
        raise LeftError("The command was ended while the run was being begun.", begun=False) from second
    if process.returncode == _NO_WAY or process.returncode < 0:
        raise LeftError("The connection to the machine was lost while the run was being begun.", begun=False)
    if process.returncode:
        raise RefusalError(f"The run cannot be begun: {said.strip()}", Exit.FAILED)
    return Begun(found.removesuffix("\n"), interrupted)


def found(options: argparse.Namespace, ssh_config: str, output: str) -> tuple[str, bool]:
    """The name of the run that goes on with this output, and whether it does: one that is just being begun has no name yet.

    Raises LeftError if the machine does not answer.
    """
    label = f"{runs.LABEL}output"
    shown = shlex.quote(f'{{{{json .Names}}}} {{{{json (.Label "{label}")}}}}')
    # What begins it counts too: a container takes a moment to be there. The line has the output nowhere but in this pattern, and the
    # bracket keeps that from finding the line itself.
    pattern = shlex.quote(f"[{output[0]}]{re.escape(output[1:])}")
    line = f"docker ps --filter label={label} --format {shown}; pgrep -f {pattern} > /dev/null"
    done = subprocess.run([*_ssh(options, ssh_config), line], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == _NO_WAY:
        raise LeftError("The machine does not answer by SSH.")
    told = [each.split(" ", 1) for each in done.stdout.splitlines()]
    name = next((json.loads(name) for name, of in told if json.loads(of) == output), "")
    return name, bool(name) or done.returncode == 0


def follow(options: argparse.Namespace, ssh_config: str, name: str, tail: str = "all") -> int:
    """Show what a run says, from its begin on or the last lines of that, and return its exit code, or GONE if it was removed.

    A connection that is lost is tried again. Ctrl-C asks whether the run is to be stopped; without a terminal it stops it. Raises LeftError
    if the run goes on without this command: by that answer, by SIGTERM or SIGHUP, or for want of a connection.
    """
    lost_at = 0.0
    while True:
        began = time.monotonic()
        code = _followed(options, ssh_config, name, tail)
        if code not in (_NO_WAY, _NO_ENGINE):
            return code
        what = "connection to the machine is lost" if code == _NO_WAY else "engine of the machine does not answer"
        if not lost_at or time.monotonic() - began > RECONNECT_SECONDS / 2:
            lost_at = time.monotonic()
            print(f"The {what}. {name} goes on there. Trying again for {RECONNECT_SECONDS} s.", file=sys.stderr)
        elif time.monotonic() - lost_at > RECONNECT_SECONDS:
            raise LeftError(f"The {what}.")
        tail = "20"
        try:
            with told_by_signals():
                time.sleep(_EVERY)
        except KeyboardInterrupt as ended:
            raise LeftError(f"The {what}, and the command was ended.") from ended


def stop(options: argparse.Namespace, ssh_config: str, name: str) -> None:
    """Stop a run, which writes what it has so far."""
    _quiet(options, ssh_config, f"timeout 60 docker stop --time 30 {shlex.quote(name)}")


def forget(options: argparse.Namespace, ssh_config: str, name: str) -> None:
    """Remove the container of a run that has ended. If that fails, the next pull removes it."""
    _quiet(options, ssh_config, f"timeout 30 docker rm {shlex.quote(name)}")


def interrupted(options: argparse.Namespace, ssh_config: str, name: str, why: KeyboardInterrupt) -> None:
    """Stop the run, or raise LeftError. SIGTERM asks for the end of the command only; Ctrl-C may mean the run too."""
    if isinstance(why, ToldToEndError):
        raise LeftError("The command was ended.") from why
    if sys.stdin.isatty() and not options.yes:
        _ask(name)
    print(f"Stopping {name}. What there is so far is kept.", file=sys.stderr)
    try:
        with told_by_signals():
            stop(options, ssh_config, name)
    except KeyboardInterrupt as again:
        raise LeftError("The command was ended while the run was being stopped.", begun=False) from again


def _ask(name: str) -> None:
    try:
        with told_by_signals():
            answer = render.ask(f"\nStop {name} too? It goes on otherwise. [y/N] ", "")
    except (KeyboardInterrupt, EOFError) as ended:
        _left(ended)
    if answer.lower() not in ("y", "yes"):
        _left(None)


def _left(why: BaseException | None) -> NoReturn:
    raise LeftError("The command was ended by Ctrl-C.") from why


def _followed(options: argparse.Namespace, ssh_config: str, name: str, tail: str) -> int:
    quoted = shlex.quote(name)
    # One that was made and not begun, as by a command that was killed in between, begins here. What the run ended with never looks like the
    # codes of the way: of what ends by force, as with its machine, it says nothing.
    line = f"""
look="timeout 30 docker inspect --format {{{{.State.Status}}}}"
state=$($look {quoted} 2> /dev/null)
if [ "$state" = created ]; then timeout 30 docker start {quoted} > /dev/null || exit {_NOT_STARTED}; fi
if [ -n "$state" ] && docker logs --follow --tail {tail} {quoted} && code=$(docker wait {quoted} 2> /dev/null); then
  [ "$code" -lt {_NO_ENGINE} ] && exit "$code"
  exit {runs.ENDED_FROM_OUTSIDE}
fi
case $($look {quoted} 2>&1) in *[Nn]"o such "*) exit {GONE};; esac
exit {_NO_ENGINE}"""
    stdout = sys.stderr if options.json else None
    # In a session of its own: Ctrl-C is for this command, which may ask.
    ssh = [*_ssh(options, ssh_config), line]
    process = subprocess.Popen(ssh, stdin=subprocess.DEVNULL, stdout=stdout, start_new_session=True)
    while True:
        try:
            with told_by_signals():
                code = process.wait()
            # An ssh that was killed is no way, too.
            return code if code >= 0 else _NO_WAY
        except KeyboardInterrupt as why:
            try:
                interrupted(options, ssh_config, name, why)
            except BaseException:
                process.terminate()
                process.wait()
                raise


def _quiet(options: argparse.Namespace, ssh_config: str, line: str) -> None:
    nothing = subprocess.DEVNULL
    ssh = [*_ssh(options, ssh_config), line]
    subprocess.run(ssh, stdin=nothing, stdout=nothing, stderr=nothing, check=False, start_new_session=True)


def _ssh(options: argparse.Namespace, ssh_config: str) -> list[str]:
    return ["ssh", "-F", ssh_config, plays.name(options)]
