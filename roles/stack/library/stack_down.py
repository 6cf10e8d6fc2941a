#!/usr/bin/python
"""Bring a stack down so that its data can be compared later: first what writes, then the stores."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_down
short_description: Stop the services of Compose projects in order, with fingerprints of the stores in between
description:
  - Takes a fingerprint of each healthy store and of the folders C(work) while everything serves. What cannot be read ends it there, with
    nothing stopped (C(exit_code) 3), but for what is locked or changes at this moment. Then stops every service that is no store, so that
    no data are written, and takes again what was written to since. Then stops the stores, each with time to flush.
  - A home of Jupyter or a worker that an earlier version left in its container is copied into the stack's volume, which the containers
    have from then on. Not with I(rest) or I(pause), which keep the containers.
  - Makes the containers that start I(early) anew meanwhile, with the settings that the folder has now, and does not start them. Not with
    I(pause).
  - A store that does not run is started for its fingerprint. One that was not healthy, and cannot be read, is left out, for a larger
    machine may be its cure. Where anything else fails, what ran before runs again; but with I(pause) and without I(fingerprints), which
    an earlier command has taken then, what is stopped stays so.
  - Stops nothing where a batch run works in one of them, and fingerprints are to be taken (C(exit_code) 3).
  - In check mode takes the first fingerprints and stops nothing, so that it reports what cannot be read.
  - May be repeated, also after it was killed in between.
options:
  stacks: {type: list, elements: dict, required: true, description: "C(name) of each, its C(directory), absolute or relative to the user's
    home, the C(prefix) of its stores' names, and the services that may start before anybody has compared the stores (C(early))."}
  fingerprints: {type: bool, default: true, description: Whether to take them. Without, everything is just stopped in order.}
  rest: {type: bool, default: false, description: Whether they stay stopped until somebody brings them up by name.}
  pause: {type: bool, default: false, description: "Whether the machine is about to be stopped: what ran is written down in each stack's
    folder for C(stack_back), with an earlier command's that was ended; what did not run is left alone, and the containers stay."}
  wait_seconds: {type: int, default: 300, description: How long a store may take until it answers.}
"""

RETURN = r"""
fingerprints: {type: dict, returned: always, description: "A line by store; none where none were to be taken."}
unread: {type: list, returned: always, description: Stores that were not healthy and could not be read.}
down_seconds: {type: float, returned: always, description: How long ago the first service was stopped.}
"""

import http.client
import os
import time
from collections.abc import Container, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_docker import DockerError
from ansible.module_utils.stack_engine import (
    AT_REST,
    RUNNING,
    STACK,
    ComposeError,
    alone,
    batch_runs,
    compose,
    every,
    folder,
    services,
)
from ansible.module_utils.stack_fingerprints import STORES, Readers, StoreError
from ansible.module_utils.stack_home import add, take
from ansible.module_utils.stack_paused import forgotten, written
from ansible.module_utils.stack_paused import found as recorded

#: Seconds that a store has to flush before it is killed. What writes has its container's own: 10, and a worker what its job may take.
STORE_SECONDS = 60


class BusyError(Exception):
    """A batch run works in a stack; the text says in which."""


class UnreadableError(Exception):
    """A fingerprint cannot be taken; the text says of what, and why."""


def stage(stack: Mapping[str, Any], found: Iterable[str]) -> None:
    """Make these services' containers for the next boot, at which the engine's unit starts what was made and never started."""
    if names := [name for name in found if name in stack["early"]]:
        compose(stack["directory"], "up", "--no-start", "--force-recreate", *names)


def marked(stacks: Iterable[Mapping[str, Any]], rest: bool) -> None:
    """Keep whether they are at rest. It is kept first: one that still runs is not at rest, whatever was kept."""
    for stack in stacks:
        # This was asked for since a `stop` that was ended.
        with suppress(PermissionError):
            forgotten(stack["directory"])
        if rest:
            # A stack of somebody else's may lie in a folder that is not this user's: what is known of it is what runs.
            with suppress(PermissionError):
                Path(stack["directory"], AT_REST).touch()
        else:
            Path(stack["directory"], AT_REST).unlink(missing_ok=True)


@dataclass(frozen=True)
class Found:
    """What there is of all stacks: containers by stack, and by the names that the stores have in fingerprints."""

    by_stack: dict[str, dict[str, dict[str, Any]]]
    all: dict[str, dict[str, Any]]
    stores: dict[str, dict[str, Any]]

    @property
    def running(self) -> set[str]:
        """The services that run."""
        return {name for name, item in self.all.items() if item["State"] == "running"}

    @property
    def sick(self) -> set[str]:
        """The stores that are not healthy."""
        return {name for name, item in self.stores.items() if "(healthy)" not in item["Status"]}


def look(stacks: list[dict[str, Any]], only: Mapping[str, Container[str]] | None = None) -> Found:
    """Ask the engine; of each stack for these services `only`. Raises OSError."""
    by_stack = {stack["name"]: services(stack["name"]) for stack in stacks}
    if only is not None:
        by_stack = {stack: {name: item for name, item in of_it.items() if name in only[stack]} for stack, of_it in by_stack.items()}
    found = {(stack["prefix"], name): item for stack in stacks for name, item in by_stack[stack["name"]].items()}
    stores = {prefix + name: item for (prefix, name), item in found.items() if name in STORES}
    return Found(by_stack, {prefix + name: item for (prefix, name), item in found.items()}, stores)


