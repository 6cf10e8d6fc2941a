#!/usr/bin/python
"""What a push or a pull has to do, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_plan
short_description: Compare a project folder with the host's, and both with the last sync
description:
  - Writes the list of what is to be moved, for C(rsync --files-from --from0), into I(state_dir), and with it what the last sync will be
    when it is done. Where nothing is to be done it keeps that at once. Otherwise project_keep does, at the end.
  - What the project's rules keep here is not sent (C(.slipwayignore), else git's rules). slipway.yml, its seeds and C(docker/) always are.
  - In check mode it writes nothing, and says whether something would change.
options:
  path: {type: str, required: true, description: The project folder.}
  there: {type: str, required: true, description: 'The files on the host, as project_look returns them.'}
  left_out: {type: dict, default: {}, description: 'Why a file on the host cannot be synced, by path.'}
  links: {type: dict, default: {}, description: 'Targets of links on the host that are not among its files, by path.'}
  direction: {type: str, choices: [push, pull], required: true, description: Whether files are sent to the host or fetched from it.}
  state_dir: {type: path, required: true, description: Folder for what is remembered.}
  overwrite: {type: bool, default: false, description: Whether the direction wins where both sides have changed a file.}
  delete: {type: bool, default: false, description: Whether to remove what was removed on the side that this direction reads from.}
  always_sent: {type: list, elements: str, default: [], description: Further files that are sent whatever the project's rules say.}
  most_mb: {type: int, default: 0, description: 'How much a pull may fetch, in MB; more is refused. 0: any amount.'}
"""

RETURN = r"""
folder: {type: str, returned: always, description: "The project folder's absolute path."}
direction: {type: str, returned: always, description: The one that was asked for.}
list: {type: str, returned: always, description: 'File with the paths that are to be moved, each ended by a NUL.'}
moved: {type: list, returned: always, description: Paths to send or to fetch.}
removed: {type: dict, returned: always, description: 'Paths to remove, with their fingerprints.'}
conflicts: {type: list, returned: always, description: 'Path and kind of each file that needs a decision. Nothing is to be done then.'}
refusal: {type: str, returned: always, description: 'Why nothing is to be done: a conflict, or I(most_mb); else empty.'}
waiting: {type: dict, returned: always, description: 'Files and bytes that are more than I(most_mb); else empty.'}
bytes: {type: int, returned: always, description: How much is to be moved.}
notice: {type: str, returned: always, description: 'What to tell before a push of more than 5,000 files or 100 MB; else empty.'}
ignored: {type: dict, returned: always, description: 'Files and bytes that stay here by the rules, and which rules.'}
left: {type: dict, returned: always, description: 'Paths that are left as they are, by reason.'}
told: {type: list, returned: always, description: 'A sentence for each reason, and for what stays here.'}
needed: {type: bool, returned: always, description: Whether there is anything to do.}
"""

import json
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.project_ignored import OWN, IgnoreError, always, ignored
from ansible.module_utils.project_links import Reader, refused
from ansible.module_utils.project_settings import SettingsError
from ansible.module_utils.project_sync import Files, Plan, compare, is_large, kept_line, large_line, refusal, settled, told, wait_line
from ansible.module_utils.project_tree import ARRIVED, PARTS, UNKNOWN, Beneath, Tree, leads_out, names, of_text, read, reader, synced


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
    """Compare, and prepare the files for what follows. Raises OSError, IgnoreError and SettingsError."""
    state, push = Path(asked["state_dir"]), asked["direction"] == "push"
    base_file, next_file, list_file = (state / name for name in ("sync.json", "sync-next.json", "sync-list"))
    there, listed = received(of_text(asked["there"])), names(asked["path"])
    base, pending = remembered(base_file)["files"], remembered(next_file)
    known = {*there.files, *base, *pending["files"]}
    stays = ignored(asked["path"], listed, known, [*always(asked["path"]), *asked["always_sent"]])
    here = read(asked["path"], listed, [path for path in listed.paths if path not in stays or path in known])
    if pending.get("direction"):
        base = settled(base, pending["files"], there.files if pending["direction"] == "push" else here.files)
    # Nothing at all is a new machine, not one where somebody removed every file.
    base = base if there.files else {}
    kept = {path: length(asked["path"], path) for path in listed.paths if path in stays}
    # What is kept is not read, and still in the way of what would replace it.
    files = {**dict.fromkeys(kept, UNKNOWN), **here.files}

    def compared(out: Mapping[str, str]) -> Plan:
        sides = [{**side, **dict.fromkeys(out, UNKNOWN)} if source else side for side, source in ((files, push), (there.files, not push))]
        return compare(asked["direction"], *sides, base, asked["overwrite"], asked["delete"], stays)

    link = links_of(there.files, asked["links"]).get if push else reader(os.path.realpath(asked["path"]))
    found, out = without_ways_out(compared, there.files if not push else files, files if not push else there.files, link)
    source, target = (here, there) if push else (there, here)
    sizes = {path: source.sizes.get(path, 0) for path in found.moved}
    most = asked["most_mb"] * 10**6
    conflicts = [{"path": each.path, "kind": each.kind} for each in found.conflicts]
    too_much = not push and most and sum(sizes.values()) > most and not conflicts
    side = " on the machine" if push else " on this computer"
    why = "\n".join([refusal(found), *in_the_way(found, link, side)]) if conflicts else wait_line(sizes, most) if too_much else ""
    needed = bool(found.moved or found.removed) and not why
    if not check and not why:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(base_file, json.dumps({"files": base if needed else found.base}))
        if needed:
            # A leading ./ keeps a name that begins with # from being a comment.
            write(list_file, "".join(f"./{path}\0" for path in found.moved))
            write(next_file, json.dumps({"direction": asked["direction"], "files": found.base}))
            if not push:
                make_ready(asked["path"])
        else:
            next_file.unlink(missing_ok=True)
    rules = OWN if os.path.lexists(os.path.join(asked["path"], OWN)) else "git"
    unusable = dict.fromkeys(here.unusable, "has a name that cannot be synced")
    left_out = {path: reason for path, reason in here.left_out.items() if path not in stays}
    left_out |= {path: leads_out(target, met if met != path else "", side) for path, (target, met) in out.items()}
    kept_lines = [kept_line(kept, [path for path in listed.paths if path not in stays], rules)] if push and kept else []
    return {
        # Otherwise what moves and removes them says so.
        "changed": check and needed,
        # As many lines again as there are files: for those who asked for them.
        "diff": {
            "prepared": "".join(
                f"{line}\n"
                for line in [*(f"{asked['direction']} {path}" for path in found.moved), *(f"remove {path}" for path in found.removed)]
            )
        }
        if check
        else {},
        "folder": os.path.abspath(asked["path"]),
        "direction": asked["direction"],
        "list": str(list_file),
        "moved": list(found.moved),
        "bytes": sum(sizes.values()),
        "removed": {path: target.files[path] for path in found.removed},
        "conflicts": conflicts,
        "refusal": why,
        "waiting": {"files": len(sizes), "bytes": sum(sizes.values())} if too_much else {},
        "notice": large_line(sizes) if push and needed and is_large(sizes) else "",
        "ignored": {"files": len(kept), "bytes": sum(kept.values()), "rules": rules},
        "left": found.left(),
        "told": [*told(found, {**left_out, **unusable, **asked["left_out"]}), *kept_lines],
        "needed": needed,
    }


