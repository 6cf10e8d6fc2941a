"""Links in a project: which of them would lead out of it on the side that receives them, and that none is followed or made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.modules import load, read
from tests.unit.test_project_plan import project_plan
from tests.unit.test_project_sync import tree

links = load("project_links")

Links = dict[str, str]
#: Links that arrive, those that are there already -> those that are refused, with the link by which each leaves.
CASES: list[tuple[Links, Links, Links]] = [
    ({"a": "b"}, {}, {}),
    ({"a": "b/c/../d"}, {}, {}),
    ({"lib/a": "../data/x"}, {}, {}),
    ({"a": "."}, {}, {}),
    ({"a": ".."}, {}, {"a": "a"}),
    ({"a": "/etc/passwd"}, {}, {"a": "a"}),
    ({"a": "/"}, {}, {"a": "a"}),
    ({"lib/a": "../../x"}, {}, {"lib/a": "lib/a"}),
    ({"a": "b/../../x"}, {}, {"a": "a"}),
    ({"a": "./../x"}, {}, {"a": "a"}),
    # Chains: of what arrives alone, and over what is there.
    ({"a": "b", "b": "../.."}, {}, {"a": "b", "b": "b"}),
    ({"a": "b", "b": "c/d", "c": "e"}, {}, {}),
    ({"a": "b", "b": "c", "c": "/etc"}, {}, {"a": "c", "b": "c", "c": "c"}),
    ({"a": "d/x"}, {"d": "/big"}, {"a": "d"}),
    ({"a": "d/../x"}, {"d": "../elsewhere"}, {"a": "d"}),
    ({"a": "d/x"}, {"d": "lib"}, {}),
    # A way that is harmless by its words alone: d/.. is above the folder if d is the folder itself.
    ({"a": "d/../x", "d": "."}, {}, {"a": "d"}),
    ({"a": "d/../x", "d": "."}, {"d": "lib"}, {"a": "d"}),
    # Into what is not synced: it counts as it is there.
    ({"a": ".venv/bin/python"}, {}, {}),
    ({"a": ".venv/bin/python"}, {".venv/bin/python": "/usr/bin/python3"}, {"a": ".venv/bin/python"}),
    ({"a": ".venv/x"}, {".venv": "../envs/mine"}, {"a": ".venv"}),
    ({"a": "runs/last.ipynb"}, {"runs": "/big/runs"}, {"a": "runs"}),
    ({"a": ".git/x"}, {".git/x": "../lib"}, {}),
    # What arrives takes the place of what is there.
    ({"a": "d", "d": "lib"}, {"d": "/big"}, {}),
    ({"a": "d", "d": "/big"}, {"d": "lib"}, {"a": "d", "d": "d"}),
    # What is there and stays inside is not led out by what arrives.
    ({"d": "."}, {"x": "d/../secret"}, {"d": "d"}),
    ({"d": "lib"}, {"x": "d/../secret"}, {}),
    # Circles lead nowhere.
    ({"a": "a"}, {}, {}),
    ({"a": "b", "b": "a"}, {}, {}),
    ({"a": "b/x", "b": "a/y"}, {}, {}),
]


@pytest.mark.parametrize(("arriving", "there", "refused"), CASES, ids=[str(number) for number in range(len(CASES))])
def test_no_link_arrives_that_leads_out_where_it_is_received(tmp_path: Path, arriving: Links, there: Links, refused: Links) -> None:
    stay = {path: target for path, target in there.items() if not links.way(path, there.get)[1]}
    assert links.refused(arriving, there.get, stay) == refused
    # The kernel says the same: with the rest of them there, none of them leads out.
    root = tmp_path / "outer" / "root"
    root.mkdir(parents=True)
    for path, target in {**there, **{path: target for path, target in arriving.items() if path not in refused}}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).unlink(missing_ok=True)
        (root / path).symlink_to(target)
    for path in arriving.keys() - refused.keys():
        assert Path(os.path.realpath(root / path)).is_relative_to(root), path


class Sides:
    """A project here and on a machine; a sync by the roles' own modules, and by rsync with the roles' own options."""

    def __init__(self, folder: Path) -> None:
        self.here, self.there, self.state, self.outside = (folder / name for name in ("here", "there", "state", "outside"))
        for each in (self.here, self.there, self.outside):
            each.mkdir()
        (self.outside / "secret").write_text("of another")
        self.between: Callable[[], None] = lambda: None

    def plan(self, direction: str, **flags: Any) -> dict[str, Any]:
        listed = tree.names(str(self.there), links=True)
        there = tree.read(str(self.there), listed)
        asked = {"path": str(self.here), "there": tree.as_text(there), "left_out": there.left_out, "state_dir": str(self.state)}
        asked |= {"links": {**listed.links, **there.links}}
        asked |= {"direction": direction, "overwrite": False, "delete": False, "always_sent": [], "most_mb": 0}
        return dict(project_plan.plan(asked | flags, False))

    def pull(self, **flags: Any) -> tuple[dict[str, Any], dict[str, str]]:
        plan = self.plan("pull", **flags)
        if not plan["needed"]:
            return plan, {}
        self.between()
        self.rsync(plan, f"{self.there}/", f"{self.here}/.slipway/incoming/files/", "--executability", f"--compare-dest={self.here}")
        return plan, project_keep.keep(str(self.here), self.state, "pull")

    def rsync(self, plan: dict[str, Any], source: str, target: str, *options: str) -> None:
        command = ["rsync", "--checksum", "--links", f"--files-from={plan['list']}", "--from0", *options, source, target]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert done.returncode in (0, 23), done.stderr


project_keep, project_remove = (read("roles", "project", "library", f"{name}.py") for name in ("project_keep", "project_remove"))
needs_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    return Sides(tmp_path)


def everything(folder: Path) -> dict[str, str]:
    """Each path below a folder with what it is, links unfollowed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        kind = f"-> {path.readlink()}" if path.is_symlink() else "folder" if path.is_dir() else path.read_text()
        found[str(path.relative_to(folder))] = kind
    return found


