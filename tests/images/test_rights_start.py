"""A PostgreSQL that does not start, because slipway could rule it or because it cannot tell, says why."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.images.boxes import Box
from tests.images.rights import (
    DATA,
    READY,
    RIGHTS,
    ROLES,
    SUPERUSER,
    asked,
    before,
    servers,
    slipway,
)

#: One worker runs all tests of these rights, one container after the other.
pytestmark = pytest.mark.xdist_group("tests/images/test_rights.py")


@pytest.fixture
def server(start: Callable[..., Box], client: Any) -> Iterator[Callable[..., Box]]:
    with servers(start, client) as run:
        yield run


def test_a_server_that_was_killed_just_now_is_not_taken_for_the_next(server: Callable[..., Box]) -> None:
    box = server()
    for _ in range(6):
        # The number of the process is the same each time, and both begin within two seconds.
        box.container.kill()
        began = len(box.logs())
        box.container.start()
        deadline = time.monotonic() + 30
        while "ready to accept connections" not in box.logs()[began:]:
            assert time.monotonic() < deadline, box.logs()[began:]
            time.sleep(0.02)
    box.container.kill()
    box.container.start()
    box.wait(*READY)
    # The server of each start was asked who its superuser is, and answered.
    assert "becomes slipway_superuser" not in box.logs()


def test_a_server_that_slipway_could_rule_does_not_start(server: Callable[..., Box]) -> None:
    """Each time one line says why, and the way in that it names mends it."""
    before(
        server,
        "CREATE ROLE slipway_superuser",
        "CREATE ROLE slipway_reader PASSWORD 'theirs'",
        "CREATE FUNCTION rules() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "BEGIN; ALTER FUNCTION rules() COST 7; PREPARE TRANSACTION 'it'",
    )
    for said, mended in (
        (
            'cannot become slipway_superuser: FATAL: role "slipway_superuser" already exists',
            "ALTER ROLE slipway_superuser RENAME TO theirs",
        ),
        ("slipway_reader is a role of the user's", "ALTER ROLE slipway_reader RENAME TO reads"),
        ("ROUTINE public.rules() would act as the superuser for slipway: ERROR: canceling", "ROLLBACK PREPARED 'it'"),
    ):
        new = server(wait=False)
        assert new.exit_code() == 77, new.logs()
        *_, why, way = new.logs().splitlines()
        assert said in why and "run --rm postgres single" in way, new.logs()
        assert server(wait=False, sql=mended).exit_code() == 0
    new = server()
    assert "not properly shut down" not in new.logs()
    assert asked(new, ROLES).splitlines() == ["reads|f|f|f", *RIGHTS[2:], "theirs|f|f|t"]
    assert slipway(new, "SELECT rules()") == (0, "1")


def test_why_it_does_not_start_is_told_also_if_its_server_has_died(server: Callable[..., Box]) -> None:
    before(
        server,
        "CREATE FUNCTION rules() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "BEGIN; ALTER FUNCTION rules() COST 7; PREPARE TRANSACTION 'it'",
    )
    new = server(wait=False)
    waits = "SELECT 1 / count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    new.wait(*SUPERUSER, "postgres", "-h", "/tmp/slipway_socket", "-c", waits)  # noqa: S108 (of the container)
    new.out("sh", "-c", f"kill -9 $(head -n 1 {DATA}/postmaster.pid)")
    assert new.exit_code() == 77, new.logs()
    *_, died, why, way = new.logs().splitlines()
    assert "has ended by itself" in died and "in the database slipway slipway would have" in why and "postgres single" in way, new.logs()
