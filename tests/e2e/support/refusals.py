"""What tests of bad input share: the parameters of their tables, and which calls change something in EC2."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def table(rows: Iterable[tuple[Any, ...]], ids: Iterable[str]) -> list[Any]:
    """The parameters of a table's rows, whose last is what is said. Of those that name one field, only the first is not long."""
    seen: set[str] = set()
    made = []
    for row, name in zip(rows, ids, strict=True):
        made.append(pytest.param(*row, id=name, marks=[pytest.mark.long] * (row[-1][0] in seen)))
        seen.add(row[-1][0])
    return made


def changes(requests: list[dict[str, Any]]) -> list[str]:
    """The calls that change something in EC2, of a part of the lab's log of requests."""
    asked = [line for line in requests if line["params"].get("DryRun") != "true"]
    return [line["action"] for line in asked if not line["action"].startswith(("Describe", "Get"))]
