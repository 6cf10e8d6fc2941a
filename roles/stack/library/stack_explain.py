#!/usr/bin/python
"""Why a start failed, for people."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_explain
short_description: Say which services of a Compose project failed, after how long, and what they said last
description:
  - Changes nothing. Of a container that starts again and again it reads what was said since its last start.
  - If JupyterLab does not start, and has not run out of memory, it looks what is wrong in the user's settings, in a container of its own.
options:
  services: {type: dict, required: true, description: The services as stack_look has seen them.}
  asked: {type: list, elements: str, required: true, description: Names of the services that may be to blame.}
  seconds: {type: float, required: true, description: How long they were waited for.}
  reason: {type: str, required: true, description: What Compose or the module said that started them.}
  directory: {type: str, required: true, description: The stack's folder, absolute.}
  seeding: {type: str, default: '', description: Why the first start of PostgreSQL is no longer waited for.}
  plain: {type: str, required: true, description: What starts JupyterLab without the user's settings.}
"""

RETURN = r"""
blamed: {type: list, returned: always, description: The services that failed.}
text: {type: str, returned: always, description: All of it for people.}
half_made: {type: bool, returned: always, description: Whether PostgreSQL failed for the project's own files.}
"""

import http.client
import subprocess
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_blame import blame, half_made, once, told
from ansible.module_utils.stack_engine import Engine
from ansible.module_utils.stack_wrong_settings import wrong_settings

LINES = 20


def last_lines(container: str) -> list[str]:
    """What the container said since its last start; before that, if it has said nothing yet. Raises OSError."""
    since = Engine().ask(f"/containers/{container}/json")["State"]["StartedAt"]
    for words in (["--since", since], []):
        # Its stdout and stderr, in the order in which they were written.
        command = ["docker", "logs", "--tail", str(LINES), *words, container]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        if lines := [line for line in done.stdout.splitlines() if line.strip()]:
            return once(lines)
    return []


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "services": {"type": "dict", "required": True},
            "asked": {"type": "list", "elements": "str", "required": True},
            "seconds": {"type": "float", "required": True},
            "reason": {"type": "str", "required": True},
            "directory": {"type": "str", "required": True},
            "seeding": {"type": "str", "default": ""},
            "plain": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    asked: dict[str, Any] = module.params
    services, found = asked["services"], blame(asked["services"], asked["asked"])
    try:
        logs = {name: last_lines(services[name]["container"]) for name in found.failed}
    except (OSError, http.client.HTTPException) as silent:
        module.fail_json(msg=f"{asked['reason']}\nThe engine does not say more: {silent}")
    more: dict[str, list[str]] = {"postgres": [asked["seeding"]] if asked["seeding"] else []}
    if "jupyter" in found.failed and not services["jupyter"]["out_of_memory"]:
        more["jupyter"] = wrong_settings(asked["directory"], bool(services["jupyter"]["certificate_sha256"]), asked["plain"])
    text = told(found, services, logs, asked["seconds"], asked["reason"], more)
    module.exit_json(blamed=list(found.failed), text=text, half_made=half_made(services, logs))


if __name__ == "__main__":
    main()
