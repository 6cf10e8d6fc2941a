"""The door of the pages that the tunnel opens: which request gets in, and what each answer carries."""

from __future__ import annotations

import re
import runpy
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import Client, TestResponse

from tests.conftest import PROJECT

FOLDER = PROJECT / "roles" / "stack" / "files" / "compose" / "jupyter"
door = runpy.run_path(str(FOLDER / "slipway_door.py"))
Asked, judge, kept = door["Asked"], door["judge"], door["kept"]
TOKEN = "t0ken-of 16 or möre"
HOST, OWN = "127.0.0.1:9181", "http://127.0.0.1:9181"
COOKIE = {"cookies": (kept(TOKEN),)}
POST = {"method": "POST", **COOKIE}

#: What is asked -> the status.
CASES: list[tuple[dict[str, Any], int]] = [
    # The token: in the URL, in the header, in the cookie.
    ({}, 403),
    ({"url": TOKEN}, 302),
    ({"url": TOKEN, "site": "none", "method": "HEAD"}, 302),
    ({"url": TOKEN[:-1]}, 403),
    ({"url": TOKEN + " "}, 403),
    ({"url": "\udcff"}, 403),
    ({"header": TOKEN}, 200),
    ({"header": "wrong"}, 403),
    (COOKIE, 200),
    ({**COOKIE, "url": "wrong"}, 200),
    ({"cookies": (TOKEN,)}, 403),
    ({"cookies": ("shadowed by another port", kept(TOKEN))}, 200),
    # The host: a name of the loopback, with any port.
    *(({**COOKIE, "host": host}, 200) for host in ("127.0.0.1", "localhost:1024", "LOCALHOST:80", "[::1]:9181", "127.1.2.3:65000")),
    *(
        ({**COOKIE, "host": host}, 403)
        for host in (
            "",
            "evil.example",
            "evil.example:9181",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "monitor:9181",
            "172.18.0.5",
        )
    ),
    *(
        ({**COOKIE, "host": host}, 403)
        for host in ("127.0.0.1,evil.example", "127.0.0.1:80:80", "127.0.0.1\n", "evil@127.0.0.1", "0.0.0.1")
    ),
    ({"url": TOKEN, "host": "evil.example:9181", "origin": "http://evil.example:9181", "site": "same-origin"}, 403),
    # Another site, or another port of this computer.
    *(({**COOKIE, "site": site}, 403) for site in ("cross-site", "same-site", "new-word")),
    *(({**COOKIE, "site": site}, 200) for site in ("none", "same-origin")),
    *(({"url": TOKEN, "site": site}, 403) for site in ("cross-site", "same-site")),
    *(({**COOKIE, "origin": origin}, 403) for origin in ("null", "http://evil.example", "http://127.0.0.1:8888", "https://127.0.0.1:9181")),
    ({**COOKIE, "origin": "http://127.0.0.1:9181.evil.example"}, 403),
    ({**COOKIE, "origin": OWN}, 200),
    ({**COOKIE, "referer": "http://evil.example/127.0.0.1:9181"}, 403),
    ({**COOKIE, "referer": "http://127.0.0.1:8888/lab"}, 403),
    ({**COOKIE, "referer": "http://[evil"}, 403),
    ({**COOKIE, "referer": f"{OWN}/0/view"}, 200),
    # The token in the header is no reason to let a foreign page in.
    ({"header": TOKEN, "origin": "http://evil.example"}, 403),
    # A change: by POST, and by a page that says where it is.
    ({**COOKIE, "changes": True}, 405),
    ({**COOKIE, "changes": True, "method": "HEAD", "site": "same-origin"}, 405),
    ({"url": TOKEN, "changes": True}, 405),
    ({"changes": True}, 403),
    ({**POST, "changes": True}, 403),
    ({**POST, "changes": True, "origin": OWN, "site": "same-origin", "referer": f"{OWN}/"}, 200),
    *(({**POST, "changes": True, **proof}, 200) for proof in ({"origin": OWN}, {"site": "same-origin"}, {"referer": f"{OWN}/x"})),
    ({**POST, "changes": True, "origin": OWN, "site": "cross-site"}, 403),
    ({**POST, "changes": True, "origin": "null", "site": "same-origin"}, 403),
    ({"method": "POST", "changes": True, "header": TOKEN}, 200),
    ({"method": "POST", "changes": True, "url": TOKEN}, 403),
    ({"method": "POST", "changes": True, "origin": OWN, "site": "same-origin"}, 403),
    ({"method": "OPTIONS", "origin": "http://evil.example", "site": "cross-site"}, 403),
    ({**COOKIE, "method": "PUT"}, 403),
]


@pytest.mark.parametrize(("asked", "status"), CASES, ids=[str(number) for number in range(len(CASES))])
def test_only_a_request_with_the_token_and_of_this_host_gets_in(asked: dict[str, Any], status: int) -> None:
    assert judge(Asked(**{"host": HOST, **asked}), TOKEN).status == status


