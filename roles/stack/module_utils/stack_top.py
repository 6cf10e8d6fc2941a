"""What each container of the host's stacks uses just now, as lines of JSON until nobody reads them.

The control groups' own files are read, and the engine is asked for its list only: that costs a small host a fraction of what
`docker stats` does (figures: docs/done-when.md).
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.stack_engine import RUNNING, Engine, of_project, one_off
from ansible.module_utils.stack_memory import MIB, group, kills_and_peak

#: The files of each version of control groups: memory in use, its limit, its parts; the name of the file cache that may go.
MEMORY = {
    "cgroup": ("memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file"),
    "cgroup2": ("memory.current", "memory.max", "inactive_file"),
}


class Container:
    """A container in one of its lives: what does not change in it is asked for once."""

    def __init__(self, engine: Engine, identity: str) -> None:
        facts = engine.ask(f"/containers/{identity}/json")
        state = facts["State"]
        self.pid, self.limit = state["Pid"], facts["HostConfig"]["Memory"] // MIB
        # Since the engine itself has started it again, or has not.
        self.died = bool(state["OOMKilled"] and (facts["RestartCount"] or not state["Running"]))
        self.kind, self.memory = group(self.pid) or ("", Path()) if self.pid else ("", Path())
        self.cpu = (group(self.pid, "cpuacct") or ("", Path()))[1] if self.pid else Path()

    def use(self) -> dict[str, Any]:
        """Of one that runs. Raises OSError where it has ended, or lives anew."""
        kills, peak = kills_and_peak(self.pid)
        return {
            "cpu_ns": cpu_ns(self.kind, self.cpu),
            "memory_used_mib": used(self.kind, self.memory),
            "memory_peak_mib": peak,
            "out_of_memory_kills": max(kills, int(self.died)),
        }


def cpu_ns(kind: str, folder: Path) -> int:
    """Processor time that a control group has taken."""
    if kind == "cgroup":
        return int((folder / "cpuacct.usage").read_text())
    return values(folder / "cpu.stat")["usage_usec"] * 1000


def used(kind: str, folder: Path) -> float:
    """Memory in use, in MiB, as `docker stats` counts it."""
    current, _, cache = MEMORY[kind]
    return round((int((folder / current).read_text()) - values(folder / "memory.stat").get(cache, 0)) / MIB, 1)


def values(path: Path) -> dict[str, int]:
    """The lines of a file, each a name and a number."""
    return {name: int(number) for name, number in (line.split() for line in path.read_text().splitlines())}


def host() -> dict[str, Any]:
    """The machine's own use. One that is a container itself has the limits of its control group, and not the computer's."""
    groups, cpus = Path("/sys/fs/cgroup"), float(len(os.sched_getaffinity(0)))
    kind = "cgroup" if (groups / "memory").is_dir() else "cgroup2"
    memory, cpu, quota = (groups / name if kind == "cgroup" else groups for name in ("memory", "cpuacct", "cpu"))
    with suppress(OSError, ValueError):
        words = ["cpu.cfs_quota_us", "cpu.cfs_period_us"] if kind == "cgroup" else ["cpu.max"]
        limit, period = " ".join((quota / word).read_text() for word in words).split()
        cpus = min(cpus, int(limit) / int(period)) if int(limit) > 0 else cpus
    told = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in Path("/proc/meminfo").read_text().splitlines()}
    found = {"cpus": cpus, "cpu_ns": cpu_ns(kind, cpu), "memory_limit_mib": told["MemTotal"] // MIB}
    found["memory_used_mib"] = round((told["MemTotal"] - told["MemAvailable"]) / MIB, 1)
    # The first group of a machine has no such file, or says a number that no machine has.
    with suppress(OSError, ValueError):
        limit_mib = int((memory / MEMORY[kind][1]).read_text()) // MIB
        if limit_mib < found["memory_limit_mib"]:
            found |= {"memory_limit_mib": limit_mib, "memory_used_mib": used(kind, memory)}
    return found


def look(engine: Engine, known: dict[str, Container]) -> dict[str, Any]:
    """One look. `known` keeps the containers from look to look. Raises OSError where the engine says nothing."""
    listed = engine.ask("/containers/json", all="1")
    for identity in known.keys() - {item["Id"] for item in listed}:
        del known[identity]
    found = [_row(engine, known, *named) for named in _named(listed)]
    return {"at": time.monotonic(), "host": host(), "services": [row for row in found if row]}


def _named(listed: list[dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each container of a stack: the stack, the service's name in it, batch runs last."""
    for stack in sorted({item["Labels"].get("com.docker.compose.project", "") for item in listed} - {""}):
        yield from ((stack, name, item) for name, item in sorted(of_project(stack, listed).items()))
        runs = [item for item in listed if item["Labels"].get("com.docker.compose.project") == stack and one_off(item)]
        yield from ((stack, item["Names"][0].lstrip("/").removeprefix(f"{stack}-"), item) for item in runs)


def _row(engine: Engine, known: dict[str, Container], stack: str, name: str, item: dict[str, Any]) -> dict[str, Any] | None:
    identity, runs = item["Id"], item["State"] in RUNNING
    row = {"stack": stack, "service": name, "run": one_off(item), "state": item["State"]}
    # A second time where it has ended, or begun anew, since the last look.
    for _ in range(2):
        with suppress(OSError):
            container = known.pop(identity, None) or Container(engine, identity)
            rest = {"cpu_ns": None, "memory_used_mib": None, "memory_peak_mib": None, "out_of_memory_kills": int(container.died)}
            # One that the engine is about to start again has no process.
            use = container.use() if runs and container.pid else rest
            if use is not rest:
                known[identity] = container
            return row | {"memory_limit_mib": container.limit} | use
    return None


def watch(seconds: float) -> None:
    """Print a look each so many seconds; what the engine does not tell, as an error."""
    known: dict[str, Container] = {}
    engine = Engine()
    with suppress(BrokenPipeError):
        while True:
            try:
                line = look(engine, known)
            except (OSError, http.client.HTTPException) as silent:
                engine.close()
                line = {"error": getattr(silent, "strerror", None) or str(silent) or type(silent).__name__}
            print(json.dumps(line), flush=True)
            time.sleep(seconds)
