"""What the documentation names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import PROJECT

PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), *PROJECT.glob("roles/*/README.md"), PROJECT / "lab" / "README.md"])


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(PROJECT)) for page in PAGES])
def test_every_test_that_is_named_exists(page: Path) -> None:
    file: Path | None = None
    text = page.read_text()
    for short, path in re.findall(r"`(\w)` is `(tests/[\w/]+\.py)`", text):
        text = text.replace(f"`{short}::", f"`{path}::")
    for path, name in re.findall(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", text):
        file = PROJECT / path if path else file
        if path or name:
            assert file is not None
            assert file.exists(), file
            assert not name or f"def {name}(" in file.read_text(), f"{file}::{name}"


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(PROJECT)) for page in PAGES])
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