@pytest.mark.parametrize("asked", [asked for asked, status in CASES if status != 403])
def test_a_door_without_a_token_is_closed(asked: dict[str, Any]) -> None:
    assert judge(Asked(**{"host": HOST, **asked}), "").status == 403
    assert judge(Asked(host=HOST, cookies=("", kept(""))), "").status == 403


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "monitor_token"
    made.write_text(f"{TOKEN}\n")
    return made


@pytest.fixture
def page(file: Path) -> Client:
    application = Flask("page")

    @application.route("/", methods=["GET"])
    @application.route("/<path:rest>", methods=["GET", "POST"])
    def shown(rest: str = "") -> str:
        return f"shown {rest}"

    return Client(door["Door"](application.wsgi_app, "monitor", file, lambda path: path == "/change"))


def get(page: Client, path: str, **headers: str) -> TestResponse:
    return page.get(path, base_url=OWN, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/?{}", "/"),
        ("/0/view?order=dsc&{}&page=1", "/0/view?order=dsc&page=1"),
        ("/a%20b%0d%0ax?{}", "/a%20b%0D%0Ax"),
    ],
)
def test_the_token_leaves_the_address_bar(page: Client, path: str, leads_to: str) -> None:
    given = urllib.parse.urlencode({"token": TOKEN})
    answer = get(page, path.format(given))
    assert (answer.status_code, answer.headers["Location"]) == (302, leads_to)
    [cookie] = answer.headers.getlist("Set-Cookie")
    assert cookie == f"slipway-monitor-9181={kept(TOKEN)}; HttpOnly; Path=/; SameSite=Strict"
    assert given not in str(answer.headers)
    assert get(page, "/").text == "shown "


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example/", "\\/evil.example/", "///evil.example/"])
def test_no_address_leads_to_another_host(page: Client, path: str) -> None:
    answer = page.get(f"/?{urllib.parse.urlencode({'token': TOKEN})}", base_url=OWN, environ_overrides={"PATH_INFO": path})
    assert answer.headers["Location"] == "/evil.example/"


def test_two_ports_have_a_cookie_each(page: Client) -> None:
    given = urllib.parse.urlencode({"token": TOKEN})
    for port, status in ((9181, 302), (9182, 302), (9183, 403)):
        path = f"/?{given}" if status == 302 else "/"
        answer = page.get(path, base_url=f"http://127.0.0.1:{port}")
        assert answer.status_code == status
    assert get(page, "/").status_code == 200


def test_the_token_counts_beside_other_cookies_and_in_the_header(page: Client) -> None:
    fresh = Client(page.application, use_cookies=False)
    strange = 'username-127-0-0-1-8888="2|1:0|10:1"; _xsrf=2|a,b[c]; ; =; é=1; '
    assert get(fresh, "/", Cookie=f"{strange}slipway-monitor-9181={kept(TOKEN)}").status_code == 200
    assert get(fresh, "/", Cookie=strange).status_code == 403
    assert get(fresh, "/", Authorization=f"token {TOKEN}".encode().decode("latin-1")).status_code == 200


def test_another_token_closes_the_door_to_the_old_one(page: Client, file: Path) -> None:
    get(page, f"/?{urllib.parse.urlencode({'token': TOKEN})}")
    assert get(page, "/").status_code == 200
    file.write_text("another-token-of-16")
    assert get(page, "/").status_code == 403
    file.unlink()
    assert get(page, "/").status_code == 403


def test_a_refusal_says_what_is_needed_and_every_answer_carries_the_safe_headers(page: Client) -> None:
    refused = get(page, "/")
    assert (refused.status_code, refused.text) == (403, "This page needs its token. Open the address with the token: `status` prints it.\n")
    assert "token is wrong" in get(page, "/?token=x").text
    get(page, f"/?{urllib.parse.urlencode({'token': TOKEN})}")
    shown, changing = get(page, "/"), get(page, "/change")
    assert (changing.status_code, changing.headers["Allow"]) == (405, "POST")
    assert page.post("/change", base_url=OWN, headers={"Origin": OWN}).text == "shown change"
    for answer in (refused, shown, changing):
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert not [name for name in answer.headers.keys() if name.startswith("Access-Control-")]  # noqa: SIM118 (of pairs)


def test_the_images_name_changes_with_each_of_its_files() -> None:
    """Otherwise a machine would keep the image that it has."""
    copied = re.findall(
        r"\bslipway_\w+\.py", "".join(re.findall(r"COPY slipway.*?/tmp/slipway/", (FOLDER / "Dockerfile").read_text(), re.DOTALL))
    )
    counted = re.search(r"^__stack_jupyter_own: \[(.*)\]$", (PROJECT / "roles/stack/vars/main.yml").read_text(), re.MULTILINE)
    assert counted
    assert sorted(copied) == sorted(path.name for path in FOLDER.glob("*.py")) == [f"slipway_{each}.py" for each in counted[1].split(", ")]
