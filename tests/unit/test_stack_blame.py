"""Which service a failed start is blamed on, and how long it really took."""

from __future__ import annotations

from typing import Any

import pytest

from tests.modules import load

rules, settings = load("stack_blame"), load("stack_wrong_settings")
ASKED = ["jupyter", "postgres", "worker"]


def facts(health: str = "starting", state: str = "running", **more: Any) -> dict[str, Any]:
    return {
        "health": health,
        "state": state,
        "restarts": 0,
        "out_of_memory": False,
        "exit_code": 0,
        "memory_limit_mib": 64,
        "container": "c",
    } | more


FINE = facts("healthy")


@pytest.mark.parametrize(
    ("services", "failed", "starting"),
    [
        # Case 21: PostgreSQL ends after 20 s, while Jupyter still starts.
        ({"jupyter": facts(), "postgres": facts(state="restarting", exit_code=78)}, ("postgres",), ("jupyter",)),
        ({"jupyter": facts(), "postgres": facts(state="exited")}, ("postgres",), ("jupyter",)),
        # Between two starts it runs.
        ({"jupyter": facts(), "postgres": facts(restarts=2)}, ("postgres",), ("jupyter",)),
        ({"jupyter": facts("unhealthy"), "postgres": facts()}, ("jupyter",), ("postgres",)),
        ({"jupyter": facts(out_of_memory=True), "postgres": FINE}, ("jupyter",), ()),
        ({"postgres": facts(state="dead"), "worker-2": facts(state="exited"), "worker": FINE}, ("postgres", "worker-2"), ()),
        # The time is over.
        ({"jupyter": facts(), "postgres": FINE}, ("jupyter",), ()),
        ({"jupyter": facts(), "postgres": facts()}, ("jupyter", "postgres"), ()),
        ({"jupyter": facts("none", "created"), "postgres": FINE}, ("jupyter",), ()),
        # It has started since.
        ({"postgres": facts("healthy", restarts=3)}, (), ()),
        # A service that was not asked for.
        ({"mongo": facts(state="exited"), "postgres": FINE}, (), ()),
        ({}, (), ()),
    ],
)
def test_those_that_failed_are_blamed(services: dict[str, Any], failed: tuple[str, ...], starting: tuple[str, ...]) -> None:
    assert rules.blame(services, ASKED) == rules.Blame(failed, starting)


@pytest.mark.parametrize(
    ("name", "code", "lines", "half"),
    [
        ("postgres", 78, [], True),
        ("postgres", 0, ["Make it again with: orchestrate.py reseed"], True),
        ("postgres", 1, ["FATAL:  could not open"], False),
        ("jupyter", 78, [], False),
    ],
)
def test_a_half_made_volume_is_known(name: str, code: int, lines: list[str], half: bool) -> None:
    assert rules.half_made({name: facts(exit_code=code)}, {name: lines}) is half


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        ([], []),
        (["a"], ["a"]),
        (["a", "b", "a"], ["a", "b", "a"]),
        (["b", "a", "b", "a", "b"], ["a", "b"]),
        (["x", "a", "b", "c", "a", "b", "c"], ["a", "b", "c"]),
        (["a", "b", "b"], ["a", "b", "b"]),
    ],
)
def test_what_is_said_at_each_start_is_shown_once(lines: list[str], left: list[str]) -> None:
    assert rules.once(lines) == left


def test_the_users_settings_are_named_with_the_command_that_does_without_them() -> None:
    wrong = '{"path": "/home/jovyan/.jupyter/jupyter_lab_config.py", "why": "line 1: NameError: x"}'
    read = '{"read": ["/home/jovyan/.jupyter/jupyter_lab_config.py", "/home/jovyan/.jupyter/jupyter_config.json"]}'
    start = "`up --without-settings` starts it without them, and leaves them as they are."
    named = ["This is wrong in the user's settings of JupyterLab:", "  ~/.jupyter/jupyter_lab_config.py: line 1: NameError: x", start]
    assert settings.told(f"Some warning\n{wrong}\n{read}\n", "up --without-settings") == named
    # Where each of them can be read and loaded, they may be the reason all the same.
    seen = "It reads these settings of the user's: ~/.jupyter/jupyter_lab_config.py and ~/.jupyter/jupyter_config.json."
    assert settings.told(read, "up --without-settings") == [seen, start]
    assert settings.told('{"read": []}', "up --without-settings") == settings.told("", "up --without-settings") == []
    services = {"jupyter": facts(state="restarting", exit_code=1, restarts=2)}
    text = rules.told(rules.blame(services, ASKED), services, {"jupyter": ["its last line"]}, 21.4, "reason", {"jupyter": named})
    assert text.splitlines()[2:] == ["  its last line", *named, "Compose: reason"]


def test_the_text_names_the_seconds_that_were_waited() -> None:
    services = {"jupyter": facts(), "postgres": facts(state="restarting", exit_code=78, restarts=2)}
    text = rules.told(rules.blame(services, ASKED), services, {"postgres": ["docker/postgres/10.sql:2: ERROR"]}, 21.4, "x" * 700)
    assert text.splitlines()[:5] == [
        "Not healthy after 21 s: postgres. The other services stay up.",
        "Still starting then: jupyter.",
        "postgres is restarting, after 2 restarts: health starting, exit code 78, limit 64 MiB. Its last lines:",
        "  docker/postgres/10.sql:2: ERROR",
        f"Compose: {'x' * 599}…",
    ]
