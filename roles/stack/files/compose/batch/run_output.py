"""What a notebook gives: consecutive prints as one output, as Jupyter saves them, and the whole as a file that is always valid JSON."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

import nbformat

#: A line that a carriage return begins again, and a character that a backspace takes back.
_AGAIN, _BACK = re.compile(r"[^\n]*\r(?=[^\n\r])"), re.compile(r"[^\n\x08]\x08")


class Stream:
    """One output that grows. Its text is put together only when it is looked at: 200,000 lines cost 200,000 steps."""

    def __init__(self, output: nbformat.NotebookNode) -> None:
        self.output, self._done, self._line = output, io.StringIO(), list[str]()
        text, output.text = output.text, ""
        self.add(text)

    def add(self, text: str) -> None:
        whole, newline, rest = text.rpartition("\n")
        if newline:
            self._done.write(settled("".join([*self._line, whole, newline])))
            self._line = []
        self._line.append(rest)
        if "\r" in rest or "\x08" in rest:
            self._line = [settled("".join(self._line))]

    def settle(self) -> None:
        self.output.text = self._done.getvalue() + settled("".join(self._line))


def settled(text: str) -> str:
    """What is seen of a text in the end, as JupyterLab saves it."""
    if "\r" in text:
        text = _AGAIN.sub("", text.replace("\r\n", "\n"))
    while _BACK.search(text):
        text = _BACK.sub("", text)
    return text


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write it. A reader meanwhile finds the whole of the last one."""
    try:
        text = nbformat.writes(notebook, allow_nan=False)
    except ValueError:
        # NaN and infinities, which no browser reads: a picture's data, for one.
        text = nbformat.writes(nbformat.from_dict(_finite(notebook)), allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name may have 255 bytes; 40 characters of any script have fewer, and begin with the run's own time.
    whole = path.with_name(f".{path.name[:40]}.part")
    # Half of a character, which JSON has as its escape and UTF-8 has not.
    whole.write_bytes(text.encode("utf-8", "backslashreplace") + b"\n")
    whole.replace(path)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
