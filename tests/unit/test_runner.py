"""The folder of a run's records."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway import runner
from slipway.model import Request


def test_two_plays_of_one_command_have_a_folder_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "STATE", tmp_path)
    request = Request(verb="resize", playbook="playbooks/find.yml", target="lab", variables={})
    # In the same second: the first one ends at once where a variable is misspelt.
    folders = [runner._new_folder(request) for _ in range(3)]
    assert folders == sorted((tmp_path / "runs").iterdir())
