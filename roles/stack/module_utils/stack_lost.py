"""What a container takes with it when it is made again, asked of the engine: of one that is stopped as of one that runs."""

from __future__ import annotations

import base64
import codecs
import json
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from ansible.module_utils.stack_engine import Engine, of_project
from ansible.module_utils.stack_lost_rules import Book, Files, Here, book, brought, candidates, changes, packages, without

MIB = 1024 * 1024
#: The file in a stack's folder, from before the stop on.
RECORD = "lost.json"
#: By which a container is known.
DIGITS = 12
#: For the engine to compare a container with its image.
SECONDS = 300
#: So many are looked at in all, and in one folder that was made by hand, whether they are folders with nothing in them; the others count as
#: files. The engine needs 1 to 4 ms for each.
MOST_LOOKED, MOST_LOOKED_OF_ONE = 500, 20
#: So much is read of what a package manager wrote down of a package.
MOST_BYTES = 32 * MIB
#: Go's word for a folder: https://pkg.go.dev/io/fs#FileMode
_FOLDER = 1 << 31


def here(stack: str) -> list[Here]:
    """What each container of a stack's services would take with it. Raises OSError and ValueError."""
    found = of_project(stack, Engine(SECONDS).ask("/containers/json", all="1", size="1"))
    return [_one(stack, service, found[service]) for service in sorted(found)]


def gone(stack: str, losses: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Those of these containers that are not there any more, without the packages that their successors have too. Raises OSError."""
    now = of_project(stack, Engine().ask("/containers/json", all="1"))
    ids = {each["Id"][:DIGITS] for each in now.values()}
    found = {}
    for key, each in losses.items():
        if key not in ids:
            after = now.get(each["service"])
            paths = [package["path"] for package in each["packages"]]
            found[key] = without(each, {path for path in paths if after and _mode(after["Id"], path) is not None})
    return {key: each for key, each in found.items() if each["files"] or each["packages"]}


def recorded(directory: str) -> dict[str, Any]:
    """What an interrupted command, or an earlier one, wrote down of a stack's containers."""
    with suppress(OSError, ValueError):
        return dict(json.loads(Path(directory, RECORD).read_text()))
    return {}


def write(directory: str, losses: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep that until the next resize. A stack of another user's may lie in a folder that is not this user's."""
    path, scratch = Path(directory, RECORD), Path(directory, f"{RECORD}.new")
    with suppress(PermissionError):
        if not losses:
            path.unlink(missing_ok=True)
            return
        scratch.touch(mode=0o600)
        scratch.write_text(json.dumps(losses))
        scratch.replace(path)


def _one(stack: str, service: str, container: Mapping[str, Any]) -> Here:
    losses: dict[str, Any] = {"stack": stack, "service": service, "files": 0, "paths": [], "packages": []}
    running = container["State"] == "running"
    # Into many a container nothing was written. To compare one with its image takes a second for 20,000 files.
    if not container.get("SizeRw"):
        return Here(container["Id"][:DIGITS], running, losses)
    mounts = [mount["Destination"] for mount in container["Mounts"]]
    books: list[Book] = []
    asked: set[str] = set()
    files = Files()
    with _said(container["Id"]) as said:
        for each in changes(_objects(said)):
            if found := book(each):
                books.append(found)
            elif each.path.endswith(".dist-info/REQUESTED"):
                asked.add(each.path.removesuffix("REQUESTED") + "RECORD")
        # By pip, and by others: what these have brought tells which books are pip's own.
        owned: dict[bool, set[int]] = {True: set(), False: set()}
        for one in books:
            paths, by_name = brought(one, _lines(container["Id"], one.path))
            owned[one.kind == "pip"].update(map(hash, paths))
            asked |= {one.path} if by_name else set()
        by_apt = any(found.kind == "apt" for found in books)
        if by_apt:
            asked |= _asked_of_apt(container["Id"], books)
        looked: Counter[str] = Counter()
        for each in candidates(changes(_objects(said)), service, mounts, owned[True] | owned[False], by_apt):
            looks = looked.total() < MOST_LOOKED and looked[each.top] < MOST_LOOKED_OF_ONE
            if looks:
                looked[each.top] += 1
            # Of a folder that nothing else is in, nothing is lost.
            if not (looks and (_mode(container["Id"], each.path) or 0) & _FOLDER):
                files.add(each)
    found_here = {"files": files.total, "paths": files.paths(), "packages": packages(books, asked, owned[False])}
    return Here(container["Id"][:DIGITS], running, losses | found_here)


@contextmanager
def _said(container: str) -> Iterator[IO[bytes]]:
    """What the engine says of a container's changes: in memory, or on the disk if that is much."""
    with closing(Engine(SECONDS)) as engine, SpooledTemporaryFile(max_size=4 * MIB) as kept:
        shutil.copyfileobj(engine.opened(f"/containers/{container}/changes"), kept, 1 << 16)
        yield kept


def _objects(file: IO[bytes]) -> Iterator[Mapping[str, Any]]:
    """The objects of a JSON array (or `null`), from its begin, one after the other."""
    decoder, text = codecs.getincrementaldecoder("utf-8")("replace"), ""
    read = json.JSONDecoder().raw_decode
    file.seek(0)
    while part := file.read(1 << 16):
        text, at = text + decoder.decode(part), 0
        with suppress(ValueError):  # What is cut off comes with the next part.
            while (begin := text.find("{", at)) >= 0:
                found, at = read(text, begin)
                yield found
        text = text[at:]


def _lines(container: str, path: str) -> Iterator[str]:
    """A file's lines; none if there is no such file. A line is 64 KiB at most, and all of them 32 MiB."""
    with suppress(OSError, tarfile.TarError), closing(Engine(SECONDS)) as engine:
        answer = engine.opened(f"/containers/{container}/archive", path=path)
        with tarfile.open(fileobj=answer, mode="r|") as archive:
            member = archive.next()
            content, left = member and archive.extractfile(member), MOST_BYTES
            while content and left > 0 and (line := content.readline(1 << 16)):
                left -= len(line)
                yield line.decode(errors="surrogateescape")


def _asked_of_apt(container: str, books: Iterable[Book]) -> set[str]:
    """The books of those of Debian's packages that did not just come along."""
    along, name = set(), ""
    for line in _lines(container, "/var/lib/apt/extended_states"):
        key, _, value = line.strip().partition(": ")
        name = value if key == "Package" else name
        if (key, value) == ("Auto-Installed", "1"):
            along.add(name)
    return {found.path for found in books if found.kind == "apt" and found.name not in along}


def _mode(container: str, path: str) -> int | None:
    """Go's word for what a path is; none if there is no such path, or its name is no UTF-8, which cannot be asked for."""
    with closing(Engine(SECONDS)) as engine, suppress(OSError, ValueError):
        answer = engine.opened(f"/containers/{container}/archive", "HEAD", path=path)
        said = json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"]))
        return int(said["mode"])
    return None
