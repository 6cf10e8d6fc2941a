"""What the kernel of the host tells of a container's memory, and who in it was killed for want of it."""

from __future__ import annotations

import http.client
import io
import json
import tarfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.stack_engine import Engine

MIB = 1024 * 1024
#: What the server extension of the Jupyter image writes (slipway_kernels.py): a line for each process that was killed.
TOLD = "/var/tmp/slipway-out-of-memory.jsonl"  # noqa: S108 (of the container)
#: The user's own code may write there too: so much of it is read.
MOST_BYTES = 64 * 1024
#: The files of each version of control groups: the count of kills, the peak.
FILES = {"cgroup": ("memory.oom_control", "memory.max_usage_in_bytes"), "cgroup2": ("memory.events", "memory.peak")}


def group(pid: int, controller: str = "memory") -> tuple[str, Path] | None:
    """The kind of a process's control group (`cgroup` is version 1, `cgroup2` version 2) and its folder. Needs no root.

    Paths are as seen from here: a host may be a container itself. Raises OSError where the process has ended.
    """
    groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    path = next((path for names, path in groups.items() if controller in names.split(",")), None)
    kind = "cgroup" if path else "cgroup2"
    path = path or groups.get("", "/")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, system = line.partition(" - ")
        if system.split()[0] == kind and (kind == "cgroup2" or controller in system.split()[-1].split(",")):
            root, folder = mount.split()[3:5]
            inside = path.removeprefix(root) if root != "/" else path
            return kind, Path(folder, inside.lstrip("/"))
    return None


def kills_and_peak(pid: int) -> tuple[int, int | None]:
    """How often the kernel ended a process in the group of this one for lack of memory, and the most that the group has used, in MiB.

    Linux before 5.19 does not tell the peak with version 2. Raises OSError where the process has ended.
    """
    found = group(pid)
    if found is None:
        return 0, None
    kind, folder = found
    counts, peak = (folder / name for name in FILES[kind])
    kills = (int(line.split()[1]) for line in counts.read_text().splitlines() if line.startswith("oom_kill "))
    return next(kills, 0), int(peak.read_text()) // MIB if peak.exists() else None


def told(engine: Engine, container: str) -> list[dict[str, Any]]:
    """What the server in this container has told of processes that were killed, oldest first; nothing where there is no such file."""
    with suppress(OSError, http.client.HTTPException, tarfile.TarError):
        packed = engine.fetch(f"/containers/{container}/archive", MOST_BYTES, path=TOLD)
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r|") as archive:
            entry = archive.next()
            if entry and entry.isfile():
                return list(_records(archive.extractfile(entry).read().decode(errors="replace").splitlines()))
    return []


def _records(lines: Iterable[str]) -> Iterable[dict[str, Any]]:
    """Those lines that are what the server writes."""
    for line in lines:
        with suppress(ValueError, KeyError, TypeError, OverflowError, RecursionError):
            facts = json.loads(line)
            notebook, limit, peak = facts["notebook"], facts["limit_mib"], facts["peak_mib"]
            if facts["who"] in ("kernel", "process") and isinstance(notebook, (str, type(None))) and isinstance(facts["when"], str):
                yield {
                    "who": facts["who"],
                    "notebook": notebook,
                    "when": facts["when"],
                    "limit_mib": None if limit is None else int(limit),
                    "peak_mib": None if peak is None else int(peak),
                }


def deaths(facts: dict[str, Any], kills: int, peak_mib: int | None, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Who in a container was killed for memory, one of each, with how often. `facts` are the engine's, of the container.

    `who` is a `kernel` of Jupyter, another `process`, or the `service`: its first process, with which the container ended.
    """
    state, limit = facts["State"], facts["HostConfig"]["Memory"] // MIB or None
    found = list(records)
    unknown: dict[str, Any] = {"notebook": None, "when": None, "limit_mib": limit, "peak_mib": None}
    # The count begins with the container's start.
    seen = sum(each["when"] >= state["StartedAt"][:19] for each in records)
    found += [{**unknown, "who": "process", "peak_mib": peak_mib}] * (kills - seen)
    # The engine keeps that word when it starts a container again by itself; whose first process lives it may say it of another one.
    if state["OOMKilled"] and (facts["RestartCount"] or not state["Running"]):
        found.append({**unknown, "who": "service", "when": f"{state['FinishedAt'][:19]}+00:00"})
    elif state["OOMKilled"] and not found:
        found.append({**unknown, "who": "process", "peak_mib": peak_mib})
    counted: dict[tuple[str, str | None], dict[str, Any]] = {}
    for each in found:
        same = (each["who"], each["notebook"])
        times = counted.pop(same, {"times": 0})["times"] + 1
        counted[same] = {**each, "times": times}
    return list(counted.values())
