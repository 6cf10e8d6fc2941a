"""The signals that end a command, as exceptions: what was begun on the machine is ended, or left, in order."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ToldToEndError(KeyboardInterrupt):
    """SIGTERM, or SIGHUP: the command is to end, and there may be no one to ask."""


@contextmanager
def told_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP raise ToldToEndError, as Ctrl-C raises KeyboardInterrupt."""

    def told(*_: object) -> None:
        raise ToldToEndError

    def hang_up(*_: object) -> None:
        # The terminal is gone, and with it the place for words.
        with Path(os.devnull).open("w") as nowhere:
            for stream in (1, 2):
                if os.isatty(stream):
                    os.dup2(nowhere.fileno(), stream)
        raise ToldToEndError

    before = {number: signal.signal(number, handler) for number, handler in ((signal.SIGTERM, told), (signal.SIGHUP, hang_up))}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
