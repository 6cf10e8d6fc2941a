"""What a project folder holds, on either machine: its files by fingerprint, and what is left out of every sync."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import re
import stat
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cache
from pathlib import Path

from ansible.module_utils.project_links import Reader, way

#: Fingerprint of what is there and cannot be synced: it equals nothing.
UNKNOWN = "?"
#: Where what is fetched lies until it has its place, below the project folder; and there what has arrived as a whole, and what has not yet.
INCOMING = ".slipway/incoming"
ARRIVED, PARTS = f"{INCOMING}/files", f"{INCOMING}/parts"
# A folder, or a file, that is no link; and no FIFO that would be waited for.
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def _any(*patterns: str) -> re.Pattern[str]:
    """A name that is as one of them."""
    return re.compile("|".join(map(translate, patterns)))


_FOLDERS = (".git", "__pycache__", ".ipynb_checkpoints", ".venv", ".slipway", ".mypy_cache", ".pytest_cache", ".ruff_cache")
#: A bin that send2trash, Jupyter's, makes at the top of a mounted folder; and what `run` brought back.
_TOP = _any("runs", ".Trash-*")
_FILES = _any("*.pyc", ".DS_Store", "*.swp", "*.swo", "*.swx", "*~", ".#*", "#*#", ".~*")
#: The names of core files, and how such a file begins: of ELF its marks, and its kind, 4, in either order of bytes (elf(5)).
_CORE = re.compile(r"core(\.[0-9]+)?")
_ELF, _KIND = b"\x7fELF", (b"\x04\x00", b"\x00\x04")
#: What JSON, or a list of names by line, does not carry: control characters, and bytes that are no UTF-8.
_UNUSABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class Names:
    """What a folder lists, unread: the paths of all that is no folder, and of folders that cannot be listed (`closed` says why).

    `repositories` are the folders in it that are git repositories of their own; `links` the links in what is never synced, with their
    targets, if they were asked for.
    """

    paths: tuple[str, ...]
    repositories: tuple[str, ...]
    closed: Mapping[str, str]
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tree:
    """A folder's files by path: SHA-256 in hex, with an x behind it where the owner may execute it; links as link:TARGET.

    `sizes` are those of the regular files, in bytes. `left_out` says why something is not synced; `unusable` are names, quoted, that cannot
    be synced at all. `links` are the targets of links that lead out of the folder.
    """

    files: Mapping[str, str]
    sizes: Mapping[str, int]
    left_out: Mapping[str, str]
    unusable: tuple[str, ...]
    links: Mapping[str, str] = field(default_factory=dict)


class Beneath:
    """Opens what lies below a folder, part by part and never through a link: whatever is put in a folder's place meanwhile, nothing outside
    is reached. The folder of the last path stays open for the next one. Raises OSError."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._handles: list[int] = []
        self._parts: list[str] = []

    def __enter__(self) -> Beneath:
        return self

    def __exit__(self, *_: object) -> None:
        self._close(0)

    def _close(self, kept: int) -> None:
        while len(self._handles) > kept:
            os.close(self._handles.pop())
        del self._parts[max(kept - 1, 0) :]

    def at(self, path: str, make: bool = False) -> tuple[int, str]:
        """The folder that something lies in, opened, and its name there. With `make` the folder is made if it is missing."""
        *folders, name = path.split("/")
        if name in ("", ".", "..") or {"", ".", ".."} & set(folders):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        if not self._handles:
            # The folder itself is what the caller named, by a link perhaps.
            self._handles.append(os.open(self.root, _FOLDER & ~os.O_NOFOLLOW))
        shared = 0
        while shared < min(len(folders), len(self._parts)) and folders[shared] == self._parts[shared]:
            shared += 1
        self._close(shared + 1)
        for part in folders[shared:]:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=self._handles[-1])
            self._handles.append(os.open(part, _FOLDER, dir_fd=self._handles[-1]))
            self._parts.append(part)
        return self._handles[-1], name


def synced(path: str) -> bool:
    """Whether this path, relative to the project folder, takes part in a sync."""
    parts = path.split("/")
    return not (_TOP.fullmatch(parts[0]) or any(part in _FOLDERS for part in parts) or _FILES.fullmatch(parts[-1]))


