"""What a project folder holds, on either machine: its files by fingerprint, and what is left out of every sync."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path

#: Fingerprint of what is there and cannot be synced: it equals nothing.
UNKNOWN = "?"
#: Where rsync keeps what has not arrived as a whole yet, below the project folder.
INCOMING = ".slipway/incoming"


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

    `repositories` are the folders in it that are git repositories of their own.
    """

    paths: tuple[str, ...]
    repositories: tuple[str, ...]
    closed: Mapping[str, str]


@dataclass(frozen=True)
class Tree:
    """A folder's files by path: SHA-256 in hex, with an x behind it where the owner may execute it; links as link:TARGET.

    `sizes` are those of the regular files, in bytes. `left_out` says why something is not synced; `unusable` are names, quoted, that cannot
    be synced at all.
    """

    files: Mapping[str, str]
    sizes: Mapping[str, int]
    left_out: Mapping[str, str]
    unusable: tuple[str, ...]


def synced(path: str) -> bool:
    """Whether this path, relative to the project folder, takes part in a sync."""
    parts = path.split("/")
    return not (_TOP.fullmatch(parts[0]) or any(part in _FOLDERS for part in parts) or _FILES.fullmatch(parts[-1]))


def names(root: str) -> Names:
    """List the folder, without what is never synced. One that is not there is empty. Follows no link."""
    root = os.path.realpath(root)
    paths: list[str] = []
    repositories: list[str] = []
    closed: dict[str, str] = {}

    def walk(folder: str, prefix: str) -> None:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            name, path = entry.name, prefix + entry.name
            if name == ".git" and prefix:
                repositories.append(prefix[:-1])
            if name in _FOLDERS or _FILES.fullmatch(name) or (not prefix and _TOP.fullmatch(name)):
                continue
            try:
                if not entry.is_dir(follow_symlinks=False):
                    if not _core(entry):
                        paths.append(path)
                    continue
                walk(entry.path, f"{path}/")
            except FileNotFoundError:
                # Gone since it was listed.
                continue
            except OSError as refusal:
                paths.append(path)
                closed[path] = _unreadable(refusal)

    with suppress(FileNotFoundError):
        walk(root, "")
    return Names(tuple(paths), tuple(repositories), closed)


def read(root: str, listed: Names, paths: Iterable[str] | None = None) -> Tree:
    """Read these paths of what was listed; without them all."""
    root, paths = os.path.realpath(root), listed.paths if paths is None else tuple(paths)
    files: dict[str, str] = {}
    sizes: dict[str, int] = {}
    left_out: dict[str, str] = {}
    for path in paths:
        if _UNUSABLE.search(path):
            continue
        if path in listed.closed:
            files[path], left_out[path] = UNKNOWN, listed.closed[path]
            continue
        try:
            files[path], size, reason = _fingerprint(root, path)
        except FileNotFoundError:
            # Gone since it was listed.
            continue
        except OSError as refusal:
            files[path], size, reason = UNKNOWN, None, _unreadable(refusal)
        if size is not None:
            sizes[path] = size
        if reason:
            left_out[path] = reason
    return Tree(files, sizes, left_out, unusable(paths))


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


def _core(entry: os.DirEntry[str]) -> bool:
    """Whether it is what a process left behind that ended by a signal: as large as its memory, and of use to no other machine."""
    if not _CORE.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
        return False
    with Path(entry.path).open("rb") as file:
        head = file.read(18)
    return head.startswith(_ELF) and head[16:] in _KIND


def fingerprint(root: str, path: str) -> str | None:
    """The fingerprint of one file; none where it is not there."""
    try:
        return _fingerprint(os.path.realpath(root), path)[0]
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


def _fingerprint(root: str, path: str) -> tuple[str, int | None, str]:
    """The fingerprint of what is no folder, a regular file's size, and why it cannot be synced."""
    # A Path is made only where it must be: 15,000 of them take a tenth of a second.
    full = f"{root}/{path}"
    found = os.lstat(full)
    if stat.S_ISLNK(found.st_mode):
        target = str(Path(full).readlink())
        if target.startswith("/") or not inside(root, path) or _UNUSABLE.search(target):
            return UNKNOWN, None, "is a link that leads out of the project"
        return f"link:{target}", None, ""
    if not stat.S_ISREG(found.st_mode):
        return UNKNOWN, None, "is neither a file nor a folder"
    hashed = hashlib.sha256()
    # A file object, and room for a megabyte, would make 15,000 small files take three times as long.
    handle, most = os.open(full, os.O_RDONLY), min(found.st_size + 1, 1 << 20)
    try:
        while block := os.read(handle, most):
            hashed.update(block)
    finally:
        os.close(handle)
    return hashed.hexdigest() + ("x" if found.st_mode & stat.S_IXUSR else ""), found.st_size, ""
