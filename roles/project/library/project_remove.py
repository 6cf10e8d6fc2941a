#!/usr/bin/python
"""The removals of a push (on the host) or a pull (on the controller)."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_remove
short_description: Remove files that are still what they were when it was decided
description:
  - A file that has changed since stays. Folders stay too, for a container may have them mounted.
options:
  root: {type: str, required: true, description: The project folder.}
  files: {type: dict, required: true, description: Fingerprints by path.}
"""

RETURN = r"""
removed: {type: list, returned: always, description: Paths that were removed.}
kept: {type: list, returned: always, description: Paths of files that have changed since.}
"""

import os
from contextlib import suppress

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.project_tree import Beneath, fingerprint


def remove(root: str, files: dict[str, str], check: bool, removed: list[str]) -> list[str]:
    """Remove each that is what it was, and add it to `removed`. Return those that have changed. Raises OSError."""
    kept = []
    with Beneath(root) as beneath:
        for path, expected in files.items():
            found = fingerprint(root, path)
            if found is None:
                continue
            if found == expected and not check:
                # A folder on the way may be a link by now.
                with suppress(NotADirectoryError, FileNotFoundError):
                    folder, name = beneath.at(path)
                    os.unlink(name, dir_fd=folder)
            (removed if found == expected else kept).append(path)
    return kept


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {"root": {"type": "str", "required": True}, "files": {"type": "dict", "required": True}}, supports_check_mode=True
    )
    removed: list[str] = []
    try:
        kept = remove(module.params["root"], module.params["files"], module.check_mode, removed)
    except OSError as refusal:
        words = f"{refusal.filename} cannot be removed: {refusal.strerror}. Mend its folder's owner or mode."
        module.fail_json(msg=words, removed=removed)
    module.exit_json(changed=bool(removed), removed=removed, kept=kept)


if __name__ == "__main__":
    main()
