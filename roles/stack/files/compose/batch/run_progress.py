"""What a run shows while it goes on: the cells as they begin, what they print, and what went wrong."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass, field

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Progress:
    """Which of the code cells runs, and since when the notebook does."""

    total: int
    number: int = 0
    source: str = ""
    begun: float = field(default_factory=time.monotonic)
    #: From its begin to the end of the last cell that ended.
    seconds: float = 0
    #: Whether the terminal is at the begin of a line.
    fresh: bool = True

    @property
    def place(self) -> str:
        return f"cell {self.number} of {self.total}"

    def next(self, source: str) -> None:
        self.number, self.source = self.number + 1, source
        first = source.strip().splitlines()[0]
        self.line(f"[{self.number}/{self.total}] In [{self.number}]: {first}  ({time.monotonic() - self.begun:.1f} s)")

    def line(self, text: str) -> None:
        self.text(("" if self.fresh else "\n") + text + "\n")

    def text(self, text: str) -> None:
        print(text, end="", flush=True)
        self.fresh = text.endswith("\n")


def indented(source: str) -> str:
    return "\n".join(f"    {line}" for line in source.splitlines())


def tell(progress: Progress, text: str) -> None:
    """On standard error, in colours only at a terminal."""
    if not progress.fresh:
        progress.text("\n")
    print(text if sys.stderr.isatty() else COLOURS.sub("", text), file=sys.stderr, flush=True)
