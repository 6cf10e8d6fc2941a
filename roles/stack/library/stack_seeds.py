#!/usr/bin/python
"""Keep what PostgreSQL is made from where a notebook cannot change it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_seeds
short_description: Copy docker/postgres and data/ out of a stack's folder C(work), for PostgreSQL to read
description:
  - The copy, C(seeds) beside C(work), is replaced as a whole, and only if the files are others by their names, sizes, times and rights.
  - Follows no link. A link that leads out of the project, and what is neither file nor folder, is refused (C(exit_code) 2).
options:
  directory: {type: str, required: true, description: "Folder of the stack, absolute or relative to the user's home."}
  spare_mib: {type: int, default: 0, description: MiB that have to stay free on the disk. Else it is refused (C(exit_code) 3).}
  empty: {type: bool, default: false, description: "Whether only to make the folder, as the volume has its data already."}
"""

RETURN = r"""
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_engine import folder
from ansible.module_utils.stack_seed_copy import SeedsError, keep


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "directory": {"type": "str", "required": True},
            "spare_mib": {"type": "int", "default": 0},
            "empty": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        asked = module.params
        module.exit_json(changed=keep(folder(asked["directory"]), asked["spare_mib"], asked["empty"]))
    except SeedsError as refusal:
        module.fail_json(msg=f"{refusal} Nothing was started.", exit_code=refusal.code)
    except OSError as refusal:
        module.fail_json(msg=f"docker/postgres and data/ could not be copied: {refusal.strerror or refusal}. Nothing was started.")


if __name__ == "__main__":
    main()
