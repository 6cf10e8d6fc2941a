#!/usr/bin/python
"""User ids for the stores of a host's stacks, and the volumes that belong to them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_uids
short_description: Allot each stack user ids of its own on the host, and give its stores' volumes to them
description:
  - Needs root. The record of who has which ids is C(/etc/slipway/uids). Of two calls at once the second waits. Ids of a stack that was
    removed are never given to another one.
  - Volumes are given to those ids that the settings in the stack's folder (C(.env)) name, and that are its own. One that is not there
    is made. What uses a volume with another owner is stopped first. Links are not followed.
  - May be repeated, also after it was killed in between.
options:
  allot: {type: str, default: "", description: "The Compose project that gets ids, if it has none. Empty: none does."}
  give: {type: list, elements: dict, default: [], description: "Stacks whose volumes are given: of each its C(name), and its C(directory),
    absolute."}
"""

RETURN = r"""
uids: {type: dict, returned: always, description: "Of the stack in I(allot) the id of each store."}
given: {type: list, returned: always, description: "The stores whose volumes changed owner, as NAME.STORE."}
"""

import fcntl
import http.client
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_docker import DockerError
from ansible.module_utils.stack_engine import STACK, Engine
from ansible.module_utils.stack_uid_rules import RecordError, allotted, found_again, uids, written
from ansible.module_utils.stack_uids import RECORD, OwnerError, give, owners, recorded, wanted


@contextmanager
def alone() -> Iterator[None]:
    """Wait for another call on this host."""
    RECORD.parent.mkdir(mode=0o755, exist_ok=True)
    lock = os.open(RECORD.parent / ".uids.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def found(without_engine: bool) -> dict[str, set[int]]:
    """Who owns the engine's volumes. In check mode there may be no engine yet, and no volume. Raises OSError."""
    try:
        return owners(Engine().ask("/volumes")["Volumes"] or [])
    except (OSError, http.client.HTTPException):
        if without_engine:
            return {}
        raise


def keep(blocks: dict[str, int]) -> None:
    """Write the record: whole, or not at all. Whatever the umask, everyone may read it."""
    scratch = RECORD.with_name(".uids.new")
    with scratch.open("w") as file:
        file.write(written(blocks))
        os.fchmod(file.fileno(), 0o644)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(RECORD)
    RECORD.parent.chmod(0o755)


def done(asked: dict[str, Any], check: bool) -> dict[str, Any]:
    """Do it all. Raises OwnerError, RecordError, DockerError and OSError."""
    before, name = recorded(), asked["allot"]
    unknown = {stack["name"] for stack in asked["give"]} - before.keys()
    held = found(check) if name or unknown else {}
    blocks = before | ({name: allotted(name, before, held)} if name else {})
    blocks |= found_again(blocks, held)
    changed = blocks != before
    if changed and not check:
        keep(blocks)
    given = []
    for stack in asked["give"] if not check else []:
        own = uids(blocks[stack["name"]]) if stack["name"] in blocks else {}
        for store, uid in wanted(stack["directory"], own).items():
            if give(stack["name"], store, uid):
                given.append(f"{stack['name']}.{store}")
    return {"changed": changed or bool(given), "uids": uids(blocks[name]) if name else {}, "given": given}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "allot": {"type": "str", "default": ""},
            "give": {"type": "list", "elements": "dict", "default": [], "options": STACK},
        },
        supports_check_mode=True,
    )
    try:
        if module.check_mode:
            module.exit_json(**done(module.params, check=True))
        with alone():
            module.exit_json(**done(module.params, check=False))
    except RecordError as wrong:
        module.fail_json(
            msg=f"{RECORD}: {wrong}. Nothing was changed. Mend that line, or remove the file: by the volumes it is found again."
        )
    except (OwnerError, DockerError, OSError, http.client.HTTPException) as failure:
        module.fail_json(msg=f"The stores' volumes could not be given to their users: {failure}. The same command again goes on.")


if __name__ == "__main__":
    main()
