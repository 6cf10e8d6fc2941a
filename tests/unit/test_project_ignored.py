"""What stays here on a push: git's own answer, wherever the project lies, and .slipwayignore's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.modules import read
from tests.unit.test_project_sync import ignored, settings, tree

Make = Callable[..., Path]
TREE = (
    *("slipway.yml", "notes.md", "a.log", ".env", "lib/a.py", "lib/.env", "lib/b.txt", "#hash", "!bang", "[x]/y", "Build/q.py"),
    *("data/raw/x.csv", "data/.gitkeep", "data/keep/y.csv", "models/m.pkl", "models/M.PKL", "build/lib/z.py"),
    *("venv/bin/activate", "node_modules/a/b.js", "config/node_modules/c.js"),
)


def git(folder: Path, *words: str) -> str:
    # The tests' own git: no settings of the computer's.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name.startswith("GIT_CONFIG_")}
    line = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always", "-C", str(folder), *words]
    return subprocess.run(line, check=True, capture_output=True, env=env, text=True, errors="surrogateescape").stdout


def stays(project: Path, gone: tuple[str, ...] = (), always: tuple[str, ...] = ()) -> set[str]:
    return set(ignored.ignored(str(project), tree.names(str(project)), gone, always))


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A project of these files; names that end with = have a text."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))

    def made(*files: str, folder: str = "project", repository: bool = True, **texts: str | bytes) -> Path:
        project = tmp_path / folder
        for name in (*files, *texts):
            text = texts.get(name, "x")
            file = project / {"rules": ".gitignore", "own": ".slipwayignore"}.get(name, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
        if repository:
            git(project, "init", "--quiet")
        return project

    return made


# Each row's answer is git's. A library of patterns has other ones for several of them.
@pytest.mark.parametrize(
    "rules",
    [
        "venv/\nnode_modules/\n.env\n",
        "*\n!*/\n!*.py\n",
        "/*\n!/lib/\n!/slipway.yml\n",
        ".env\n!config/\n",
        "node_modules\n!config/\n",
        "data/*\n!data/.gitkeep\n",
        "data/**\n!data/**/\n!data/**/.gitkeep\n",
        "data/\n!data/keep/y.csv\n",
        "*.p?l\n",
        "*.[pP][kK][lL]\n!models/m.pkl\n",
        "[[:upper:]]*\n",
        "build/\n",
        "**/lib\n",
        "lib/**\n!lib/a.py\n",
        "*/\n![ab]*/\n",
        "/lib/*.txt\nnotes.md   \n*.log\t\n",
        "# a comment\n\\#hash\n\\!bang\n",
        "[x]\n\\[x]\n",
        "a.log\\ \nnotes.md\\\n",
        b"\xef\xbb\xbf.env\r\nvenv/\r\n",
        b"caf\xe9/\nvenv/\n",
        "",
    ],
    ids=repr,
)
@pytest.mark.parametrize("repository", [True, False])
def test_the_answer_is_gits(make: Make, rules: str | bytes, repository: bool) -> None:
    project = make(*TREE, rules=rules)
    (project / "data/.gitignore").write_text("!x.csv\nkeep/\n")
    (project / "caf\udce9").mkdir()
    (project / "caf\udce9/a").touch()
    expected = set(git(project, "ls-files", "--others", "--ignored", "--exclude-standard", "-z").split("\0")) - {""}
    if not repository:
        (project / ".git").rename(project.parent / "away")
    assert stays(project) == expected


def test_each_place_that_git_reads_counts(make: Make, tmp_path: Path) -> None:
    project = make("a.csv", "b.csv", "c.csv", "d.csv", "sub/a.csv", rules="/a.csv\n")
    (project / ".git/info").mkdir(exist_ok=True)
    (project / ".git/info/exclude").write_text("b.csv\n")
    (tmp_path / "everywhere").write_text("c.csv\n")
    (tmp_path / "gitconfig").write_text(f"[core]\n\texcludesFile = {tmp_path / 'everywhere'}\n")
    assert stays(project) == {"a.csv", "b.csv", "c.csv"}


def test_what_git_tracks_is_sent_whatever_the_patterns_say(make: Make) -> None:
    project = make("data/in.csv", "data/out.csv", rules="data/\n")
    git(project, "add", "--force", "data/in.csv")
    before = (project / ".git/index").read_bytes()
    assert stays(project) == {"data/out.csv"}
    assert (project / ".git/index").read_bytes() == before
    assert not list((project / ".git").glob("sharedindex*"))


def test_the_rules_of_the_repository_around_count_unless_they_are_for_the_whole_project(make: Make) -> None:
    project = make("a.csv", "b.log", "tmp/c", folder="big/survey", repository=False, rules="b.log\n")
    (project.parent / ".gitignore").write_text("*.csv\n/survey/tmp/\n")
    git(project.parent, "init", "--quiet")
    assert stays(project) == {"a.csv", "b.log", "tmp/c"}
    # Whoever makes a project there means it.
    (project.parent / ".gitignore").write_text("*.csv\n/survey/\n")
    assert stays(project) == {"b.log"}


def test_a_repository_inside_has_its_own_rules(make: Make) -> None:
    project = make(
        "a.log", "vendor/x", "vendor/y.log", "part/in.csv", "part/a.log", "part/deep/b.csv", "part/deep/c", rules="*.log\nvendor/\n"
    )
    for inner, rules in (("vendor", "x\n"), ("part", "*.csv\n"), ("part/deep", "c\n")):
        (project / inner / ".gitignore").write_text(rules)
        git(project / inner, "init", "--quiet")
    assert stays(project) == {"a.log", "vendor/x", "vendor/y.log", "vendor/.gitignore", "part/in.csv", "part/deep/c"}
    (project / "part/.gitignore").write_text("deep/\n")
    assert stays(project) >= {"part/deep/b.csv", "part/deep/c", "part/deep/.gitignore"}
    # As a clone of it brings it, whose settings lie in the repository around.
    source = make("s", folder="source", rules="made\n")
    git(source, "add", ".")
    git(source, "commit", "--quiet", "--message=1")
    git(project, "submodule", "--quiet", "add", str(source), "sub")
    (project / "sub/made").touch()
    assert {path for path in stays(project) if path.startswith("sub")} == {"sub/made"}


def test_a_slipwayignore_decides_alone(make: Make) -> None:
    project = make(
        "a.csv", "b.log", "data/c.log", "data/keep.log", "part/d.log", "part/e", rules="*.csv\n", own="*.log\n!keep.log\n/part/e\n"
    )
    git(project, "add", "b.log")
    git(project / "part", "init", "--quiet")
    (project / "data/.gitignore").write_text("c.log\nkeep.log\n")
    assert stays(project) == {"b.log", "data/c.log", "part/d.log", "part/e"}
    (project / ".slipwayignore").write_text("")
    assert stays(project) == set()
    (project / ".slipwayignore").unlink()
    (project / ".slipwayignore").mkdir()
    with pytest.raises(ignored.IgnoreError, match=r"cannot say what it ignores in .*slipwayignore"):
        stays(project)


def test_what_is_not_here_any_more_is_ignored_as_it_would_be(make: Make) -> None:
    project = make("data/a", "f", rules="venv/\n*.pkl\n")
    (project / "link").symlink_to("data")
    gone = ("venv/x", "models/m.pkl", "models/n.csv", "data", "f/below.pkl", "link/m.pkl", ".git/x.pkl", "a\nb.pkl")
    assert stays(project, gone=gone) == {"venv/x", "models/m.pkl", "a\nb.pkl"}


def test_what_slipway_yml_names_is_always_sent(make: Make) -> None:
    project = make("data/a.csv", "data/b.csv", "docker/postgres/1.sql", "docker/jupyter/Dockerfile", rules="*\n")
    (project / "slipway.yml").write_text("services: [jupyter, postgres]\nseeds: [data/a.csv, 7]\n")
    assert stays(project, always=(*ignored.always(str(project)), "runs.ipynb")) == {".gitignore", "data/b.csv"}
    (project / "slipway.yml").unlink()
    assert ignored.always(str(project)) == ["slipway.yml", "docker/"]


def test_names_and_links_of_every_kind_are_ignored_as_git_does(make: Make) -> None:
    names = ("line\nbreak", "sp ace", "ta\tb", "latin-\udce4", "é", "e\u0301", "*", "?", ".GIT/x", "-n", "#a")
    project = make(rules="out/\nvenv\né\n")
    for name in names:
        for file in (project / name, project / "out" / name):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    (project / "venv/bin").mkdir(parents=True)
    (project / "venv/bin/python").symlink_to("/usr/bin/python3")
    (project / "broken").symlink_to("out/nothing")
    # A pattern for folders alone, and a link to a folder.
    (project / "in/out").mkdir(parents=True)
    (project / "in/out").rmdir()
    (project / "in/out").symlink_to("../venv")
    # git keeps its hands off what is called as its own folder; so does this.
    inside = {f"out/{name}" for name in names if "GIT" not in name}
    assert stays(project) == inside | {"venv/bin/python", "é"}


def test_rules_that_are_no_file_are_none(make: Make) -> None:
    project = make("a", "b/c", "d/e")
    (project / ".gitignore").mkdir()
    (project / ".gitignore/f").touch()
    (project / "b/.gitignore").symlink_to("nothing")
    (project / "d/.gitignore").write_text("e\n")
    assert stays(project) == {"d/e"}


def test_a_folder_that_cannot_be_listed_is_ignored_as_a_whole(make: Make) -> None:
    project = make("a", "pgdata/b", "other/c", rules="pgdata/\n")
    listed = tree.Names(("a", "pgdata", "other"), (), {"pgdata": "cannot be read", "other": "cannot be read"})
    assert ignored.ignored(str(project), listed) == {"pgdata"}


def test_another_owner_and_the_shells_variables_of_a_hook_change_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make("a", "b", rules="a\n")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    if os.geteuid() == 0:
        for path in (project, project / ".git"):
            os.chown(path, 4321, 4321)
    assert stays(project) == {"a"}


def test_git_is_asked_as_often_for_many_files_as_for_two(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    ask = subprocess.run

    def count(line: list[str], **more: Any) -> subprocess.CompletedProcess[bytes]:
        asked.append(line)
        return ask(line, **more)

    project = make("a", "b", rules="*.log\n")
    monkeypatch.setattr(ignored.subprocess, "run", count)
    stays(project)
    few = len(asked)
    for number in range(500):
        (project / f"{number}.log").touch()
        (project / f"{number}.csv").touch()
    assert len(stays(project, gone=tuple(f"gone/{number}.log" for number in range(500)))) == 1000
    assert len(asked) == 2 * few


def test_what_git_cannot_say_is_refused_with_the_way_out(make: Make) -> None:
    project = make("a", "b", rules="a\n")
    (project / ".git/config").write_text("[core\n")
    with pytest.raises(ignored.IgnoreError, match=r"bad config .*write \.slipwayignore"):
        stays(project)
    (project / ".slipwayignore").write_text("b\n")
    assert stays(project) == {"b"}


def test_without_git_rules_are_refused_and_a_project_without_them_is_sent(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make("a", "sub/b", repository=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert stays(project) == set()
    (project / "sub/.gitignore").write_text("b\n")
    with pytest.raises(ignored.IgnoreError, match=r"git is missing .*sub/\.gitignore.*Install the package git"):
        stays(project)


def test_the_check_of_a_project_passes_over_what_stays_here(make: Make) -> None:
    project_read = read("roles", "project", "library", "project_read.py")
    project = make("ipynb/a.ipynb", "data/a.csv", "docker/postgres/1.sql", "venv/line\nbreak", rules="venv/\ndata/\n")
    (project / "slipway.yml").write_text("name: demo\nservices: [jupyter, postgres]\nseeds: [data/a.csv]\n")
    found = project_read.look(project)
    assert found["init_scripts"] == ["1.sql"]
    (project / "data/a.csv").write_text("changed")
    assert project_read.look(project)["seed_digest"] != found["seed_digest"]
    (project / "line\nbreak").mkdir()
    for name in "ab":
        (project / "line\nbreak" / name).touch()
    with pytest.raises(settings.SettingsError) as refused:
        project_read.look(project)
    assert refused.value.lines == (
        r"'line\nbreak' cannot be synced: its name has a line break, another control character or no UTF-8. Rename it.",
    )
