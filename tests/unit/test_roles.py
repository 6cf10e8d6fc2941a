"""What every role promises, read from its files: inputs that are documented, and files that stay small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import PROJECT

ROLES = sorted(path for path in (PROJECT / "roles").iterdir() if path.is_dir())
NAMES = [role.name for role in ROLES]
PLAYBOOKS = [path for path in (PROJECT / "playbooks").rglob("*.yml") if path.parent.name != "vars"]


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_defaults_and_argument_specs_are_equal(role: Path) -> None:
    defaults = read(role / "defaults" / "main.yml")
    specs = read(role / "meta" / "argument_specs.yml")["argument_specs"]
    assert set(specs["main"]["options"]) == set(defaults)
    for name, option in specs["main"]["options"].items():
        assert name.startswith(f"{role.name}_")
        assert option["description"]
        # A required input has a default only so that it is listed: an empty one, which its type or preflight refuses.
        assert not defaults[name] or option.get("required") or option["default"] == defaults[name]


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_readme_lists_every_input_and_output(role: Path) -> None:
    text = (role / "README.md").read_text()
    for name in read(role / "defaults" / "main.yml"):
        assert f"`{name}`" in text, name
    for tasks in (role / "tasks").glob("*.yml"):
        for task in read(tasks):
            for name in task.get("ansible.builtin.set_stats", {}).get("data", {}):
                assert f"`{name}`" in text, name


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_variables_are_the_roles_own(role: Path) -> None:
    """A role that knows another role's variables cannot be used alone."""
    others = [f"{name}_" for name in NAMES if name != role.name]
    for path in [*role.glob("tasks/*.yml"), *role.glob("vars/*.yml"), *role.glob("defaults/*.yml"), *role.glob("templates/*")]:
        words = path.read_text().replace("(", " ").replace("{", " ").split()
        foreign = {word for word in words if word.startswith(tuple(others))}
        # Modules are named like variables: the role's own, and the collection's; and an option of that one.
        assert not {word for word in foreign if not word.startswith(("docker_look", "docker_compose_v2", "project_src:"))}, path


def test_task_files_and_playbooks_stay_small() -> None:
    for limit, paths in ((60, (PROJECT / "roles").glob("*/tasks/*.yml")), (35, PLAYBOOKS)):
        for path in paths:
            assert len(path.read_text().splitlines()) <= limit, path
