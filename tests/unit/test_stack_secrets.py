"""A stack's secrets: what another computer has sent is seen wherever it lies, and nothing is started without what it reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.conftest import PROJECT
from tests.modules import load, read

load("stack_engine")
ROLE = PROJECT / "roles" / "stack"
look = read("roles", "stack", "library", "stack_look.py")
PLACES: dict[str, str] = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["__stack_secret_folders"]
NAMES: dict[str, str] = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["__stack_secrets"]


@pytest.mark.parametrize("service", sorted(NAMES))
def test_a_secret_of_another_computer_is_seen(service: str, tmp_path: Path) -> None:
    (tmp_path / PLACES[service]).mkdir()
    (tmp_path / PLACES[service] / NAMES[service]).write_text("theirs")
    assert look.other(str(tmp_path), {NAMES[service]: "mine"}) == [NAMES[service]]
    assert look.other(str(tmp_path), {NAMES[service]: ""}) == [NAMES[service]]
    assert look.other(str(tmp_path), {NAMES[service]: "theirs"}) == []
    assert look.other(str(tmp_path / "gone"), {NAMES[service]: "mine"}) == []


def test_a_resumed_stack_has_the_secrets_that_its_files_name() -> None:
    """One of an earlier version has no token for its monitor: the engine would make its folder, as root."""
    tasks = yaml.safe_load((ROLE / "tasks" / "resume.yml").read_text())
    loop = next(each["loop"] for each in tasks if "files.yml" in each.get("loop", []))
    assert loop.index("secrets_refusal.yml") < loop.index("secrets.yml") < loop.index("files.yml")


def test_an_image_is_readable_by_its_users_whatever_the_mode_of_its_files() -> None:
    """Under umask 077 a checkout can be read by its owner alone; both ways to an image set the same modes."""
    sent = next(each for each in yaml.safe_load((ROLE / "tasks" / "image_here.yml").read_text()) if "ansible.posix.synchronize" in each)
    copied = next(each for each in yaml.safe_load((ROLE / "tasks" / "image_context.yml").read_text()) if "ansible.builtin.command" in each)
    modes = [word for word in copied["ansible.builtin.command"]["argv"] if word.startswith("--chmod=")]
    assert modes and sent["ansible.posix.synchronize"]["rsync_opts"] == modes
