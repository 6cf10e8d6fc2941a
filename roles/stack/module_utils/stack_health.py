"""Whether a container is healthy now. An engine looks for the first time one interval after the start: here the same check is run at once.

`start_interval` of a health check would do so too; engines before 25.0, as distributions have them, refuse it.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.stack_engine import Engine

#: Of a check that names no timeout, in seconds: the engine's own.
TIMEOUT = 30.0
ENDED = ("exited", "dead")


def command(facts: Mapping[str, Any]) -> list[str]:
    """The words of the health check that a container has, by what the engine says of it (`docker inspect`); empty if it has no check."""
    kind, *words = (facts["Config"].get("Healthcheck") or {}).get("Test") or ["NONE"]
    return {"CMD": words, "CMD-SHELL": ["/bin/sh", "-c", *words]}.get(kind, [])


def known(facts: Mapping[str, Any]) -> str:
    """What the engine has found: `healthy`, `starting` or `unhealthy`; `none` without a check."""
    return str((facts["State"].get("Health") or {}).get("Status", "none"))


def health(engine: Engine, facts: Mapping[str, Any]) -> str:
    """As `known`, but for a container that runs and was not found healthy: it is checked now. As with the engine, one success is enough."""
    found = known(facts)
    waits = found in ("starting", "unhealthy") and facts["State"]["Status"] == "running"
    return "healthy" if waits and passes(engine, facts) else found


def passes(engine: Engine, facts: Mapping[str, Any]) -> bool:
    """Whether the container's own check passes now. One that cannot be run, or takes longer than it may, does not."""
    # The engine gives nanoseconds, and 0 for its default.
    patient = Engine((facts["Config"]["Healthcheck"].get("Timeout") or 0) / 1e9 or TIMEOUT)
    try:
        asked = {"Cmd": command(facts), "AttachStdout": True, "AttachStderr": True}
        check = json.loads(engine.post(f"/containers/{facts['Id']}/exec", asked))["Id"]
        patient.post(f"/exec/{check}/start", {"Detach": False})
        return bool(engine.ask(f"/exec/{check}/json")["ExitCode"] == 0)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        patient.close()


def failed(name: str, facts: Mapping[str, Any]) -> str:
    """Why a container is waited for no longer, as Compose's `--wait` sees it; empty if it may still become healthy."""
    if facts["State"]["Status"] in ENDED:
        return f"{name} has ended (exit code {facts['State']['ExitCode']})"
    return f"{name} is unhealthy" if known(facts) == "unhealthy" else ""


def ready(engine: Engine, facts: Mapping[str, Any]) -> bool:
    """Whether a container runs, and is healthy if it has a check."""
    return facts["State"]["Status"] == "running" and health(engine, facts) in ("healthy", "none")
