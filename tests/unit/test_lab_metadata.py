"""The lab's metadata service, as a real server on loopback: each address of 127.0.0.0/8 is another instance."""

from __future__ import annotations

import base64
import http.client
import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest

from tests import modules

LIFE, TOKEN = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"
FIRST, SECOND, SECRET = "127.0.0.2", "127.0.0.3", bytes(range(256))


def known(number: int, **changes: Any) -> dict[str, Any]:
    tree = {
        "meta-data": {
            "instance-id": f"i-{number}",
            "placement": {"region": "us-east-1"},
            "public-keys": {"0=mine": {"openssh-key": "key"}},
        },
        "dynamic": {"instance-identity": {"document": "{}"}},
    }
    data = base64.b64encode(SECRET).decode() if number == 1 else None
    return {"endpoint": "enabled", "tokens": "required", "hops": 1, "user_data": data, "tree": tree} | changes


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    service = modules.read("lab", "images", "metadata", "metadata.py")
    service.DATA = tmp_path_factory.mktemp("data")
    server = service.Server(("127.0.0.1", 0), service.Handler)
    service.port = server.server_port  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield service
    server.shutdown()
    server.server_close()


@pytest.fixture
def service(module: ModuleType) -> ModuleType:
    for number, address in enumerate((FIRST, SECOND), 1):
        (module.DATA / f"{address}.json").write_text(json.dumps(known(number)))
    return module


def ask(service: ModuleType, path: str, method: str = "GET", source: str = FIRST, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=5, source_address=(source, 0))
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.read()


def token(service: ModuleType, source: str = FIRST) -> dict[str, str]:
    status, given = ask(service, "/latest/api/token", "PUT", source, **{LIFE: "60"})
    assert status == 200
    return {TOKEN: given.decode()}


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/latest/meta-data/instance-id", b"i-1"),
        ("/2021-03-23/meta-data/instance-id", b"i-1"),
        ("/latest/meta-data/", b"instance-id\nplacement/\npublic-keys/"),
        ("/latest/meta-data", b"instance-id\nplacement/\npublic-keys/"),
        ("/latest/meta-data/public-keys/", b"0=mine"),
        ("/latest/meta-data/public-keys/0/openssh-key", b"key"),
        ("/latest/dynamic/instance-identity/document", b"{}"),
        ("/latest/", b"dynamic/\nmeta-data/\nuser-data"),
        ("/latest/user-data", SECRET),
    ],
)
def test_each_path_of_the_metadata_shows_the_instances_value(service: ModuleType, path: str, shown: bytes) -> None:
    assert ask(service, path, **token(service)) == (200, shown)


@pytest.mark.parametrize(
    "path", ["/latest/meta-data/no", "/latest/meta-data/instance-id/deeper", "/1999/meta-data", "/latest/meta-data/../user-data", "/x"]
)
def test_a_path_that_the_metadata_does_not_have_is_404(service: ModuleType, path: str) -> None:
    assert ask(service, path, **token(service))[0] == 404


def test_an_instance_is_shown_its_own_only(service: ModuleType) -> None:
    mine = token(service)
    assert ask(service, "/latest/user-data", source=SECOND, **token(service, SECOND))[0] == 404
    assert ask(service, "/latest/user-data", source=SECOND, **mine)[0] == 401
    assert ask(service, "/latest/meta-data/instance-id", source="127.0.0.4", **mine)[0] == 404


@pytest.mark.parametrize("life", [None, "", "0", "21601", "-1", "60s", "1e3", "٣"])
def test_a_token_wants_a_time(service: ModuleType, life: str | None) -> None:
    headers = {} if life is None else {LIFE: life.encode().decode("latin-1")}
    assert ask(service, "/latest/api/token", "PUT", **headers)[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "headers", "code"),
    [
        ("GET", "/latest/meta-data/instance-id", {}, 401),
        ("HEAD", "/latest/meta-data/instance-id", {}, 401),
        ("GET", "/latest/meta-data/no", {}, 401),
        ("GET", "/latest/api/token", {}, 405),
        ("POST", "/latest/api/token", {LIFE: "60"}, 405),
        ("PUT", "/latest/meta-data/instance-id", {LIFE: "60"}, 405),
        ("PUT", "/latest/api/token", {LIFE: "60", "X-Forwarded-For": "203.0.113.1"}, 403),
    ],
)
def test_a_request_that_ec2_refuses_is_refused_by_its_code(
    service: ModuleType, method: str, path: str, headers: dict[str, str], code: int
) -> None:
    assert ask(service, path, method, **headers)[0] == code


def test_a_token_ends_with_its_time(service: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = token(service)
    later = service.time.monotonic() + 61
    monkeypatch.setattr(service.time, "monotonic", lambda: later)
    assert ask(service, "/latest/meta-data/instance-id", **mine)[0] == 401


def test_hosts_that_boot_at_once_lose_no_token(module: ModuleType) -> None:
    tokens = module.Tokens()

    def boot(number: int) -> list[tuple[str, str]]:
        address = f"127.0.1.{number}"
        return [(address, tokens.new(address, "60")[0]) for _ in range(100)]

    before = sys.getswitchinterval()
    # Between any two steps of one thread are steps of another.
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            given = [each for some in pool.map(boot, range(8)) for each in some]
    finally:
        sys.setswitchinterval(before)
    for address, token in given:
        tokens.check(address, token, required=True)


def test_the_options_of_the_instance_make_tokens_optional_or_close_the_service(service: ModuleType) -> None:
    place = service.DATA / f"{FIRST}.json"
    place.write_text(json.dumps(known(1, tokens="optional")))
    assert ask(service, "/latest/meta-data/instance-id") == (200, b"i-1")
    place.write_text(json.dumps(known(1, endpoint="disabled")))
    assert ask(service, "/latest/api/token", "PUT", **{LIFE: "60"})[0] == 403
