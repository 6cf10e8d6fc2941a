#!/usr/bin/python
"""The end of a sync, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_keep
short_description: Put what was fetched into its place, and remember what project_plan has planned as the last sync
description:
  - After a pull, each file of I(state_dir)'s list goes from the folder where it arrived to its place, through no link. What has become
    another thing since it was planned, such as a link that was a file, is left.
options:
  path: {type: str, required: true, description: The project folder.}
  state_dir: {type: path, required: true, description: Folder for what is remembered.}
  direction: {type: str, choices: [push, pull], required: true, description: After a pull the folder where files arrive is removed too.}
"""

RETURN = r"""
left: {type: list, returned: always, description: Fetched files that were not put into their place.}
told: {type: list, returned: always, description: A sentence for each of them.}
"""

import errno
import json
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.project_tree import ARRIVED, INCOMING, Beneath, fingerprint

CHANGED = "has changed on the machine while it was fetched (pull fetches it as it is now)"


def arrive(root: str, paths: list[str], planned: dict[str, str]) -> dict[str, str]:
    """Give each file its place; those that were left, and why. Raises OSError."""
    left: dict[str, str] = {}
    with Beneath(os.path.join(root, ARRIVED)) as arrived, Beneath(root) as place:
        for path in paths:
            try:
                source = arrived.at(path)
                kind = os.stat(source[1], dir_fd=source[0], follow_symlinks=False).st_mode
            except (FileNotFoundError, NotADirectoryError):
                # Equal already, so that it was not fetched; or gone.
                if fingerprint(root, path) != planned[path]:
                    left[path] = CHANGED
                continue
            if stat.S_ISLNK(kind) and f"link:{os.readlink(source[1], dir_fd=source[0])}" != planned[path]:
                # No check has judged that one.
                left[path] = CHANGED
                continue
            try:
                target = place.at(path, make=True)
            except NotADirectoryError:
                left[path] = "has a link or a file in the way of its folder"
                continue
            if not put(source, target, kind):
                left[path] = "has a folder in its way"
    return left


def put(source: tuple[int, str], target: tuple[int, str], kind: int) -> bool:
    """Move a file or a link over what is there. Its mode stays the user's own, but for who may execute it."""
    with suppress(FileNotFoundError):
        had = os.stat(target[1], dir_fd=target[0], follow_symlinks=False).st_mode
        if stat.S_ISDIR(had):
            return False
        if stat.S_ISREG(had) and stat.S_ISREG(kind):
            mode = stat.S_IMODE(had) & ~0o111
            os.chmod(source[1], mode | ((mode & 0o444) >> 2 if kind & stat.S_IXUSR else 0), dir_fd=source[0])
    try:
        os.replace(source[1], target[1], src_dir_fd=source[0], dst_dir_fd=target[0])
    except OSError as refusal:
        if refusal.errno != errno.EXDEV or not stat.S_ISREG(kind):
            raise
        copy(source, target)
    return True


def copy(source: tuple[int, str], target: tuple[int, str]) -> None:
    """The same where the place is on another file system."""
    name = f".{target[1]}.slipway~"
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=target[0])
    with open(os.open(source[1], os.O_RDONLY | os.O_NOFOLLOW, dir_fd=source[0]), "rb") as old:
        made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=target[0])
        with open(made, "wb") as new:
            shutil.copyfileobj(old, new)
            os.fchmod(new.fileno(), stat.S_IMODE(os.fstat(old.fileno()).st_mode))
    os.replace(name, target[1], src_dir_fd=target[0], dst_dir_fd=target[0])
    os.unlink(source[1], dir_fd=source[0])


def keep(root: str, state: Path, direction: str) -> dict[str, str]:
    """End the sync. Raises OSError."""
    following = json.loads((state / "sync-next.json").read_text())
    left: dict[str, str] = {}
    if direction == "pull":
        listed = [path.removeprefix("./") for path in (state / "sync-list").read_text().split("\0") if path]
        left = arrive(root, listed, following["files"])
        if left:
            before = json.loads((state / "sync.json").read_text())["files"]
            following["files"] = {path: value for path, value in following["files"].items() if path not in left}
            following["files"] |= {path: before[path] for path in left if path in before}
            (state / "sync-next.json").write_text(json.dumps(following))
    # Atomic: a reader finds the old one or the new one.
    os.replace(state / "sync-next.json", state / "sync.json")
    # After a push there may be another machine's pull at work in it.
    if direction == "pull":
        shutil.rmtree(Path(root, INCOMING), ignore_errors=True)
        with suppress(OSError):
            Path(root, INCOMING).parent.rmdir()
    return left


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
    left: dict[str, str] = {}
    if not module.check_mode:
        try:
            left = keep(module.params["path"], Path(module.params["state_dir"]), module.params["direction"])
        except OSError as wrong:
            module.fail_json(msg=f"{wrong.filename}: {wrong.strerror}. Mend that and do the same again.")
    module.exit_json(changed=False, left=list(left), told=[f"{path} {why}: not synced." for path, why in left.items()])


if __name__ == "__main__":
    main()
