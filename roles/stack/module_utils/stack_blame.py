"""Which services a start failed for, and how that is said: pure, of what stack_look has seen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

#: How PostgreSQL ends over a volume that the project's files left half-made (files/compose/postgres): EX_CONFIG of sysexits.h.
HALF_MADE = 78
_ENDED = ("exited", "restarting", "dead")
_LINE = 300


@dataclass(frozen=True)
class Blame:
    """Names of the services that failed; and of those that were still starting when the first of them did."""

    failed: tuple[str, ...]
    starting: tuple[str, ...]


def blame(services: Mapping[str, Mapping[str, Any]], asked: Sequence[str]) -> Blame:
    """Say of the asked services who failed. Those that still start are to blame only if none has failed."""
    ours = {name: facts for name, facts in sorted(services.items()) if re.sub(r"-[0-9]+$", "", name) in asked}
    unhealthy = {name: facts for name, facts in ours.items() if facts["health"] != "healthy"}
    failed = [name for name, facts in unhealthy.items() if has_failed(facts)]
    if not failed:
        return Blame(tuple(unhealthy), ())
    return Blame(tuple(failed), tuple(name for name in unhealthy if name not in failed))


def has_failed(facts: Mapping[str, Any]) -> bool:
    """Whether a service, as stack_look has seen it, does more than start slowly."""
    return bool(facts["state"] in _ENDED or facts["health"] == "unhealthy" or facts["restarts"] or facts["out_of_memory"])


def half_made(services: Mapping[str, Mapping[str, Any]], logs: Mapping[str, Sequence[str]]) -> bool:
    """Whether PostgreSQL failed for the project's own files: by its exit code, or by its words while it starts once more."""
    return any(
        name == "postgres" and (services[name]["exit_code"] == HALF_MADE or any("orchestrate.py reseed" in line for line in lines))
        for name, lines in logs.items()
    )


def once(lines: Sequence[str]) -> list[str]:
    """The lines without those that a container says again at each of its starts."""
    # Two equal lines in a row may be what it has to say.
    for count in range(2, len(lines) // 2 + 1):
        if lines[-count:] == lines[-2 * count : -count]:
            return list(lines[-count:])
    return list(lines)


def told(
    found: Blame,
    services: Mapping[str, Mapping[str, Any]],
    logs: Mapping[str, Sequence[str]],
    seconds: float,
    reason: str,
    more: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> str:
    """All of it for people: who failed, after how long, the last lines of each, and what `more` there is to say of it."""
    lines = [f"Not healthy after {seconds:.0f} s: {', '.join(found.failed)}. The other services stay up."]
    if found.starting:
        lines.append(f"Still starting then: {', '.join(found.starting)}.")
    for name in found.failed:
        facts = services[name]
        state = "out of memory" if facts["out_of_memory"] else facts["state"]
        restarts = f", after {facts['restarts']} restarts" if facts["restarts"] else ""
        lines.append(
            f"{name} is {state}{restarts}: health {facts['health']}, exit code {facts['exit_code']}, "
            f"limit {facts['memory_limit_mib']} MiB. Its last lines:"
        )
        lines += [f"  {_cut(line, _LINE)}" for line in logs[name]]
        lines += more.get(name, [])
    lines.append(f"Compose: {_cut(reason, 600)}")
    return "\n".join(lines)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
