"""What `status` says of a stack that does not run, or not all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipway import render, standing
from tests.unit.test_render import UP
from tests.unit.test_runner_parse import result

UP_AGAIN, OPEN, DEPLOY = "python orchestrate.py up", "python orchestrate.py open", "python orchestrate.py deploy"
ENDED = {"state": "exited", "health": "unhealthy", "exit_code": 0, "memory_used_mib": None}


def text(changed: dict[str, dict[str, Any]], folder: Path | None = None, **more: Any) -> str:
    """What `status` prints for a machine on which these services, or all of them (`*`), are otherwise than after `up`."""
    published = dict(result(UP).published) | {"engine": "running"} | more
    published["services"] = {name: facts | changed.get("*", {}) | changed.get(name, {}) for name, facts in published["services"].items()}
    document = render.status_document("lab", published, "http://127.0.0.1:8888/lab?token=t")
    return render.status_text(document, lambda verb: f"python orchestrate.py {verb}", folder)


@pytest.mark.parametrize(
    ("changed", "at_rest", "says"),
    [
        ({"*": ENDED}, True, "slipway is at rest: it keeps its data, and its memory is free. Bring it up with: UP"),
        ({"*": ENDED}, False, "Jupyter of slipway is exited.\nStart it with: UP"),
        ({"jupyter": ENDED | {"exit_code": 1}}, False, "Jupyter of slipway is exited; this shows why: LOGS jupyter\nStart it with: UP"),
        (
            {"jupyter": {"state": "restarting"}},
            False,
            "Jupyter of slipway is restarting; this shows why: LOGS jupyter\nStart it with: UP",
        ),
    ],
)
def test_why_jupyter_cannot_be_opened_is_told_with_what_to_type(changed: dict[str, dict[str, Any]], at_rest: bool, says: str) -> None:
    published = dict(result(UP).published) | {"engine": "running", "at_rest": at_rest}
    published["services"] = {name: facts | changed.get("*", {}) | changed.get(name, {}) for name, facts in published["services"].items()}
    document = render.status_document("lab", published, None)
    assert not standing.serves(document)
    assert standing.closed(document, "slipway", "UP", "LOGS") == says


def test_a_stack_without_jupyter_is_told_so() -> None:
    published = dict(result(UP).published) | {"engine": "running", "at_rest": False}
    published["services"] = {name: facts for name, facts in published["services"].items() if name == "redis"}
    document = render.status_document("lab", published, None)
    assert standing.closed(document, "slipway", "UP", "LOGS") == "slipway has no Jupyter here. Start it with: UP"


@pytest.mark.parametrize(
    ("states", "at_rest", "stands"),
    [
        (["running", "running"], False, "running"),
        (["exited", "exited"], True, "at rest"),
        (["exited", "exited"], False, "stopped"),
        (["created"], True, "at rest"),
        ([], False, "none"),
        # Somebody has started one by hand since.
        (["running", "exited"], True, "running"),
        (["restarting"], True, "running"),
        (["paused"], False, "running"),
    ],
)
def test_a_stack_stands_as_its_services_do(states: list[str], at_rest: bool, stands: str) -> None:
    assert standing.of({str(number): {"state": state} for number, state in enumerate(states)}, at_rest) == stands


@pytest.mark.parametrize(
    ("changed", "more", "says", "not_said"),
    [
        # At rest, by the project's folder or as the base stack: the command that brings it up, and none for the tunnel.
        ({"*": ENDED}, {"at_rest": True}, ["redis     at rest ", f"Bring it up with: {UP_AGAIN}"], ["unhealthy", "exited", OPEN, "8888"]),
        (
            {"*": ENDED},
            {"at_rest": True, "folder": Path("/a b")},
            [f"Bring it up with: {DEPLOY} '/a b'"],
            ["unhealthy", UP_AGAIN, OPEN],
        ),
        # All of it was stopped by hand.
        (
            {"*": ENDED},
            {"at_rest": False},
            ["redis     exited (0) ", f"Stopped   jupyter, mongo, postgres, redis. Start with: {UP_AGAIN}"],
            ["unhealthy", "at rest", OPEN, "8888", " logs"],
        ),
        # One that was stopped, one that failed, and one that a signal ended.
        ({"redis": ENDED}, {}, [f"Stopped   redis. Start with: {UP_AGAIN}", "8888"], ["unhealthy", " logs", OPEN]),
        ({"redis": ENDED | {"exit_code": 1}}, {}, ["exited (1)", "What redis said last: python orchestrate.py logs"], ["unhealthy"]),
        ({"redis": ENDED | {"exit_code": 137}}, {}, ["exited (137)"], [" logs"]),
        # Jupyter alone: the tunnel would lead to nothing.
        ({"jupyter": ENDED}, {}, ["Stopped   jupyter."], [OPEN, "8888"]),
        # It starts, or tries to.
        ({"redis": {"state": "restarting", "health": "unhealthy"}}, {}, ["restarting none"], ["Stopped"]),
        ({"redis": {"health": "unhealthy"}}, {}, ["running  unhealthy", "8888"], ["Stopped"]),
        # Never started; and a host that says nothing.
        ({}, {"services": {}}, [f"none are here. Start them with: {UP_AGAIN}"], ["at rest", OPEN]),
        ({}, {"services": {}, "engine": "refused"}, ["does not answer"], ["none are here"]),
    ],
)
def test_status_says_what_is_true_and_what_brings_it_up(
    changed: dict[str, Any], more: dict[str, Any], says: list[str], not_said: list[str]
) -> None:
    said = text(changed, **more)
    assert [words for words in says if words not in said] == []
    assert [words for words in not_said if words in said] == []


def test_a_machine_that_is_stopped_has_nothing_at_rest() -> None:
    instance = dict(result(UP).published)["instance"] | {"state": "stopped", "public_ip": None}
    said = text({}, instance=instance, services={}, engine=None)
    assert said.endswith(f"Start it with: {UP_AGAIN}")
    assert "at rest" not in said and "none are here" not in said


def test_a_resize_that_was_left_half_way_is_ended_by_its_own_command() -> None:
    instance = dict(result(UP).published)["instance"] | {"resize_to": "t2.small"}
    said = text({"*": ENDED}, instance=instance)
    assert "resize t2.small" in said and UP_AGAIN not in said


@pytest.mark.parametrize(
    ("name", "found", "says"),
    [
        ("adult", {"running": 2, "limit_mib": 390, "at_rest": False}, "adult: runs, with up to 390 MiB"),
        ("adult", {"running": 0, "limit_mib": 0, "at_rest": True}, "adult: at rest; `deploy` brings it up"),
        ("adult", {"running": 0, "limit_mib": 0, "at_rest": False}, "adult: stopped; `deploy` brings it up"),
        ("slipway", {"running": 0, "limit_mib": 0, "at_rest": True}, "slipway: at rest; `up` brings it up"),
    ],
)
def test_status_names_the_stacks_beside_it(name: str, found: dict[str, Any], says: str) -> None:
    assert f"Beside    {says}" in text({}, stacks={name: found})
