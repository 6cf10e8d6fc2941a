"""What the readers of fingerprints share: a client that answers once, one that stays, and the line that comes of it."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Any

#: How long a store may take for one answer.
SECONDS = 3600


#: Names the way in which fingerprints are taken. Lines of another way (`sha256`, `sha256/2`) cannot be compared with them.
WAY = "sha256/3"


class StoreError(Exception):
    """A store could not be read; the text is what it said."""


class PassingError(StoreError):
    """It cannot be read at this moment: a table is locked, or something was removed while it was read."""


def several(number: int, word: str) -> str:
    """A number with its word."""
    return f"{number} {word}" + "s" * (number != 1)


def fingerprint(mark: str, summary: str, parts: Mapping[str, str]) -> dict[str, Any]:
    """The line, `said`, and its mark, of what was read part by part."""
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
    # No character that a tag of AWS may not have.
    return {"mark": mark, "said": f"{summary} {WAY}:{digest}"}


def client(command: Sequence[str], script: str) -> str:
    """What `docker` prints when it is given the script. Raises StoreError."""
    try:
        # What is no UTF-8 is kept as it is.
        done = subprocess.run(
            ["docker", *command], input=script, capture_output=True, encoding="utf-8", errors="surrogateescape", timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        raise StoreError(f"no answer within {SECONDS} s") from None
    if done.returncode:
        raise StoreError((done.stderr or done.stdout).strip()[-600:])
    return done.stdout


class Session:
    """A client that stays: asked by a line, it answers with one that begins as `answer` does, or says why not in one like `refusal`."""

    def __init__(self, command: Sequence[str], answer: str, refusal: str = "(?!)") -> None:
        self._command, self._answer, self._refusal = command, answer, re.compile(refusal)
        self._client: subprocess.Popen[str] | None = None

    def first(self) -> str:
        """What a client that has just started is told first. Raises StoreError."""
        return ""

    def close(self) -> None:
        """Let it end, which it does when it is told nothing more."""
        if self._client:
            self._client.stdin.close()  # type: ignore[union-attr]
            self._client = None

    def ask(self, line: str) -> str:
        """Its answer. Raises StoreError with what it said instead."""
        if not self._client:
            line, pipe = self.first() + line, subprocess.PIPE
            self._client = subprocess.Popen(["docker", *self._command], stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        process, said = self._client, ""
        late = threading.Timer(SECONDS, process.kill)
        late.start()
        try:
            process.stdin.write(f"{line}\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            # It may begin with a warning.
            for text in process.stdout:  # type: ignore[union-attr]
                if text.startswith(self._answer):
                    return text
                said += text
                if self._refusal.match(text):
                    break
        except BrokenPipeError:
            said = "it has ended"
        finally:
            late.cancel()
        self._client = None
        process.kill()
        process.communicate()
        raise StoreError(said.strip()[-600:] or "it has ended")