def names(root: str, links: bool = False) -> Names:
    """List the folder, without what is never synced; of that the links alone, if they are asked for. One that is not there is empty.
    Follows no link."""
    root = os.path.realpath(root)
    paths: list[str] = []
    repositories: list[str] = []
    closed: dict[str, str] = {}
    unsynced: dict[str, str] = {}

    def walk(folder: int, prefix: str) -> None:
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
            for entry in entries:
                take(folder, entry, prefix)
        finally:
            os.close(folder)

    def take(folder: int, entry: os.DirEntry[str], prefix: str) -> None:
        name, path = entry.name, prefix + entry.name
        if name == ".git" and prefix:
            repositories.append(prefix[:-1])
        try:
            if name in _FOLDERS or _FILES.fullmatch(name) or (not prefix and _TOP.fullmatch(name)):
                if links:
                    _links(folder, entry, path, unsynced)
            elif entry.is_dir(follow_symlinks=False):
                walk(os.open(name, _FOLDER, dir_fd=folder), f"{path}/")
            elif not _core(folder, entry):
                paths.append(path)
        except FileNotFoundError:
            # Gone since it was listed.
            return
        except OSError as refusal:
            paths.append(path)
            closed[path] = _unreadable(refusal)

    with suppress(FileNotFoundError):
        walk(os.open(root, _FOLDER), "")
    return Names(tuple(paths), tuple(repositories), closed, unsynced)


def _links(folder: int, entry: os.DirEntry[str], path: str, found: dict[str, str]) -> None:
    """The links at this place and below it."""
    with suppress(OSError):
        if entry.is_symlink():
            found[path] = _told(os.readlink(entry.name, dir_fd=folder))
        elif entry.is_dir(follow_symlinks=False):
            below = os.open(entry.name, _FOLDER, dir_fd=folder)
            try:
                with os.scandir(below) as entries:
                    for each in list(entries):
                        _links(below, each, f"{path}/{each.name}", found)
            finally:
                os.close(below)


def _told(target: str) -> str:
    """A link's target as JSON carries it; of one that it does not carry, that it leads out."""
    return "/" if _UNUSABLE.search(target) else target


def read(root: str, listed: Names, paths: Iterable[str] | None = None) -> Tree:
    """Read these paths of what was listed; without them all."""
    root, paths = os.path.realpath(root), listed.paths if paths is None else tuple(paths)
    files: dict[str, str] = {}
    sizes: dict[str, int] = {}
    left_out: dict[str, str] = {}
    links: dict[str, str] = {}
    link = reader(root)
    with Beneath(root) as beneath:
        for path in paths:
            if _UNUSABLE.search(path):
                continue
            if path in listed.closed:
                files[path], left_out[path] = UNKNOWN, listed.closed[path]
                continue
            try:
                files[path], size, reason = _fingerprint(beneath, path, link)
            except FileNotFoundError:
                # Gone since it was listed.
                continue
            except OSError as refusal:
                files[path], size, reason = UNKNOWN, None, _unreadable(refusal)
            if size is not None:
                sizes[path] = size
            if reason:
                left_out[path] = reason
                if (target := link(path)) is not None:
                    links[path] = _told(target)
    return Tree(files, sizes, left_out, unusable(paths), links)


def reader(root: str) -> Reader:
    """What reads the links of a folder, each once."""

    @cache
    def read(path: str) -> str | None:
        try:
            return str(Path(root, path).readlink())
        except OSError:
            return None

    return read


def usable(path: str) -> bool:
    """Whether the name can be synced."""
    return _UNUSABLE.search(path) is None


def unusable(paths: Iterable[str]) -> tuple[str, ...]:
    """The names among them that cannot be synced, quoted; of what lies in a folder of such a name the folder alone."""
    found = ((path, _UNUSABLE.search(path)) for path in paths)
    return tuple(sorted({ascii(path[: bad.end()] + path[bad.end() :].partition("/")[0]) for path, bad in found if bad}))


def scan(root: str) -> Tree:
    """Read the whole folder."""
    return read(root, names(root))


