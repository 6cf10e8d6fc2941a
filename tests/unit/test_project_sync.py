"""The three-way comparison of a project folder, over every state that a file can be in."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

import pytest

from tests.modules import load

sync, tree, settings, ignored = map(load, ("project_sync", "project_tree", "project_settings", "project_ignored"))

ABSENT = None
EACH = (ABSENT, "A", "B", "C")
FLAGS = (False, True)
STATES = [
    (direction, here, there, base, overwrite, delete)
    for direction, here, there, base, overwrite, delete in product(("push", "pull"), EACH, EACH, EACH, FLAGS, FLAGS)
]


def files(fingerprint: str | None, path: str = "f") -> dict[str, str]:
    return {} if fingerprint is None else {path: fingerprint}


def done(plan: sync.Plan, here: dict[str, str], there: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Both sides after the plan was carried out."""
    if plan.conflicts:
        return here, there
    source, target = (here, dict(there)) if plan.direction == "push" else (there, dict(here))
    target = {path: value for path, value in target.items() if path not in plan.removed}
    target |= {path: source[path] for path in plan.moved}
    return (here, target) if plan.direction == "push" else (target, there)


@pytest.mark.parametrize(("direction", "here", "there", "base", "overwrite", "delete"), STATES)
def test_nothing_is_lost_that_was_not_given_up(
    direction: str, here: str | None, there: str | None, base: str | None, overwrite: bool, delete: bool
) -> None:
    plan = sync.compare(direction, files(here), files(there), files(base), overwrite, delete)
    new_here, new_there = done(plan, files(here), files(there))
    source, target = (here, there) if direction == "push" else (there, here)
    new_source, new_target = (new_here, new_there) if direction == "push" else (new_there, new_here)
    # A direction writes to one side only, and there nothing but what the other has.
    assert new_source == files(source)
    assert new_target in (files(target), files(source))
    if new_target != files(target) and target is not None:
        # Something was replaced or removed: it was what the last sync had left, or the flags gave it up.
        assert target == base or overwrite
        assert source is not None or delete
        # Something that was there before any sync is removed by no flag.
        assert source is not None or base is not None
    if not overwrite and not delete and target not in (ABSENT, base):
        assert new_target == files(target)
    # One place a file, and a conflict stops everything.
    places = [plan.moved, plan.removed, tuple(each.path for each in plan.conflicts), *plan.left().values()]
    assert sum("f" in place for place in places) == (source != target)
    # Told, in words.
    assert bool(sync.told(plan, {})) == bool(plan.left())
    if plan.conflicts:
        assert "  f\n" in sync.refusal(plan)
        assert "--overwrite" in sync.refusal(plan)
        return
    # The same again has nothing to do.
    again = sync.compare(direction, new_here, new_there, plan.base, overwrite, delete)
    assert not again.moved
    assert not again.removed
    assert again.base == plan.base
    if source == target or plan.moved or plan.removed:
        assert plan.base == files(source)


@pytest.mark.parametrize(("direction", "here", "there", "base", "overwrite", "delete"), STATES)
def test_what_is_ignored_is_never_sent_never_removed_and_never_forgotten(
    direction: str, here: str | None, there: str | None, base: str | None, overwrite: bool, delete: bool
) -> None:
    plan = sync.compare(direction, files(here), files(there), files(base), overwrite, delete, {"f"})
    plain = sync.compare(direction, files(here), files(there), files(base), overwrite, delete)
    assert not plan.removed
    if direction == "push":
        assert not plan.moved
        assert not plan.conflicts
        # What only the machine has, and what this computer has beside an equal one, are as ever.
        on_both, somewhere = here is not None and there is not None, here is not None or there is not None
        assert (plan.ignored == ("f",)) == (on_both or (base is not None and somewhere))
    elif there is not None:
        # Fetched, refused or left by the rule of any other file; a refusal has other words.
        assert plan.moved == plain.moved
        assert [each.path for each in plan.conflicts] == [each.path for each in plain.conflicts]
        assert {each.kind for each in plan.conflicts} <= {"ignored_differs"}
    else:
        assert not plan.moved
        assert not plan.conflicts
        assert (plan.ignored == ("f",)) == (here is not None and base is not None)
    if not plan.moved and here != there:
        assert plan.base == files(base)
    # Un-ignored, it goes on as if nothing had been.
    assert sync.compare("push", files(here), files(there), plan.base) == sync.compare("push", files(here), files(there), files(base)) or (
        plan.moved or here == there
    )
    assert bool(sync.told(plan, {})) == bool(plan.left())
    if plan.conflicts:
        assert "pull --overwrite" in sync.refusal(plan)
        assert "push" not in sync.refusal(plan)


