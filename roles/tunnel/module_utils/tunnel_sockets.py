"""Where the sockets of SSH's connections lie on this computer."""

from __future__ import annotations

import os
import stat
from pathlib import Path

#: A socket's path may have 107 bytes (unix(7)): of these ssh takes 17 for a scratch name, and the sockets' own names up to 21.
LONGEST = 107 - 17 - 21
#: What ssh or Ansible reads as something else in such a path: %h and the like, variables, quotes.
_MARKS = frozenset("%$\"'\\`{} \t\n")


def place(home: str, user: int) -> str:
    """The folder: ~/.ssh, or one of the user's own below /tmp if ssh could not use that."""
    own = f"{home}/.ssh"
    return own if len(os.fsencode(own)) <= LONGEST and not _MARKS & set(own) else f"/tmp/slipway-{user}"  # noqa: S108 (see `folder`)


def folder() -> str:
    """Make the folder if it is not there, and return it. Raises OSError if others could reach into it."""
    home, user = str(Path.home()), os.getuid()
    path = Path(place(home, user))
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = path.lstat()
    private = stat.S_ISDIR(there.st_mode) and there.st_uid == user and there.st_mode & 0o077 == 0
    if not path.is_relative_to(home) and not private:
        raise OSError(f"{path} must be a folder that belongs to you and that no other user can enter. Remove it.")
    return str(path)
