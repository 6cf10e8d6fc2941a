"""Modules are packed once for many runs, and again as soon as a file has changed that could be in a package."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from ansible import constants

from tests.modules import read


@pytest.fixture
def speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The callback, in a project with one module, in a run of Ansible with a temporary folder of its own."""
    module = read("slipway", "callback", "slipway_speed.py")
    monkeypatch.setattr(module, "PROJECT", tmp_path)
    library = tmp_path / "roles" / "one" / "library"
    library.mkdir(parents=True)
    (library / "look.py").write_text("first = 1\n")
    return module


def run(speed: ModuleType, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's own temporary folder, as its packages are kept."""
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(folder))
    speed.keep_packages(speed.packages())
    return folder / "ansiballz_cache"


def test_a_package_of_an_earlier_run_is_there_until_a_file_changes(
    speed: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run(speed, tmp_path, "first", monkeypatch) / "look").write_text("packed")
    assert (run(speed, tmp_path, "second", monkeypatch) / "look").read_text() == "packed"
    source = tmp_path / "roles" / "one" / "library" / "look.py"
    source.write_text("second = 2\n")
    assert not (run(speed, tmp_path, "third", monkeypatch) / "look").exists()
    source.write_text("first = 1\n")
    assert (run(speed, tmp_path, "fourth", monkeypatch) / "look").read_text() == "packed"


def test_only_the_last_states_are_kept(speed: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        (tmp_path / "roles" / "one" / "library" / "look.py").write_text(f"number = {number}\n")
        last = run(speed, tmp_path, str(number), monkeypatch)
        assert len(list((tmp_path / ".ansible" / "modules").iterdir())) <= speed.STATES
    assert last.resolve().is_dir()
