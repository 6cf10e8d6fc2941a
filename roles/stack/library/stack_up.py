#!/usr/bin/python
"""Bring a stack up again after stack_down, and say whether its data are what they were."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_up
short_description: Start a Compose project's services, and compare the stores with fingerprints that were taken before
description:
  - Lets Compose start the stores, and the services in I(early), with the settings in the folder, and takes the fingerprints again. Where a
    store differs, only the stores run in the end. The other services are left to whoever opens the way to them.
  - Without fingerprints everything is started.
options:
  directory: {type: str, required: true, description: Folder of the stack, absolute or relative to the user's home.}
  name: {type: str, required: true, description: The Compose project.}
  before: {type: dict, default: {}, description: 'Fingerprints, a line by store. Empty compares nothing.'}
  early: {type: list, elements: str, default: [], description: Services that start with the stores.}
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
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_engine import ComposeError, alone, answers, compose, services
from ansible.module_utils.stack_fingerprints import STORES, Readers, StoreError, differences


def up(asked: dict[str, Any], directory: str, before: Mapping[str, str]) -> dict[str, Any]:
    """Do it all. Raises StoreError, ComposeError and OSError."""
    # A container may have the project's label, and no file of ours.
    names = compose(directory, "config", "--services").split()
    first = [name for name in names if not before or name in (*STORES, *asked["early"])]
    if first:
        compose(directory, "up", "--detach", *first)
    after: dict[str, Any] = {}
    if before:
        with Readers(services(asked["name"]), directory, asked["wait_seconds"]) as readers:
            after = readers.take(perhaps=set(STORES) - before.keys())
    different = differences(before, after)
    if different and (writers := [name for name in names if name not in STORES]):
        # Nobody writes before somebody has looked.
        compose(directory, "stop", *writers)
    said = {name: each["said"] for name, each in after.items()}
    return {"changed": True, "engine": True, "fingerprints": said, "different": different}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "name": {"type": "str", "required": True},
            "directory": {"type": "str", "required": True},
            "before": {"type": "dict", "default": {}},
            "early": {"type": "list", "elements": "str", "default": []},
            "wait_seconds": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    directory = os.path.join(os.path.expanduser("~"), module.params["directory"])
    if module.check_mode:
        module.exit_json(changed=True, engine=True, fingerprints={}, different=[])
    if not answers():
        module.exit_json(changed=False, engine=False, fingerprints={}, different=[])
    try:
        with alone(directory):
            module.exit_json(**up(module.params, directory, module.params["before"]))
    except (StoreError, ComposeError, OSError, http.client.HTTPException) as failure:
        module.fail_json(msg=str(failure))


if __name__ == "__main__":
    main()
