"""The fingerprint of a folder of files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ansible.module_utils.stack_store import fingerprint


class Notebooks:
    """The mark is what the file system says of the files: size, place and when they were changed."""

    def __init__(self, directory: str) -> None:
        self._root = Path(directory, "work")

    def close(self) -> None:
        """Nothing is kept open."""

    def read(self, known: str) -> dict[str, Any]:
        paths = sorted(path for path in self._root.rglob("*") if path.is_symlink() or path.is_file())
        facts = [
            (str(path), *(getattr(path.lstat(), name) for name in ("st_ino", "st_size", "st_mtime_ns", "st_ctime_ns"))) for path in paths
        ]
        mark = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        if mark == known:
            return {"mark": mark}
        names = [str(path.relative_to(self._root)) for path in paths]
        contents = [f"link to {path.readlink()}" if path.is_symlink() else _sha256(path) for path in paths]
        return fingerprint(mark, f"{len(paths)} files", dict(zip(names, contents, strict=True)))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
