"""What a project's Dockerfile must have, and whether it adds anything to the image."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible.module_utils.project_text import shown

ALLOWED = "a Dockerfile that begins with ARG BASE and has FROM ${BASE}"
_ARG = re.compile(r"(?i:arg)\s+BASE(=\S*)?")
_FROM = re.compile(r"(?i:from)\s+(--platform=\S+\s+)?(\$\{BASE\}|\$BASE)(\s+(?i:as)\s+\S+)?")


def instructions(text: str) -> Iterator[str]:
    """A Dockerfile's instructions, a line each, without comments."""
    pending = ""
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pending += line.strip()
        if pending.endswith("\\"):
            pending = pending[:-1].rstrip() + " "
            continue
        yield pending
        pending = ""
    if pending:
        yield pending.rstrip()


def adds_nothing(dockerfile: str) -> bool:
    """Whether a Dockerfile leaves the base image as it is."""
    return all(_ARG.fullmatch(line) or _FROM.fullmatch(line) for line in instructions(dockerfile))


def unfit(dockerfile: str) -> str:
    """What is wrong with it; empty if it can be used."""
    lines = list(instructions(dockerfile))
    if not lines or not _ARG.fullmatch(lines[0]):
        return f"it begins with {shown(lines[0] if lines else '')}"
    if any(_FROM.fullmatch(line) for line in lines):
        return ""
    first = next((line for line in lines if line.upper().startswith("FROM")), "")
    return f"{shown(first) if first else 'no FROM'} cannot be used"