@pytest.mark.parametrize(
    ("sizes", "beside", "parts"),
    [
        ({"venv/a": 5, "venv/b/c": 5, ".env": 1}, ["lib/a"], ["venv/", ".env"]),
        # A folder that has other files too is not named as a whole.
        ({"data/raw/a": 1, "data/raw/b": 1, "data/x": 9}, ["data/y"], ["data/x", "data/raw/"]),
        ({"b": 1, "a": 1}, [], ["a", "b"]),
    ],
)
def test_places_are_named_the_largest_first(sizes: dict[str, int], beside: list[str], parts: list[str]) -> None:
    assert sync.largest(sizes, beside) == parts


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (1_234_567, "1.23 MB"), (210_400_000, "210 MB"), (3_456_000_000, "3.46 GB")],
)
def test_sizes_are_readable(number: int, text: str) -> None:
    assert sync.size(number) == text


@pytest.mark.parametrize(
    ("sizes", "large"),
    [
        ({}, False),
        ({"a": 100_000_000}, False),
        ({"a": 100_000_001}, True),
        (dict.fromkeys(map(str, range(5000)), 0), False),
        (dict.fromkeys(map(str, range(5001)), 0), True),
    ],
    ids=range(5),
)
def test_a_push_that_takes_a_while_is_told(sizes: dict[str, int], large: bool) -> None:
    assert sync.is_large(sizes) == large


@pytest.mark.parametrize(("here", "there", "base"), list(product(EACH, EACH, EACH)))
def test_a_push_then_a_pull_leave_both_sides_equal_but_for_removals(here: str | None, there: str | None, base: str | None) -> None:
    """With both flags everything comes to an end: whichever goes first wins."""
    push = sync.compare("push", files(here), files(there), files(base), True, True)
    pushed_here, pushed_there = done(push, files(here), files(there))
    pull = sync.compare("pull", pushed_here, pushed_there, push.base, True, True)
    end = done(pull, pushed_here, pushed_there)
    assert end[0] == end[1]
    assert pull.base == end[0]


@pytest.mark.parametrize(
    ("here", "there", "base", "kind"),
    [
        ("A", "B", ABSENT, "both_changed"),
        ("A", "B", "C", "both_changed"),
        (ABSENT, "B", "A", "gone_here_changed_there"),
        ("B", ABSENT, "A", "gone_there_changed_here"),
    ],
)
@pytest.mark.parametrize("direction", ["push", "pull"])
def test_each_kind_of_conflict_is_the_same_from_both_sides(
    here: str | None, there: str | None, base: str | None, kind: str, direction: str
) -> None:
    plan = sync.compare(direction, files(here), files(there), files(base))
    assert plan.conflicts == (sync.Conflict("f", kind),)


@pytest.mark.parametrize(
    ("direction", "here", "there", "base", "left"),
    [
        ("push", ABSENT, "A", ABSENT, "only_there"),
        ("push", ABSENT, "A", "A", "gone_here"),
        ("push", "A", ABSENT, "A", "gone_there"),
        ("push", "A", "B", "A", "changed_there"),
        ("pull", "A", ABSENT, ABSENT, "only_here"),
        ("pull", "A", ABSENT, "A", "gone_there"),
        ("pull", ABSENT, "A", "A", "gone_here"),
        ("pull", "B", "A", "A", "changed_here"),
    ],
)
def test_what_a_direction_does_not_touch_is_left_and_told(
    direction: str, here: str | None, there: str | None, base: str | None, left: str
) -> None:
    plan = sync.compare(direction, files(here), files(there), files(base))
    assert plan.left() == {left: ["f"]}
    assert not plan.moved
    assert not plan.removed


