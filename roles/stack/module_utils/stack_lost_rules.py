"""What a container takes with it when it is made again: which of the paths that it has beside its image are a user's, or a package's."""

from __future__ import annotations

import csv
import json
import posixpath
import re
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

#: The engine's words: https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerChanges
CHANGED, ADDED, REMOVED = 0, 1, 2
#: So many files, and folders that were made by hand, are named of a container; the others are counted.
MOST_NAMED = 20
#: Whose home is the volume, or is brought into it (stack_home).
KEPT_HOME = "/home/jovyan"
_KEEP_HOME = ("jupyter", "worker")

#: Nothing under these is meant to stay: what processes make for themselves, logs, caches, and the books of Debian's package manager.
_PASSING_FOLDERS = (
    *("/tmp", "/var/tmp", "/run", "/var/run", "/var/lock", "/dev", "/proc", "/sys", "/var/log", "/var/cache"),  # noqa: S108 (of the container)
    *("/var/lib/apt", "/var/lib/dpkg", "/var/backups", "/opt/conda/pkgs"),
    # PostgreSQL's start made it in earlier versions, of what the project has.
    "/seeds",
)
#: Nor in folders of these names, wherever they are.
_PASSING_NAMES = {"__pycache__", ".cache", ".npm", ".mongodb"}
#: What shells and clients write down of what was typed, what Python and conda keep for themselves, and what the engine or Debian writes.
_PASSING_FILES = re.compile(
    r".*\.py[co]"
    r"|(.*/)?(\.bash_history|\.python_history|\.psql_history|\.rediscli_history|\.lesshst|\.viminfo|\.wget-hsts)"
    r"|(.*/)?(conda-meta/(history|state)|\.conda_envs_dir_test|easy-install\.pth)"
    r"|/etc/((passwd|group|shadow|gshadow|subuid|subgid)-?|\.pwd\.lock|hosts|hostname|resolv\.conf|mtab|ld\.so\.cache)"
)
#: What Debian's packages write by their own scripts lies in these, beside the files that they list. Only root writes there.
_SYSTEM = re.compile(r"/(bin|sbin|lib[^/]*|boot|etc|var|usr/(?!local/))(/|$).*")
#: What pip leaves of an install that was interrupted.
_LEFTOVER = re.compile(r".*/(site|dist)-packages/~.*")
_PIP = re.compile(r"(?P<folder>.+)/(?P<name>[^/]+?)-(?P<version>[^/-]+)\.dist-info/RECORD")
_CONDA = re.compile(r"(?P<folder>.+/conda-meta)/(?P<name>[^/]+)-(?P<version>[^/-]+)-[^/-]+\.json")
_APT = re.compile(r"(?P<folder>/var/lib/dpkg/info)/(?P<name>[^/:]+)(:[^/]+)?\.list")


@dataclass(frozen=True)
class Change:
    """A path that a container has otherwise than its image, and the topmost folder or file that it lies in and that the image has not."""

    path: str
    kind: int
    top: str
    leaf: bool


@dataclass(frozen=True)
class Book:
    """A file in which a package manager wrote down what a package has brought."""

    path: str
    kind: str
    name: str
    version: str | None
    new: bool


@dataclass
class Files:
    """The user's files in a container: how many, and up to MOST_NAMED of them or of the new folders that they are in."""

    total: int = 0
    rows: dict[str, tuple[str, int]] = field(default_factory=dict)

    def add(self, change: Change) -> None:
        """Count one."""
        self.total += 1
        first, count = self.rows.get(change.top, (change.path, 0))
        if count or len(self.rows) < MOST_NAMED:
            self.rows[change.top] = (first, count + 1)

    def paths(self) -> list[dict[str, Any]]:
        """A file by its own name; of several in a new folder that folder, with a slash at its end."""
        rows = self.rows.items()
        return [{"path": first if count == 1 else f"{top}/", "files": count} for top, (first, count) in sorted(rows)]


def changes(said: Iterable[Mapping[str, Any]]) -> Iterator[Change]:
    """What the engine says, which names a folder before what is in it, and all of that before anything else."""
    top, path, kind = "", "", REMOVED
    for each in chain(said, [{"Path": "", "Kind": REMOVED}]):
        if path:
            if not (top and path.startswith(f"{top}/")):
                top = path if kind == ADDED else ""
            yield Change(path, kind, top or path, leaf=not str(each["Path"]).startswith(f"{path}/"))
        path, kind = str(each["Path"]), int(each["Kind"])


def book(change: Change) -> Book | None:
    """The package whose book this is. What a user has made as a whole, an environment for one, is the user's and no package."""
    if change.kind == REMOVED:
        return None
    for kind, pattern in (("pip", _PIP), ("conda", _CONDA), ("apt", _APT)):
        found = pattern.fullmatch(change.path)
        if found and not found["folder"].startswith(change.top):
            return Book(change.path, kind, found["name"], found.groupdict().get("version"), change.kind == ADDED)
    return None


def brought(found: Book, lines: Iterable[str]) -> tuple[list[str], bool]:
    """The paths of what a package has brought, by its book and with it; and whether the book says that it was asked for by its name.

    A book that is not what it should be names nothing: the files are then the user's.
    """
    above, names, asked = PurePosixPath(found.path).parent.parent, [], False
    if found.kind == "apt":
        names = [line.rstrip("\n") for line in lines]
    elif found.kind == "pip":
        with suppress(csv.Error):
            names = [row[0] for row in csv.reader(lines) if row]
    else:
        with suppress(ValueError, TypeError, AttributeError):
            said = json.loads("".join(lines))
            names, asked = [str(name) for name in said["files"]], bool(said.get("requested_spec"))
    # An absolute one stays as it is.
    return [found.path, *(posixpath.normpath(above / name) for name in names)], asked


