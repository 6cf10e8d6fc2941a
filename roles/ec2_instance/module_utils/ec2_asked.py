"""What a command asks for against what EC2 has: the instance's id, the type, the region, and this computer's clock. Decisions only."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime

#: How EC2 refuses a signature that is too old or from the future.
SKEWED = ("RequestExpired", "RequestTimeTooSkewed", "SignatureDoesNotMatch", "AuthFailure")
#: By so much AWS lets a request's time differ from its own; below that the clock is not the reason.
SKEW_SECONDS = 300


def id_trouble(wanted: str) -> str:
    """Why this cannot be an instance's id; empty if it can, or if no instance is named."""
    if not wanted or re.fullmatch(r"i-[0-9a-f]{8}([0-9a-f]{9})?", wanted):
        return ""
    return f"ec2_instance_destroy_instance: {wanted!r} is no instance's id. Allowed: i-0a1b2c3d4e5f60718, for one."


def nearest_types(wanted: str, offered: Sequence[str]) -> str:
    """What a type may be that the region does not offer: those that look like it."""
    same = [name for name in offered if name == wanted.strip().lower()]
    near = same or difflib.get_close_matches(wanted.lower(), offered, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(near)}?" if near else f"Allowed: the {len(offered)} types of this region, t2.micro for one."


def fitting(sizes: Iterable[tuple[int, str]], least_mib: int) -> str | None:
    """Of types by their memory in MiB the smallest that has so much; None if all have less."""
    return min((size for size in sizes if size[0] >= least_mib), default=(0, None))[1]


def region_has_form(region: str | None) -> bool:
    """Whether the SDK can make a host's name of it."""
    return bool(re.fullmatch(r"[a-z]{2,4}(-[a-z]+)+-\d+", region or ""))


def region_trouble(region: str | None, given: str, known: Sequence[str]) -> str:
    """Why EC2 has no such region, with those that look like the one that was `given`; empty if it is one of the `known`."""
    if region in known:
        return ""
    near = difflib.get_close_matches(given, known, n=3) or ["eu-central-1", "us-east-1"]
    return f"slipway_region: {given!r} is not a region of EC2. Did you mean {' or '.join(near)}?"


def skew(code: str, date: str, now: datetime) -> str:
    """By how much this computer's clock is wrong, if EC2 refuses a request for that; else empty.

    `code` is EC2's error code, `date` the header of its answer, `now` this computer's time.
    """
    if code not in SKEWED:
        return ""
    seconds = round((now - parsedate_to_datetime(date)).total_seconds())
    if abs(seconds) < SKEW_SECONDS:
        return ""
    return f": this computer's clock is {abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} EC2's; set it right first"
