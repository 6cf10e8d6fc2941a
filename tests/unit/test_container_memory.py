"""What a container reads of its own memory, by control groups of either version."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.modules import read

#: As Linux 6.8 writes them in a container of 256 MiB, after its kernel was killed once.
VERSIONS = {
    1: {
        "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
        "memory/memory.limit_in_bytes": "268435456\n",
        "memory/memory.max_usage_in_bytes": "268435456\n",
    },
    2: {
        "memory.events": "low 0\nhigh 0\nmax 93\noom 1\noom_kill 1\noom_group_kill 0\n",
        "memory.max": "268435456\n",
        "memory.peak": "268435456\n",
    },
}


def memory(folder: Path, files: dict[str, str]) -> ModuleType:
    """The image's module, with these files in the place of /sys/fs/cgroup."""
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    module = read("roles", "stack", "files", "compose", "jupyter", "slipway_memory.py")
    module.GROUPS, module.OLD = folder, folder / "memory"  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize("version", VERSIONS)
def test_kills_limit_and_peak_are_read_of_either_version(version: int, tmp_path: Path) -> None:
    module = memory(tmp_path, VERSIONS[version])
    assert (module.kills(), module.limit(), module.peak()) == (1, 256, 256)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cell 1 of 1: the kernel ended, killed by SIGBUS", True),
        ("OSError: [Errno 28] No space left on device: '/dev/shm/x'", True),
        ("DataLoader worker (pid 7) is killed by signal: Bus error.", True),
        ("RuntimeError: unable to write to file: insufficient shared memory", True),
        ("OSError: [Errno 28] No space left on device: '/tmp/x'", False),
        ("cell 1 of 1: the kernel ended, killed by SIGSEGV", False),
    ],
)
def test_shared_memory_is_named_where_it_may_be_the_cause(text: str, told: bool, tmp_path: Path) -> None:
    assert ("Its shared memory, /dev/shm, has " in memory(tmp_path, VERSIONS[2]).shared(text)) == told


def test_a_limit_that_no_machine_has_is_none(tmp_path: Path) -> None:
    module = memory(tmp_path, VERSIONS[1] | {"memory/memory.limit_in_bytes": "9223372036854771712\n"})
    assert module.limit() is None
    assert module.used() == "the limit is unknown, the peak was 256 MiB"


def test_what_the_kernel_does_not_tell_is_unknown(tmp_path: Path) -> None:
    module = memory(tmp_path, {"memory.max": "max\n"})
    assert (module.kills(), module.limit(), module.peak()) == (0, None, None)
