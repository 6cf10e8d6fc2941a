"""Which host counts as one that nothing was deployed to: it may change its type without a look at services."""

from __future__ import annotations

from typing import Any

import pytest

from tests.modules import load, read

load("stack_engine")
look: Any = read("roles", "stack", "library", "stack_look.py")


@pytest.mark.parametrize(
    ("deployed", "has_engine", "containers", "wanted"),
    [
        (False, False, None, True),
        # Of a baked image.
        (False, True, 0, True),
        (False, True, 1, False),
        # What it has is not known.
        (False, True, None, False),
        (True, False, None, False),
        (True, True, 0, False),
        (True, True, 4, False),
    ],
)
def test_a_host_without_folder_and_container_is_bare(deployed: bool, has_engine: bool, containers: int | None, wanted: bool) -> None:
    assert look.bare(deployed, has_engine, containers) is wanted
