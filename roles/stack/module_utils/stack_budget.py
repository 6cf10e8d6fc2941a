"""How the services of a machine share its memory, all in MiB: settings of each stack in, a limit for each service out.

The role's own variables compute the same for one stack (`__stack_budgets_mib`), and a unit test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figures:
    """What a service needs to work at all (`floors`), and its part of what is left (`weights`)."""

    floors: Mapping[str, int]
    weights: Mapping[str, int]


@dataclass(frozen=True)
class Stack:
    """How many containers each service has, and the memory that all of them may have at most; 0 is no limit."""

    containers: Mapping[str, int] = field(default_factory=dict)
    most: int = 0

    def floor(self, figures: Figures) -> int:
        """What it needs to work at all."""
        return sum(number * figures.floors[name] for name, number in self.containers.items())

    def budgets(self, share: int, figures: Figures) -> dict[str, int]:
        """The limit of a container of each service, where all of them have so much together."""
        spare = share - self.floor(figures)
        weight = sum(number * figures.weights[name] for name, number in self.containers.items())
        return {name: figures.floors[name] + spare * figures.weights[name] // weight for name in self.containers}

    def used(self, budgets: Mapping[str, int]) -> int:
        """What the limits come to together."""
        return sum(number * budgets[name] for name, number in self.containers.items())


def settings(text: str) -> dict[str, str]:
    """The lines of a .env."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


def stack(text: str, figures: Figures) -> Stack:
    """The stack of a .env."""
    found = settings(text)
    services = [name for name in figures.floors if f"{name.upper()}_MEMORY" in found]
    containers = {name: int(found.get(f"{name.upper()}_SCALE", 1)) for name in services}
    return Stack(containers, int(found.get("STACK_MOST_MEMORY", 0)))


def shares(stacks: Mapping[str, Stack], room: int, figures: Figures) -> dict[str, int]:
    """What each stack has, of so much room for all of them: its floor in any case, and an even part of the rest, up to its own limit."""
    floors = {name: each.floor(figures) for name, each in stacks.items()}
    spare = max(room - sum(floors.values()), 0)
    wants = {name: max(each.most - floors[name], 0) if each.most else spare for name, each in stacks.items()}
    found: dict[str, int] = {}
    # Who wants the least comes first, and leaves its part to the others; so does what its limits, whole numbers, leave over.
    for done, name in enumerate(sorted(stacks, key=lambda name: (wants[name], name))):
        found[name] = floors[name] + min(wants[name], spare // (len(stacks) - done))
        spare -= stacks[name].used(stacks[name].budgets(found[name], figures)) - floors[name]
    return found


#: More than any instance has, in MiB.
MOST = 2**25


def room_for(stacks: Mapping[str, Stack], name: str, service: str, wanted: int, figures: Figures) -> int | None:
    """The least room for all of them in which that service of that stack has so much; none where the stack's own limit forbids it."""

    def enough(room: int) -> bool:
        return stacks[name].budgets(shares(stacks, room, figures)[name], figures)[service] >= wanted

    least, most = sum(each.floor(figures) for each in stacks.values()), MOST
    if not enough(most):
        return None
    while least < most:
        middle = (least + most) // 2
        least, most = (least, middle) if enough(middle) else (middle + 1, most)
    return least


def lines(budgets: Mapping[str, int]) -> dict[str, str]:
    """What a .env says of these limits. The template env.j2 says the same."""
    found = {f"{name.upper()}_MEMORY": f"{mib}m" for name, mib in budgets.items()}
    if "redis" in budgets:
        found["REDIS_MAXMEMORY"] = f"{budgets['redis'] * 3 // 4}mb"
    if "mongo" in budgets:
        found["MONGO_CACHE"] = f"{max(budgets['mongo'] * 2 // 5, 64)}M"
    if "postgres" in budgets:
        found["POSTGRES_SHARED_BUFFERS"] = f"{budgets['postgres'] // 4}MB"
    return found


def rewritten(text: str, budgets: Mapping[str, int]) -> str:
    """A .env with these limits: every other line stays as it is."""
    said = lines(budgets)

    def line(each: str) -> str:
        name = each.partition("=")[0]
        return f"{name}={said[name]}" if name in said else each

    return "".join(f"{line(each)}\n" for each in text.splitlines())
