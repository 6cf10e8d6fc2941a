"""The fingerprint of a folder of files."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.stack_store import PassingError, StoreError, fingerprint, several

#: How many of the files that cannot be read are named.
NAMED = 5
_KINDS = {stat.S_IFSOCK: "socket", stat.S_IFIFO: "fifo", stat.S_IFBLK: "device", stat.S_IFCHR: "device"}


class Notebooks:
    """The mark is what the file system says of the files: size, place and when they were changed.

    Compared are the names, the kinds, the permissions, the contents of files and the targets of links; not owners, and not times.
    """

    def __init__(self, directory: str) -> None:
        self._root = Path(directory, "work")

    def close(self) -> None:
        """Nothing is kept open."""

    def read(self, known: str) -> dict[str, Any]:
        """Raises StoreError, which names what cannot be read, and PassingError if a file goes meanwhile."""
        digest, unread = hashlib.sha256(), list[Path]()
        for path, status in self._walk(unread):
            facts = (str(path), status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            digest.update(ascii(facts).encode())
            if stat.S_ISREG(status.st_mode) and not os.access(path, os.R_OK):
                unread.append(path)
        if unread:
            named = ", ".join(ascii(str(path.relative_to(self._root))) for path in unread[:NAMED])
            more = f" and {len(unread) - NAMED} more" if len(unread) > NAMED else ""
            raise StoreError(
                f"the machine's user may not read {named}{more} in {self._root}. This gives all of it to that user: "
                f"`ssh 'sudo chown -R --reference={self._root} {self._root}; chmod -R u+rwX {self._root}'`"
            )
        mark = digest.hexdigest()
        return {"mark": mark} if mark == known else self._contents(mark)

    def _contents(self, mark: str) -> dict[str, Any]:
        digest, files = hashlib.sha256(), 0
        try:
            for path, status in self._walk([]):
                kind = stat.S_IFMT(status.st_mode)
                files += kind != stat.S_IFDIR
                # A link has none of its own.
                permissions = 0 if kind == stat.S_IFLNK else stat.S_IMODE(status.st_mode)
                digest.update(ascii((str(path.relative_to(self._root)), permissions, _content(path, kind))).encode())
        except OSError as gone:
            raise PassingError(f"a file has changed meanwhile: {gone}") from gone
        return fingerprint(mark, several(files, "file"), {"files": digest.hexdigest()})

    def _walk(self, unread: list[Path]) -> Iterator[tuple[Path, os.stat_result]]:
        """All below the folder, always in the same order; only the names of one folder and its parents are in memory."""
        waiting = [self._root] if self._root.is_dir() else []
        while waiting:
            folder = waiting.pop()
            try:
                found = [(path, path.lstat()) for path in sorted(folder.iterdir())]
            except PermissionError:
                unread.append(folder)
                continue
            except OSError as gone:
                raise PassingError(f"a file has changed meanwhile: {gone}") from gone
            yield from found
            waiting += [path for path, status in reversed(found) if stat.S_ISDIR(status.st_mode)]


def _content(path: Path, kind: int) -> str:
    if kind == stat.S_IFLNK:
        return f"link to {path.readlink()}"
    if kind != stat.S_IFREG:
        return _KINDS.get(kind, "folder")
    digest = hashlib.sha256()
    # It may be another thing by now: a link is not followed, and a fifo is not waited for.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
