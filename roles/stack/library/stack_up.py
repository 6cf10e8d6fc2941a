#!/usr/bin/python
"""Bring a stack up again after stack_down, and say whether its data are what they were."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_up
short_description: Start the services of Compose projects, and compare the stores with fingerprints that were taken before
description:
  - Lets Compose start the stores, and the services that may start I(early), with the settings in the folder, and takes the fingerprints
    again. Where a store differs, only the stores run in the end. The other services are left to whoever opens the way to them.
  - Without fingerprints everything is started.
options:
  stacks: {type: list, elements: dict, required: true, description: "C(name) of each, its C(directory), absolute or relative to the user's
    home, the C(prefix) of its stores' names, the services that start with the stores (C(early)), and MiB by service that are written into
    its settings before (C(budgets))."}
  before: {type: dict, default: {}, description: 'Fingerprints, a line by store. Empty compares nothing.'}
  wait_seconds: {type: int, default: 300, description: How long a store may take until it answers.}
"""

RETURN = r"""
fingerprints: {type: dict, returned: always, description: "A line by store; none where nothing was to be compared."}
engine: {type: bool, returned: always, description: Whether the engine answers. Without it nothing is done.}
different: {type: list, returned: always, description: The stores that hold something else than before.}
"""

import http.client
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_budget import rewritten
from ansible.module_utils.stack_engine import STACK, ComposeError, alone, answers, compose, folder, services
from ansible.module_utils.stack_fingerprints import STORES, Readers, StoreError, differences


def limited(directory: str, budgets: Mapping[str, int]) -> None:
    """Write these limits into the stack's settings."""
    path, scratch = Path(directory, ".env"), Path(directory, ".env.new")
    old = path.read_text()
    if (new := rewritten(old, budgets)) != old:
        scratch.touch(mode=0o600)
        scratch.write_text(new)
        os.replace(scratch, path)


def started(stack: Mapping[str, Any], all_of_it: bool) -> list[str]:
    """Start its stores and what may come early, or all of it, and return the names of its services."""
    directory = stack["directory"]
    if stack["budgets"]:
        limited(directory, stack["budgets"])
    # A container may have the project's label, and no file of ours.
    names = compose(directory, "config", "--services").split()
    first = [name for name in names if all_of_it or name in (*STORES, *stack["early"])]
    if first:
        compose(directory, "up", "--detach", *first)
    return names


def up(asked: dict[str, Any], stacks: list[dict[str, Any]]) -> dict[str, Any]:
    """Do it all. Raises StoreError, ComposeError and OSError."""
    before = asked["before"]
    if not stacks:
        return {"changed": False, "engine": True, "fingerprints": {}, "different": differences(before, {})}
    with ThreadPoolExecutor(max_workers=4) as pool:
        names = list(pool.map(lambda stack: started(stack, not before), stacks))
    after: dict[str, Any] = {}
    if before:
        stores = {stack["prefix"] + name for stack in stacks for name in STORES}
        with Readers.of(stacks, {stack["name"]: services(stack["name"]) for stack in stacks}, asked["wait_seconds"], before) as readers:
            after = readers.take(perhaps=stores - before.keys())
    different = differences(before, after)
    if different:
        # Nobody writes before somebody has looked.
        for stack, found in zip(stacks, names, strict=True):
            if writers := [name for name in found if name not in STORES]:
                compose(stack["directory"], "stop", *writers)
    said = {name: each["said"] for name, each in after.items()}
    return {"changed": True, "engine": True, "fingerprints": said, "different": different}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "stacks": {"type": "list", "elements": "dict", "required": True, "options": STACK},
            "before": {"type": "dict", "default": {}},
            "wait_seconds": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    stacks = [stack | {"directory": folder(stack["directory"])} for stack in module.params["stacks"]]
    if module.check_mode:
        module.exit_json(changed=bool(stacks), engine=True, fingerprints={}, different=[])
    if not answers():
        module.exit_json(changed=False, engine=False, fingerprints={}, different=[])
    try:
        with ExitStack() as held:
            for directory in sorted(stack["directory"] for stack in stacks):
                held.enter_context(alone(directory))
            module.exit_json(**up(module.params, stacks))
    except (StoreError, ComposeError, OSError, http.client.HTTPException) as failure:
        module.fail_json(msg=str(failure))


if __name__ == "__main__":
    main()
