#!/usr/bin/python
"""What was installed by hand in a project's running Jupyter container, and the container as an image."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_packages
short_description: Compare the packages of a Compose project's Jupyter container with those of its image, and keep it as an image
description:
  - Reads the same in the running container and in one of its image that is removed at once, and has neither network nor passwords.
  - Sees what the container's C(python) can import, whoever installed it, and Debian's packages. Other environments, and what conda
    installs beside Python packages, it does not see.
  - With I(keep) the container is paused while an image is made of it. That is removed again where one of the folder's secrets is in it.
    Nothing else is changed.
options:
  name: {type: str, required: true, description: The Compose project.}
  directory: {type: str, required: true, description: Folder of the stack, absolute or relative to the user's home.}
  keep: {type: str, default: "", description: 'Tag of an image slipway/NAME to be made of the container. Empty makes none.'}
"""

RETURN = r"""
packages:
  type: dict
  returned: always
  description: >-
    What differs, lists C(pip) and C(apt). Of each its C(name); its versions, C(was) in the image and C(now) in the container, none where
    it is not there; C(asked), whether it was asked for by its name, as pip and apt wrote down; C(home), whether it lies in the home,
    which outlives the container; C(line), what would be asked for to have it again, none where nothing is; C(why), for what reason it
    could not be had again.
kept:
  type: dict
  returned: with I(keep)
  description: C(image), its name, and C(mib), what it takes beside the container's own image.
"""

import http.client
import json
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_docker import DockerError, docker, inside, thrown_away
from ansible.module_utils.stack_engine import SOCKET, services
from ansible.module_utils.stack_keep import REFUSED, check_tag, keep
from ansible.module_utils.stack_package_rules import clones, differences
from ansible.module_utils.stack_package_scripts import READ


def jupyter(project: str) -> dict[str, Any]:
    """The project's running Jupyter container. Raises DockerError."""
    found = services(project)
    if "jupyter" not in found:
        others = f" It has {', '.join(sorted(found))}." if found else ""
        raise DockerError(f"{project} has no Jupyter container on this machine.{others} Deploy the project first.", REFUSED)
    container = found["jupyter"]
    if container["State"] != "running":
        raise DockerError(
            f"The Jupyter container of {project} is {container['State']}, and its packages are read while it runs. Deploy the project. "
            "What was installed by hand stays in the container until its image or its settings change.",
            REFUSED,
        )
    return container


def packages(project: str, container: dict[str, Any]) -> dict[str, Any]:
    """What the container has otherwise than its image. Raises DockerError."""
    image = json.loads(thrown_away(container["ImageID"], project, READ))
    found = json.loads(inside(container["Id"], READ))
    editable = [each for key, each in found["pip"].items() if each["editable"] and each != image["pip"].get(key)]
    # It alone knows where a clone is from. That takes memory, hence only where there is one.
    freeze = ["exec", "--workdir", "/", container["Id"], "python", "-E", "-B", "-m", "pip", "freeze", "--disable-pip-version-check"]
    return differences(image, found, clones(docker(*freeze)) if editable else {})


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "name": {"type": "str", "required": True},
            "directory": {"type": "str", "required": True},
            "keep": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    project, tag = module.params["name"], module.params["keep"]
    directory = os.path.join(os.path.expanduser("~"), module.params["directory"])
    try:
        if tag:
            check_tag(project, tag)
        container = jupyter(project)
        result: dict[str, Any] = {"changed": bool(tag), "packages": packages(project, container)}
        if tag and not module.check_mode:
            result["kept"] = keep(project, directory, container["Id"], tag)
    except DockerError as failure:
        module.fail_json(msg=str(failure), exit_code=failure.code)
    except (OSError, ValueError, http.client.HTTPException) as failure:
        module.fail_json(msg=f"The packages cannot be read ({SOCKET}): {failure}. The engine has to run: deploy the project first.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