def received(tree: Tree) -> Tree:
    """What the host reported, without paths that cannot be a project's files."""
    return replace(
        tree, files={path: value for path, value in tree.files.items() if not {"", ".", ".."} & set(path.split("/")) and synced(path)}
    )


def links_of(files: Files, more: Mapping[str, str]) -> dict[str, str]:
    """The targets of all links of a side, by path."""
    return {path: value.removeprefix("link:") for path, value in files.items() if value.startswith("link:")} | dict(more)


def without_ways_out(
    compared: Callable[[Mapping[str, str]], Plan], source: Files, target: Files, there: Reader
) -> tuple[Plan, dict[str, tuple[str, str]]]:
    """The plan without the links that would lead out of the folder there where they arrive; of these the target, and the link by which."""
    known, own, out = links_of(source, {}), links_of(target, {}), dict[str, tuple[str, str]]()
    while True:
        plan = compared(dict.fromkeys(out, ""))
        bad = refused({path: known[path] for path in plan.moved if path in known}, there, own)
        if not bad:
            return plan, out
        out |= {path: (known[path], met) for path, met in bad.items()}


def in_the_way(plan: Plan, link: Reader, side: str) -> list[str]:
    """A line for each link that stands where a folder would be."""
    paths = [each.path for each in plan.conflicts if each.kind == "file_and_folder"]
    above = dict.fromkeys("/".join(path.split("/")[:end]) for path in paths for end in range(1, path.count("/") + 1))
    return [
        f"{each}{side} is a link to {target}, and nothing is written through it." for each in above if (target := link(each)) is not None
    ]


def make_ready(root: str) -> None:
    """Make the folder where files arrive, before each has its place. Of what an interrupted pull has left there the files are of use."""
    with Beneath(root) as beneath:
        for each in (ARRIVED, PARTS):
            beneath.at(f"{each}/file", make=True)
    for folder, folders, files in os.walk(os.path.join(root, ARRIVED)):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            if os.path.islink(path):
                os.unlink(path)


def length(root: str, path: str) -> int:
    """A file's size in bytes; 0 if it is gone, or is no regular file."""
    with suppress(OSError):
        found = os.lstat(os.path.join(root, path))
        return found.st_size if stat.S_ISREG(found.st_mode) else 0
    return 0


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "path": {"type": "str", "required": True},
            "there": {"type": "str", "required": True},
            "left_out": {"type": "dict", "default": {}},
            "links": {"type": "dict", "default": {}},
            "direction": {"type": "str", "choices": ["push", "pull"], "required": True},
            "state_dir": {"type": "path", "required": True},
            "overwrite": {"type": "bool", "default": False},
            "delete": {"type": "bool", "default": False},
            "always_sent": {"type": "list", "elements": "str", "default": []},
            "most_mb": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    try:
        found = plan(module.params, module.check_mode)
    except (IgnoreError, SettingsError) as wrong:
        module.fail_json(msg=str(wrong))
    except OSError as wrong:
        module.fail_json(msg=f"{wrong.filename}: {wrong.strerror}. Mend that and do the same again.")
    # Ansible would send back all that it was given too, every file on the host among it.
    module.exit_json(**found, invocation={})


if __name__ == "__main__":
    main()
