"""The linters, among the tests: they run while the lab's images are built."""

from __future__ import annotations

import subprocess

import pytest

from tests.conftest import PROJECT


@pytest.mark.xdist_group("linters")
def test_every_linter_is_content() -> None:
    done = subprocess.run([PROJECT / "tools" / "lint"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
