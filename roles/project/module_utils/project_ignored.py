"""What stays at home on a push: git's own answer, of the rules that git has, or of the project's .slipwayignore."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.project_settings import FILE, load
from ansible.module_utils.project_tree import Names

#: In the project's folder: where it is there, it alone decides.
OWN = ".slipwayignore"

_RULES = (".gitignore", OWN)
#: Of the shell's variables about git those that say where its settings are. The others name one repository, of a hook for example.
_KEPT = ("GIT_CONFIG_", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM")
# With these settings git runs no program that a repository names, writes no file of the repository, reads it whichever user owns it, and
# takes every file name.
_SETTINGS = (
    "safe.directory=*",
    "core.fsmonitor=false",
    "core.splitIndex=false",
    "core.untrackedCache=false",
    "core.protectNTFS=false",
    "core.protectHFS=false",
)
_GIT = ("git", *(word for setting in _SETTINGS for word in ("-c", setting)))
_OUTSIDE = b"not a git repository"


class IgnoreError(Exception):
    """The rules cannot be read; the text says what to do."""


@dataclass(frozen=True)
class _Place:
    """A folder whose files git is asked about: `options` name the repository, `prefix` is the folder's path in it."""

    folder: str
    options: tuple[str, ...]
    prefix: bytes


def always(project: str) -> list[str]:
    """What is sent whatever the rules say: slipway.yml, the seeds in it, and what the image and the database are made from."""
    file = Path(project, FILE)
    seeds = load(file).get("seeds", []) if file.exists() else []
    return [FILE, "docker/", *(each for each in seeds if isinstance(each, str))]


def ignored(project: str, listed: Names, gone: Iterable[str] = (), always: Iterable[str] = ()) -> set[str]:
    """Those of the project's files that stay here, and those of `gone`, which were there once, that would. Raises IgnoreError.

    `always` are files, and folders with a / behind them, that are sent whatever the rules say.
    """
    project = os.path.realpath(project)
    own = os.path.lexists(f"{project}/{OWN}")
    paths = [*listed.paths, *_possible(gone, listed.paths)]
    if shutil.which("git") is None:
        if rules := next((path for path in listed.paths if path.rpartition("/")[2] in _RULES), None):
            raise IgnoreError(f"git is missing on this computer, and reads what stays here from {rules}. Install the package git.")
        return set()
    with tempfile.TemporaryDirectory(prefix="slipway-") as scratch:
        _git(scratch, "init", "--quiet", "--template=")
        found = _of_own(project, scratch, paths, listed) if own else _of_git(project, scratch, paths, listed)
    return found - set(_named(found, always))


def _possible(gone: Iterable[str], paths: Sequence[str]) -> list[str]:
    """Those of the paths that do not need a folder where there is a file, or the other way round."""
    files = set(paths)
    folders = {above for path in paths for above in _above(path)}
    return [path for path in gone if path not in files and path not in folders and files.isdisjoint(_above(path))]


def _named(paths: Iterable[str], always: Iterable[str]) -> Iterator[str]:
    files = set(always)
    folders = tuple(each for each in files if each.endswith("/"))
    return (path for path in paths if path in files or path.startswith(folders))


def _of_own(project: str, scratch: str, paths: Sequence[str], listed: Names) -> set[str]:
    place = _Place(project, _apart(project, scratch), b"")
    return _matched(place, scratch, {path: path in listed.closed for path in paths}, f"--exclude-from={project}/{OWN}")


def _of_git(project: str, scratch: str, paths: Sequence[str], listed: Names) -> set[str]:
    """Each repository by its own rules; one that the repository around it ignores is ignored as a whole."""
    repositories = sorted(listed.repositories)
    inner = set(repositories)
    around = {path: next((above for above in _above(path) if above in inner), "") for path in [*repositories, *paths]}
    parts: dict[str, dict[str, bool]] = {each: {} for each in ["", *repositories]}
    for path, each in around.items():
        parts[each][path] = path in listed.closed or path in inner
    found: set[str] = set()
    # A repository comes before those in it.
    for each, asked in parts.items():
        if each in found:
            found |= set(asked)
            continue
        start = f"{each}/" if each else ""
        place = _place(f"{project}/{each}".removesuffix("/"), scratch)
        matched = _matched(place, scratch, {path.removeprefix(start): folder for path, folder in asked.items()}, "--exclude-standard")
        found |= {start + name for name in matched - _tracked(place)}
    return found - inner


def _place(folder: str, scratch: str) -> _Place:
    """The folder in its repository; in none of its own where it lies in none, or is itself what that one ignores."""
    asked = _git(folder, "rev-parse", "--is-inside-work-tree", "--show-prefix", allowed=(0, 128))
    if asked.returncode and _OUTSIDE not in asked.stderr:
        raise IgnoreError(_refused(folder, asked.stderr))
    inside, _, prefix = asked.stdout.partition(b"\n")
    if inside == b"true" and _git(folder, "check-ignore", "--quiet", ".", allowed=(0, 1)).returncode:
        return _Place(folder, (), prefix.removesuffix(b"\n"))
    return _Place(folder, _apart(folder, scratch), b"")


def _apart(folder: str, scratch: str) -> tuple[str, ...]:
    return f"--git-dir={scratch}/.git", f"--work-tree={folder}"


def _matched(place: _Place, scratch: str, names: Mapping[str, bool], rules: str) -> set[str]:
    """Which of the names, each a folder or not, the rules match.

    They stand in an index of their own for that, so git reads the rules of each folder once, and knows also what is not there any more.
    """
    index = {"GIT_INDEX_FILE": f"{scratch}/index"}
    Path(index["GIT_INDEX_FILE"]).unlink(missing_ok=True)
    # Any object: git does not look for it. Its name is longer in some repositories.
    blob = _git(place.folder, *place.options, "hash-object", "-t", "blob", "--stdin").stdout.strip()
    # git has none of its own folders in an index, and folders only as repositories.
    wanted = sorted((place.prefix + os.fsencode(name), folder) for name, folder in names.items() if ".git" not in name.lower().split("/"))
    text = b"".join(b"%s %s\t%s\0" % (b"160000" if folder else b"100644", blob, name) for name, folder in wanted)
    _git(place.folder, *place.options, "update-index", "-z", "--index-info", stdin=text, more=index)
    answer = _git(place.folder, *place.options, "ls-files", "--cached", "--ignored", rules, "-z", more=index)
    return {os.fsdecode(name) for name in answer.stdout.split(b"\0") if name}


def _tracked(place: _Place) -> set[str]:
    """What git has committed, or will: its rules do not count for that."""
    return {os.fsdecode(name) for name in _git(place.folder, *place.options, "ls-files", "--cached", "-z").stdout.split(b"\0")}


def _git(
    folder: str, *words: str, stdin: bytes = b"", more: Mapping[str, str] | None = None, allowed: Sequence[int] = (0,)
) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name.startswith(_KEPT)}
    # Its words in English, without a translation.
    env = kept | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"} | (more or {})
    done = subprocess.run([*_GIT, "-C", folder, *words], input=stdin, capture_output=True, env=env, check=False)
    if done.returncode not in allowed:
        raise IgnoreError(_refused(folder, done.stderr))
    return done


def _refused(folder: str, said: bytes) -> str:
    words = said.decode(errors="replace").strip().partition("\n")[0]
    return f"git cannot say what it ignores in {folder}: {words}. Mend that, or write {OWN} in the project, which then decides alone."


def _above(path: str) -> Iterator[str]:
    """Its folders, the nearest first."""
    while path := path.rpartition("/")[0]:
        yield path
