"""The Docker engine's HTTP API over its Unix socket, for modules that run on the host: it needs no package there."""

from __future__ import annotations

import fcntl
import http
import http.client
import json
import os
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Container, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SOCKET = "/var/run/docker.sock"
#: States of a container that has processes.
RUNNING = ("running", "restarting", "paused")
#: The file in a stack's folder that says that it was brought to rest.
AT_REST = "at_rest"
#: Answers of the engine's that are no refusal; 304: there was nothing to do.
DONE = (200, 204, 304)
#: The engine answers when the container has ended: a worker's job has an hour at most.
ANSWER_SECONDS = 3700
#: So much of what a health check said is shown.
MOST_REASON = 600
#: What an argument of the modules says of each stack. `prefix` stands before the names of its stores.
STACK = {
    "name": {"type": "str", "required": True},
    "directory": {"type": "str", "required": True},
    "prefix": {"type": "str", "default": ""},
    "early": {"type": "list", "elements": "str", "default": []},
    "budgets": {"type": "dict", "default": {}},
}


class GoneError(OSError):
    """There is no such thing (404)."""


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

    def post(self, path: str, body: Mapping[str, Any]) -> bytes:
        """POST a JSON document to a path, and return all that is answered. Raises OSError, also where nothing is said for the timeout."""
        self.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return self._fine(path, (*DONE, http.HTTPStatus.CREATED)).read()

    def remove(self, path: str) -> None:
        """DELETE a path. That it is gone already (404), or another command is removing it (409), is fine."""
        self.opened(path, "DELETE", (*DONE, 404, 409)).read()

    def fetch(self, path: str, most: int, /, **query: Any) -> bytes:
        """GET a path, and return so many bytes of what it answers. The connection is of no use afterwards."""
        return self._answer("GET", path, query, most)

    def opened(self, path: str, method: str = "GET", fine: Container[int] = DONE, /, **query: Any) -> http.client.HTTPResponse:
        """The answer to a path, to be read in parts."""
        self.request(method, f"{path}?{urllib.parse.urlencode(query)}")
        return self._fine(path, fine)

    def _fine(self, path: str, fine: Container[int]) -> http.client.HTTPResponse:
        answer = self.getresponse()
        if answer.status not in fine:
            kind = GoneError if answer.status == http.HTTPStatus.NOT_FOUND else OSError
            raise kind(f"{path}: {answer.status} {answer.read(200)!r}")
        return answer

    def _answer(self, method: str, path: str, query: dict[str, Any], most: int | None = None) -> bytes:
        return self.opened(path, method, **query).read(most)


def every(action: str, containers: Iterable[Mapping[str, Any]], **query: Any) -> None:
    """Tell the engine the same of several containers, at once. Raises OSError."""

    def tell(container: Mapping[str, Any]) -> None:
        Engine(timeout=ANSWER_SECONDS).tell(f"/containers/{container['Id']}/{action}", **query)

    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(tell, containers))


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
    """The containers of a Compose project's services, by service; of several of one service, the second is called SERVICE-2."""
    found = {}
    for item in containers:
        labels = item["Labels"]
        if labels.get("com.docker.compose.project") == name and not one_off(item):
            number = labels.get("com.docker.compose.container-number", "1")
            found[labels["com.docker.compose.service"] + (f"-{number}" if number != "1" else "")] = item
    return found


def reason(state: Mapping[str, Any]) -> str | None:
    """What the last health check of a container that is not healthy said, in one line; none if it said nothing."""
    checks = state.get("Health", {}).get("Log") or []
    if not state["Running"] or state.get("Health", {}).get("Status") == "healthy" or not checks or not checks[-1]["ExitCode"]:
        return None
    return " ".join(checks[-1]["Output"].split())[:MOST_REASON] or None


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


def folder(directory: str) -> str:
    """Its absolute path: a relative one is in the user's home."""
    return str(Path.home() / directory)


def batch_runs(names: Container[str]) -> list[str]:
    """Those of the projects in which a `docker compose run` works now."""
    found = {item["Labels"].get("com.docker.compose.project") for item in Engine().ask("/containers/json") if one_off(item)}
    return sorted(name for name in found if name in names)


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
