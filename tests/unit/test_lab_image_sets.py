"""Which images of a set a lab takes: those that are there as a whole, under a name that is a set's."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from lab import image_sets
from lab.config import BadInputError

FACTS = image_sets.Facts("0123456789abcdef", "slipway-0123456789abcdef-i-1", "us-east-1", "x86_64", "hvm", 8, 6)


def kept(place: Path, disk: bytes | None = b"a disk", **changed: Any) -> Path:
    """An image of a set, with other facts perhaps."""
    if disk is not None:
        (place / f"{FACTS.contents}.img").write_bytes(disk)
    facts = place / f"{FACTS.contents}.json"
    facts.write_text(json.dumps(asdict(FACTS) | changed))
    return facts


def test_a_whole_image_is_taken(tmp_path: Path) -> None:
    assert image_sets.read(kept(tmp_path)) == FACTS


@pytest.mark.parametrize(
    ("disk", "changed"),
    [
        (None, {}),
        (b"half", {}),
        (b"a disk", {"contents": "fedcba9876543210"}),
        (b"a disk", {"of_a_later_version": 1}),
    ],
)
def test_one_that_is_half_there_or_another_is_not(tmp_path: Path, disk: bytes | None, changed: dict[str, Any]) -> None:
    assert image_sets.read(kept(tmp_path, disk, **changed)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_facts_that_cannot_be_read_are_of_no_image(tmp_path: Path, text: str) -> None:
    facts = kept(tmp_path)
    facts.write_text(text)
    assert image_sets.read(facts) is None


@pytest.mark.parametrize("name", ["../bases", "a/b", ".", "-a", "a b", "a" * 65, "a\n"])
def test_a_set_has_the_name_of_a_folder(name: str) -> None:
    with pytest.raises(BadInputError, match="SLIPWAY_LAB_IMAGES"):
        image_sets.folder(name)


def test_no_set_is_named() -> None:
    assert image_sets.folder(None) is None
    assert image_sets.folder("") is None
