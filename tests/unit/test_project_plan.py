"""What the controller remembers between syncs: over interruptions, lost files and new machines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.modules import read
from tests.unit.test_project_sync import tree

project_plan = read("roles", "project", "library", "project_plan.py")


class Sides:
    """A project folder here, one there, and what is done between them."""

    def __init__(self, folder: Path) -> None:
        self.here, self.there, self.state = folder / "here", folder / "there", folder / "state" / "demo"
        self.here.mkdir()

    def plan(self, direction: str, check: bool = False, **flags: Any) -> dict[str, Any]:
        listed = tree.names(str(self.there), links=True)
        there = tree.read(str(self.there), listed)
        asked = {"path": str(self.here), "there": tree.as_text(there), "left_out": {}, "links": {**listed.links, **there.links}}
        asked |= {"state_dir": str(self.state)}
        asked |= {"direction": direction, "overwrite": False, "delete": False, "always_sent": [], "most_mb": 0}
        return dict(project_plan.plan(asked | flags, check))

    def sync(self, direction: str, only: int | None = None, **flags: Any) -> dict[str, Any]:
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


def test_a_second_push_has_nothing_to_do(sides: Sides) -> None:
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


@pytest.fixture
def ignoring(sides: Sides) -> Sides:
    """Both sides have c, and git ignores it from now on. The rules themselves are on both sides."""
    (sides.here / ".gitignore").write_text("")
    sides.sync("push")
    (sides.here / ".gitignore").write_text("c\nmodels/\nvenv/\n")
    sides.sync("push")
    return sides


def test_what_git_ignores_stays_here_and_how_much_is_told(ignoring: Sides) -> None:
    for name in ("venv/x", "venv/y"):
        (ignoring.here / name).parent.mkdir(exist_ok=True)
        (ignoring.here / name).write_text("12345")
    plan = ignoring.sync("push")
    assert not plan["needed"]
    assert plan["ignored"] == {"files": 3, "bytes": 11, "rules": "git"}
    assert plan["told"][-1].startswith("3 files, 11 bytes, stay here by the rules of git: venv/, c. A file .slipwayignore ")
    assert not (ignoring.there / "venv").exists()
    (ignoring.here / ".slipwayignore").write_text("venv/x\n")
    plan = ignoring.sync("push")
    assert plan["moved"] == [".slipwayignore", "venv/y"]
    assert plan["ignored"] == {"files": 1, "bytes": 5, "rules": ".slipwayignore"}
    assert plan["told"] == ["1 file, 5 bytes, stay here by the rules of .slipwayignore: venv/x."]
    assert ignoring.sync("pull")["told"] == []


def test_what_was_synced_before_and_is_ignored_now_is_named_and_goes_on_when_it_is_not(ignoring: Sides) -> None:
    (ignoring.here / "c").write_text("mine")
    for flags in ({}, {"delete": True}, {"overwrite": True, "delete": True}):
        plan = ignoring.sync("push", **flags)
        assert not plan["needed"]
        assert plan["left"] == {"ignored": ["c"]}
        assert "1 file kept here by the rules, and on the machine too" in plan["told"][0]
    assert (ignoring.there / "c").read_text() == "1"
    # Even if it is removed here meanwhile, or there.
    (ignoring.here / "c").unlink()
    assert ignoring.sync("push", delete=True)["left"] == {"ignored": ["c"]}
    assert (ignoring.there / "c").exists()
    (ignoring.here / "c").write_text("mine")
    (ignoring.there / "c").rename(ignoring.there / "away")
    assert ignoring.sync("pull", delete=True)["left"] == {"ignored": ["c"]}
    (ignoring.there / "away").rename(ignoring.there / "c")
    (ignoring.here / "away").unlink()
    (ignoring.here / ".gitignore").write_text("")
    plan = ignoring.sync("push")
    assert plan["conflicts"] == []
    assert (ignoring.there / "c").read_text() == "mine"
    # As the table has it: what was changed there meanwhile is a conflict.
    (ignoring.here / ".gitignore").write_text("c\n")
    ignoring.sync("push")
    (ignoring.here / "c").write_text("mine again")
    (ignoring.there / "c").write_text("theirs")
    (ignoring.here / ".gitignore").write_text("")
    assert ignoring.sync("push")["conflicts"] == [{"path": "c", "kind": "both_changed"}]


def test_a_pull_fetches_what_is_ignored_and_replaces_nothing_of_the_users(ignoring: Sides) -> None:
    (ignoring.there / "models").mkdir()
    (ignoring.there / "models/m").write_text("made")
    assert ignoring.sync("push")["left"] == {"only_there": ["models/m"], "ignored": ["c"]}
    assert ignoring.sync("pull")["moved"] == ["models/m"]
    # A result that was made again replaces the one that came from there.
    (ignoring.there / "models/m").write_text("made again")
    assert ignoring.sync("pull")["moved"] == ["models/m"]
    (ignoring.here / "models/m").write_text("mine")
    (ignoring.there / "models/m").write_text("made a third time")
    (ignoring.here / "models/new").write_text("mine")
    (ignoring.there / "models/new").write_text("made")
    refused = ignoring.sync("pull")
    assert refused["conflicts"] == [{"path": path, "kind": "ignored_differs"} for path in ("models/m", "models/new")]
    assert not ignoring.sync("push")["needed"]
    assert ignoring.sync("pull", overwrite=True)["moved"] == ["models/m", "models/new"]
    # A file there is no reason to remove a folder here.
    (ignoring.here / "venv").mkdir()
    (ignoring.here / "venv/x").write_text("mine")
    (ignoring.there / "venv").write_text("a file")
    assert ignoring.sync("pull", overwrite=True)["conflicts"] == [{"path": "venv", "kind": "file_and_folder"}]


@pytest.mark.parametrize("only", [0, 1])
def test_an_interrupted_pull_of_what_is_ignored_is_finished(ignoring: Sides, only: int) -> None:
    (ignoring.there / "models").mkdir()
    for name in ("m", "n"):
        (ignoring.there / "models" / name).write_text("made")
    ignoring.sync("pull", only=only)
    for name in ("m", "n"):
        (ignoring.there / "models" / name).write_text("made again")
    assert ignoring.sync("pull")["moved"] == ["models/m", "models/n"]


def test_seeds_and_what_a_command_needs_are_sent_whatever_git_says(sides: Sides) -> None:
    (sides.here / ".gitignore").write_text("*\n")
    (sides.here / "slipway.yml").write_text("services: [jupyter, postgres]\nseeds: [data/a.csv]\n")
    for name in ("data/a.csv", "data/b.csv", "docker/postgres/1.sql", "ipynb/first.ipynb", "ipynb/other.ipynb"):
        (sides.here / name).parent.mkdir(parents=True, exist_ok=True)
        (sides.here / name).write_text("1")
    plan = sides.sync("push", always_sent=["ipynb/first.ipynb"])
    assert plan["moved"] == ["data/a.csv", "docker/postgres/1.sql", "ipynb/first.ipynb", "slipway.yml"]


def test_a_pull_of_more_than_is_allowed_changes_nothing(sides: Sides) -> None:
    sides.sync("push")
    (sides.there / "models").mkdir()
    for name in ("m", "n"):
        with (sides.there / "models" / name).open("wb") as file:
            file.truncate(600_000)
    before = {path: path.read_bytes() for path in sides.state.iterdir()}
    refused = sides.sync("pull", most_mb=1)
    assert not refused["needed"]
    assert refused["waiting"] == {"files": 2, "bytes": 1_200_000}
    assert refused["refusal"].startswith("2 files, 1.2 MB, wait on the machine, and nothing was fetched: that is more than 1 MB.")
    assert "models/" in refused["refusal"]
    assert {path: path.read_bytes() for path in sides.state.iterdir()} == before
    # What is asked of a pull is not asked of a push; what is fetched by then is not asked again.
    assert sides.plan("push", most_mb=1)["refusal"] == ""
    assert sides.sync("pull", most_mb=2)["bytes"] == 1_200_000
    assert not sides.sync("pull", most_mb=1)["needed"]


def test_a_large_push_is_told_before_it_begins(sides: Sides) -> None:
    assert sides.plan("push")["notice"] == ""
    (sides.here / "data").mkdir()
    with (sides.here / "data/large").open("wb") as file:
        file.truncate(100_000_001)
    assert sides.plan("push")["notice"].startswith("4 files, 100 MB, are sent to the machine now: data/, a, b, c.")


def test_names_that_begin_as_comments_or_have_spaces_are_listed_as_they_are(sides: Sides) -> None:
    for name in ("#a", ";b", " c ", "-d", "ä*?["):
        (sides.here / name).write_text("1")
    assert set(sides.sync("push")["moved"]) >= {"#a", ";b", " c ", "-d", "ä*?["}
    assert (sides.state / "sync-list").read_text().startswith("./ c \0./#a\0")
