"""What a host has beside a stack: other Compose projects, the ports of their settings, and who listens."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.stack_engine import AT_REST, RUNNING, Engine, of_project, one_off

MIB = 1024 * 1024


def others(name: str, containers: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the other Compose projects of this host have: their folder, how many run, `docker compose run` among them, and their limits."""
    engine, found = Engine(), {}
    for item in containers:
        project = item["Labels"].get("com.docker.compose.project")
        if project in (None, name):
            continue
        folder = item["Labels"].get("com.docker.compose.project.working_dir")
        mine = found.setdefault(project, {"directory": folder, "running": 0, "runs": 0, "limit_mib": 0})
        if item["State"] in RUNNING:
            mine["running"] += 1
            mine["runs"] += one_off(item)
            # One that has ended meanwhile is no longer there.
            with suppress(OSError):
                mine["limit_mib"] += engine.ask(f"/containers/{item['Id']}/json")["HostConfig"]["Memory"] // MIB
    for project, mine in found.items():
        # Of those that somebody else has made nothing is known.
        ours = mine["directory"] == str(Path.home() / "projects" / project)
        base = mine["directory"] == str(Path.home() / "slipway")
        mine["ours"] = ours or base
        mine["at_rest"] = (ours or base) and rests(mine["directory"], of_project(project, containers))
        mine["takes_part"] = ours and not mine["at_rest"] and bool(of_project(project, containers))
    return found


def rests(directory: str, mine: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a stack was brought to rest, and nobody has started it by hand since."""
    return Path(directory, AT_REST).exists() and all(item["State"] not in RUNNING for item in mine.values())


def settings(path: Path) -> dict[str, str]:
    """The lines of a .env."""
    with suppress(OSError):
        return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return {}


def chosen(directory: str, firsts: Mapping[str, Any]) -> dict[str, int]:
    """For each setting the port that the folder's .env has, or the first that neither another stack's has nor anybody listens on."""
    mine, home = settings(Path(directory, ".env")), Path.home()
    beside = [settings(path) for path in [home / "slipway/.env", *home.glob("projects/*/.env")] if path.parent != Path(directory)]
    taken = {value for each in beside for name, value in each.items() if name.endswith("_PORT")}
    found: dict[str, int] = {}
    for name, first in firsts.items():
        free = (port for port in range(int(first), 65536) if str(port) not in taken and port not in found.values() and not listens(port))
        found[name] = int(mine[name]) if mine.get(name, "").isdecimal() else next(free)
    return found


def listens(port: int) -> bool:
    """Whether something on the loopback has the port: then nobody else can have it."""
    with socket.socket() as probe:
        # Connections that have ended do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            # A port below 1024, which only root binds: whoever listens there answers.
            return probe.connect_ex(("127.0.0.1", port)) == 0
        except OSError:
            return True
    return False
