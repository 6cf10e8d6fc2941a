#!/usr/bin/python
"""The end of a sync, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_keep
short_description: Remember what project_plan has planned as the last sync, now that it is done
options:
  path: {type: str, required: true, description: The project folder.}
  state_dir: {type: path, required: true, description: Folder for what is remembered.}
  direction: {type: str, choices: [push, pull], required: true, description: After a pull the folder where files arrive is removed too.}
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.project_tree import INCOMING


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "path": {"type": "str", "required": True},
            "state_dir": {"type": "path", "required": True},
            "direction": {"type": "str", "choices": ["push", "pull"], "required": True},
        },
        supports_check_mode=True,
    )
    if not module.check_mode:
        state, incoming = Path(module.params["state_dir"]), Path(module.params["path"], INCOMING)
        # Atomic: a reader finds the old one or the new one.
        os.replace(state / "sync-next.json", state / "sync.json")
        # After a push there may be another machine's pull at work in it.
        if module.params["direction"] == "pull":
            shutil.rmtree(incoming, ignore_errors=True)
            with suppress(OSError):
                incoming.parent.rmdir()
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
