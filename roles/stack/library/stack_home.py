#!/usr/bin/python
"""Keep the home of a stack's notebooks in a volume."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_home
short_description: Bring the home of a Compose project's Jupyter into the volume that keeps it
description:
  - The volume C(NAME_jupyter_home) is made if it is missing. What a container's home holds that is not in the volume, because an
    earlier version made the container, is copied into it; such containers are stopped for that, and stay.
  - Then what I(image) brings to the home comes. What the user has changed or removed since an image brought it stays so. What an earlier
    image brought, the user has not changed, and I(image) no longer has, is removed.
  - May be repeated, also after it was killed in between.
options:
  name: {type: str, required: true, description: The Compose project.}
  directory: {type: str, required: true, description: Folder of the stack, absolute or relative to the user's home.}
  image: {type: str, default: "", description: The image that Jupyter is to have. Empty only takes what containers hold.}
"""

RETURN = r"""
taken: {type: list, returned: always, description: The services whose containers' homes were copied.}
moved: {type: int, returned: always, description: "How many files, links and folders of the image came."}
kept: {type: list, returned: always, description: "Up to 20 paths that the image has otherwise than the user, and that stayed."}
"""

import http.client

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_docker import DockerError
from ansible.module_utils.stack_engine import alone, folder, services
from ansible.module_utils.stack_home import bring, take


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "name": {"type": "str", "required": True},
            "directory": {"type": "str", "required": True},
            "image": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    name, image = module.params["name"], module.params["image"]
    if module.check_mode:
        module.exit_json(changed=True, taken=[], moved=0, kept=[])
    try:
        with alone(folder(module.params["directory"])):
            taken = take(name, services(name))
            brought = bring(name, image) if image else {"moved": 0, "kept": []}
            module.exit_json(changed=bool(taken or brought["moved"]), taken=taken, **brought)
    except DockerError as failure:
        module.fail_json(msg=f"The home of {name}'s notebooks: {failure}", exit_code=failure.code)
    except (OSError, ValueError, http.client.HTTPException) as failure:
        module.fail_json(msg=f"The home of {name}'s notebooks could not be kept in its volume: {failure}. Nothing of it is lost.")


if __name__ == "__main__":
    main()
