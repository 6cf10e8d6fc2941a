"""What ran before a stop: it is written down, and found again, whatever ends the commands."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.modules import load, read

paused: Any = load("stack_paused")
engine: Any = load("stack_engine")
down: Any = read("roles", "stack", "library", "stack_down.py")


def test_what_ran_is_kept_beside_what_a_command_that_was_ended_had_kept(tmp_path: Path) -> None:
    stack = {"name": "survey", "prefix": "survey.", "early": ["jupyter"], "directory": str(tmp_path)}
    assert paused.found([tmp_path]) == []
    assert paused.written(stack, ["redis", "jupyter", "worker-2"]) == ["jupyter", "redis", "worker-2"]
    # By the second command all is down.
    assert paused.written(stack, []) == ["jupyter", "redis", "worker-2"]
    assert paused.found([tmp_path, tmp_path / "none"]) == [
        {"directory": str(tmp_path), "name": "survey", "prefix": "survey.", "early": ["jupyter"], "ran": ["jupyter", "redis", "worker-2"]}
    ]
    paused.forgotten(str(tmp_path))
    assert paused.found([tmp_path]) == []
    paused.forgotten(str(tmp_path))
    # What does not run starts neither early nor late.
    assert paused.written(stack, ["redis"]) == ["redis"]
    assert paused.found([tmp_path])[0]["early"] == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"ran": 1}', '{"name": "a", "prefix": "", "ran": null, "early": []}'])
def test_a_file_that_says_something_else_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / paused.PAUSED).write_text(text)
    assert paused.found([tmp_path]) == []


def test_stacks_are_found_in_the_machines_folder_and_every_projects(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / "projects" / name).mkdir(parents=True)
    both = [tmp_path / "projects" / "a", tmp_path / "projects" / "b"]
    assert paused.folders("slipway", tmp_path) == [tmp_path / "slipway", *both]
    assert paused.folders("/srv/other", tmp_path) == [Path("/srv/other"), tmp_path / "slipway", *both]


class _Failing(BaseHTTPRequestHandler):
    """An engine with one container, which it cannot stop."""

    def do_GET(self) -> None:
        labels = {"com.docker.compose.project": "survey", "com.docker.compose.service": "jupyter"}
        item = {
            "Id": "c1",
            "State": "running",
            "Status": "Up 2 hours (healthy)",
            "Labels": labels,
            "Names": ["/c1"],
            "Mounts": [],
            "Ports": [],
        }
        self._answer(200, json.dumps([item]).encode())

    def do_POST(self) -> None:
        words = self.path.partition("?")[0].split("/")
        self.server.told.append(words[-1])  # type: ignore[attr-defined]
        self._answer(500 if words[-1] == "stop" else 204, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "here"

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the engine was told to do."""
    monkeypatch.setattr(engine, "SOCKET", str(tmp_path / "engine"))
    with socketserver.ThreadingUnixStreamServer(engine.SOCKET, _Failing) as server:
        server.told = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.told  # type: ignore[attr-defined]
        server.shutdown()


@pytest.mark.parametrize(("fingerprints", "pause", "after"), [(False, True, ["stop"]), (False, False, ["stop", "start"])])
def test_a_stop_that_fails_again_brings_nothing_back_that_would_write_after_its_fingerprints(
    tmp_path: Path, told: list[str], fingerprints: bool, pause: bool, after: list[str]
) -> None:
    stack = {"name": "survey", "prefix": "survey.", "early": [], "directory": str(tmp_path)}
    asked = {"fingerprints": fingerprints, "pause": pause, "rest": False, "wait_seconds": 1}
    with pytest.raises(OSError, match="500"):
        down.down(asked, [stack])
    assert told == after
    # What ran is still known.
    assert paused.found([tmp_path]) == ([{**stack, "ran": ["jupyter"]}] if pause else [])