def as_text(tree: Tree) -> str:
    """The files in one word: Ansible takes a second to hand on 15,000 keys."""
    lines = "\n".join(f"{value}\t{tree.sizes.get(path, 0)}\t{path}" for path, value in tree.files.items())
    return base64.b64encode(zlib.compress(lines.encode(), level=1)).decode()


def of_text(text: str) -> Tree:
    """The files that as_text has written."""
    lines = [line.split("\t", 2) for line in zlib.decompress(base64.b64decode(text)).decode().split("\n") if line]
    return Tree({path: value for value, _, path in lines}, {path: int(size) for _, size, path in lines}, {}, ())


def unreadable(root: str, listed: Names, paths: Iterable[str]) -> dict[str, str]:
    """Why some of the paths cannot be read, found without reading them."""

    def denied(path: str) -> bool:
        # Of a link the target counts, which is not read.
        return not os.access(path, os.R_OK) and Path(path).is_file() and not Path(path).is_symlink()

    reason = "cannot be read (Permission denied)"
    return {path: listed.closed.get(path, reason) for path in paths if path in listed.closed or denied(f"{root}/{path}")}


def _core(folder: int, entry: os.DirEntry[str]) -> bool:
    """Whether it is what a process left behind that ended by a signal: as large as its memory, and of use to no other machine."""
    if not _CORE.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
        return False
    with os.fdopen(os.open(entry.name, _FILE, dir_fd=folder), "rb") as file:
        head = file.read(18)
    return head.startswith(_ELF) and head[16:] in _KIND


def fingerprint(root: str, path: str) -> str | None:
    """The fingerprint of one file; none where it is not there."""
    root = os.path.realpath(root)
    try:
        with Beneath(root) as beneath:
            return _fingerprint(beneath, path, reader(root))[0]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return UNKNOWN


def digest(files: Mapping[str, str], paths: Iterable[str], more: str = "") -> str:
    """One digest of these files and of `more`."""
    lines = [f"{path}\0{files.get(path, UNKNOWN)}\n" for path in sorted(set(paths))]
    return hashlib.sha256("".join([*lines, more]).encode()).hexdigest()


def inside(root: str, path: str) -> bool:
    """Whether the path, with every link resolved, lies in the folder."""
    # Path.resolve() fails where links go round in a circle.
    return Path(os.path.realpath(Path(root, path))).is_relative_to(os.path.realpath(root))


def _unreadable(refusal: OSError) -> str:
    return f"cannot be read ({refusal.strerror})"


def leads_out(target: str, met: str, where: str = "") -> str:
    """Why a link with this target is not synced: by which link the way leaves the folder (its own path if by itself), and on which side."""
    by = f" by {met}" if met else ""
    instead = "copy what it leads to into the project to have it on both sides"
    return f"is a link to {target}, which leads out of the project{where}{by} ({instead})"


def _fingerprint(beneath: Beneath, path: str, link: Reader) -> tuple[str, int | None, str]:
    """The fingerprint of what is no folder, a regular file's size, and why it cannot be synced."""
    folder, name = beneath.at(path)
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISLNK(found.st_mode):
        target = os.readlink(name, dir_fd=folder)
        if _UNUSABLE.search(target):
            return UNKNOWN, None, "is a link to a name that cannot be synced"
        met, out = way(path, link)
        if out:
            return UNKNOWN, None, leads_out(target, met[-1] if met[-1] != path else "")
        return f"link:{target}", None, ""
    if not stat.S_ISREG(found.st_mode):
        return UNKNOWN, None, "is neither a file nor a folder"
    hashed = hashlib.sha256()
    # A file object, and room for a megabyte, would make 15,000 small files take three times as long.
    handle, most = os.open(name, _FILE, dir_fd=folder), min(found.st_size + 1, 1 << 20)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return UNKNOWN, None, "is neither a file nor a folder"
        while block := os.read(handle, most):
            hashed.update(block)
    finally:
        os.close(handle)
    return hashed.hexdigest() + ("x" if found.st_mode & stat.S_IXUSR else ""), found.st_size, ""
