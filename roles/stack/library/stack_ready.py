#!/usr/bin/python
"""Wait until the services of a Compose project are healthy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_ready
short_description: Wait until every service of a Compose project runs, and passes its own health check
description:
  - Does what C(docker compose up --wait) does, without the wait for the engine's first look. The health checks are the services' own, run
    by C(exec) as the engine runs them.
  - Fails as soon as a service has ended, or is unhealthy and does not pass now. Changes nothing.
options:
  name: {type: str, required: true, description: The Compose project.}
  seconds: {type: int, required: true, description: How long to wait at most.}
"""

RETURN = r"""
waited: {type: float, returned: success, description: For how many seconds.}
"""

import http.client
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_engine import Engine, services
from ansible.module_utils.stack_health import failed, known, ready

#: Seconds between two looks: a look at a service takes a tenth of a second of a processor that all of them need just then.
PAUSE = 0.5


class NotReadyError(Exception):
    """The text says which services, and what became of them."""


def wait(name: str, seconds: float) -> None:
    """Look again and again. Raises NotReadyError and OSError."""
    engine, until, done = Engine(), time.monotonic() + seconds, set[str]()
    while True:
        found = {service: engine.ask(f"/containers/{item['Id']}/json") for service, item in services(name).items()}
        # One that ends later on is seen all the same.
        waits = {service: facts for service, facts in found.items() if failed(service, facts) or facts["Id"] not in done}
        ready_now = {service for service, facts in waits.items() if ready(engine, facts)}
        done |= {found[service]["Id"] for service in ready_now}
        waiting = {service: facts for service, facts in waits.items() if service not in ready_now}
        if reasons := list(filter(None, (failed(service, facts) for service, facts in waiting.items()))):
            raise NotReadyError("; ".join(reasons))
        if not waiting:
            return
        if time.monotonic() > until:
            states = ", ".join(f"{service} ({facts['State']['Status']}, {known(facts)})" for service, facts in waiting.items())
            raise NotReadyError(f"not healthy after {seconds:.0f} s: {states}")
        time.sleep(PAUSE)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {"name": {"type": "str", "required": True}, "seconds": {"type": "int", "required": True}},
        supports_check_mode=True,
    )
    asked: dict[str, Any] = module.params
    began = time.monotonic()
    try:
        # What a change would start does not run in check mode.
        if not module.check_mode:
            wait(asked["name"], asked["seconds"])
    except (NotReadyError, OSError, http.client.HTTPException) as reason:
        module.fail_json(msg=str(reason))
    module.exit_json(changed=False, waited=round(time.monotonic() - began, 1))


if __name__ == "__main__":
    main()
