#!/usr/bin/python
"""Bring a stack down so that its data can be compared later: first what writes, then the stores."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_down
short_description: Stop a Compose project's services in order, with fingerprints of the stores in between
description:
  - Takes a fingerprint of each store and of the folder C(work) while everything serves. Stops every service that is no store, so that
    nobody writes, and takes anew what was written to since. Then stops the stores, each with time to flush.
  - Makes the containers of I(early) anew meanwhile, with the settings that the folder has now, and does not start them.
  - A store that does not run is started for its fingerprint. One that was not healthy, and cannot be read, is left out: a larger machine
    may be its cure. Where anything else fails, what ran before runs again.
  - May be repeated, also after it was killed in between.
options:
  name: {type: str, required: true, description: The Compose project.}
  directory: {type: str, required: true, description: Folder of the stack, absolute or relative to the user's home.}
  fingerprints: {type: bool, default: true, description: Whether to take them. Without, everything is just stopped in order.}
  early: {type: list, elements: str, default: [], description: Services that may start before anybody has compared the stores.}
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
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_engine import ComposeError, Engine, alone, compose, services
from ansible.module_utils.stack_fingerprints import STORES, Readers, StoreError

#: How long a service may take to end before it is killed: Jupyter asks its kernels to end, a store flushes.
WRITER_SECONDS, STORE_SECONDS = 10, 60


def every(action: str, containers: Iterable[dict[str, Any]], **query: Any) -> None:
    """Tell the engine the same of several containers, at once."""

    def tell(container: dict[str, Any]) -> None:
        Engine(timeout=query.get("t", 0) + 60).tell(f"/containers/{container['Id']}/{action}", **query)

    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(tell, containers))


def stage(directory: str, names: list[str]) -> None:
    """Make these services' containers for the next boot, at which the engine's unit starts what was made and never started."""
    if names:
        compose(directory, "up", "--no-start", "--force-recreate", *names)


def down(asked: dict[str, Any], directory: str) -> dict[str, Any]:
    """Do it all. Raises StoreError, ComposeError and OSError, with everything running again that ran."""
    found = services(asked["name"])
    running = {name: item for name, item in found.items() if item["State"] == "running"}
    stores = {name: item for name, item in found.items() if name in STORES}
    sick = {name for name, item in stores.items() if "(healthy)" not in item["Status"]}
    taken: dict[str, Any] = {}
    try:
        with Readers(stores, directory, asked["wait_seconds"]) as readers:
            if asked["fingerprints"] and not sick:
                # All of it is taken again where this finds a lock, or a file that goes.
                taken = readers.take(perhaps={*stores, "notebooks"})
            since = time.monotonic()
            every("stop", (item for name, item in running.items() if name not in STORES), t=WRITER_SECONDS)
            if asked["fingerprints"]:
                every("start", (item for name, item in stores.items() if name not in running))
                taken = readers.take(taken, perhaps=sick)
        with ThreadPoolExecutor(max_workers=1) as aside:
            staged = aside.submit(stage, directory, [name for name in found if name in asked["early"]])
            every("stop", stores.values(), t=STORE_SECONDS)
            staged.result()
        os.sync()
    except Exception:
        # The reason counts, not what else fails then.
        with suppress(OSError, http.client.HTTPException):
            every("start", (item for name, item in services(asked["name"]).items() if name in running))
        raise
    return {
        "changed": bool(running),
        "fingerprints": {name: each["said"] for name, each in taken.items()},
        "unread": sorted(sick - taken.keys()) if asked["fingerprints"] else [],
        "down_seconds": time.monotonic() - since,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "name": {"type": "str", "required": True},
            "directory": {"type": "str", "required": True},
            "fingerprints": {"type": "bool", "default": True},
            "early": {"type": "list", "elements": "str", "default": []},
            "wait_seconds": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    directory = os.path.join(os.path.expanduser("~"), module.params["directory"])
    if module.check_mode:
        module.exit_json(changed=True, fingerprints={}, unread=[], down_seconds=0.0)
    try:
        with alone(directory):
            module.exit_json(**down(module.params, directory))
    except (StoreError, ComposeError, OSError, http.client.HTTPException) as failure:
        module.fail_json(msg=f"{failure}. What ran before runs again, and `up` gives it the limits of the memory that there is.")


if __name__ == "__main__":
    main()