def first_reading(readers: Readers, found: Found) -> dict[str, Any]:
    """Read all while everything serves. Raises BusyError and UnreadableError: nothing was stopped yet."""
    if runs := batch_runs(found.by_stack):
        wait = "Wait for its end, or stop it (`runs` shows its name); then the same command again"
        raise BusyError(f"A notebook is being run in {', '.join(runs)}. Nothing was stopped. {wait}")
    try:
        # What is locked at this moment, or changes, is read after the stop.
        return readers.take(busy=True, without=found.sick)
    except StoreError as refused:
        raise UnreadableError(f"{refused}. Nothing was stopped. Mend this first; then the same command again") from refused


def stays_down(asked: Mapping[str, Any]) -> bool:
    """Whether what is stopped stays so if something fails: the instance's tags have fingerprints, and the next start compares with them."""
    return bool(asked["pause"] and not asked["fingerprints"])


def down(asked: dict[str, Any], stacks: list[dict[str, Any]]) -> dict[str, Any]:
    """Do it all. Raises StoreError, ComposeError, DockerError and OSError, with everything running again that ran, unless it `stays_down`.

    Raises BusyError and UnreadableError with nothing done.
    """
    ran = paused(stacks) if asked["pause"] else None
    found = look(stacks, ran)
    with Readers.of(stacks, found.by_stack, asked["wait_seconds"]) as readers:
        taken: dict[str, Any] = first_reading(readers, found) if asked["fingerprints"] else {}
        if asked["pause"]:
            write_down(stacks, found)
        else:
            marked(stacks, asked["rest"])
        try:
            since = time.monotonic()
            every("stop", (item for name, item in found.all.items() if name not in found.stores and item["State"] in RUNNING))
            for stack in stacks if not (asked["rest"] or asked["pause"]) else []:
                if names := take(stack["name"], found.by_stack[stack["name"]]):
                    add(stack["directory"], names)
                    readers.add_home(found.by_stack[stack["name"]][names[0]], stack["prefix"])
            if asked["fingerprints"]:
                every("start", (item for name, item in found.stores.items() if name not in found.running))
                # What an earlier command has stopped is no sick store.
                taken = readers.take(taken, perhaps=found.sick & found.running if asked["pause"] else found.sick)
            readers.close()
            with ThreadPoolExecutor(max_workers=1) as aside:
                early = [] if asked["pause"] else stacks
                staged = [aside.submit(stage, stack, found.by_stack[stack["name"]]) for stack in early]
                every("stop", found.stores.values(), t=STORE_SECONDS)
                for each in staged:
                    each.result()
            os.sync()
        except Exception:
            if stays_down(asked):
                raise
            # The reason counts, not what else fails then.
            with suppress(OSError, http.client.HTTPException):
                now = look(stacks).all
                every("start", (item for name, item in now.items() if name in (found.running if ran is None else found.all)))
                for stack in stacks if asked["pause"] else []:
                    forgotten(stack["directory"])
            raise
    return {
        "changed": bool(found.running) or asked["rest"],
        "fingerprints": {name: each["said"] for name, each in taken.items()},
        "unread": sorted(found.sick - taken.keys()) if asked["fingerprints"] else [],
        "down_seconds": time.monotonic() - since,
    }


def write_down(stacks: Iterable[Mapping[str, Any]], found: Found) -> None:
    """Write down what ran, in each stack's folder. Raises UnreadableError where the disk is full, for one: nothing was stopped yet."""
    for stack in stacks:
        try:
            written(stack, found.by_stack[stack["name"]])
        except OSError as refused:
            why = f"{stack['directory']} cannot be written to: {refused.strerror}"
            raise UnreadableError(f"{why}. Nothing was stopped. Mend this first; then the same command again") from refused


def paused(stacks: list[dict[str, Any]]) -> dict[str, set[str]]:
    """The services of each stack that run, and those that ran before a `stop` that was ended."""
    known = {stack["name"]: stack["ran"] for stack in recorded(Path(stack["directory"]) for stack in stacks)}
    return {
        name: {service for service, item in of_it.items() if item["State"] in RUNNING or service in known.get(name, [])}
        for name, of_it in look(stacks).by_stack.items()
    }


def rehearsed(asked: dict[str, Any], stacks: list[dict[str, Any]]) -> dict[str, Any]:
    """Read what it would read before the stop. Raises as the first reading does, and OSError."""
    if asked["fingerprints"]:
        found = look(stacks, paused(stacks) if asked["pause"] else None)
        with Readers.of(stacks, found.by_stack, asked["wait_seconds"]) as readers:
            first_reading(readers, found)
    return {"changed": True, "fingerprints": {}, "unread": [], "down_seconds": 0.0}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "stacks": {"type": "list", "elements": "dict", "required": True, "options": STACK},
            "fingerprints": {"type": "bool", "default": True},
            "rest": {"type": "bool", "default": False},
            "pause": {"type": "bool", "default": False},
            "wait_seconds": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    stacks = [stack | {"directory": folder(stack["directory"])} for stack in module.params["stacks"]]
    if not stacks:
        module.exit_json(changed=False, fingerprints={}, unread=[], down_seconds=0.0)
    try:
        if module.check_mode:
            module.exit_json(**rehearsed(module.params, stacks))
        with ExitStack() as held:
            for directory in sorted(stack["directory"] for stack in stacks):
                held.enter_context(alone(directory))
            module.exit_json(**down(module.params, stacks))
    except (BusyError, UnreadableError) as refused:
        module.fail_json(msg=f"{refused}.", exit_code=3)
    except (StoreError, ComposeError, DockerError, OSError, http.client.HTTPException) as failure:
        again = "What ran before runs again, and `up` (of a project: `deploy`) gives it the limits of the memory that there is."
        half = "The stop is half done. `stop` again finishes it, and `start` brings back what ran."
        module.fail_json(msg=f"{failure}. {half if stays_down(module.params) else again}")


if __name__ == "__main__":
    main()