@pytest.mark.parametrize(
    ("here", "there", "base", "delete", "blocked"),
    [
        # A file became a folder here, and is still a file there.
        ({"a/b": "N"}, {"a": "A"}, {"a": "A"}, False, ["a/b"]),
        ({"a/b": "N"}, {"a": "A"}, {"a": "A"}, True, []),
        ({"a/b/c": "N"}, {"a": "A"}, {}, True, ["a/b/c"]),
        ({"a": "N"}, {"a/b": "B"}, {"a/b": "B"}, False, ["a"]),
        ({"a": "N"}, {"a/b": "B"}, {"a/b": "B"}, True, []),
        ({"a": "N"}, {"a/b": "B"}, {}, True, ["a"]),
        # A link that leads out of the project is in the way of a folder.
        ({"a/b": "N"}, {"a": "?"}, {}, True, ["a/b"]),
        ({"a.txt": "N", "a/c": "N"}, {"a/b": "B"}, {}, False, []),
    ],
)
def test_a_file_in_the_way_of_a_folder_is_a_conflict(
    here: dict[str, str], there: dict[str, str], base: dict[str, str], delete: bool, blocked: list[str]
) -> None:
    for overwrite in FLAGS:
        plan = sync.compare("push", here, there, base, overwrite, delete)
        assert [each.path for each in plan.conflicts] == blocked
        assert {each.kind for each in plan.conflicts} <= {"file_and_folder"}


@pytest.mark.parametrize(
    ("here", "there", "moved", "conflicts"),
    [
        (ABSENT, "?", (), ()),
        ("A", "?", (), ("f",)),
        ("?", ABSENT, (), ()),
        ("?", "A", (), ()),
        ("?", "?", (), ()),
    ],
)
def test_what_cannot_be_read_is_neither_sent_nor_replaced(
    here: str | None, there: str | None, moved: tuple[str, ...], conflicts: tuple[str, ...]
) -> None:
    plan = sync.compare("push", files(here), files(there), {})
    assert plan.moved == moved
    assert tuple(each.path for each in plan.conflicts) == conflicts
    assert plan.base == {}


@pytest.mark.parametrize(
    ("base", "pending", "target", "known"),
    [
        # What the interrupted sync has brought is known, the rest is as before.
        ({"f": "A"}, {"f": "B"}, {"f": "B"}, {"f": "B"}),
        ({"f": "A"}, {"f": "B"}, {"f": "A"}, {"f": "A"}),
        ({"f": "A"}, {"f": "B"}, {"f": "C"}, {"f": "A"}),
        ({}, {"f": "B"}, {"f": "B"}, {"f": "B"}),
        ({}, {"f": "B"}, {}, {}),
        ({"f": "A"}, {}, {}, {}),
        ({"f": "A"}, {}, {"f": "A"}, {"f": "A"}),
    ],
)
def test_an_interrupted_sync_is_known_as_far_as_it_came(
    base: dict[str, str], pending: dict[str, str], target: dict[str, str], known: dict[str, str]
) -> None:
    assert sync.settled(base, pending, target) == known


@pytest.mark.parametrize(
    ("path", "synced"),
    [
        ("slipway.yml", True),
        ("ipynb/first.ipynb", True),
        ("data/runs/a.csv", True),
        (".gitignore", True),
        (".env.sample", True),
        ("data/.trash-can/a", True),
        ("runs/first.ipynb", False),
        ("runs", False),
        (".git/HEAD", False),
        ("lib/.git", False),
        ("lib/__pycache__/a.txt", False),
        ("ipynb/.ipynb_checkpoints/first-checkpoint.ipynb", False),
        (".venv/bin/python", False),
        ("lib/.mypy_cache/a", False),
        (".slipway/incoming/a", False),
        ("lib/a.pyc", False),
        ("data/.DS_Store", False),
        ("lib/.stores.py.swp", False),
        ("lib/stores.py~", False),
        ("lib/.#stores.py", False),
        ("lib/#stores.py#", False),
        ("ipynb/.~first.ipynb", False),
        (".Trash-1000/files/a", False),
    ],
)
def test_only_what_is_the_projects_is_synced(path: str, synced: bool) -> None:
    assert tree.synced(path) == synced


