#!/usr/bin/python
"""Keep a stack's secrets on this computer."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_secrets
short_description: Make the folders of a stack on this computer, and each secret that is not there yet
description:
  - A secret that is there stays as it is, unless another one is given. One that is made has 32 letters and digits (190 bits).
  - A file has the mode 0444 in a folder of 0700. On the host only its owner gets there, and in a container the user of a store, whose
    number differs from image to image, can read the file that is mounted.
options:
  directory: {type: str, required: true, description: "The stack's folder on this computer, absolute."}
  places: {type: dict, required: true, description: 'The file of each secret, by service, relative to I(directory).'}
  services: {type: list, elements: str, required: true, description: Services whose secrets have to be there.}
  given: {type: dict, default: {}, description: 'Secrets of the user, by service.'}
"""

RETURN = r"""
made: {type: list, returned: always, description: "Files that were written, relative to I(directory)."}
"""

import secrets
import stat
import string
from collections.abc import Iterable, Mapping
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

CHARACTERS = string.ascii_letters + string.digits
LENGTH = 32


def wanted(kept: str | None, given: str | None) -> str | None:
    """The secret to write, if any: `kept` is what the file says, None without a file. A newline at its end is no part of the secret."""
    if kept is None:
        return given or "".join(secrets.choice(CHARACTERS) for _ in range(LENGTH))
    return given if given is not None and given != kept.rstrip("\n") else None


def right(folder: Path, mode: int) -> bool:
    """Whether a folder is there, with this mode."""
    return folder.is_dir() and stat.S_IMODE(folder.stat().st_mode) == mode


def make(folder: Path, mode: int) -> None:
    """Make a folder, with those above it, and give it its mode. The host's has it from rsync, which sends files from two such folders."""
    for each in [each for each in (*reversed(folder.parents), folder) if not each.exists()]:
        each.mkdir()
        # Whatever the umask.
        each.chmod(mode)
    folder.chmod(mode)


def write(path: Path, text: str) -> None:
    """Write a secret in one step."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    scratch.touch(mode=0o600)
    scratch.write_text(text)
    scratch.chmod(0o444)
    scratch.replace(path)


def keep(
    directory: Path, places: Mapping[str, str], services: Iterable[str], given: Mapping[str, str], dry: bool
) -> tuple[list[str], bool]:
    """Make what is missing, but for a `dry` run; return the files that are written, and whether anything changes."""
    folders = {directory: 0o755} | {directory / Path(place).parent: 0o700 for place in places.values()}
    changed = not all(right(folder, mode) for folder, mode in folders.items())
    texts = {}
    for service in services:
        path = directory / places[service]
        text = wanted(path.read_text() if path.is_file() else None, given.get(service))
        if text is not None:
            texts[path] = text
    if not dry:
        for folder, mode in folders.items():
            if not right(folder, mode):
                make(folder, mode)
        for path, text in texts.items():
            write(path, text)
    return sorted(str(path.relative_to(directory)) for path in texts), changed or bool(texts)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "directory": {"type": "str", "required": True},
            "places": {"type": "dict", "required": True},
            "services": {"type": "list", "elements": "str", "required": True},
            "given": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    asked = module.params
    made, changed = keep(Path(asked["directory"]), asked["places"], asked["services"], asked["given"], module.check_mode)
    module.exit_json(changed=changed, made=made)


if __name__ == "__main__":
    main()
