"""The secrets that this computer keeps: what is there stays, what is given replaces it, and only the owner gets to them."""

from __future__ import annotations

import os
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.modules import read

module: Any = read("roles", "stack", "library", "stack_secrets.py")
PLACES = {"redis": "secrets/redis_password", "monitor": "secrets_monitor/monitor_token"}


@pytest.fixture(params=[0o022, 0o077])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder that is not there yet, under two umasks."""
    before = os.umask(request.param)
    yield tmp_path / "machines" / "stack"
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_each_secret_is_its_own_and_lies_in_a_folder_of_its_owner(stack: Path) -> None:
    made, changed = module.keep(stack, PLACES, PLACES, {}, dry=False)
    assert (made, changed) == (sorted(PLACES.values()), True)
    texts = [(stack / place).read_text() for place in PLACES.values()]
    assert len(set(texts)) == 2
    assert all(len(text) == 32 and set(text) <= {*string.ascii_letters, *string.digits} for text in texts)
    assert [mode(stack / place) for place in PLACES.values()] == [0o444, 0o444]
    assert [mode(stack), mode(stack / "secrets"), mode(stack / "secrets_monitor")] == [0o755, 0o700, 0o700]
    assert [path.name for path in (stack / "secrets").iterdir()] == ["redis_password"]


def test_what_is_there_stays_until_another_one_is_given(stack: Path) -> None:
    module.keep(stack, PLACES, ["redis"], {"redis": "a given one of the user's"}, dry=False)
    path = stack / PLACES["redis"]
    assert module.keep(stack, PLACES, ["redis"], {}, dry=False) == ([], False)
    assert module.keep(stack, PLACES, ["redis"], {"redis": path.read_text()}, dry=False) == ([], False)
    assert module.keep(stack, PLACES, ["redis"], {"redis": "another one of the user's"}, dry=False) == ([PLACES["redis"]], True)
    assert path.read_text() == "another one of the user's"


def test_a_file_may_end_with_a_newline() -> None:
    assert module.wanted("the password\n", "the password") is None
    assert module.wanted("the password\n", "another") == "another"
    assert module.wanted("", None) is None


def test_a_dry_run_makes_nothing(stack: Path) -> None:
    assert module.keep(stack, PLACES, PLACES, {}, dry=True) == (sorted(PLACES.values()), True)
    assert not stack.exists()


def test_a_folder_that_another_role_has_made_gets_the_mode_that_the_host_has(stack: Path) -> None:
    stack.mkdir(parents=True, mode=0o700)
    assert module.keep(stack, PLACES, [], {}, dry=True) == ([], True)
    assert module.keep(stack, PLACES, [], {}, dry=False) == ([], True)
    assert [mode(stack), mode(stack / "secrets")] == [0o755, 0o700]
    assert module.keep(stack, PLACES, [], {}, dry=False) == ([], False)
