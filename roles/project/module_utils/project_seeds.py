"""What an empty PostgreSQL does with each file of docker/postgres: run, left alone with a reason, or refused before anything starts."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.project_text import flaw

FOLDER = "docker/postgres"
#: What PostgreSQL's image runs at its first start: docker-entrypoint.sh of docker-library/postgres.
ENDINGS = (".sql", ".sql.gz", ".sql.xz", ".sql.zst", ".sh")
#: What a folder of scripts was called that PostgreSQL does not look into.
_MISNAMED = ("postgres", "postgresql", "pg", "psql", "initdb", "docker-entrypoint-initdb.d")
#: A script is short, and read as a whole; of SQL the beginning says how it is encoded.
_BYTES = {".sh": 1 << 20, ".sql": 1 << 16}


@dataclass(frozen=True)
class Entry:
    """One thing in docker/postgres. `kind` is file, folder, link (that leads to nothing PostgreSQL can see) or other.

    `start` is the beginning of a file that is read as text.
    """

    name: str
    kind: str = "file"
    start: bytes = b""


@dataclass(frozen=True)
class Seeds:
    """Names that are run, in the order of their bytes; a sentence for what is not run; and a line for what is refused."""

    run: tuple[str, ...] = ()
    not_run: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


def decide(entries: Iterable[Entry]) -> Seeds:
    """Say of each entry what becomes of it."""
    run: list[str] = []
    not_run: list[str] = []
    wrong: list[str] = []
    for entry in sorted(entries, key=lambda each: each.name):
        path, small = f"{FOLDER}/{entry.name}", entry.name.lower()
        ending = next((each for each in reversed(ENDINGS) if small.endswith(each)), "")
        if entry.kind == "folder":
            not_run.append(f"{path}/ (a folder)")
        elif entry.name.startswith(".") or not ending:
            not_run.append(path)
        elif not entry.name.endswith(ending):
            right = entry.name[: -len(ending)] + ending
            wrong.append(f"{path} would not be run: its ending is in capitals. Allowed: {right}, or a folder below.")
        elif entry.kind == "link":
            wrong.append(f"{path} is a link to what PostgreSQL does not see. Allowed: a file, or a link to one in {FOLDER} or data/.")
        elif entry.kind == "other":
            wrong.append(f"{path} is neither a file nor a folder. Allowed: a file with one of the endings {', '.join(ENDINGS)}.")
        elif why := flaw(entry.start, script=ending == ".sh"):
            wrong.append(f"{path} {why}")
        else:
            run.append(entry.name)
    return Seeds(tuple(run), tuple(not_run), tuple(wrong))


def look(project: Path) -> Seeds:
    """Read docker/postgres, and what lies beside it under a similar name. Raises nothing for what cannot be read: that is refused."""
    folder, parent = project / FOLDER, (project / FOLDER).parent
    beside = sorted(path for path in parent.iterdir() if path.name.lower() in _MISNAMED and path.is_dir()) if parent.is_dir() else []
    misnamed = tuple(f"docker/{path.name}/ (PostgreSQL runs {FOLDER})" for path in beside if path.name != folder.name)
    for path in (parent, folder):
        if path.is_symlink():
            return Seeds(wrong=(f"{path.relative_to(project)} is a link, which is not followed. Allowed: a folder.",))
    if not folder.is_dir():
        return Seeds(not_run=misnamed)
    unreadable: list[str] = []
    entries: list[Entry] = []
    for path in folder.iterdir():
        try:
            entries.append(_entry(path, (folder, project / "data")))
        except OSError as refusal:
            unreadable.append(f"{FOLDER}/{path.name} cannot be read: {refusal.strerror}. Allowed: a file that you may read.")
    found = decide(entries)
    return Seeds(found.run, found.not_run + misnamed, (*found.wrong, *sorted(unreadable)))


def _entry(path: Path, seen: Iterable[Path]) -> Entry:
    if path.is_symlink() and not any(Path(os.path.realpath(path)).is_relative_to(folder.resolve()) for folder in seen):
        return Entry(path.name, "link")
    if path.is_dir():
        return Entry(path.name, "folder")
    if not path.exists():
        return Entry(path.name, "link")
    if not path.is_file():
        return Entry(path.name, "other")
    limit = _BYTES.get(path.suffix)
    if limit is None:
        return Entry(path.name)
    with path.open("rb") as file:
        return Entry(path.name, start=file.read(limit))
