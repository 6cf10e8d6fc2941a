"""What a project folder holds, on either machine: its files by fingerprint, and what is left out of every sync."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

#: Fingerprint of what is there and cannot be synced: it equals nothing.
UNKNOWN = "?"
#: Where rsync keeps what has not arrived as a whole yet, below the project folder.
INCOMING = ".slipway/incoming"

_FOLDERS = (".git", "__pycache__", ".ipynb_checkpoints", ".venv", ".slipway", ".mypy_cache", ".pytest_cache", ".ruff_cache")
#: A bin that send2trash, Jupyter's, makes at the top of a mounted folder; and what `run` brought back.
_TOP = ("runs", ".Trash-*")
_FILES = ("*.pyc", ".DS_Store", "*.swp", "*.swo", "*.swx", "*~", ".#*", "#*#", ".~*")
#: The names of core files, and how such a file begins: of ELF its marks, and its kind, 4, in either order of bytes (elf(5)).
_CORE = re.compile(r"core(\.[0-9]+)?")
_ELF, _KIND = b"\x7fELF", (b"\x04\x00", b"\x00\x04")
#: What JSON, or a list of names by line, does not carry: control characters, and bytes that are no UTF-8.
_UNUSABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class Tree:
    """A folder's files by path: SHA-256 in hex, with an x behind it where the owner may execute it; links as link:TARGET.

    `left_out` says why something is not synced; `unusable` are names, quoted, that cannot be synced at all.
    """

    files: Mapping[str, str]
    left_out: Mapping[str, str]
    unusable: tuple[str, ...]


def synced(path: str) -> bool:
    """Whether this path, relative to the project folder, takes part in a sync."""
    parts = path.split("/")
    top = any(fnmatchcase(parts[0], pattern) for pattern in _TOP)
    return not (top or any(part in _FOLDERS for part in parts) or any(fnmatchcase(parts[-1], pattern) for pattern in _FILES))


def scan(root: str) -> Tree:
    """Read the folder. One that is not there is empty. Follows no link."""
    root = os.path.realpath(root)
    files: dict[str, str] = {}
    left_out: dict[str, str] = {}
    unusable: list[str] = []

    def walk(folder: str, prefix: str) -> None:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            path = prefix + entry.name
            if not synced(path):
                continue
            if _UNUSABLE.search(entry.name):
                unusable.append(ascii(path))
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    walk(entry.path, f"{path}/")
                elif not _core(entry):
                    files[path], reason = _fingerprint(root, path)
                    if reason:
                        left_out[path] = reason
            except FileNotFoundError:
                # Gone since it was listed.
                files.pop(path, None)
            except OSError as refusal:
                files[path], left_out[path] = UNKNOWN, f"cannot be read ({refusal.strerror})"

    with suppress(FileNotFoundError):
        walk(root, "")
    return Tree(files, left_out, tuple(unusable))


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


def _fingerprint(root: str, path: str) -> tuple[str, str]:
    """The fingerprint of what is no folder, and why it cannot be synced."""
    full = Path(root, path)
    mode = full.lstat().st_mode
    if stat.S_ISLNK(mode):
        target = str(full.readlink())
        if target.startswith("/") or not inside(root, path) or _UNUSABLE.search(target):
            return UNKNOWN, "is a link that leads out of the project"
        return f"link:{target}", ""
    if not stat.S_ISREG(mode):
        return UNKNOWN, "is neither a file nor a folder"
    hashed = hashlib.sha256()
    with full.open("rb", buffering=0) as file:
        while block := file.read(1 << 20):
            hashed.update(block)
    return hashed.hexdigest() + ("x" if mode & stat.S_IXUSR else ""), ""
