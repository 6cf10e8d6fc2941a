#!/usr/bin/python
"""The removals of a push (on the host) or a pull (on the controller)."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_remove
short_description: Remove files that are still what they were when it was decided
description:
  - A file that has changed since stays. Folders stay too, for a container may have them mounted.
options:
  root: {type: path, required: true, description: The project folder.}
  files: {type: dict, required: true, description: Fingerprints by path.}
"""

RETURN = r"""
removed: {type: list, returned: always, description: Paths that were removed.}
kept: {type: list, returned: always, description: Paths of files that have changed since.}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.project_tree import Beneath, fingerprint


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {"root": {"type": "path", "required": True}, "files": {"type": "dict", "required": True}}, supports_check_mode=True
    )
    root = module.params["root"]
    removed, kept = [], []
    with Beneath(root) as beneath:
        for path, expected in module.params["files"].items():
            found = fingerprint(root, path)
            if found is None:
                continue
            if found != expected:
                kept.append(path)
                continue
            if not module.check_mode:
                try:
                    folder, name = beneath.at(path)
                    os.unlink(name, dir_fd=folder)
                except NotADirectoryError:
                    # A folder on the way is a link by now.
                    kept.append(path)
                    continue
                except OSError as refusal:
                    module.fail_json(msg=f"{path} cannot be removed: {refusal.strerror}. Mend its folder's owner or mode.", removed=removed)
            removed.append(path)
    module.exit_json(changed=bool(removed), removed=removed, kept=kept)


if __name__ == "__main__":
    main()
