#!/usr/bin/python
"""What each stack of a machine would have of its memory, were there more or less of it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_share
short_description: Divide a machine's memory between its stacks, for two amounts of it
description:
  - Changes nothing. Reads each stack's services, their number and its own limit from the C(.env) in its folder, where they are not given.
options:
  stacks: {type: list, elements: dict, required: true, description: 'C(name) and absolute C(directory) of each; of one whose .env comes
    later its C(containers), each by its service, and MiB that it may have at C(most).'}
  room_mib: {type: int, required: true, description: MiB that all of them have together.}
  least_room_mib: {type: int, required: true, description: The same, with the least memory that may come of it.}
  floors: {type: dict, required: true, description: MiB that a service needs to work at all.}
  weights: {type: dict, required: true, description: A service's part of what is left.}
  wanted: {type: dict, description: 'The C(service) of the stack C(name) that is to have so many C(mib).'}
"""

RETURN = r"""
shares: {type: dict, returned: always, description: MiB of each stack.}
budgets: {type: dict, returned: always, description: "MiB of a container, by stack and service."}
least_shares: {type: dict, returned: always, description: "The same as I(shares), with the least memory."}
least_budgets: {type: dict, returned: always, description: "The same as I(budgets), with the least memory."}
floors: {type: dict, returned: always, description: MiB that each stack needs to work at all.}
limits: {type: dict, returned: always, description: "MiB that a container has now, by stack and service."}
ports: {type: dict, returned: always, description: "Ports of the loopback that each stack's .env names."}
wanted_room_mib: {type: int, returned: always, description: The least room that gives I(wanted) its own; none where none does.}
missing_images: {type: dict, returned: always, description: Images that a stack's .env names and the host has not.}
busy: {type: list, returned: always, description: Stacks on which a module of an interrupted run still works.}
"""

import http.client
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_budget import Figures, Stack, room_for, settings, shares, stack
from ansible.module_utils.stack_engine import Engine, alone, of_project

MIB = 1024 * 1024
#: How long to wait for a module of an interrupted run.
IDLE_SECONDS = 30


def limits(name: str, containers: list[dict[str, Any]]) -> dict[str, int]:
    """The limits of a stack's containers."""
    engine = Engine()
    return {
        service: engine.ask(f"/containers/{item['Id']}/json")["HostConfig"]["Memory"] // MIB
        for service, item in of_project(name, containers).items()
    }


def missing(named: Mapping[str, str], images: set[str]) -> list[str]:
    """Images of a .env that are not there. One that was pulled by its digest is listed without its tag."""
    wanted = {value for name, value in named.items() if name.endswith("_IMAGE") and name != "JUPYTER_BASE_IMAGE"}
    return sorted(image for image in wanted if re.sub(":[^:@/]+@", "@", image) not in images)


def busy(directory: str) -> bool:
    """Whether somebody still works there."""
    with alone(directory, IDLE_SECONDS) as idle:
        return not idle


def share(asked: dict[str, Any]) -> dict[str, Any]:
    """Look at everything and divide. Raises OSError."""
    figures = Figures(asked["floors"], asked["weights"])
    engine = Engine()
    containers = engine.ask("/containers/json", all="1")
    images = {word for image in engine.ask("/images/json") for word in (image["RepoTags"] or []) + (image["RepoDigests"] or [])}
    said: dict[str, dict[str, str]] = {}
    stacks: dict[str, Stack] = {}
    for each in asked["stacks"]:
        if each["containers"]:
            stacks[each["name"]] = Stack(Counter(each["containers"]), each["most"])
        else:
            text = Path(each["directory"], ".env").read_text()
            said[each["name"]], stacks[each["name"]] = settings(text), stack(text, figures)
    result: dict[str, Any] = {
        "floors": {name: each.floor(figures) for name, each in stacks.items()},
        "limits": {name: limits(name, containers) for name in stacks},
        "ports": {name: [int(port) for key, port in found.items() if key.endswith("_PORT")] for name, found in said.items()},
        "missing_images": {name: lacking for name, found in said.items() if (lacking := missing(found, images))},
        "busy": [each["name"] for each in asked["stacks"] if busy(each["directory"])],
    }
    wanted = asked["wanted"]
    result["wanted_room_mib"] = wanted and room_for(stacks, wanted["name"], wanted["service"], int(wanted["mib"]), figures)
    for key, room in (("", asked["room_mib"]), ("least_", asked["least_room_mib"])):
        found = shares(stacks, room, figures)
        result[f"{key}shares"] = found
        result[f"{key}budgets"] = {name: each.budgets(found[name], figures) for name, each in stacks.items()}
    return result


def main() -> None:
    """Run the module."""
    options = {
        "name": {"type": "str", "required": True},
        "directory": {"type": "path", "required": True},
        "containers": {"type": "list", "elements": "str", "default": []},
        "most": {"type": "int", "default": 0},
    }
    module = AnsibleModule(
        {
            "stacks": {"type": "list", "elements": "dict", "required": True, "options": options},
            "room_mib": {"type": "int", "required": True},
            "least_room_mib": {"type": "int", "required": True},
            "floors": {"type": "dict", "required": True},
            "weights": {"type": "dict", "required": True},
            "wanted": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, **share(module.params))
    except (OSError, ValueError, http.client.HTTPException) as failure:
        module.fail_json(msg=f"The stacks' settings could not be read: {failure}. Nothing was changed.")


if __name__ == "__main__":
    main()
