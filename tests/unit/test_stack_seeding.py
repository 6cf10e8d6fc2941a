"""Whether PostgreSQL's first start is waited for: as long as it works, and no longer than it may take."""

from __future__ import annotations

from typing import Any

import pytest

from tests.modules import load, read

rules = load("stack_seeding")
LIMITS = rules.Limits(whole=3600, idle=300)
RUNS = "The first start runs docker/postgres/20.sql; the volume has 40 MiB so far."


def facts(health: str, state: str = "running", **more: Any) -> dict[str, Any]:
    return {"health": health, "state": state, "restarts": 0, "out_of_memory": False} | more


def seen(seconds: float = 310, idle: float = 0, said: str = RUNS) -> Any:
    return rules.Seen(began=1000, at=1000 + seconds, cpu=5, said=said, moved=1000 + seconds - idle)


STARTS = {"jupyter": facts("healthy"), "postgres": facts("starting")}


@pytest.mark.parametrize(
    ("services", "look", "first", "state"),
    [
        (STARTS, seen(), True, "seeding"),
        (STARTS, seen(idle=299), False, "seeding"),
        # A lock, or `pg_sleep`.
        (STARTS, seen(idle=301), False, "idle"),
        (STARTS, seen(seconds=3601), False, "late"),
        # A server that has served before, and starts slowly, or hangs.
        (STARTS, seen(said=""), True, "none"),
        # The files have just been run: the next health check has still to see it.
        (STARTS, seen(said=""), False, "seeding"),
        (STARTS, seen(said="", idle=301), False, "idle"),
        ({"jupyter": facts("healthy"), "postgres": facts("healthy")}, seen(said=""), False, "done"),
        # A file has failed, or another service meanwhile.
        ({"jupyter": facts("healthy"), "postgres": facts("starting", "restarting")}, seen(), False, "failed"),
        ({"jupyter": facts("unhealthy"), "postgres": facts("starting")}, seen(), True, "failed"),
        ({"jupyter": facts("healthy"), "worker-2": facts("starting", restarts=1), "postgres": facts("starting")}, seen(), True, "failed"),
        # The others have to become healthy too.
        ({"jupyter": facts("starting"), "postgres": facts("starting")}, seen(), True, "seeding"),
    ],
)
def test_a_first_start_is_waited_for_as_long_as_it_works(services: dict[str, Any], look: Any, first: bool, state: str) -> None:
    assert rules.state(services, ["jupyter", "postgres", "worker"], look, LIMITS, first) == state


@pytest.mark.parametrize(
    ("cpu", "said", "moved"),
    [
        (5.0, RUNS, False),
        # Its health check.
        (5.1, RUNS, False),
        (5.2, RUNS, True),
        (5.0, RUNS.replace("40", "41"), True),
        (5.0, RUNS.replace("20.sql", "30.sql"), True),
        (5.0, "", True),
    ],
)
def test_processor_time_or_new_lines_count_as_work(cpu: float, said: str, moved: bool) -> None:
    after = seen().after(at=1320, cpu=cpu, said=said)
    assert (after.moved == 1320) is moved
    assert (after.began, after.at, after.cpu, after.said) == (1000, 1320, cpu, said)


def test_the_file_is_named_and_how_long_it_will_be_waited_for() -> None:
    said = rules.told("seeding", seen(), LIMITS)
    assert said == f"PostgreSQL is not ready after 310 s. {RUNS} Waiting as long as it works, for 3600 s in all."
    assert rules.told("idle", seen(), LIMITS) == f"PostgreSQL has done nothing for 300 s (stack_seed_idle_seconds). {RUNS}"
    assert rules.told("late", seen(), LIMITS).startswith(
        f"PostgreSQL is not ready after 3600 s (stack_seed_seconds). {RUNS} It goes on there"
    )
    assert rules.told("failed", seen(), LIMITS) == rules.told("none", seen(), LIMITS) == ""


@pytest.mark.parametrize(
    ("healths", "state"), [(["starting", "starting", "healthy"], "done"), (["starting"] * 9, "none"), (["unhealthy"], "failed")]
)
def test_the_next_health_check_of_a_start_that_has_just_ended_is_waited_for(
    healths: list[str], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = read("roles", "stack", "library", "stack_seeding.py")
    clock = [1000.0]
    left = iter(healths)
    monkeypatch.setattr(module, "services", lambda _: {"postgres": {"Id": "1"}})
    monkeypatch.setattr(module, "facts", lambda _: facts(next(left)))
    monkeypatch.setattr(module, "works", lambda _: (5.0, ""))
    monkeypatch.setattr(module.time, "time", lambda: clock[0])
    monkeypatch.setattr(module.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    asked = {"name": "x", "asked": ["postgres"], "began": 700.0, "before": {}, "seconds": 0, "whole_seconds": 3600, "idle_seconds": 300}
    assert module.wait(asked)["state"] == state
    assert clock[0] - 1000 <= module.NEXT_CHECK
