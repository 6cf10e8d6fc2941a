"""What PostgreSQL is made from is copied out of the notebooks' reach: no link is followed, and nothing that is no file is waited for."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from tests.modules import load

copies = load("stack_seed_copy")


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A stack's folder with a project in it; a file outside of it is a secret."""
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "stack"
    files = {"docker/postgres/10.sql": "SELECT 1;", "docker/postgres/parts/a.sql": "x", "data/a.csv": "1", "ipynb/a.ipynb": ""}
    for path, text in files.items():
        (folder / "work" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "work" / path).write_text(text)
    script = folder / "work/docker/postgres/20.sh"
    script.write_text("true")
    script.chmod(0o700)
    (folder / "work/docker/postgres/30.sql").symlink_to("../../data/a.csv")
    return folder


def held(stack: Path) -> dict[str, str]:
    """What the copy has: a link's target, or a file's rights and text."""
    found = [path for path in sorted((stack / "seeds").rglob("*")) if path.is_symlink() or path.is_file()]
    links = {path: str(path.readlink()) for path in found if path.is_symlink()}
    files = {path: f"{path.stat().st_mode & 0o777:o} {path.read_text()}" for path in found if path not in links}
    return {str(path.relative_to(stack / "seeds")): text for path, text in (links | files).items() if path.name != "listing"}


WHOLE = {
    "data/a.csv": "644 1",
    "project/10.sql": "644 SELECT 1;",
    "project/20.sh": "755 true",
    "project/30.sql": "../../data/a.csv",
    "project/parts/a.sql": "644 x",
}


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_copied_as_a_whole_and_once(stack: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        assert copies.keep(str(stack))
    finally:
        os.umask(before)
    assert held(stack) == WHOLE
    modes = {name: stat.S_IMODE((stack / "seeds" / name).stat().st_mode) for name in (".", "data", "project", "project/parts")}
    assert modes == {".": 0o700, "data": 0o755, "project": 0o755, "project/parts": 0o755}
    assert not copies.keep(str(stack))
    # No file is shared with the notebook.
    assert (stack / "seeds/data/a.csv").stat().st_ino != (stack / "work/data/a.csv").stat().st_ino
    (stack / "work/data/a.csv").write_text("22")
    (stack / "work/docker/postgres/10.sql").unlink()
    assert held(stack) == WHOLE
    assert copies.keep(str(stack))
    assert held(stack) == {name: text for name, text in WHOLE.items() if name != "project/10.sql"} | {"data/a.csv": "644 22"}


def test_a_copy_that_was_cut_off_is_made_again(stack: Path) -> None:
    copies.keep(str(stack))
    (stack / "seeds").rename(stack / "seeds.old")
    (stack / "seeds.new").mkdir()
    (stack / "seeds.new/half").write_text("x")
    assert copies.keep(str(stack))
    assert held(stack) == WHOLE
    assert sorted(path.name for path in stack.iterdir()) == ["seeds", "work"]


def test_a_volume_that_is_made_needs_the_folder_alone(stack: Path) -> None:
    (stack / "work/data/out").symlink_to("/")
    assert copies.keep(str(stack), empty=True)
    assert held(stack) == {}
    assert not copies.keep(str(stack), empty=True)
    (stack / "work/data/out").unlink()
    assert copies.keep(str(stack))
    # What its volume was made from stays.
    assert not copies.keep(str(stack), empty=True)
    assert held(stack) == WHOLE


def replaced(path: Path, target: str) -> None:
    """As a notebook does it with a folder of its own."""
    path.rename(path.with_name("moved"))
    path.symlink_to(target)


def hostile(stack: Path, kind: str) -> str:
    """Put it into the project, and return the path that is to be named."""
    work, here = stack / "work", stack / "work/data/x"
    if kind == "an absolute link":
        here.symlink_to("/etc/passwd")
    elif kind == "a link upwards":
        here.symlink_to("../../../secret")
    elif kind == "a link by the process's files":
        here.symlink_to("/proc/self/root")
    elif kind == "a link in docker/postgres":
        (work / "docker/postgres/parts/x").symlink_to("../../../../../secret")
        return "docker/postgres/parts/x"
    elif kind == "data is a link":
        replaced(work / "data", "/")
        return "data"
    elif kind == "docker is a link":
        replaced(work / "docker", str(stack.parent))
        return "docker"
    elif kind == "docker/postgres is a link":
        replaced(work / "docker/postgres", "../../data")
        return "docker/postgres"
    elif kind == "a FIFO":
        os.mkfifo(here)
    elif kind == "a FIFO to be run":
        os.mkfifo(work / "docker/postgres/90.sql")
        return "docker/postgres/90.sql"
    elif kind == "a socket":
        folder = os.open(work / "data", os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{folder}/x")
        os.close(folder)
    elif kind == "a device":
        if os.geteuid():
            pytest.skip("only root makes devices")
        os.mknod(here, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    elif kind == "deep folders":
        (work / "data" / "/".join("d" * 70)).mkdir(parents=True)
        return "data/d/d"
    return "data/x"


KINDS = ["an absolute link", "a link upwards", "a link by the process's files", "a link in docker/postgres", "data is a link"]
KINDS += ["docker is a link", "docker/postgres is a link", "a FIFO", "a FIFO to be run", "a socket", "a device", "deep folders"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_leads_out_or_is_no_file_is_refused_by_its_name(stack: Path, kind: str) -> None:
    copies.keep(str(stack))
    path = hostile(stack, kind)
    with pytest.raises(copies.SeedsError) as refused:
        copies.keep(str(stack))
    text = str(refused.value)
    assert (refused.value.code, "\n" in text) == (2, False)
    assert text.startswith(path)
    assert "Allowed: " in text
    # The copy that there was stays, and no other.
    assert held(stack) == WHOLE
    assert not (stack / "seeds.new").exists()


def test_a_file_that_becomes_a_link_while_it_is_copied_is_not_followed(stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swapped after it was looked at, and before it is opened."""
    real = copies._copied_file
    (stack / "work/data/b.csv").write_text("2")

    def swap(path: str, *rest: object) -> int:
        if path == "data/a.csv":
            (stack / "work/data/b.csv").unlink()
            (stack / "work/data/b.csv").symlink_to(stack.parent / "secret")
        return int(real(path, *rest))

    monkeypatch.setattr(copies, "_copied_file", swap)
    with pytest.raises(copies.SeedsError) as refused:
        copies.keep(str(stack))
    assert str(refused.value).startswith("data/b.csv is a link that leads out")
    assert not (stack / "seeds").exists()


def test_the_disk_must_have_room_for_it(stack: Path) -> None:
    with (stack / "work/data/large").open("wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(copies.SeedsError) as refused:
        copies.keep(str(stack))
    assert refused.value.code == 3
    assert "Remove what is not needed from data/" in str(refused.value)
    assert not (stack / "seeds.new").exists()
