#!/usr/bin/python
"""Bring back exactly what ran before the machine was stopped, and say whether its data are what they were."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_back
short_description: Start what stack_down has written down with I(pause), and compare the stores with fingerprints that were taken before
description:
  - At I(step) C(stores) starts the stores that ran, and the services that may start early, and takes the fingerprints again. If a store
    differs, only stores run in the end. Without fingerprints does nothing.
  - At I(step) C(rest) starts everything that ran, forgets what was written down, and waits until what runs is healthy.
  - The containers are those that there were. A stack without a file C(paused.json) is left alone; if none has one, nothing is
    compared. May be repeated.
  - In check mode starts nothing.
options:
  directory: {type: str, required: true, description: "Folder of the base stack, absolute or relative to the user's home."}
  step: {type: str, choices: [stores, rest], required: true, description: What is to be done.}
  before: {type: dict, default: {}, description: 'Fingerprints, a line by store.'}
  wait_seconds: {type: int, default: 300, description: How long a store may take until it answers, or a service until it is healthy.}
  settle: {type: bool, default: true, description: Whether C(rest) waits until the services are healthy.}
"""

RETURN = r"""
engine: {type: bool, returned: always, description: Whether the engine answers. Without it nothing is done.}
fingerprints: {type: dict, returned: always, description: "A line by store; none if nothing was to be compared."}
different: {type: list, returned: always, description: The stores that hold something else than before.}
known: {type: bool, returned: always, description: "Whether it is known what ran. If not, nothing is compared."}
started: {type: list, returned: always, description: "The stacks that had something to start."}
ports: {type: dict, returned: always, description: "At C(rest): the ports of the host that lead to services of each project, by its name."}
unhealthy: {type: list, returned: always, description: "Services that ran before and are not healthy, as STACK SERVICE (STATE)."}
"""

import http.client
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_engine import RUNNING, Engine, alone, answers, every, services
from ansible.module_utils.stack_fingerprints import STORES, Readers, StoreError, differences
from ansible.module_utils.stack_health import passes
from ansible.module_utils.stack_paused import folders, forgotten, found

#: How long services that only fail are waited for.
FAILED_SECONDS = 60
NOTHING: Mapping[str, Any] = {
    "engine": True,
    "known": True,
    "fingerprints": {},
    "different": [],
    "started": [],
    "unhealthy": [],
    "ports": {},
}
#: What is told if a machine has fingerprints and no stack has a file: everything has run, and was written to, since they were taken.
UNKNOWN = "What ran before the stop is not written down any more. What the stores hold was not compared."


def of_it(stack: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The containers of what ran, by service."""
    return {name: item for name, item in services(stack["name"]).items() if name in stack["ran"]}


def stores(stacks: list[dict[str, Any]], before: Mapping[str, str], seconds: int) -> dict[str, Any]:
    """Start the stores, and compare. Raises StoreError and OSError."""
    if not before or not stacks:
        return {**NOTHING, "known": bool(stacks), "changed": False}
    containers = {stack["name"]: of_it(stack) for stack in stacks}
    first = [item for stack in stacks for name, item in containers[stack["name"]].items() if name in (*STORES, *stack["early"])]
    every("start", first)
    with Readers.of(stacks, containers, seconds, before) as readers:
        after: dict[str, Any] = readers.take()
    different = differences(before, after)
    if different:
        # No service writes before a person has looked.
        writers = [item for of_one in containers.values() for name, item in of_one.items() if name not in STORES]
        every("stop", writers)
    said = {name: each["said"] for name, each in after.items()}
    return {**NOTHING, "changed": True, "fingerprints": said, "different": different}


def rest(stacks: list[dict[str, Any]], names: list[str], seconds: int) -> dict[str, Any]:
    """Start everything that ran, and wait for it, and for what else of these stacks `names` starts by itself. Raises OSError."""
    for stack in stacks:
        every("start", of_it(stack).values())
        forgotten(stack["directory"])
    wanted = {stack["name"]: set(stack["ran"]) for stack in stacks}
    began, unhealthy, sound = time.monotonic(), ["…"], set[str]()
    while seconds and unhealthy:
        unhealthy = [
            f"{stack} {name} ({item['State']}{', ' + health if (health := _health(item)) else ''})"
            for stack in sorted({*names, *wanted})
            for name, item in sorted(services(stack).items())
            if (item["State"] in RUNNING or name in wanted.get(stack, ())) and not _sound(item, sound)
        ]
        # Health checks go on for a while after a service has failed; more time does not help then.
        failed = all("unhealthy" in each for each in unhealthy)
        if time.monotonic() - began > (min(seconds, FAILED_SECONDS) if failed else seconds):
            break
        time.sleep(0.5 if unhealthy else 0)
    return {
        **NOTHING,
        "changed": bool(stacks),
        "started": sorted(wanted),
        "unhealthy": unhealthy if seconds else [],
        "ports": {name: _ports(name) for name in names},
    }


def _ports(name: str) -> list[int]:
    return sorted({port["PublicPort"] for item in services(name).values() for port in item["Ports"] if "PublicPort" in port})


def _sound(item: Mapping[str, Any], known: set[str]) -> bool:
    """Whether a container runs and is healthy; one that was not found healthy yet is checked now, and if it is, its id is `known` then."""
    if item["State"] != "running":
        return False
    engine = Engine()
    if _health(item) and item["Id"] not in known and passes(engine, engine.ask(f"/containers/{item['Id']}/json")):
        known.add(item["Id"])
    return not _health(item) or item["Id"] in known


def _health(item: Mapping[str, Any]) -> str:
    """What the engine's list says of a health check that is not passed; empty if it is, or there is none."""
    said = str(item["Status"])
    return next((word for word in ("unhealthy", "health: starting") if f"({word})" in said), "")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "directory": {"type": "str", "required": True},
            "step": {"type": "str", "choices": ["stores", "rest"], "required": True},
            "before": {"type": "dict", "default": {}},
            "wait_seconds": {"type": "int", "default": 300},
            "settle": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    asked, home = module.params, Path.home()
    stacks = found(places := folders(asked["directory"], home))
    if module.check_mode:
        module.exit_json(**NOTHING, changed=bool(stacks))
    if not answers():
        module.exit_json(**{**NOTHING, "engine": False}, changed=False)
    try:
        with ExitStack() as held:
            for stack in stacks:
                held.enter_context(alone(stack["directory"]))
            # One that was at work there may have ended it.
            stacks = found(places)
            if asked["step"] == "stores":
                compared = stores(stacks, asked["before"], asked["wait_seconds"])
                if asked["before"] and not compared["known"]:
                    module.warn(UNKNOWN)
                module.exit_json(**compared)
            # The folders of projects have their names.
            names = [path.name for path in places if path.is_dir()]
            module.exit_json(**rest(stacks, names, asked["wait_seconds"] if asked["settle"] else 0))
    except (StoreError, OSError, http.client.HTTPException) as failure:
        module.fail_json(msg=f"{failure}. The same command again goes on.")


if __name__ == "__main__":
    main()
