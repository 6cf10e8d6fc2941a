"""The keeper gives a machine's lock back when its command has ended, however that ended."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from botocore.exceptions import ClientError

from slipway import keeper, lock
from slipway.callback.slipway_lock import holder
from tests.conftest import PROJECT
from tests.modules import load

once = load("ec2_once")


class Answers(BaseHTTPRequestHandler):
    """EC2's place: keeps what it is asked, and knows one lock."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.asked.append(body)
        groups = "<item><groupId>sg-1</groupId></item>" if "DescribeSecurityGroups" in body else ""
        answer = f"<Response><securityGroupInfo>{groups}</securityGroupInfo></Response>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def test_the_keeper_gives_the_lock_back_when_every_process_of_the_command_has_ended(tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    connection = {"region": "us-east-1", "endpoint_url": f"http://127.0.0.1:{server.server_port}", "access_key": "a", "secret_key": "b"}
    path = tmp_path / "x.lock"
    with lock.held(path, "a test"):
        mine = holder(path, lock.note(path))
        process = subprocess.Popen([sys.executable, str(PROJECT / "slipway" / "keeper.py")], stdin=subprocess.PIPE, text=True)
        assert process.stdin
        with process.stdin as stdin:
            json.dump({"lock": str(path), "id": mine["id"], "connection": connection}, stdin)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        assert Answers.asked == []
        # Another command's is not waited for.
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "locks").symlink_to(tmp_path)
        lock.given_back(tmp_path / "state", seconds=60)
        assert process.poll() is None
    # A wrapper that is a container's first process waits.
    lock.given_back(tmp_path / "state", seconds=60)
    assert len(Answers.asked) == 2
    assert process.wait(timeout=60) == 0
    server.shutdown()
    assert [mine["id"] in Answers.asked[0], "DeleteSecurityGroup" in Answers.asked[1], "sg-1" in Answers.asked[1]] == [True] * 3


@pytest.mark.parametrize(
    ("answers", "endpoint", "asked"),
    [
        ([True], "", 1),
        ([False, True], "", 2),
        # No command took it, or gave it back by itself.
        ([False] * 9, "", 3),
        # No network for some minutes; in the lab, for ever.
        ([None, None, None, None, True], "", 5),
        ([None] * 9, "", 6),
        ([None] * 9, "http://127.0.0.1:1", 3),
    ],
)
def test_the_keeper_asks_until_the_lock_is_given_back_or_it_gives_up(
    answers: list[bool | None], endpoint: str, asked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool | None] = []

    def give_back(*_: Any) -> bool:
        told.append(answers[len(told)])
        if told[-1] is None:
            raise OSError
        return told[-1]

    # Its lock's file is gone, as a checkout is that was removed.
    given = {"lock": str(tmp_path / "x.lock"), "id": "a1", "connection": {"region": "us-east-1", "endpoint_url": endpoint}}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(given)))
    monkeypatch.setattr(keeper, "give_back", give_back)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    keeper.main()
    assert len(told) == asked
    # Of a lab that does not answer nothing is left.
    log = tmp_path / "keeper.log"
    assert log.exists() == (told[-1] is None and not endpoint)
    assert not log.exists() or "command a1 was not given back: OSError() To end it: python orchestrate.py unlock" in log.read_text()


def test_a_keeper_that_may_not_remove_the_lock_says_so_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    def give_back(*_: Any) -> bool:
        told.append(1)
        raise ClientError({"Error": {"Code": "UnauthorizedOperation", "Message": "not allowed\nto"}}, "DeleteSecurityGroup")

    given = {"lock": str(tmp_path / "x.lock"), "id": "a1", "connection": {"region": "us-east-1"}}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(given)))
    monkeypatch.setattr(keeper, "give_back", give_back)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    keeper.main()
    assert told == [1]
    [line] = (tmp_path / "keeper.log").read_text().splitlines()
    assert "DeleteSecurityGroup operation: not allowed to To end it" in line


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", {}),
        ("", {"AWS_PROFILE": "gone"}),
        ("", {"AWS_DEFAULT_PROFILE": "gone"}),
        ("[default]\n", {"AWS_PROFILE": "default", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}),
        ("nonsense\n", {}),
    ],
)
def test_a_keeper_without_credentials_that_count_ends_at_once(
    text: str, settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(text)
    files = {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    for name, value in (files | settings | {"AWS_EC2_METADATA_DISABLED": "true"}).items():
        monkeypatch.setenv(name, value)
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    given = {"lock": str(tmp_path / "x.lock"), "id": "a1", "connection": {"region": "us-east-1"}}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(given)))
    keeper.main()
    assert waits == [0]
    assert not (tmp_path / "keeper.log").exists()


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"region": "aws_region", "access_key": "aws_access_key", "secret_key": "aws_secret_key", "session_token": "aws_session_token"},
        {"access_key": "aws_access_key_id", "secret_key": "aws_secret_access_key", "endpoint_url": "aws_endpoint_url"},
    ],
)
def test_the_keeper_reads_a_connection_as_the_modules_do(names: dict[str, str]) -> None:
    given = {"region": "eu-west-1", "access_key": "a", "secret_key": "b", "session_token": "c", "endpoint_url": "https://127.0.0.1:1"}
    client = keeper._client({names.get(key, key): value for key, value in given.items()})
    found = client._get_credentials().get_frozen_credentials()
    assert (client.meta.region_name, client.meta.endpoint_url, *found[:3]) == ("eu-west-1", "https://127.0.0.1:1", "a", "b", "c")


@pytest.mark.parametrize(
    ("told", "verified"),
    [
        ({}, True),
        ({"validate_certs": False}, False),
        ({"validate_certs": "no"}, False),
        ({"aws_ca_bundle": "/etc/my.pem"}, "/etc/my.pem"),
        ({"aws_profile": ""}, True),
    ],
)
def test_the_keeper_trusts_what_the_modules_trust(told: dict[str, Any], verified: bool | str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    if "aws_profile" in told:
        # Empty, not left out: the shell's does not count then.
        monkeypatch.setenv("AWS_PROFILE", "nowhere")
    client = keeper._client({"region": "eu-west-1", "access_key": "a", "secret_key": "b", **told})
    assert client._endpoint.http_session._verify == verified


def test_a_connection_that_no_module_takes_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with pytest.raises(ValueError, match="both a profile and access tokens"):
        keeper._client({"region": "eu-west-1", "access_key": "a", "secret_key": "b", "profile": "mine"})
    with pytest.raises(ValueError, match="acces_key"):
        keeper._client({"region": "eu-west-1", "acces_key": "a"})


def test_a_command_is_one_holder_in_all_of_its_plays_and_another_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    note = {"command": "orchestrate.py up", "pid": "7", "since": "2026-05-01T12:00:00+00:00"}
    first = holder(path, note)
    assert holder(path, note) == first
    assert once.Holder(**first).command == "orchestrate.py up"
    assert len({holder(path, note | {"pid": "8"})["id"], holder(tmp_path / "y.lock", note)["id"], first["id"]}) == 3
