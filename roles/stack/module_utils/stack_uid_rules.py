"""Which user ids a stack's stores run as: a block of a host's ids for each stack, that no other stack ever gets. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

#: The ids that systemd's table calls unused (https://systemd.io/UIDS-GIDS/), and that Docker takes (below 2^31): those of users, of their
#: subordinate ids, and of other engines' containers lie below.
FIRST, SIZE, LAST = 1_900_000_000, 16, 2_100_000_000
#: A store's place in its stack's block.
PLACES: Mapping[str, int] = {"redis": 1, "mongo": 2, "postgres": 3}
#: A store's volumes, by their keys in the Compose files.
VOLUMES: Mapping[str, tuple[str, ...]] = {"redis": ("redis_data",), "mongo": ("mongo_data", "mongo_config"), "postgres": ("postgres_data",)}
_NAME = "[a-z0-9][a-z0-9_-]*"
_LINE = re.compile(f"({_NAME}) ([0-9]{{1,10}})")


class RecordError(ValueError):
    """The host's record cannot be read; the text says why."""


def read(text: str) -> dict[str, int]:
    """The first id of each stack's block, by its name. Raises RecordError: what is unknown is not given away."""
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if not match or match[1] in found or block(int(match[2])) != int(match[2]) or int(match[2]) in found.values():
            raise RecordError(f"line {number} is {line[:80]!a}; a line is a stack's name and the first of its {SIZE} ids, both once")
        found[match[1]] = int(match[2])
    return found


def written(blocks: Mapping[str, int]) -> str:
    """The record as it lies on the host."""
    lines = [f"{name} {first}" for name, first in sorted(blocks.items(), key=lambda each: each[1])]
    return "\n".join([f"# Slipway: the first of {SIZE} user ids that the stores of a stack run as. No line is ever removed.", *lines, ""])


def block(uid: int) -> int | None:
    """The first id of the block that an id is in; none if it is in no block."""
    return uid - (uid - FIRST) % SIZE if FIRST <= uid < LAST else None


def uids(first: int) -> dict[str, int]:
    """The id of each store."""
    return {store: first + place for store, place in PLACES.items()}


def found_again(blocks: Mapping[str, int], owners: Mapping[str, Collection[int]]) -> dict[str, int]:
    """The first ids of stacks of which the record says nothing, because it was lost: of each the one block that its volumes belong to.

    What the record, or another stack's volume, has too is left out.
    """
    held = {stack: {first for uid in ids if (first := block(uid)) is not None} for stack, ids in owners.items()}
    everyone = [*blocks.values(), *(first for firsts in held.values() for first in firsts)]
    alone = {stack: min(firsts) for stack, firsts in held.items() if len(firsts) == 1 and everyone.count(min(firsts)) == 1}
    return {stack: first for stack, first in sorted(alone.items()) if stack not in blocks and re.fullmatch(_NAME, stack)}


def allotted(name: str, blocks: Mapping[str, int], owners: Mapping[str, Collection[int]]) -> int:
    """The first id of a stack's block: the one that it has, or a new one.

    `blocks` is the record; `owners` are the ids that own volumes, by stack: also of stacks that were removed, or of which the record
    says nothing because it was lost. Raises RecordError if all are taken.
    """
    held = {stack: {first for uid in ids if (first := block(uid)) is not None} for stack, ids in owners.items()}
    taken = {first for stack, first in blocks.items() if stack != name}
    taken |= {first for stack, firsts in held.items() if stack != name for first in firsts}
    for mine in (*([blocks[name]] if name in blocks else []), *sorted(held.get(name, ()))):
        if mine not in taken:
            return mine
    # Never one in between: its stack may have left files of which nothing is known.
    first = max(taken, default=FIRST - SIZE) + SIZE
    if first + SIZE > LAST:
        raise RecordError(f"all ids from {FIRST} to {LAST} are taken")
    return first
