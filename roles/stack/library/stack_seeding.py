#!/usr/bin/python
"""Wait for PostgreSQL's first start, as long as it works."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_seeding
short_description: Look whether PostgreSQL still runs the project's files, and wait for a while
description:
  - Changes nothing. Returns when all services are healthy, when one has failed, when there is nothing to wait for, or after I(seconds).
  - Whether PostgreSQL works it sees by the processor's time of its container, and by what the first start says of itself.
options:
  name: {type: str, required: true, description: The Compose project.}
  asked: {type: list, elements: str, required: true, description: Names of the services that are to become healthy.}
  began: {type: float, required: true, description: When the wait for them began, in seconds since 1970.}
  before: {type: dict, default: {}, description: I(seen) of the call before. Empty, this is the first.}
  seconds: {type: int, default: 0, description: How long to wait at most. 0 looks once.}
  whole_seconds: {type: int, required: true, description: How long the first start may take.}
  idle_seconds: {type: int, required: true, description: How long it may do nothing meanwhile.}
"""

RETURN = r"""
state: {type: str, returned: always, description: "C(done), C(failed), C(none), C(seeding), C(idle) or C(late)."}
seen: {type: dict, returned: always, description: For the next call.}
text: {type: str, returned: always, description: What people read of it.}
"""

import http.client
import subprocess
import time
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_engine import Engine, services
from ansible.module_utils.stack_health import health
from ansible.module_utils.stack_seeding import Limits, Seen, state, told

#: Seconds between two looks.
PAUSE = 3
#: A start that has just ended is healthy as soon as the server has started again: at most so many seconds later.
NEXT_CHECK = 15


def facts(container_id: str) -> dict[str, Any]:
    """Of a container what is needed to say whether it has failed."""
    engine = Engine()
    found = engine.ask(f"/containers/{container_id}/json")
    known = {"state": found["State"]["Status"], "health": health(engine, found), "restarts": found["RestartCount"]}
    return known | {"out_of_memory": found["State"]["OOMKilled"]}


def works(container_id: str) -> tuple[float, str]:
    """The processor's seconds that PostgreSQL's container has used, and what its first start does."""
    stats = Engine().ask(f"/containers/{container_id}/stats", **{"stream": "false", "one-shot": "true"})
    command = ["docker", "exec", container_id, "sh", "/slipway/seeding.sh"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9, said.stdout.strip() if said.returncode == 0 else ""


def wait(asked: dict[str, Any]) -> dict[str, Any]:
    """Look again and again. Raises OSError."""
    until, limits = time.time() + asked["seconds"], Limits(asked["whole_seconds"], asked["idle_seconds"])
    checked = time.time() + NEXT_CHECK
    seen = Seen(**asked["before"]) if asked["before"] else None
    while True:
        containers = services(asked["name"])
        found = {name: facts(item["Id"]) for name, item in containers.items()}
        cpu, said = works(containers["postgres"]["Id"]) if found.get("postgres", {}).get("state") == "running" else (0.0, "")
        at = time.time()
        seen = seen.after(at, cpu, said) if seen else Seen(asked["began"], at, cpu, said, at)
        what = state(found, asked["asked"], seen, limits, first=not asked["before"])
        just_ended = what == "none" and found.get("postgres", {}).get("health") == "starting" and time.time() < checked
        if not just_ended and (what != "seeding" or time.time() >= until):
            return {"state": what, "seen": asdict(seen), "text": told(what, seen, limits)}
        time.sleep(PAUSE)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "name": {"type": "str", "required": True},
            "asked": {"type": "list", "elements": "str", "required": True},
            "began": {"type": "float", "required": True},
            "before": {"type": "dict", "default": {}},
            "seconds": {"type": "int", "default": 0},
            "whole_seconds": {"type": "int", "required": True},
            "idle_seconds": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**wait(module.params))
    except (OSError, KeyError, http.client.HTTPException, subprocess.TimeoutExpired) as silent:
        # The start has failed before: that is what is told.
        module.exit_json(state="none", seen={}, text="", reason=str(silent))


if __name__ == "__main__":
    main()
