"""What a push or a pull has to do: the files here, those on the machine, and those of the last sync, by path and fingerprint."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Files = Mapping[str, str]
Direction = Literal["push", "pull"]

#: What is there and cannot be read, as in project_tree.
UNKNOWN = "?"
_SAMPLE = 5
#: More than so many files, or bytes, take a while.
_MANY, _LARGE = 5000, 100 * 10**6


@dataclass(frozen=True)
class Conflict:
    """A file that nobody but its owner can decide on. `kind` is a key of _ADVICE."""

    path: str
    kind: str


@dataclass(frozen=True)
class Plan:
    """What is to be done, and what is left as it is, by path. `here` is the user's computer, `there` the machine.

    Nothing is sent or removed while there are conflicts. `base` is what the last sync is afterwards.
    """

    direction: Direction
    send: tuple[str, ...] = ()
    fetch: tuple[str, ...] = ()
    remove_here: tuple[str, ...] = ()
    remove_there: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    #: New on one side, and not to be moved in this direction.
    only_here: tuple[str, ...] = ()
    only_there: tuple[str, ...] = ()
    #: Removed on one side since the last sync, unchanged on the other.
    gone_here: tuple[str, ...] = ()
    gone_there: tuple[str, ...] = ()
    #: Changed since the last sync on the side that this direction does not read from.
    changed_here: tuple[str, ...] = ()
    changed_there: tuple[str, ...] = ()
    #: What stays here by the project's rules, and was synced before, or is on the machine too.
    ignored: tuple[str, ...] = ()
    base: Files | None = None

    @property
    def moved(self) -> tuple[str, ...]:
        return self.send or self.fetch

    @property
    def removed(self) -> tuple[str, ...]:
        return self.remove_here or self.remove_there

    def left(self) -> dict[str, list[str]]:
        """What is left as it is, by reason."""
        names = ("only_here", "only_there", "gone_here", "gone_there", "changed_here", "changed_there", "ignored")
        return {name: list(paths) for name in names if (paths := getattr(self, name))}


def compare(
    direction: Direction,
    here: Files,
    there: Files,
    base: Files,
    overwrite: bool = False,
    delete: bool = False,
    ignored: Container[str] = frozenset(),
) -> Plan:
    """Plan a push or a pull.

    `overwrite` lets this direction win where both sides have changed a file, and moves again what the other side removed; `delete` removes
    what was removed on the side that this direction reads from. Without a base, files that differ are conflicts. What is `ignored` is never
    sent and never removed; it is fetched as everything else is.
    """
    source, target = (here, there) if direction == "push" else (there, here)
    found: dict[str, list[str]] = {}
    for path in sorted({*here, *there, *base}):
        sides = source.get(path), target.get(path), base.get(path)
        action = _action(*sides, overwrite, delete)
        if path in ignored:
            action = _of_ignored(action, direction, *sides)
        found.setdefault(action, []).append(path)
    move, blocked = _way(found.get("move", []), set(target) - set(found.get("remove", [])))
    conflicts = [Conflict(path, _sided(kind, direction)) for kind in _CONFLICTS for path in found.get(kind, [])]
    conflicts += [Conflict(path, "file_and_folder") for path in blocked]
    known = {path: base[path] for path in [*_left(found), *(each.path for each in conflicts)] if path in base}
    known |= {path: source[path] for path in [*found.get("same", []), *move] if path in source}
    left = {_sided(kind, direction): tuple(found.get(kind, [])) for kind in _SIDES}
    done = {"send" if direction == "push" else "fetch": tuple(move), _sided("remove_target", direction): tuple(found.get("remove", []))}
    return Plan(direction, conflicts=tuple(sorted(conflicts, key=lambda each: each.path)), base=known, **left, **done)


def settled(base: Files, pending: Files, target: Files) -> dict[str, str]:
    """The last sync, where one was interrupted after it: what it has brought to its target, `pending` then, is known there."""
    known = dict(base)
    for path in {*base, *pending}:
        if target.get(path) == pending.get(path):
            known.pop(path, None)
            known |= {path: pending[path]} if path in pending else {}
    return known


def told(plan: Plan, left_out: Mapping[str, str]) -> list[str]:
    """A sentence for each reason why something is left as it is, with what to type."""
    left = plan.left()
    lines = [f"{count(paths)} {_LEFT[plan.direction, name]}: {sample(paths)}." for name, paths in left.items() if name != "ignored"]
    if kept := left.get("ignored"):
        # A folder of packages, perhaps, of which five files say little.
        places = kept if len(kept) <= _SAMPLE else largest(dict.fromkeys(kept, 1))
        lines.append(f"{count(kept)} {_LEFT[plan.direction, 'ignored']}: {sample(places)}.")
    return [*lines, *(f"{path} {reason}: not synced." for path, reason in sorted(left_out.items()))]


def refusal(plan: Plan) -> str:
    """Why nothing was done, and what helps."""
    done = "sent" if plan.direction == "push" else "fetched"
    lines = [f"Nothing was {done}: what is here and what is on the machine contradict each other."]
    for kind, (what, advice) in _ADVICE.items():
        if paths := [each.path for each in plan.conflicts if each.kind == kind]:
            lines += [f"{count(paths)} {what}:", *(f"  {path}" for path in paths[:20])]
            lines += [f"  and {len(paths) - 20} more"] if len(paths) > 20 else []
            lines.append(f"  {advice}")
    return "\n".join(lines)


def count(paths: Sequence[str]) -> str:
    """Their number, in words."""
    return f"{len(paths):,} file{'' if len(paths) == 1 else 's'}"


def size(number: int) -> str:
    """Bytes, in the largest unit that they fill."""
    for unit, power in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= power:
            return f"{number / power:.3g} {unit}" if number < 100 * power else f"{number / power:,.0f} {unit}"
    return f"{number} bytes"


def amount(sizes: Mapping[str, int]) -> str:
    """How many files, and how much they are: `sizes` by path."""
    return f"{count(tuple(sizes))}, {size(sum(sizes.values()))}"


def largest(sizes: Mapping[str, int], beside: Iterable[str] = ()) -> list[str]:
    """The files by the folders that they lie in, the largest first; a folder as a whole where it has nothing of `beside`."""
    shared = {"", *(above for path in beside for above in _above(path))}
    parts: dict[str, int] = {}
    for path, each in sizes.items():
        folders = [f"{above}/" for above in reversed([*_above(path)]) if above not in shared]
        part = folders[0] if folders else path
        parts[part] = parts.get(part, 0) + each
    return sorted(parts, key=lambda part: (-parts[part], part))


def kept_line(sizes: Mapping[str, int], beside: Iterable[str], rules: str) -> str:
    """What of the user's files a push leaves at home."""
    instead = "" if rules == ".slipwayignore" else " A file .slipwayignore in the project would decide instead of git."
    return f"{amount(sizes)}, stay here by the rules of {rules}: {sample(largest(sizes, beside))}.{instead}"


