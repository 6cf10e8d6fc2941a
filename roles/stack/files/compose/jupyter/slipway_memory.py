"""What the kernel of the host tells of this container's memory, by control groups of either version.

| | version 1, in memory/ | version 2 |
|---|---|---|
| limit | memory.limit_in_bytes | memory.max |
| in use | memory.usage_in_bytes | memory.current |
| the most that was in use, kept by the kernel | memory.max_usage_in_bytes | memory.peak, from Linux 5.19 on |
| of it files | total_active_file + total_inactive_file of memory.stat | active_file + inactive_file |
| ended for memory | oom_kill of memory.oom_control | of memory.events |

Source: Linux, Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path

MIB = 2**20
GROUPS = Path("/sys/fs/cgroup")
OLD = GROUPS / "memory"


def kills() -> int:
    """How many processes of the container have been ended because its memory ran out."""
    path = OLD / "memory.oom_control" if OLD.is_dir() else GROUPS / "memory.events"
    lines = path.read_text().splitlines() if path.exists() else []
    return int(dict(line.split() for line in lines).get("oom_kill", 0))


def limit() -> int | None:
    """The container's limit in MiB, if it has one."""
    return _mib(OLD / "memory.limit_in_bytes" if OLD.is_dir() else GROUPS / "memory.max")


def peak() -> int | None:
    """The most that it has used, in MiB. Linux before 5.19 does not tell it with version 2."""
    return _mib(OLD / "memory.max_usage_in_bytes" if OLD.is_dir() else GROUPS / "memory.peak")


def used() -> str:
    """Both, as people read it."""
    limited, most = (f"{mib} MiB" if mib is not None else "unknown" for mib in (limit(), peak()))
    return f"the limit is {limited}, the peak was {most}"


SHARED = Path("/dev/shm")  # noqa: S108 (it is looked at)


def shared(text: str) -> str:
    """What is to be said of an ending by SIGBUS, or an error that names shared memory; of others nothing."""
    if not any(sign in text for sign in ("SIGBUS", "Bus error", str(SHARED))) and "shared memory" not in text.lower():
        return ""
    facts = os.statvfs(SHARED)
    size, free = (blocks * facts.f_frsize // MIB for blocks in (facts.f_blocks, facts.f_bavail))
    return f"\nIts shared memory, {SHARED}, has {size} MiB, of which {size - free} are in use now; they count as memory: {used()}"


def in_use() -> int:
    """Bytes that it uses now, without the files that the kernel keeps for it as long as nobody needs the room."""
    return _bytes(_IN_USE) - files()


def files() -> int:
    """Bytes of such files."""
    stat = dict(line.split() for line in ((OLD if OLD.is_dir() else GROUPS) / "memory.stat").read_text().splitlines())
    prefix = "total_" if OLD.is_dir() else ""
    return sum(int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))


class Watch(threading.Thread):
    """Follows the container's use from its start to its end, and knows the most that it needed.

    The kernel keeps the most that was in use, whoever looks or not, but counts files, of which it keeps as many as there is room
    for: what of it were files is looked up whenever it has grown. So a peak that is shorter than the pause between two looks counts too.
    """

    def __init__(self, pause: float = 0.05) -> None:
        super().__init__(daemon=True)
        self._pause = pause
        self._end = threading.Event()
        self._top = 0
        self._needed = 0

    def run(self) -> None:
        """Look until the end."""
        while not self._end.wait(self._pause):
            self.look()

    def look(self) -> None:
        """Look once."""
        # A group of another kind than known tells nothing.
        with suppress(OSError, ValueError):
            top, cached = _bytes(_PEAK), files()
            self._needed = max(self._needed, _bytes(_IN_USE) - cached, top - cached if top > self._top else 0)
            self._top = top

    def end(self) -> int | None:
        """Look a last time, and return what was needed at most, in MiB."""
        self._end.set()
        self.look()
        return self._needed // MIB or None


_PEAK = ("memory.max_usage_in_bytes", "memory.peak")
_IN_USE = ("memory.usage_in_bytes", "memory.current")


def _bytes(names: tuple[str, str]) -> int:
    """The number in the file of version 1, or of version 2; 0 where there is none."""
    path = OLD / names[0] if OLD.is_dir() else GROUPS / names[1]
    return int(path.read_text()) if path.exists() else 0


def _mib(path: Path) -> int | None:
    text = path.read_text().strip() if path.exists() else ""
    # Version 1 says "no limit" by a number that no machine has.
    return int(text) // MIB if text.isdecimal() and int(text) < 2**60 else None
