"""How a stack stands: it runs, was brought to rest, was stopped otherwise, or has no containers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Docker's words for a container that takes memory.
_RUNNING = ("running", "paused", "restarting", "removing")
#: It was asked to end, or made to: by a signal.
_STOPPED = (0, 137, 143)


def of(services: Mapping[str, Mapping[str, Any]], at_rest: bool) -> str:
    """`running` if any of it runs, else `at rest`, `stopped`, or `none` without a container.

    A service that was started by hand since the rest ends it.
    """
    if any(facts["state"] in _RUNNING for facts in services.values()):
        return "running"
    return "at rest" if at_rest else "stopped" if services else "none"


def health(facts: Mapping[str, Any]) -> Any:
    """The health of a service. Docker keeps its last word of one that runs no more, which says nothing of now."""
    return facts.get("health") if facts["state"] in ("running", "paused") else "none"


def exit_code(facts: Mapping[str, Any]) -> Any:
    """With what a service ended that has ended."""
    return facts.get("exit_code") if facts["state"] in ("exited", "dead") else None


def word(facts: Mapping[str, Any], stack: str) -> str:
    """State and health of a service, in the width of two columns."""
    if stack == "at rest":
        return f"{stack:<18}"
    ended = f"{facts['state']} ({facts['exit_code']})" if facts.get("exit_code") is not None else None
    return f"{ended:<18}" if ended else f"{facts['state']:<8} {facts['health']:<9}"


def lines(document: Mapping[str, Any], start: str, logs: str) -> list[str]:
    """What does not run of the stack that was asked for, and what brings it up: `start`, the whole line. `logs` shows what it said."""
    services, stack = document["services"], document["stack_state"]
    if stack == "at rest":
        return [f"At rest   it keeps its data, and its memory is free. Bring it up with: {start}"]
    if stack == "none":
        return [f"Services  none are here. Start them with: {start}"]
    ended = {name: facts for name, facts in services.items() if facts["state"] in ("exited", "dead", "created")}
    if not ended:
        return []
    failed = [name for name, facts in ended.items() if (facts.get("exit_code") or 0) not in _STOPPED]
    why = [f"          What {_and(failed)} said last: {logs}"] if failed else []
    return [f"Stopped   {', '.join(ended)}. Start with: {start}", *why]


def serves(document: Mapping[str, Any]) -> bool:
    """Whether its Jupyter runs."""
    return bool(document["services"].get("jupyter", {}).get("state") == "running")


def closed(document: Mapping[str, Any], name: str, start: str, logs: str) -> str:
    """Why there is no way to the Jupyter of this stack, which does not run, and what brings it up: `start`, the whole line."""
    if document["stack_state"] == "at rest":
        return f"{name} is at rest: it keeps its data, and its memory is free. Bring it up with: {start}"
    facts = document["services"].get("jupyter")
    if not facts:
        return f"{name} has no Jupyter here. Start it with: {start}"
    # It may start again and again.
    failed = facts["state"] == "restarting" or (facts.get("exit_code") or 0) not in _STOPPED
    why = f"; this shows why: {logs} jupyter" if failed else "."
    return f"Jupyter of {name} is {facts['state']}{why}\nStart it with: {start}"


def beside(name: str, found: Mapping[str, Any]) -> str:
    """Another stack of the machine."""
    if found["running"]:
        return f"Beside    {name}: runs, with up to {found['memory_limit_mib']} MiB"
    # Its folder on this computer is not known here.
    starts = "up" if name == "slipway" else "deploy"
    return f"Beside    {name}: {'at rest' if found['at_rest'] else 'stopped'}; `{starts}` brings it up"


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
