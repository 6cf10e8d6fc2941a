"""The command `new`: folders that the role project takes as they are, and what it refuses."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from itertools import combinations
from pathlib import Path

import nbformat
import pytest

from slipway import arguments, new, words
from slipway.cli import main
from slipway.model import RefusalError
from tests.unit.test_project_settings import project_dockerfile, project_settings

CHOICES = [
    tuple(each for each in new.SERVICES if each in ("jupyter", *chosen))
    for count in range(6)
    for chosen in combinations(new.SERVICES[1:], count)
    if "redis" in chosen or not {"worker", "monitor"} & set(chosen)
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, and a git that knows nobody."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder))
    yield folder


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "A User")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "user@example.org")


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts}


@pytest.mark.parametrize("services", CHOICES, ids=["-".join(chosen) for chosen in CHOICES])
def test_every_choice_is_a_project_that_the_role_takes(services: tuple[str, ...], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new, "_git", lambda folder: ("none", ()))
    made = new.make("demo", services)
    assert made.path == home / "demo"
    settings = project_settings.read(made.path)
    assert settings["services"] == list(services)
    assert settings["name"] == "demo"
    assert project_dockerfile.adds_nothing((made.path / "docker/jupyter/Dockerfile").read_text())
    expected = {"slipway.yml", ".gitignore", "docker/jupyter/Dockerfile", "lib/__init__.py", f"ipynb/{date.today():%Y%m%d}-first.ipynb"}
    stores = {store for store in ("redis", "mongo", "postgres") if store in services}
    expected |= {"lib/stores.py"} if stores else set()
    expected |= {"docker/postgres/10-tables.sql", "data/measurements.csv"} if "postgres" in stores else {"data/.gitkeep"}
    expected |= {"lib/jobs.py"} if "worker" in services else set()
    assert files(made.path) == expected
    defined = connectors(made.path / "lib" / "stores.py") if stores else set()
    assert defined == {f"connect_to_{store}" for store in stores}
    [place] = project_settings.notebooks(made.path)
    book = nbformat.read(made.path / place, as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    text = "\n".join(cell.source for cell in code)
    ast.parse(text)
    # It uses each store, by what lib has.
    assert {word for word in defined if f"{word}()" in text} == defined
    assert ("enqueue(" in text) == ("worker" in services)
    assert "lib" in text
    for path in files(made.path):
        content = (made.path / path).read_text()
        assert "{%" not in content, path
        assert content.endswith("\n") or not content, path
        assert "\n\n\n\n" not in content, path


def connectors(stores: Path) -> set[str]:
    return {node.name for node in ast.parse(stores.read_text()).body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"}


def test_what_it_writes_is_formatted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new, "_git", lambda folder: ("none", ()))
    for number, services in enumerate(CHOICES):
        new.make(f"demo{number}", services)
    for line in (["format", "--check"], ["check", "--select", "E,F,I,W,UP,B"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *line, "--isolated", "--line-length", "140", "."], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_key_of_the_settings_is_documented() -> None:
    made = new.make("demo", ("jupyter", "redis", "postgres", "worker"))
    text = (made.path / "slipway.yml").read_text()
    for key in project_settings.KEYS:
        assert f"\n{key}:" in text or f"\n# {key}:" in text, key
    # What the comments show is allowed as it stands there.
    (made.path / "slipway.yml").write_text(re.sub(r"^# ((  )?[a-z_]+:)", r"\1", text, flags=re.MULTILINE))
    settings = project_settings.read(made.path)
    assert settings["packages"] == {"pip": ["xgboost==2.1.1"], "apt": ["graphviz"]}
    assert settings["machines"] == {"store": {"services": ["mongo"], "instance_type": "t2.micro"}}


@pytest.mark.parametrize(
    ("words", "services", "told"),
    [
        (None, ("jupyter", "redis"), ""),
        ("mongo", ("jupyter", "mongo"), ""),
        ("jupyter", ("jupyter",), ""),
        ("postgres, redis", ("jupyter", "redis", "postgres"), ""),
        ("worker", ("jupyter", "redis", "worker"), "redis was added, for worker."),
        ("monitor,worker,mongo", ("jupyter", "redis", "mongo", "worker", "monitor"), "redis was added, for worker and monitor."),
        ("redis,worker", ("jupyter", "redis", "worker"), ""),
    ],
)
def test_a_new_project_has_the_services_that_are_asked_for(words: str | None, services: tuple[str, ...], told: str) -> None:
    found, said = new.chosen(getattr(arguments.parse(["new", "demo", *(["--with", words] if words else [])]), "services", None))
    assert found == services
    assert "".join(said).startswith(told)
    assert bool(said) == bool(told)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["demo", "--with", "postgresql"],
            "--with: 'postgresql' cannot be used. Allowed: redis, mongo, postgres, worker, monitor; each once, with commas between them. "
            "Did you mean postgres? Nothing was changed.",
        ),
        (["demo", "--with", "redis,redis"], "--with: 'redis' cannot be used: it is given twice"),
        (["demo", "--with", ""], "--with: '' cannot be used"),
        (["demo", "--with", "redis,,mongo"], "--with: '' cannot be used"),
        (["Demo"], "NAME: 'Demo' cannot be used. Allowed: 1 to 30 lower-case letters"),
        (["a/b"], "NAME: 'a/b' cannot be used"),
        (["../demo"], "NAME: '../demo' cannot be used"),
        ([".."], "NAME: '..' cannot be used"),
        ([""], "NAME: '' cannot be used"),
        (["demo-"], "NAME: 'demo-' cannot be used"),
        (["demo\n"], "NAME: 'demo\\n' cannot be used"),
        (["1demo"], "NAME: '1demo' cannot be used"),
        (["d" * 31], "cannot be used"),
        (["slipway"], "slipway is the base stack's own"),
        (["{{ x }}"], "NAME: '{{ x }}' cannot be used"),
        (["there"], "exists already. Allowed: a new name."),
        (["link"], "exists already"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(words: list[str], said: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "there").mkdir()
    (home / "link").symlink_to("nothing")
    assert main(["new", *words, "--json"]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert json.loads(printed.out)["code"] == 2
    assert sorted(path.name for path in home.iterdir()) == ["link", "there"]


@pytest.mark.parametrize("step", ["_write", "_git"])
@pytest.mark.parametrize("end", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_half_way_leaves_nothing_behind(step: str, end: BaseException, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path, *words: object) -> None:
        (folder / "begun").touch()
        raise end

    monkeypatch.setattr(new, step, fail)
    with pytest.raises(RefusalError if isinstance(end, OSError) else KeyboardInterrupt) as refusal:
        new.make("demo", ("jupyter",))
    assert not list(home.iterdir())
    if isinstance(end, OSError):
        assert "NAME: 'demo' cannot be made here: No space left on device." in str(refusal.value)


def test_a_current_folder_that_is_gone_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home.rmdir()
    assert main(["new", "demo"]) == 2
    assert "cannot be made here: No such file or directory" in capsys.readouterr().err


@pytest.mark.usefixtures("known")
def test_a_new_project_is_a_repository_with_a_commit(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    umask = os.umask(0o022)
    try:
        assert main(["new", "demo", "--with", "worker"]) == 0
    finally:
        os.umask(umask)
    printed = capsys.readouterr().out
    assert f"Made {home / 'demo'} with jupyter, redis, worker." in printed
    assert "redis was added" in printed
    assert printed.endswith("Next: python orchestrate.py deploy demo\n")
    assert (home / "demo").stat().st_mode & 0o777 == 0o755
    status = subprocess.run(["git", "status", "--porcelain", "--ignored"], cwd=home / "demo", capture_output=True, text=True, check=True)
    assert status.stdout == ""
    shown = subprocess.run(["git", "log", "--format=%an %s"], cwd=home / "demo", capture_output=True, text=True, check=True)
    assert shown.stdout == "A User A new project\n"


@pytest.mark.usefixtures("known")
def test_new_answers_in_json_with_what_to_type_next(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "new", "demo"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "path": str(home / "demo"),
        "services": ["jupyter", "redis"],
        "git": "committed",
        "told": [],
        "next": "python orchestrate.py deploy demo",
    }


def test_without_a_name_for_git_nothing_is_committed(home: Path) -> None:
    made = new.make("demo", ("jupyter",))
    assert made.git == "begun"
    assert "git does not know your name" in made.told[0]
    assert (made.path / ".git" / "HEAD").exists()


@pytest.mark.usefixtures("known")
def test_in_another_repository_no_other_is_made(home: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=home, check=True)
    made = new.make("demo", ("jupyter",))
    assert made.git == "none"
    assert made.told == (f"It lies in the git repository {home}: no other was made in it.",)
    assert not (made.path / ".git").exists()


@pytest.mark.usefixtures("known")
def test_a_commit_that_git_refuses_is_told(home: Path, tmp_path: Path) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "pre-commit").write_text("#!/bin/sh\necho 'no ticket' >&2\nexit 1\n")
    (hooks / "pre-commit").chmod(0o755)
    (tmp_path / ".gitconfig").write_text(f"[core]\nhooksPath = {hooks}\n")
    made = new.make("demo", ("jupyter",))
    assert made.git == "begun"
    assert made.told == ("Nothing was committed: no ticket",)


def test_without_git_it_is_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    made = new.make("demo", ("jupyter",))
    assert made.git == "none"
    assert "There is no git here" in made.told[0]


def test_the_rules_are_those_of_the_role() -> None:
    assert new.SERVICES == project_settings.SERVICES
    for name in ("a", "a" * 30, "a" * 31, "a-", "-a", "1a", "a1", "A", "é", "a_b", "", "a\n", project_settings.RESERVED):
        allowed = bool(project_settings.NAME.fullmatch(name)) and name != project_settings.RESERVED
        assert words.PROJECT_NAME.fits(name) is allowed, name
