"""The Docker engine's HTTP API over its Unix socket, for modules that run on the host: it needs no package there."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SOCKET = "/var/run/docker.sock"


class Engine(http.client.HTTPConnection):
    """One connection, for one thread. Every method raises OSError where the engine refuses or says nothing."""

    def __init__(self, timeout: float = 30) -> None:
        super().__init__("localhost", timeout=timeout)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)

    def ask(self, path: str, **query: Any) -> Any:
        """GET a path, of the engine's own version of the API, and return its JSON."""
        return json.loads(self._answer("GET", path, query))

    def tell(self, path: str, **query: Any) -> None:
        """POST to a path. That there is nothing to do (304) is fine."""
        self._answer("POST", path, query)

    def _answer(self, method: str, path: str, query: dict[str, Any]) -> bytes:
        self.request(method, f"{path}?{urllib.parse.urlencode(query)}")
        answer = self.getresponse()
        body = answer.read()
        if answer.status not in (200, 204, 304):
            raise OSError(f"{path}: {answer.status} {body[:200]!r}")
        return body


def answers() -> bool:
    """Whether the engine answers."""
    try:
        Engine().ask("/version")
    except (OSError, http.client.HTTPException):
        return False
    return True


def one_off(container: dict[str, Any]) -> bool:
    """Whether it is a `docker compose run`, which is no service."""
    return bool(container["Labels"].get("com.docker.compose.oneoff") == "True")


def of_project(name: str, containers: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The containers of a Compose project's services, by service."""
    label = {"com.docker.compose.project": name}.items()
    mine = [item for item in containers if label <= item["Labels"].items() and not one_off(item)]
    return {item["Labels"]["com.docker.compose.service"]: item for item in mine}


class ComposeError(Exception):
    """Compose has failed; the text is what it said."""


def compose(directory: str, *words: str) -> str:
    """What Compose prints in the folder. Raises ComposeError."""
    done = subprocess.run(["docker", "compose", *words], cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise ComposeError((done.stderr or done.stdout).strip()[-2000:])
    return done.stdout


def services(name: str) -> dict[str, dict[str, Any]]:
    """The containers of a Compose project's services that there are now, by service."""
    return of_project(name, Engine().ask("/containers/json", all="1"))


@contextmanager
def alone(directory: str, seconds: float = 3600) -> Iterator[bool]:
    """Wait for another module in this folder, and say whether it has ended: one whose controller was killed goes on for a while."""
    folder, end = os.open(directory, os.O_RDONLY), time.monotonic() + seconds
    try:
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alone = True
            except BlockingIOError:
                alone = False
            if alone or time.monotonic() > end:
                break
            time.sleep(0.2)
        yield alone
    finally:
        os.close(folder)