def test_a_folder_is_read_without_following_a_link(tmp_path: Path) -> None:
    project, outside = tmp_path / "project", tmp_path / "outside"
    (project / "data" / "empty").mkdir(parents=True)
    (project / "runs").mkdir()
    outside.mkdir()
    (outside / "secret").write_text("s")
    (project / "runs" / "old.ipynb").write_text("x")
    (project / "data" / "ä b#.csv").write_text("1")
    (project / "start.sh").write_text("x")
    (project / "start.sh").chmod(0o755)
    (project / "in").symlink_to("data")
    (project / "dangling").symlink_to("data/nothing")
    (project / "out").symlink_to("../outside")
    (project / "absolute").symlink_to(project / "data")
    (project / "deep").symlink_to("in/../../outside/secret")
    (project / "round").symlink_to("round")
    os.mkfifo(project / "pipe")
    (project / "line\nbreak").write_text("x")
    Path(os.fsdecode(os.fsencode(project) + b"/latin-\xe4")).write_text("x")
    found = tree.scan(str(project))
    assert set(found.files) == {"data/ä b#.csv", "start.sh", "in", "dangling", "round", "out", "absolute", "deep", "pipe"}
    assert found.files["in"] == "link:data"
    assert found.files["dangling"] == "link:data/nothing"
    assert found.files["start.sh"] == found.files["start.sh"].rstrip("x") + "x"
    assert not found.files["data/ä b#.csv"].endswith("x")
    assert set(found.left_out) == {path for path, value in found.files.items() if value == tree.UNKNOWN}
    assert set(found.left_out) == {"out", "absolute", "deep", "pipe"}
    assert found.unusable == (r"'latin-\udce4'", r"'line\nbreak'")
    assert tree.fingerprint(str(project), "start.sh") == found.files["start.sh"]
    assert tree.fingerprint(str(project), "nothing/at all") is None
    assert found.sizes == {"data/ä b#.csv": 1, "start.sh": 1}
    kept = tree.of_text(tree.as_text(found))
    assert kept.files == found.files
    assert {path: size for path, size in kept.sizes.items() if size} == found.sizes
    assert tree.of_text(tree.as_text(tree.Tree({}, {}, {}, ()))).files == {}
    assert tree.scan(str(tmp_path / "nothing")) == tree.Tree({}, {}, {}, ())


def test_repositories_inside_and_folders_that_cannot_be_listed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sub/.git/HEAD", "sub/a", "venv/x/.git", "closed/b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    enter = os.open

    def closed(path: str, *words: int, **options: int) -> int:
        if path == "closed":
            raise PermissionError(13, "Permission denied", path)
        return enter(path, *words, **options)

    monkeypatch.setattr(os, "open", closed)
    found = tree.names(str(tmp_path))
    assert found == tree.Names(("closed", "sub/a"), ("sub", "venv/x"), {"closed": "cannot be read (Permission denied)"})
    assert tree.read(str(tmp_path), found).left_out == found.closed
    assert tree.unreadable(str(tmp_path), found, found.paths) == found.closed


def test_a_digest_changes_with_a_files_content_name_and_mode() -> None:
    digests = {
        tree.digest({"a": "1", "b": "2"}, ["a"]),
        tree.digest({"a": "2"}, ["a"]),
        tree.digest({"a": "1x"}, ["a"]),
        tree.digest({"b": "1"}, ["b"]),
        tree.digest({"a": "1"}, ["a"], "more"),
        tree.digest({}, []),
    }
    assert len(digests) == 6
    assert tree.digest({"a": "1", "b": "2"}, ["b", "a", "a"]) == tree.digest({"b": "2", "a": "1"}, ["a", "b"])


CORE = b"\x7fELF\x02\x01\x01" + bytes(9)


@pytest.mark.parametrize(
    ("name", "content", "synced"),
    [
        ("ipynb/core", CORE + b"\x04\x00", False),
        ("core.4711", CORE + b"\x04\x00", False),
        ("core", CORE + b"\x00\x04", False),
        ("core", CORE + b"\x02\x00", True),
        ("core", b"a text", True),
        ("core", b"", True),
        ("core.py", CORE + b"\x04\x00", True),
        ("lib/core/a.py", b"", True),
        ("score", CORE + b"\x04\x00", True),
    ],
)
def test_a_core_file_stays_where_it_is(tmp_path: Path, name: str, content: bytes, synced: bool) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(content)
    assert list(tree.scan(str(tmp_path)).files) == [name] * synced