@needs_rsync
def test_a_pull_brings_links_that_stay_inside_and_names_the_others(sides: Sides) -> None:
    (sides.there / "lib").mkdir()
    (sides.there / "lib" / "a.py").write_text("1")
    (sides.there / "big").mkdir()
    (sides.there / ".venv").mkdir()
    (sides.here / "big").symlink_to(sides.outside)
    (sides.here / ".venv").symlink_to("../outside")
    for name, target in {
        "in": "lib/a.py",
        "lib/up": "../lib",
        "later": "nothing/yet",
        "out": "../outside/secret",
        "absolute": str(sides.outside),
        "chain": "out",
        "by-mine": "big/secret",
        "by-unsynced": ".venv/secret",
    }.items():
        (sides.there / name).symlink_to(target)
    before = everything(sides.outside)
    plan, left = sides.pull()
    assert left == {}
    assert sorted(plan["moved"]) == ["in", "later", "lib/a.py", "lib/up"]
    links_here = {name: kind for name, kind in everything(sides.here).items() if kind.startswith("->")}
    assert links_here == {
        "in": "-> lib/a.py",
        "lib/up": "-> ../lib",
        "later": "-> nothing/yet",
        "big": f"-> {sides.outside}",
        ".venv": "-> ../outside",
    }
    told = {line.partition(" ")[0]: line for line in plan["told"]}
    assert told["out"].startswith("out is a link to ../outside/secret, which leads out of the project (copy what it leads to")
    assert "leads out of the project by out" in told["chain"]
    assert "leads out of the project on this computer by big" in told["by-mine"]
    assert "leads out of the project on this computer by .venv" in told["by-unsynced"]
    assert f"link to {sides.outside}, which" in told["absolute"]
    assert everything(sides.outside) == before
    # The same again has nothing to do.
    assert sides.pull()[0]["moved"] == []


def test_a_push_is_judged_by_the_links_of_the_machine(sides: Sides) -> None:
    """Also by those in what is not synced."""
    (sides.there / "runs").symlink_to("/big/runs")
    (sides.there / ".venv" / "bin").mkdir(parents=True)
    (sides.there / ".venv" / "bin" / "python").symlink_to("/usr/bin/python3")
    (sides.there / "out").symlink_to("/etc")
    (sides.there / "a").write_text("1")
    (sides.here / "out2").mkdir()
    for name, target in {"good": "a", "python": ".venv/bin/python", "last": "runs/x", "config": "out/passwd"}.items():
        (sides.here / name).symlink_to(target)
    plan = sides.plan("push")
    assert plan["moved"] == ["good"]
    told = {line.partition(" ")[0]: line for line in plan["told"]}
    assert "leads out of the project on the machine by .venv/bin/python" in told["python"]
    assert "leads out of the project on the machine by runs" in told["last"]
    assert "leads out of the project on the machine by out" in told["config"]


@pytest.mark.parametrize("direction", ["push", "pull"])
def test_a_link_in_the_place_of_a_folder_is_in_the_way(sides: Sides, direction: str) -> None:
    source, target = (sides.here, sides.there) if direction == "push" else (sides.there, sides.here)
    (source / "a").mkdir()
    (source / "a" / "secret").write_text("new")
    (target / "a").symlink_to(sides.outside)
    (target / "beside").write_text("1")
    plan = sides.plan(direction)
    assert plan["conflicts"] == [{"path": "a/secret", "kind": "file_and_folder"}]
    side = "the machine" if direction == "push" else "this computer"
    assert plan["refusal"].endswith(f"\na on {side} is a link to {sides.outside}, and nothing is written through it.")
    assert plan["moved"] == []
    assert (sides.outside / "secret").read_text() == "of another"


def swap(path: Path, target: Path) -> Callable[[], None]:
    def swapped() -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.symlink_to(target)

    return swapped


@needs_rsync
def test_what_has_become_a_link_since_the_look_does_not_arrive(sides: Sides) -> None:
    for name in ("a", "b"):
        (sides.there / name).write_text("1")
    (sides.there / "ok").symlink_to("b")
    sides.between = swap(sides.there / "a", sides.outside / "secret")
    _, left = sides.pull()
    assert left == {"a": project_keep.CHANGED}
    assert everything(sides.here) == {"b": "1", "ok": "-> b"}
    # It is no file that both sides had.
    assert "a" not in json.loads((sides.state / "sync.json").read_text())["files"]


