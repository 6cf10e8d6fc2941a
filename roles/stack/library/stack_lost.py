#!/usr/bin/python
"""What Compose projects lose if their containers are made again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_lost
short_description: List what the containers of Compose projects hold beside their images and volumes
description:
  - Asks the engine once for each container of the projects' services, whether it runs or not. Stops nothing, and runs nothing in them.
  - Files of the user's are those that no package has brought, and that are meant to stay. Not counted are caches, logs, and what lies in
    C(/tmp), C(/var/tmp) or C(/run). Packages are those that pip, conda or apt wrote down in the container and not in its image. An
    environment that was made by hand is files.
  - At I(step) C(stop) it fails (C(exit_code) 3) if there are such files, but with I(accept), or if an interrupted resize has stopped the
    container after it had been accepted. What is lost is then kept in each project's folder (C(lost.json), 0600), but in check mode.
  - At I(step) C(end) it lists what was kept, or is in I(among), of those containers that are gone since, without the packages that their
    successors have. At C(look) it just lists.
options:
  stacks: {type: list, elements: dict, required: true, description: "C(name) of each, and its C(directory), absolute or relative to the
    user's home. What stack_down takes besides is left alone."}
  step: {type: str, choices: [look, stop, end], default: look, description: What it is asked for.}
  accept: {type: bool, default: false, description: Whether files may be lost.}
  among: {type: list, elements: dict, description: What C(look) has listed before. Without it what C(stop) has kept counts.}
  halfway: {type: bool, default: false, description: Whether an interrupted resize has stopped or removed the containers already.}
"""

RETURN = r"""
lost:
  type: list
  returned: always
  description: >-
    What is lost of each container that has something to lose: C(stack), C(service), C(container) (the first 12 digits of its id), C(files),
    how many; C(paths), up to 20 files, or folders that were made by hand (with a slash at the end), each with its number of C(files);
    C(packages), each with C(kind) (pip, conda or apt), C(name), C(version) (none of apt), whether it was C(asked) for by its name, and
    C(path), where its manager wrote it down.
told: {type: list, returned: always, description: "The same in words, a line each."}
"""

import http.client
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_engine import SOCKET, STACK, folder
from ansible.module_utils.stack_lost import gone, here, recorded, write
from ansible.module_utils.stack_lost_rules import merged, refusal, refused, told


def listed(losses: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """With their containers, in the order of their names."""
    found = [dict(each) | {"container": container} for container, each in losses.items()]
    return sorted(found, key=lambda each: (each["stack"], each["service"], each["container"]))


def before(stacks: list[dict[str, Any]], asked: dict[str, Any], check: bool) -> tuple[list[dict[str, Any]], str]:
    """What will be lost, and why it may not be, or nothing. Raises OSError and ValueError."""
    lost, wrong = [], []
    kept = {}
    for stack in stacks:
        known, found = recorded(stack["directory"]), here(stack["name"])
        if not asked["accept"]:
            wrong += refused(known, found, asked["halfway"])
        kept[stack["directory"]] = merged(known, found, asked["halfway"])
        lost += listed(kept[stack["directory"]])
    if wrong:
        return lost, refusal(wrong)
    for directory, losses in kept.items():
        if not check:
            write(directory, losses)
    return lost, ""


def after(stack: dict[str, Any], among: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """What was lost: a container that is there still has lost nothing. Raises OSError."""
    listed_before = {each["container"]: each for each in among or [] if each["stack"] == stack["name"]}
    return listed(gone(stack["name"], recorded(stack["directory"]) if among is None else listed_before))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "stacks": {"type": "list", "elements": "dict", "required": True, "options": STACK},
            "step": {"type": "str", "choices": ["look", "stop", "end"], "default": "look"},
            "accept": {"type": "bool", "default": False},
            "among": {"type": "list", "elements": "dict"},
            "halfway": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    asked = module.params
    stacks = [stack | {"directory": folder(stack["directory"])} for stack in asked["stacks"]]
    wrong = ""
    try:
        if asked["step"] == "end":
            lost = [found for stack in stacks for found in after(stack, asked["among"])]
        elif asked["step"] == "stop":
            lost, wrong = before(stacks, asked, module.check_mode)
        else:
            lost = [found for stack in stacks for found in listed(merged({}, here(stack["name"]), halfway=False))]
    except (OSError, ValueError, http.client.HTTPException) as failure:
        module.fail_json(msg=f"What the containers hold beside their images could not be read ({SOCKET}): {failure}. Nothing was changed.")
    if wrong:
        module.fail_json(msg=wrong, exit_code=3, lost=lost)
    module.exit_json(changed=False, lost=lost, told=told(lost))


if __name__ == "__main__":
    main()