def passing(path: str, service: str, mounts: Collection[str]) -> bool:
    """Whether its loss is no loss: it lies in a volume, which stays, or was never meant to stay."""
    kept = [*mounts, KEPT_HOME] if service.partition("-")[0] in _KEEP_HOME else mounts
    if any(path == folder or path.startswith(f"{folder}/") for folder in (*kept, *_PASSING_FOLDERS)):
        return True
    return not _PASSING_NAMES.isdisjoint(path.split("/")) or bool(_PASSING_FILES.fullmatch(path) or _LEFTOVER.fullmatch(path))


def candidates(found: Iterable[Change], service: str, mounts: Collection[str], owned: Container[int], by_apt: bool) -> Iterator[Change]:
    """What may be files of the user's, or empty folders. `owned` are hashes of what packages have brought, `by_apt` if Debian's did."""
    for each in found:
        if not each.leaf or each.kind == REMOVED or passing(each.path, service, mounts) or hash(each.path) in owned:
            continue
        if not (by_apt and _SYSTEM.fullmatch(each.path)):
            yield each


def packages(books: Iterable[Book], asked: Container[str], owned: Container[int]) -> list[dict[str, Any]]:
    """What was installed by hand; what was asked for first. `asked` are paths of books, `owned` hashes of what apt and conda brought."""
    # What pip has written over with the same version is as the image has it. Of Debian's packages the path says no version.
    listed = [each for each in books if (each.new or each.kind == "apt") and not (each.kind == "pip" and hash(each.path) in owned)]
    found = {
        (each.kind, each.name): {
            "kind": each.kind,
            "name": each.name,
            "version": each.version,
            "asked": each.path in asked,
            "path": each.path,
        }
        for each in listed
    }
    return sorted(found.values(), key=lambda each: (not each["asked"], each["kind"], each["name"].lower()))


# --- What is kept of it from the stop until the receipt -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Here:
    """A container as it is now: what it would take with it, and whether it runs."""

    id: str
    running: bool
    losses: Mapping[str, Any]


def merged(recorded: Mapping[str, Mapping[str, Any]], here: Sequence[Here], halfway: bool) -> dict[str, Mapping[str, Any]]:
    """By container: what is lost by a resize, with what an interrupted command wrote down of containers that are gone since."""
    now = {each.id: each.losses for each in here if each.losses["files"] or each.losses["packages"]}
    # Where all run, and nothing was left half-way, no interrupted command has removed any: another one did, and told.
    interrupted = halfway or not all(each.running for each in here)
    gone = {key: losses for key, losses in recorded.items() if key not in {each.id for each in here}} if interrupted else {}
    return gone | now


def refused(recorded: Container[str], here: Sequence[Here], halfway: bool) -> list[Mapping[str, Any]]:
    """What stops a resize: files in containers that no interrupted resize has stopped, after it was accepted that they are lost."""
    return [each.losses for each in here if each.losses["files"] and not halfway and (each.running or each.id not in recorded)]


def without(losses: Mapping[str, Any], there: Container[str]) -> dict[str, Any]:
    """What is lost, without the packages whose books the next container has too: its image may be another one."""
    return {**losses, "packages": [each for each in losses["packages"] if each["path"] not in there]}


def plain(word: str) -> str:
    """A path as a terminal may show it, in one line."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape", "backslashreplace").decode() for letter in word)


def files_text(losses: Mapping[str, Any], most: int = 5) -> str:
    """`3 files in slipway's jupyter: /opt/a, /opt/b/ (2)`."""
    rows = losses["paths"][:most]
    named = sum(row["files"] for row in rows)
    words = [plain(row["path"]) + (f" ({row['files']:,} files)" if row["files"] > 1 else "") for row in rows]
    words += [f"and {losses['files'] - named:,} more"] * (losses["files"] > named)
    return f"{losses['files']:,} file{'s' * (losses['files'] != 1)} in {losses['stack']}'s {losses['service']}: {', '.join(words)}"


def packages_text(losses: Mapping[str, Any], most: int = 5) -> str:
    """`packages in slipway's jupyter: humanize 4.13.0, tree and 3 more`."""
    words = [plain(f"{each['name']} {each['version'] or ''}".rstrip()) for each in losses["packages"]]
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return f"packages in {losses['stack']}'s {losses['service']}: {', '.join(words[:most])}{more}"


def told(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for the files, and one for the packages, of each container."""
    lines = [files_text(each) for each in found if each["files"]]
    return lines + [packages_text(each) for each in found if each["packages"]]


def refusal(found: Sequence[Mapping[str, Any]]) -> str:
    """Why nothing is stopped, and what to do."""
    lines = [f"  {files_text(each)}" for each in found]
    return "\n".join(
        [
            "A resize makes the containers again, and files outside of the home and work/ would be lost:",
            *lines,
            "Nothing was stopped. Move them into work/ or the home (/home/jovyan). Or accept their loss: "
            "`resize` and `run --on` take --lose-files; with Ansible alone, stack_lose_files=true.",
        ]
    )