@needs_rsync
def test_a_folder_here_that_has_become_a_link_since_the_look_is_not_written_through(sides: Sides) -> None:
    for folder in (sides.there, sides.here):
        (folder / "a").mkdir()
        (folder / "a" / "secret").write_text("old")
    sides.pull()
    (sides.there / "a" / "secret").write_text("new")
    sides.between = swap(sides.here / "a", sides.outside)
    _, left = sides.pull()
    assert list(left) == ["a/secret"]
    assert (sides.outside / "secret").read_text() == "of another"
    assert everything(sides.outside) == {"secret": "of another"}


@needs_rsync
def test_a_pulled_file_keeps_the_users_mode_and_is_a_new_file(sides: Sides) -> None:
    """A hard link that the file had elsewhere keeps what it had."""
    mine = sides.here / "run.sh"
    (sides.here / "private").write_text("old")
    mine.write_text("old")
    sides.plan("push")
    shutil.copy(mine, sides.there)
    shutil.copy(sides.here / "private", sides.there)
    sides.pull()
    (sides.here / "private").chmod(0o600)
    os.link(sides.here / "private", sides.outside / "hard")
    (sides.there / "private").write_text("new")
    (sides.there / "run.sh").chmod(0o755)
    plan, left = sides.pull()
    assert (sorted(plan["moved"]), left) == (["private", "run.sh"], {})
    assert ((sides.here / "private").read_text(), (sides.here / "private").stat().st_mode & 0o777) == ("new", 0o600)
    assert mine.stat().st_mode & 0o111
    assert (sides.outside / "hard").read_text() == "old"


@needs_rsync
def test_an_interrupted_pull_is_finished_and_what_it_left_is_not_trusted(sides: Sides) -> None:
    (sides.there / "a").mkdir()
    (sides.there / "a" / "x").write_text("1")
    (sides.there / "a" / "y").write_text("2")
    arrived = sides.here / ".slipway" / "incoming" / "files"
    arrived.mkdir(parents=True)
    (arrived / "a").symlink_to(sides.outside)
    (arrived / "unasked").write_text("x")
    _, left = sides.pull()
    assert left == {}
    assert everything(sides.here) == {"a": "folder", "a/x": "1", "a/y": "2"}
    assert everything(sides.outside) == {"secret": "of another"}


def test_a_look_waits_for_no_pipe_and_goes_through_no_link(tmp_path: Path) -> None:
    """Also if a file or a folder becomes one between the list and the look."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    (tmp_path / "b").write_text("1")
    os.mkfifo(tmp_path / "core")
    listed = tree.names(str(tmp_path))
    shutil.rmtree(tmp_path / "a")
    (tmp_path / "a").symlink_to("/etc")
    (tmp_path / "b").unlink()
    os.mkfifo(tmp_path / "b")
    found = tree.read(str(tmp_path), tree.Names(("a/passwd", *listed.paths), (), {}))
    assert set(found.files.values()) == {tree.UNKNOWN}
    assert found.left_out["a/passwd"] == "cannot be read (Not a directory)"
    assert found.left_out["b"] == found.left_out["core"] == "is neither a file nor a folder"
    for path in ("../x", "/etc/passwd", "a/../../x", "./b", "b/"):
        with tree.Beneath(str(tmp_path)) as beneath, pytest.raises(OSError, match="Invalid"):
            beneath.at(path)


def test_a_removal_goes_through_no_link(sides: Sides) -> None:
    """Also if the folder was replaced after the file was compared."""
    (sides.there / "a").mkdir()
    (sides.there / "a" / "secret").write_text("of another")
    wanted = {"a/secret": tree.scan(str(sides.there)).files["a/secret"]}
    swap(sides.there / "a", sides.outside)()
    assert project_remove.remove(str(sides.there), wanted, False, []) == []
    look = project_remove.fingerprint
    try:
        project_remove.fingerprint = lambda *_: wanted["a/secret"]
        project_remove.remove(str(sides.there), wanted, False, [])
    finally:
        project_remove.fingerprint = look
    assert everything(sides.outside) == {"secret": "of another"}
    (sides.there / "b").write_text("1")
    removed: list[str] = []
    there = tree.scan(str(sides.there)).files
    assert project_remove.remove(str(sides.there), {"b": there["b"], "c": "1"}, True, removed) == []
    assert (removed, (sides.there / "b").exists()) == (["b"], True)
    assert project_remove.remove(str(sides.there), {"b": "other"}, False, []) == ["b"]
    assert project_remove.remove(str(sides.there), {"b": there["b"]}, False, []) == []
    assert not (sides.there / "b").exists()


def test_what_the_machine_names_outside_of_the_project_is_not_asked_for(sides: Sides) -> None:
    there = tree.Tree(dict.fromkeys(("../x", "/etc/passwd", "a/../../y", ".venv/z", "runs/r", "good"), "1"), {}, {}, ())
    assert set(project_plan.received(there).files) == {"good"}