def is_large(sizes: Mapping[str, int]) -> bool:
    """Whether that is said before it is sent."""
    return len(sizes) > _MANY or sum(sizes.values()) > _LARGE


def large_line(sizes: Mapping[str, int]) -> str:
    """What a push is about to send, where that is much."""
    folders = sample(largest(sizes))
    return f"{amount(sizes)}, are sent to the machine now: {folders}. What .gitignore or .slipwayignore names would stay here."


def wait_line(sizes: Mapping[str, int], most: int) -> str:
    """Why a pull has fetched nothing: it is more than what may come without a question."""
    folders = sample(largest(sizes))
    return f"{amount(sizes)}, wait on the machine, and nothing was fetched: that is more than {size(most)}. The largest: {folders}."


def sample(paths: Sequence[str]) -> str:
    """The first of them."""
    more = f" and {len(paths) - _SAMPLE} more" if len(paths) > _SAMPLE else ""
    return ", ".join(paths[:_SAMPLE]) + more


_SIDES = ("only_target", "gone_source", "gone_target", "changed_target", "ignored")
_CONFLICTS = ("ignored_differs", "both_changed", "gone_source_changed_target", "gone_target_changed_source")
_BOTH = "To have both, copy yours to another name first, then pull --overwrite."
_ADVICE = {
    "both_changed": (
        "changed here and on the machine, differently, since the last sync (or never synced before)",
        f"push --overwrite keeps what is here, pull --overwrite what is on the machine. {_BOTH}",
    ),
    "gone_here_changed_there": (
        "removed here, and changed on the machine since the last sync",
        "pull --overwrite fetches what is on the machine, push --overwrite --delete removes it there.",
    ),
    "gone_there_changed_here": (
        "removed on the machine, and changed here since the last sync",
        "push --overwrite sends what is here again, pull --overwrite --delete removes it here.",
    ),
    "ignored_differs": (
        "ignored here, and changed on the machine and here, differently, since the last sync (or never synced before)",
        "pull --overwrite fetches what is on the machine. To have both, copy yours to another name first.",
    ),
    "file_and_folder": (
        "in the way of a folder of the same name, or in a folder that is a file on the other side",
        "Rename one of the two. Of what was removed on one side since the last sync, --delete removes the other.",
    ),
}
_LEFT: dict[tuple[str, str], str] = {
    ("push", "only_there"): "on the machine only (pull fetches them)",
    ("push", "gone_here"): "removed here, left on the machine (push --delete removes them there)",
    ("push", "gone_there"): "removed on the machine, left here (push --overwrite sends them again, pull --delete removes them here)",
    ("push", "ignored"): "kept here by the rules, and on the machine too or synced before: left as they are on both sides",
    ("push", "changed_there"): "changed on the machine only, left as they are there (pull fetches them)",
    ("pull", "ignored"): "kept here by the rules, and removed on the machine since the last sync: left here",
    ("pull", "only_here"): "here only (push sends them)",
    ("pull", "gone_there"): "removed on the machine, left here (pull --delete removes them here)",
    ("pull", "gone_here"): "removed here, left on the machine (pull --overwrite fetches them again, push --delete removes them there)",
    ("pull", "changed_here"): "changed here only, left as they are here (push sends them)",
}


