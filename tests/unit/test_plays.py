"""What a command says if there is no machine that runs."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from slipway import plays
from slipway.model import RefusalError, Result

UP, DEPLOY = "python orchestrate.py up", "python orchestrate.py deploy '{}'"


@pytest.mark.parametrize(
    ("words", "start"),
    [
        ({}, UP),
        # A project's machine need not have the base stack, which might take the project's memory.
        ({"project": "a project"}, DEPLOY),
        ({"notebook": "a project/ipynb/first.ipynb"}, DEPLOY),
        # The name of a stack on the machine.
        ({"project": "slipway"}, UP),
        ({"notebook": "elsewhere.ipynb"}, UP),
    ],
)
def test_a_machine_that_does_not_run_is_named_with_what_brings_the_stack_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: dict[str, str], start: str
) -> None:
    (tmp_path / "a project").mkdir()
    (tmp_path / "a project" / "slipway.yml").touch()
    monkeypatch.chdir(tmp_path)
    options = argparse.Namespace(target="lab", command="status", **words)
    wanted = start.format(tmp_path / "a project")
    with pytest.raises(RefusalError, match="is stopped") as stopped:
        plays.running_instance(options, Result(None, 0, 0.0, {"instance": {"id": "i-1", "state": "stopped"}}, tmp_path))
    assert str(stopped.value).endswith(f"Start it with: {wanted}")
    with pytest.raises(RefusalError, match="no instance") as missing:
        plays.running_instance(options, Result(None, 0, 0.0, {}, tmp_path))
    assert str(missing.value).endswith(f"Make one with: {wanted}")
