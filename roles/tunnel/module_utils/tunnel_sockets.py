"""Where the sockets of SSH's connections lie on this computer."""

from __future__ import annotations

import os
import stat

#: A socket's path may have 107 bytes (unix(7)): of these ssh takes 17 for a scratch name, and the sockets' own names up to 21.
LONGEST = 107 - 17 - 21
#: What ssh or Ansible reads as something else in such a path: %h and the like, variables, quotes.
_MARKS = frozenset("%$\"'\\`{} \t\n")


def place(home: str, user: int) -> str:
    """The folder: ~/.ssh, or one of the user's own below /tmp if ssh could not use that."""
    own = os.path.join(home, ".ssh")
    return own if len(os.fsencode(own)) <= LONGEST and not _MARKS & set(own) else f"/tmp/slipway-{user}"  # noqa: S108 (checked below)


def folder() -> str:
    """Make the folder if it is not there, and return it. Raises OSError if others could reach into it."""
    user = os.getuid()
    path = place(os.path.expanduser("~"), user)
    os.makedirs(path, mode=0o700, exist_ok=True)
    there = os.lstat(path)
    if path.startswith("/tmp/slipway-") and not (stat.S_ISDIR(there.st_mode) and there.st_uid == user and there.st_mode & 0o077 == 0):  # noqa: S108
        raise OSError(f"{path} must be a folder that belongs to you and that no other user can enter. Remove it.")
    return path