def _action(source: str | None, target: str | None, base: str | None, overwrite: bool, delete: bool) -> str:
    """What becomes of one file: move, remove, same, or why it is left."""
    state = _state(source, target, base)
    if overwrite:
        # The direction wins, but removes only where that is asked for too.
        state = {"both_changed": "move", "gone_target": "move", "gone_target_changed_source": "move"}.get(state, state)
        state = "gone_source" if state == "gone_source_changed_target" else state
    return "remove" if state == "gone_source" and delete else state


def _state(source: str | None, target: str | None, base: str | None) -> str:
    if source == UNKNOWN or (target == UNKNOWN and source is None):
        return "left_out"
    if source == target:
        return "same"
    if target is None:
        return "move" if base is None else "gone_target" if source == base else "gone_target_changed_source"
    if source is None:
        return "only_target" if base is None else "gone_source" if target == base else "gone_source_changed_target"
    if target == base:
        return "move"
    return "changed_target" if source == base else "both_changed"


def _of_ignored(action: str, direction: Direction, source: str | None, target: str | None, base: str | None) -> str:
    """What becomes of a file that the rules keep here, by what would become of any other."""
    if direction == "pull" and source is not None:
        return "ignored_differs" if action in _CONFLICTS else action
    if source is None and (target is None or (direction == "push" and base is None)):
        return action
    return "ignored" if base is not None or (direction == "push" and target is not None) else "left_out"


def _way(paths: Sequence[str], stays: set[str]) -> tuple[list[str], list[str]]:
    """The paths that can be moved, and those that a file or a folder of what stays is in the way of."""
    folders = {above for path in stays for above in _above(path)}
    blocked = [path for path in paths if path in folders or any(above in stays for above in _above(path))]
    return [path for path in paths if path not in set(blocked)], blocked


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _left(found: Mapping[str, Sequence[str]]) -> list[str]:
    return [path for kind in (*_SIDES, "left_out") for path in found.get(kind, [])]


def _sided(kind: str, direction: Direction) -> str:
    source, target = ("here", "there") if direction == "push" else ("there", "here")
    return kind.replace("source", source).replace("target", target)
