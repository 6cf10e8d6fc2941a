"""What the controller remembers between syncs: over interruptions, lost files and new machines."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT
from tests.unit.test_project_sync import sync, tree

# As Ansible sends them.
sys.modules |= {"ansible.module_utils.project_sync": sync, "ansible.module_utils.project_tree": tree}
SPEC = importlib.util.spec_from_file_location("project_plan", PROJECT / "roles" / "project" / "library" / "project_plan.py")
assert SPEC is not None
assert SPEC.loader is not None
project_plan = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(project_plan)


class Sides:
    """A project folder here, one there, and what is done between them."""

    def __init__(self, folder: Path) -> None:
        self.here, self.there, self.state = folder / "here", folder / "there", folder / "state" / "demo"
        self.here.mkdir()

    def plan(self, direction: str, check: bool = False, **flags: bool) -> dict[str, Any]:
        asked = {"path": str(self.here), "there": tree.scan(str(self.there)).files, "left_out": {}, "state_dir": str(self.state)}
        return dict(project_plan.plan(asked | {"direction": direction, "overwrite": False, "delete": False} | flags, check))

    def sync(self, direction: str, only: int | None = None, **flags: bool) -> dict[str, Any]:
        """Do it all, or the first few of the moves alone."""
        plan = self.plan(direction, **flags)
        if plan["conflicts"] or not plan["needed"]:
            return plan
        source, target = (self.here, self.there) if direction == "push" else (self.there, self.here)
        listed = [name.removeprefix("./") for name in Path(plan["list"]).read_text().split("\0")[:-1]]
        assert listed == plan["moved"]
        for path in plan["removed"]:
            (target / path).unlink()
        for path in listed[:only]:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / path, target / path)
        if only is None:
            (self.state / "sync-next.json").replace(self.state / "sync.json")
        return plan


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    found = Sides(tmp_path)
    for name in "abc":
        (found.here / name).write_text("1")
    return found


def test_twice_has_nothing_to_do(sides: Sides) -> None:
    assert sides.sync("push")["moved"] == ["a", "b", "c"]
    again = sides.sync("push")
    assert not again["needed"]
    assert not again["changed"]
    assert again["left"] == {}
    assert {path.name: path.stat().st_mode & 0o777 for path in sides.state.iterdir()} == {"sync.json": 0o600, "sync-list": 0o600}
    assert sides.state.stat().st_mode & 0o777 == 0o700


def test_check_mode_writes_nothing(sides: Sides) -> None:
    plan = sides.plan("push", check=True)
    assert plan["changed"]
    assert plan["diff"]["prepared"] == "push a\npush b\npush c\n"
    assert not sides.state.exists()
    sides.sync("push")
    before = {path: path.read_bytes() for path in sides.state.iterdir()}
    (sides.here / "a").write_text("2")
    assert sides.plan("push", check=True)["changed"]
    assert {path: path.read_bytes() for path in sides.state.iterdir()} == before


@pytest.mark.parametrize("direction", ["push", "pull"])
@pytest.mark.parametrize("only", [0, 1, 2, 3])
def test_an_interrupted_sync_is_finished_by_the_same_again_even_after_edits(sides: Sides, direction: str, only: int) -> None:
    sides.sync("push")
    source, target = (sides.here, sides.there) if direction == "push" else (sides.there, sides.here)
    for name in "abc":
        (source / name).write_text("2")
    sides.sync(direction, only=only)
    # No conflict, though the target has what no finished sync has left there.
    for name in "abc":
        (source / name).write_text("3")
    plan = sides.sync(direction)
    assert plan["conflicts"] == []
    assert {(target / name).read_text() for name in "abc"} == {"3"}
    assert not sides.sync(direction)["needed"]
    # And what the target has changed itself is one.
    (source / "a").write_text("4")
    (target / "a").write_text("5")
    assert [each["path"] for each in sides.sync(direction)["conflicts"]] == ["a"]


def test_an_interrupted_removal_is_known(sides: Sides) -> None:
    sides.sync("push")
    (sides.here / "a").unlink()
    (sides.here / "b").write_text("2")
    assert sides.sync("push", only=0, delete=True)["removed"].keys() == {"a"}
    (sides.here / "a").write_text("new")
    plan = sides.sync("push")
    assert plan["conflicts"] == []
    assert plan["moved"] == ["a", "b"]


@pytest.mark.parametrize("lost", ["", "{", "[]", '{"files": 3}', None])
def test_without_a_last_sync_equal_files_are_in_sync_and_others_are_conflicts(sides: Sides, lost: str | None) -> None:
    sides.sync("push")
    (sides.here / "a").write_text("2")
    base = sides.state / "sync.json"
    base.unlink() if lost is None else base.write_text(lost)
    assert sides.sync("push")["conflicts"] == [{"path": "a", "kind": "both_changed"}]
    assert sides.sync("push", overwrite=True)["moved"] == ["a"]
    assert set(json.loads(base.read_text())["files"]) == {"a", "b", "c"}


def test_a_new_machine_gets_everything_even_if_its_first_push_was_interrupted(sides: Sides) -> None:
    sides.sync("push")
    shutil.rmtree(sides.there)
    assert sides.sync("push", only=1)["moved"] == ["a", "b", "c"]
    assert sides.sync("push")["moved"] == ["b", "c"]
    assert not sides.sync("push")["needed"]


def test_a_conflict_leaves_everything_as_it_is(sides: Sides) -> None:
    sides.sync("push")
    before = {path: path.read_bytes() for path in sides.state.iterdir()}
    (sides.here / "a").write_text("2")
    (sides.here / "b").write_text("2")
    (sides.there / "a").write_text("3")
    plan = sides.plan("push")
    assert not plan["needed"]
    assert "push --overwrite keeps what is here" in plan["refusal"]
    assert {path: path.read_bytes() for path in sides.state.iterdir()} == before


def test_names_that_begin_as_comments_or_have_spaces_are_listed_as_they_are(sides: Sides) -> None:
    for name in ("#a", ";b", " c ", "-d", "ä*?["):
        (sides.here / name).write_text("1")
    assert set(sides.sync("push")["moved"]) >= {"#a", ";b", " c ", "-d", "ä*?["}
    assert (sides.state / "sync-list").read_text().startswith("./ c \0./#a\0")
