"""Copies of what PostgreSQL is made from, beside work/: what lies in work/ belongs to the notebook's user.

The engine resolves a mount's path at each start of a container, through links. So no path in work/ is mounted: a notebook could replace it
by a link to the host's `/`. For the same reason nothing here follows a link, opens several folders in one step, or waits for a FIFO.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

#: Beside work/; its folders are mounted as /project and /data.
FOLDER = "seeds"
PARTS = {"project": "docker/postgres", "data": "data"}
#: Names the copy by the names, sizes, times and rights of what was copied.
LISTING = "listing"
MIB = 1024 * 1024
BAD, REFUSED = 2, 3
MOST_DEEP = 60
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: A FIFO opens at once, and is seen to be one.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class SeedsError(Exception):
    """What cannot be copied, in one line, and the exit code."""

    def __init__(self, text: str, code: int = BAD) -> None:
        super().__init__(text)
        self.code = code


def flaw(path: str, mode: int, target: str = "") -> str:
    """Why something of the project is not copied; `target` is a link's. Paths are relative to the project's folder."""
    if stat.S_ISLNK(mode):
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if target.startswith("/") or inside == ".." or inside.startswith("../"):
            return f"{shown(path)} is a link that leads out of the project, to {shown(target)}. Allowed: a file, or a link in the project."
    elif not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        return f"{shown(path)} is neither a file nor a folder. Allowed: files, folders, and links in the project."
    return ""


def shown(path: str) -> str:
    """A name as people read it, whatever is in it."""
    return path if path.isprintable() else ascii(path)


def keep(directory: str, spare_mib: int = 0, empty: bool = False) -> bool:
    """Copy docker/postgres and data/ of directory/work to directory/seeds, as a whole or not at all, if the copy there is of other files.

    With `empty`, only make that folder, for a volume that is made already. `spare_mib` have to stay free on the disk. Whether anything was
    done. Raises SeedsError.
    """
    kept, new, old = (Path(directory, name) for name in (FOLDER, f"{FOLDER}.new", f"{FOLDER}.old"))
    try:
        work = os.open(Path(directory, "work"), _FOLDER)
    except FileNotFoundError:
        work = None
    try:
        size, listing = (0, "empty") if empty or work is None else _survey(work)
        with suppress(OSError):
            if (empty and kept.is_dir()) or (kept / LISTING).read_text() == listing:
                return False
        for path in (new, old):
            _removed(path)
        # Others may not enter it: mounts are not reached through it.
        new.mkdir(mode=0o700)
        facts = os.statvfs(new)
        room = facts.f_bavail * facts.f_frsize - spare_mib * MIB
        if size and size > room:
            raise SeedsError(
                f"The copy of docker/postgres and data/ that PostgreSQL reads takes {size // MIB + 1} MiB, and {max(room, 0) // MIB} MiB "
                f"are free beside the {spare_mib} of stack_free_disk_mib. Remove what is not needed from data/ or from the disk.",
                REFUSED,
            )
        for name, part in PARTS.items():
            (new / name).mkdir(mode=0o755)
            (new / name).chmod(0o755)
            if not empty and work is not None:
                room -= _copied(work, part, new / name, room)
        (new / LISTING).write_text(listing)
        os.sync()
        if kept.exists():
            kept.rename(old)
        new.rename(kept)
        _removed(old)
    finally:
        if work is not None:
            os.close(work)
        _removed(new)
    return True


def _removed(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _entries(folder: int, path: str) -> Iterator[tuple[str, int, str, os.stat_result]]:
    """Path, folder, name and facts of all that is below, each folder before what is in it."""
    if path.count("/") > MOST_DEEP:
        raise SeedsError(f"{shown(path)} lies too deep. Allowed: at most {MOST_DEEP} folders in each other.")
    for name in sorted(os.listdir(folder)):
        here = f"{path}/{name}"
        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
        yield here, folder, name, facts
        if stat.S_ISDIR(facts.st_mode):
            inner = os.open(name, _FOLDER, dir_fd=folder)
            try:
                yield from _entries(inner, here)
            finally:
                os.close(inner)


def _below(work: int, part: str) -> Iterator[tuple[str, int, str, os.stat_result]]:
    """The same of docker/postgres or data; of nothing if it is not there. Raises SeedsError for what is judged or cannot be read."""
    opened: list[int] = []
    path = ""
    try:
        for name in part.split("/"):
            path = f"{path}/{name}".lstrip("/")
            parent = opened[-1] if opened else work
            try:
                mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
            except FileNotFoundError:
                return
            if not stat.S_ISDIR(mode):
                raise SeedsError(f"{path} is {'a link, which is not followed' if stat.S_ISLNK(mode) else 'no folder'}. Allowed: a folder.")
            opened.append(os.open(name, _FOLDER, dir_fd=parent))
        for path, folder, name, facts in _entries(opened[-1], part):
            target = os.readlink(name, dir_fd=folder) if stat.S_ISLNK(facts.st_mode) else ""
            if wrong := flaw(path, facts.st_mode, target):
                raise SeedsError(wrong)
            yield path, folder, name, facts
    except PermissionError as refusal:
        raise SeedsError(f"{shown(path)} or what is in it cannot be read: {refusal.strerror}.") from refusal
    except OSError as refusal:
        raise SeedsError(f"{shown(path)} changed while it was read: {refusal.strerror}. Try again when nothing writes there.") from refusal
    finally:
        for each in reversed(opened):
            os.close(each)


def _survey(work: int) -> tuple[int, str]:
    """How many bytes the files have, and what names them all. Raises SeedsError."""
    size, said = 0, hashlib.sha256()
    for part in PARTS.values():
        for path, folder, name, facts in _below(work, part):
            regular, link = stat.S_ISREG(facts.st_mode), stat.S_ISLNK(facts.st_mode)
            size += facts.st_size if regular else 0
            target = os.readlink(name, dir_fd=folder) if link else ""
            said.update(ascii((path, facts.st_mode, facts.st_size * regular, facts.st_mtime_ns * regular, target)).encode())
    return size, said.hexdigest()


def _copied(work: int, part: str, to: Path, room: int) -> int:
    """Copy one of the two folders; how many bytes there were. Raises SeedsError."""
    size = 0
    for path, folder, name, facts in _below(work, part):
        new = to / path[len(part) + 1 :]
        if stat.S_ISDIR(facts.st_mode):
            new.mkdir()
            new.chmod(0o755)
        elif stat.S_ISLNK(facts.st_mode):
            # In the container it leads to what that has.
            target = os.readlink(name, dir_fd=folder)
            if wrong := flaw(path, facts.st_mode, target):
                raise SeedsError(wrong)
            new.symlink_to(target)
        else:
            size += _copied_file(path, os.open(name, _FILE, dir_fd=folder), new, room - size)
    return size


def _copied_file(path: str, opened: int, new: Path, room: int) -> int:
    with open(opened, "rb", buffering=0) as source:
        mode = os.fstat(opened).st_mode
        if not stat.S_ISREG(mode):
            raise SeedsError(flaw(path, mode) or f"{shown(path)} is a folder now.")
        size = 0
        with new.open("xb") as copy:
            while piece := source.read(MIB):
                size += len(piece)
                if size > room:
                    raise SeedsError(f"{shown(path)} grows while it is copied, and the disk has no more room.", REFUSED)
                copy.write(piece)
        # Whatever number the server has reads it.
        new.chmod(0o755 if mode & stat.S_IXUSR else 0o644)
    return size
