"""Which port of the controller's loopback a tunnel takes: pure, but for the questions that the caller answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence

PORTS_TRIED = 100
#: Below it a port is the system's: ip(7).
LOWEST, HIGHEST = 1024, 65535
_OTHER = "Choose another one: open --local-port N. Nothing was changed."


def candidates(remembered: int | None, first: int, promised: Collection[int]) -> list[int]:
    """The ports to try, in order: the one that the tunnel had, or the first one, and those after it that no other tunnel comes back to."""
    starts = [remembered, first] if remembered else [first]
    windows = [range(start, min(start + PORTS_TRIED, HIGHEST + 1)) for start in starts]
    wanted = dict.fromkeys(port for window in windows for port in window)
    return [port for port in wanted if port == remembered or port not in promised]


def refusal(wanted: int, promised: Collection[int], free: bool) -> tuple[str, int] | None:
    """Why a port that the user chose cannot be used, and the exit code; none if it can be."""
    if not LOWEST <= wanted <= HIGHEST:
        return f"tunnel_wanted_port: {wanted} cannot be used. Allowed: {LOWEST} to {HIGHEST}. {_OTHER}", 2
    if wanted in promised:
        return f"Port {wanted} of this computer belongs to another tunnel of Slipway. {_OTHER}", 3
    if not free:
        return f"Port {wanted} of this computer is taken by another program. {_OTHER}", 3
    return None


def told(taken: Sequence[int], url: str, page: str) -> str:
    """What is said if other programs have taken ports that would have come first; empty if none has."""
    if not taken:
        return ""
    more = f" (and {len(taken) - 1} after it)" if taken[1:] else ""
    choose = " To choose a port: open --local-port N" if page.endswith("Jupyter") else ""
    return f"Port {taken[0]} of this computer{more} is taken by another program. {page} is now at {url}, and stays there.{choose}"
