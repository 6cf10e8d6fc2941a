#!/usr/bin/python
"""Who holds apt's lock, and patience with him."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_apt_lock
short_description: Wait until no other process holds a lock of apt or dpkg
description:
  - Takes no lock itself, and changes nothing. Needs root, to open the lock files.
  - The module ansible.builtin.apt waits too, but C(dpkg --configure) does not, and neither names the holder.
options:
  seconds: {type: int, default: 300, description: How long to wait.}
"""

RETURN = r"""
waited: {type: float, returned: always, description: For how many seconds a lock was held.}
"""

import contextlib
import fcntl
import os
import struct
import time

from ansible.module_utils.basic import AnsibleModule

# apt's and dpkg's; each is a POSIX record lock.
LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock", "/var/cache/apt/archives/lock")
# struct flock: type, whence, start, length, process (fcntl(2)).
FLOCK = "hhqqi"
PAUSE_SECONDS = 0.5


def holder(path: str) -> int | None:
    """The process that holds a lock on the file; 0 where it is not to be seen from here."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
    finally:
        os.close(descriptor)
    kind, _, _, _, process = struct.unpack(FLOCK, answer[: len(asked)])
    return None if kind == fcntl.F_UNLCK else max(process, 0)


def held() -> tuple[str, int] | None:
    """The first lock that is held, and by which process."""
    for path in LOCKS:
        process = holder(path)
        if process is not None:
            return path, process
    return None


def named(process: int) -> str:
    """The process with its command, as a person looks for it."""
    command = ""
    # It may have ended, or run in another container.
    with contextlib.suppress(OSError), open(f"/proc/{process}/cmdline", "rb") as stream:
        command = stream.read().replace(b"\0", b" ").decode(errors="replace").strip()
    return f"process {process} ({command[:200] or 'its command is not to be seen'})"


def main() -> None:
    """Run the module."""
    module = AnsibleModule({"seconds": {"type": "int", "default": 300}}, supports_check_mode=True)
    patience = module.params["seconds"]
    started = time.monotonic()
    while (found := held()) is not None and not module.check_mode:
        if time.monotonic() - started > patience:
            path, process = found
            module.fail_json(
                msg=f"apt's lock {path} is held by {named(process)}, for longer than {patience} s (docker_apt_lock_seconds). "
                "Nothing was installed. Wait until it has ended, then run the same command again."
            )
        time.sleep(PAUSE_SECONDS)
    module.exit_json(changed=False, waited=round(time.monotonic() - started, 1))


if __name__ == "__main__":
    main()
