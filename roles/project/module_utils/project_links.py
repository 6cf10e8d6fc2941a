"""Where links lead: which of them would lead out of a project folder, there where it is received. Pure, but for what the caller reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

#: The target of a link at a path from the folder; none if there is another thing or nothing. It is asked of no path through a link.
Reader = Callable[[str], "str | None"]

#: So many links on one way are a circle, which leads nowhere (path_resolution(7)).
_MOST = 40


def way(path: str, read: Reader) -> tuple[list[str], bool]:
    """The links that a path leads through, in their order, and whether the last of them leads out of the folder.

    What an absolute target names is outside, even if it is the folder's own: on the other side it is not.
    """
    rest, at, met = deque(path.split("/")), list[str](), list[str]()
    while rest:
        part = rest.popleft()
        if part in ("", "."):
            continue
        if part == "..":
            if not at:
                return met, True
            at.pop()
            continue
        target = read("/".join([*at, part]))
        if target is None:
            at.append(part)
            continue
        met.append("/".join([*at, part]))
        if target.startswith("/"):
            return met, True
        if len(met) == _MOST:
            return met, False
        rest.extendleft(reversed(target.split("/")))
    return met, False


def refused(arriving: Mapping[str, str], there: Reader, others: Mapping[str, str] = {}) -> dict[str, str]:
    """Of links that are about to arrive, path -> target, those that must not; each with the last link of the way out.

    `there` reads what is there already, also in what is not synced. The `others` are links of the receiver that lead nowhere outside now:
    what arrives must not change that.
    """
    good, found = dict(arriving), dict[str, str]()

    def read(path: str) -> str | None:
        return good[path] if path in good else there(path)

    while True:
        bad: dict[str, str] = {}
        for path in [*good, *(path for path in others if path not in good)]:
            met, out = way(path, read)
            if out:
                # One that was there is led out by what arrives.
                bad |= dict.fromkeys([path] if path in good else good.keys() & set(met), met[-1])
        if not bad:
            return found
        found |= bad
        good = {path: target for path, target in good.items() if path not in bad}
