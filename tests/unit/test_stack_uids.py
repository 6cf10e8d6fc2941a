"""User ids for the stores: no stack ever gets those of another one, and what is given to a user leads nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import PROJECT
from tests.modules import load

rules, host = load("stack_uid_rules"), load("stack_uids")
FIRST = rules.FIRST


def nth(number: int) -> int:
    """The first id of a block."""
    return int(FIRST + number * rules.SIZE)


@pytest.mark.parametrize(
    ("blocks", "owners", "number"),
    [
        ({}, {}, 0),
        # It keeps its own, whatever others have, and whatever its volumes belonged to before.
        ({"mine": nth(3), "other": nth(5)}, {"mine": {999}}, 3),
        ({"other": nth(0)}, {}, 1),
        # Volumes of an earlier version, and of root's.
        ({}, {"mine": {999, 0}, "other": {999}}, 0),
        # Another stack was removed, and kept a volume; or the record was lost.
        ({}, {"other": {nth(0) + 2}}, 1),
        ({}, {"mine": {nth(4) + 1, nth(4) + 3}, "other": {nth(7) + 1}}, 4),
        # Blocks in between are left out: of their stacks nothing is known.
        ({"other": nth(9)}, {}, 10),
        # The record says that it has what another one's volume belongs to: a copied disk, a record that was mended by hand.
        ({"mine": nth(2)}, {"other": {nth(2) + 1}}, 3),
        ({"other": nth(1)}, {"mine": {nth(1) + 1}}, 2),
        # Of two, as after such a case, it keeps one.
        ({}, {"mine": {nth(2) + 1, nth(6) + 1}}, 2),
    ],
)
def test_a_block_is_one_stacks_alone(blocks: dict[str, int], owners: dict[str, set[int]], number: int) -> None:
    assert rules.allotted("mine", blocks, owners) == nth(number)


@pytest.mark.parametrize(
    ("blocks", "owners", "found"),
    [
        ({}, {}, {}),
        ({}, {"one": {nth(2) + 1, nth(2) + 3}, "two": {nth(5) + 1, 0}}, {"one": 2, "two": 5}),
        # What the record knows stays as it is.
        ({"one": nth(7)}, {"one": {nth(2) + 1}}, {}),
        ({"two": nth(2)}, {"one": {nth(2) + 1}}, {}),
        # A copied volume; volumes of two blocks; those of an earlier version; one that has no stack's name.
        ({}, {"one": {nth(2) + 1}, "copy": {nth(2) + 1}}, {}),
        ({}, {"one": {nth(2) + 1, nth(3) + 1}}, {}),
        ({}, {"one": {999}}, {}),
        ({}, {"A.b": {nth(2) + 1}}, {}),
    ],
)
def test_a_record_that_was_lost_is_found_again_by_the_volumes(
    blocks: dict[str, int], owners: dict[str, set[int]], found: dict[str, int]
) -> None:
    assert rules.found_again(blocks, owners) == {stack: nth(number) for stack, number in found.items()}


def test_hundreds_of_stacks_get_ids_of_their_own() -> None:
    blocks: dict[str, int] = {}
    for number in range(300):
        blocks[f"s{number}"] = rules.allotted(f"s{number}", blocks, {})
    everyone = [uid for first in blocks.values() for uid in rules.uids(first).values()]
    assert len(set(everyone)) == 300 * len(rules.PLACES)
    # Docker takes ids below 2^31; what is 0, a user's or a subordinate id lies below.
    assert min(everyone) > 1_879_048_191 and max(everyone) < 1 << 31
    assert rules.read(rules.written(blocks)) == blocks


def test_if_all_ids_are_taken_that_is_said() -> None:
    with pytest.raises(rules.RecordError, match="are taken"):
        rules.allotted("mine", {"other": rules.LAST - rules.SIZE}, {})


@pytest.mark.parametrize(
    "line",
    [
        "mine",
        "mine 5",
        f"mine {FIRST + 1}",
        f"mine -{FIRST}",
        f"MINE {FIRST}",
        f"mine {FIRST}\nmine {nth(1)}",
        f"mine {FIRST}\nother {FIRST}",
        "{}",
    ],
)
def test_a_record_that_cannot_be_read_gives_nothing_away(line: str) -> None:
    with pytest.raises(rules.RecordError, match=r"line [12] is"):
        rules.read(f"{line}\n")


def test_a_record_of_other_bytes_cannot_be_read(tmp_path: Path) -> None:
    record = tmp_path / "uids"
    record.write_bytes(f"# \xff\nmine {FIRST}\n".encode("latin-1"))
    assert host.recorded(record) == {"mine": FIRST}
    record.write_bytes(f"m\xefne {FIRST}\n".encode("latin-1"))
    with pytest.raises(host.RecordError, match="line 1 is"):
        host.recorded(record)


def test_a_record_is_whole_or_not_there(tmp_path: Path) -> None:
    assert host.recorded(tmp_path / "uids") == {}
    (tmp_path / "uids").write_text(rules.written({"mine": nth(1)}))
    assert host.recorded(tmp_path / "uids") == {"mine": nth(1)}


def test_only_a_stacks_own_ids_are_given_its_volumes(tmp_path: Path) -> None:
    own = rules.uids(nth(1))
    assert host.wanted(str(tmp_path), own) == {}
    (tmp_path / ".env").write_text(f"REDIS_IMAGE=x\nREDIS_UID={own['redis']}\nMONGO_UID={own['mongo']}\n")
    assert host.wanted(str(tmp_path), own) == {"redis": own["redis"], "mongo": own["mongo"]}
    for wrong in (0, 1000, rules.uids(nth(2))["redis"], "x"):
        (tmp_path / ".env").write_text(f"REDIS_UID={wrong}\n")
        with pytest.raises(host.OwnerError, match="REDIS_UID"):
            host.wanted(str(tmp_path), own)


def test_what_lies_in_a_volume_is_found_without_following_links(tmp_path: Path) -> None:
    outside, volume = tmp_path / "outside", tmp_path / "volume"
    (volume / "deep" / "er").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret").write_text("x")
    (volume / "deep" / "file").write_text("x")
    (volume / "to a folder").symlink_to(outside)
    (volume / "deep" / "to a file").symlink_to(outside / "secret")
    (volume / "to nothing").symlink_to("nowhere")
    os.mkfifo(volume / "deep" / "er" / "pipe")
    top = os.open(volume, os.O_RDONLY)
    seen = {}
    for parent, name in host._entries(top, os.fstat(top).st_dev):
        os.chown(name, -1, -1, dir_fd=parent, follow_symlinks=False)
        seen[name] = os.stat(name, dir_fd=parent, follow_symlinks=False).st_ino
    os.close(top)
    assert set(seen) == {"deep", "er", "file", "to a folder", "to a file", "to nothing", "pipe"}
    assert (outside / "secret").stat().st_ino not in seen.values()


def test_the_volumes_are_those_of_the_compose_files() -> None:
    for store, keys in rules.VOLUMES.items():
        found: dict[str, Any] = yaml.safe_load((PROJECT / f"roles/stack/files/compose/compose.{store}.yml").read_text())
        assert tuple(found["volumes"]) == keys
        mounted = [each for each in found["services"][store]["volumes"] if not isinstance(each, str)]
        # From an empty one the engine would copy the image's folder with its owner.
        assert [(each["source"], each["volume"]) for each in mounted] == [(key, {"nocopy": True}) for key in keys]
