"""When a service counts as healthy, and what its health check is run as; a stand-in answers for the engine's socket."""

from __future__ import annotations

from typing import Any

import pytest

from tests.modules import load, read

engine: Any = load("stack_engine")
rules: Any = load("stack_health")
module: Any = read("roles", "stack", "library", "stack_ready.py")


def facts(status: str = "running", health: str | None = "starting", code: int = 0, test: Any = ("CMD", "true")) -> dict[str, Any]:
    """What the engine says of a container."""
    state = {"Status": status, "ExitCode": code} | ({"Health": {"Status": health}} if health else {})
    return {"Id": "c1", "State": state, "Config": {"Healthcheck": {"Test": list(test), "Timeout": 5_000_000_000}}}


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"Test": ["CMD", "bash", "-c", "exit 0"]}, ["bash", "-c", "exit 0"]),
        ({"Test": ["CMD-SHELL", "redis-cli ping | grep PONG"]}, ["/bin/sh", "-c", "redis-cli ping | grep PONG"]),
        ({"Test": ["NONE"]}, []),
        ({"Test": []}, []),
        ({}, []),
        (None, []),
    ],
)
def test_a_check_is_run_as_the_engine_runs_it(check: Any, words: list[str]) -> None:
    assert rules.command({"Config": {"Healthcheck": check}}) == words
    assert rules.command({"Config": {}}) == []


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (facts(), ""),
        (facts(health="healthy"), ""),
        (facts(health=None), ""),
        (facts("restarting"), ""),
        (facts("exited", code=3), "redis has ended (exit code 3)"),
        (facts("exited", "healthy"), "redis has ended (exit code 0)"),
        (facts("dead", None, 137), "redis has ended (exit code 137)"),
        (facts(health="unhealthy"), "redis is unhealthy"),
    ],
)
def test_only_what_has_ended_or_is_unhealthy_is_waited_for_no_longer(given: dict[str, Any], why: str) -> None:
    assert rules.failed("redis", given) == why


@pytest.mark.parametrize(
    ("given", "passes", "found"),
    [
        (facts(), True, "healthy"),
        (facts(), False, "starting"),
        # As with the engine, one success is enough.
        (facts(health="unhealthy"), True, "healthy"),
        (facts(health="unhealthy"), False, "unhealthy"),
        (facts(health="healthy"), False, "healthy"),
        (facts(health=None), False, "none"),
        # Nothing is run in a container that does not run.
        (facts("exited"), True, "starting"),
        (facts("restarting"), True, "starting"),
    ],
)
def test_one_that_was_not_found_healthy_is_checked_now(
    given: dict[str, Any], passes: bool, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "passes", lambda *_: passes)
    assert rules.health(None, given) == found
    assert rules.ready(None, given) is (given["State"]["Status"] == "running" and found in ("healthy", "none"))
