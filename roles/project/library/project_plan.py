#!/usr/bin/python
"""What a push or a pull has to do, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_plan
short_description: Compare a project folder with the host's, and both with the last sync
description:
  - Writes the list of what is to be moved, for C(rsync --files-from --from0), into I(state_dir), and with it what the last sync will be
    when it is done. Where nothing is to be done it keeps that at once. Otherwise project_keep does, at the end.
  - In check mode it writes nothing, and says whether something would change.
options:
  path: {type: path, required: true, description: The project folder.}
  there: {type: dict, required: true, description: Fingerprints of the host's files by path.}
  left_out: {type: dict, default: {}, description: 'Why a file on the host cannot be synced, by path.'}
  direction: {type: str, choices: [push, pull], required: true, description: Whether files are sent to the host or fetched from it.}
  state_dir: {type: path, required: true, description: Folder for what is remembered.}
  overwrite: {type: bool, default: false, description: Whether the direction wins where both sides have changed a file.}
  delete: {type: bool, default: false, description: Whether to remove what was removed on the side that this direction reads from.}
"""

RETURN = r"""
folder: {type: str, returned: always, description: "The project folder's absolute path."}
direction: {type: str, returned: always, description: The one that was asked for.}
list: {type: str, returned: always, description: 'File with the paths that are to be moved, each ended by a NUL.'}
moved: {type: list, returned: always, description: Paths to send or to fetch.}
removed: {type: dict, returned: always, description: 'Paths to remove, with their fingerprints.'}
conflicts: {type: list, returned: always, description: 'Path and kind of each file that needs a decision. Nothing is to be done then.'}
refusal: {type: str, returned: always, description: What to tell then; else empty.}
left: {type: dict, returned: always, description: 'Paths that are left as they are, by reason.'}
told: {type: list, returned: always, description: A sentence for each reason.}
needed: {type: bool, returned: always, description: Whether there is anything to do.}
"""

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.project_sync import compare, refusal, settled, told
from ansible.module_utils.project_tree import INCOMING, scan


def remembered(file: Path) -> dict[str, Any]:
    """What the file has; nothing where it is not there or not as it was written."""
    with suppress(OSError, ValueError):
        found = json.loads(file.read_text())
        if isinstance(found, dict) and isinstance(found.get("files"), dict):
            return found
    return {"files": {}}


def write(file: Path, text: str) -> None:
    """Write the file as a whole or not at all, for its owner alone."""
    handle, name = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(handle, "w") as new:
            new.write(text)
            new.flush()
            os.fsync(new.fileno())
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise


def plan(asked: dict[str, Any], check: bool) -> dict[str, Any]:
    """Compare, and prepare the files for what follows. Raises OSError."""
    state, push = Path(asked["state_dir"]), asked["direction"] == "push"
    base_file, next_file, list_file = (state / name for name in ("sync.json", "sync-next.json", "sync-list"))
    here, there = scan(asked["path"]), asked["there"]
    base, pending = remembered(base_file)["files"], remembered(next_file)
    if pending.get("direction"):
        base = settled(base, pending["files"], there if pending["direction"] == "push" else here.files)
    # Nothing at all is a new machine, not one where somebody removed every file.
    base = base if there else {}
    found = compare(asked["direction"], here.files, there, base, asked["overwrite"], asked["delete"])
    target = there if push else here.files
    conflicts = [{"path": each.path, "kind": each.kind} for each in found.conflicts]
    needed = bool(found.moved or found.removed) and not conflicts
    if not check and not conflicts:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(base_file, json.dumps({"files": base if needed else found.base}))
        if needed:
            # A leading ./ keeps a name that begins with # from being a comment.
            write(list_file, "".join(f"./{path}\0" for path in found.moved))
            write(next_file, json.dumps({"direction": asked["direction"], "files": found.base}))
            if not push:
                Path(asked["path"], INCOMING).mkdir(parents=True, exist_ok=True)
        else:
            next_file.unlink(missing_ok=True)
    unusable = dict.fromkeys(here.unusable, "has a name that cannot be synced")
    return {
        # Otherwise what moves and removes them says so.
        "changed": check and needed,
        "diff": {
            "prepared": "".join(f"{asked['direction']} {path}\n" for path in found.moved)
            + "".join(f"remove {path}\n" for path in found.removed)
        },
        "folder": os.path.abspath(asked["path"]),
        "direction": asked["direction"],
        "list": str(list_file),
        "moved": list(found.moved),
        "removed": {path: target[path] for path in found.removed},
        "conflicts": conflicts,
        "refusal": refusal(found) if conflicts else "",
        "left": found.left(),
        "told": told(found, {**here.left_out, **unusable, **asked["left_out"]}),
        "needed": needed,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "path": {"type": "path", "required": True},
            "there": {"type": "dict", "required": True},
            "left_out": {"type": "dict", "default": {}},
            "direction": {"type": "str", "choices": ["push", "pull"], "required": True},
            "state_dir": {"type": "path", "required": True},
            "overwrite": {"type": "bool", "default": False},
            "delete": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**plan(module.params, module.check_mode))
    except OSError as wrong:
        module.fail_json(msg=f"{wrong.filename}: {wrong.strerror}. Mend that and do the same again.")


if __name__ == "__main__":
    main()
