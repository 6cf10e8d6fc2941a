"""What counts of the user's shell and settings, and which folders are refused."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from slipway import environment
from tests.conftest import PROJECT

DIRECT = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost", "LC_ALL": "C.UTF-8"}
#: What a shell has, and whether it counts: all of the row, or nothing.
SHELLS: list[tuple[dict[str, str], bool]] = [
    ({"HOME": "/home/me", "SSH_AUTH_SOCK": "/run/agent", "AWS_PROFILE": "work", "MY_OWN": "x"}, True),
    ({"ANSIBLE_ROLES_PATH": "/x"}, False),
    ({"ANSIBLE_BECOME_ASK_PASS": "true"}, False),
    ({"ANSIBLE_VERBOSITY": "4"}, False),
    ({"ANSIBLE_VAULT_PASSWORD_FILE": "/x"}, True),
    ({"ANSIBLE_VAULT_PASSWORD_FILE": "", "DOCKER_HOST": "", "PIP_INDEX_URL": ""}, False),
    (
        {"PIP_USER": "1", "PIP_TARGET": "/x", "PIP_PREFIX": "/x", "PIP_REQUIRE_VIRTUALENV": "1", "PIP_DRY_RUN": "1", "PIP_PYTHON": "/x"},
        False,
    ),
    ({"PIP_INDEX_URL": "https://mirror.example/simple", "PIP_CERT": "/ca.pem", "PIP_PROXY": "http://proxy:3128"}, True),
    (
        {"PYTHONPATH": "/x", "PYTHONHOME": "/x", "PYTHONSTARTUP": "/x", "PYTHONSAFEPATH": "1", "PYTHONUTF8": "0", "PYTHONUSERBASE": "/x"},
        False,
    ),
    ({"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}, True),
    ({"COMPOSE_FILE": "/x", "COMPOSE_PROJECT_NAME": "x"}, False),
    ({"DOCKER_CONTEXT": "x", "DOCKER_DEFAULT_PLATFORM": "linux/arm64", "DOCKER_BUILDKIT": "1", "BUILDKIT_HOST": "x"}, False),
    # Without the engine's address a wish for TLS has no engine.
    ({"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/x"}, False),
    ({"DOCKER_HOST": "tcp://engine:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/x", "DOCKER_CONFIG": "/y"}, True),
    ({"LANG": "xx_XX.ISO-8859-1", "LC_MESSAGES": "de_DE", "LANGUAGE": "de"}, False),
    (
        {
            "BASH_ENV": "/x",
            "CDPATH": "/x",
            "GREP_OPTIONS": "-v",
            "TAR_OPTIONS": "-v",
            "BASH_FUNC_ssh%%": "() { :; }",
            "SHELLOPTS": "noglob",
        },
        False,
    ),
    ({"RSYNC_OLD_ARGS": "1", "RSYNC_RSH": "/x", "MAKEFLAGS": "n", "POSIXLY_CORRECT": "1", "SSH_ASKPASS_REQUIRE": "force"}, False),
    ({"http_proxy": "http://proxy:3128", "HTTPS_PROXY": "http://proxy:3128", "ALL_PROXY": "socks5://proxy"}, True),
]


@pytest.mark.parametrize(("shell", "counts"), SHELLS)
def test_only_harmless_variables_of_a_shell_count(shell: dict[str, str], counts: bool) -> None:
    assert environment.clean(shell) == (shell if counts else {}) | DIRECT


def test_a_clean_environment_is_left_as_it_is() -> None:
    shell = {name: value for row, _ in SHELLS for name, value in row.items()}
    once = environment.clean(shell | {"no_proxy": "a.example, b.example", "NO_PROXY": "b.example,c.example"})
    assert once["no_proxy"] == once["NO_PROXY"] == "a.example,b.example,c.example,127.0.0.1,localhost"
    assert environment.clean(once) == once


@pytest.mark.parametrize(
    ("folder", "kept"),
    [("/tmp", True), ("/nonexistent", False), ("/a:b", False), ("/a\nb", False), ("/a %2F b", True)],  # noqa: S108 (none is made)
)
def test_a_temporary_folder_that_cannot_be_used_does_not_count(folder: str, kept: bool) -> None:
    assert ("TMPDIR" in environment.clean({"TMPDIR": folder}, lambda path: path != "/nonexistent")) is kept


@pytest.mark.parametrize(
    ("target", "encrypted", "left"),
    [
        ("lab", False, {"MY_OWN"}),
        ("lab", True, {"MY_OWN", "ANSIBLE_VAULT_PASSWORD_FILE"}),
        ("aws", False, {"MY_OWN", "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_USE_FIPS_ENDPOINT"}),
        ("aws", True, {"MY_OWN", "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_USE_FIPS_ENDPOINT", "ANSIBLE_VAULT_PASSWORD_FILE"}),
    ],
)
def test_a_play_gets_the_settings_of_its_target_alone(target: str, encrypted: bool, left: set[str]) -> None:
    shell = {
        "MY_OWN": "x",
        "ANSIBLE_VAULT_PASSWORD_FILE": "/x",
        "AWS_PROFILE": "x",
        "AWS_CONFIG_FILE": "/x",
        "AWS_USE_FIPS_ENDPOINT": "true",
    }
    found = environment.for_play(shell, target, encrypted)
    assert {name for name, value in found.items() if shell.get(name) == value} == left
    if target == "lab":
        assert found["AWS_CONFIG_FILE"] == found["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull


#: What `pip config list` prints -> what a pip then has of it.
PIP: list[tuple[str, dict[str, str]]] = [
    ("", {}),
    ("global.user='true'\ninstall.target='/x'\ninstall.no-binary=':all:'\nglobal.require-virtualenv='true'\n:env:.user='1'", {}),
    ("global.index-url='https://mirror.example/simple'", {"PIP_INDEX_URL": "https://mirror.example/simple"}),
    (
        "global.extra-index-url='\\nhttps://a.example\\nhttps://b.example'",
        {"PIP_EXTRA_INDEX_URL": "\nhttps://a.example\nhttps://b.example"},
    ),
    ("global.proxy='http://a'\ninstall.proxy='http://b'", {"PIP_PROXY": "http://b"}),
    ("install.proxy='http://b'\nglobal.proxy='http://a'", {"PIP_PROXY": "http://b"}),
    ("download.proxy='http://a'", {}),
    ("global.trusted-host='m.example'\nnot a line", {"PIP_TRUSTED_HOST": "m.example"}),
]


@pytest.mark.parametrize(("listed", "found"), PIP)
def test_of_pips_settings_only_the_way_to_packages_counts(listed: str, found: dict[str, str]) -> None:
    assert environment.for_pip({"A": "b"}, listed) == {"A": "b", "PIP_CONFIG_FILE": os.devnull} | found


def test_the_shell_comes_before_pips_files() -> None:
    assert environment.for_pip({"PIP_PROXY": "http://mine"}, "install.proxy='http://theirs'")["PIP_PROXY"] == "http://mine"


def test_pips_own_list_is_understood(tmp_path: Path) -> None:
    settings = tmp_path / "pip.conf"
    settings.write_text("[global]\nindex-url = https://m.example/it's\nfind-links =\n    /a\n    /b\n[install]\nuser = true\n")
    clean = {"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": str(settings), "HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path)}
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], env=clean, capture_output=True, text=True, check=True).stdout
    found = environment.for_pip({}, listed)
    assert (found["PIP_INDEX_URL"], found["PIP_FIND_LINKS"].split()) == ("https://m.example/it's", ["/a", "/b"])
    assert "PIP_USER" not in found


def test_a_pip_that_is_started_in_it_has_nothing_else(tmp_path: Path) -> None:
    settings = tmp_path / "pip.conf"
    settings.write_text("[global]\nindex-url = https://m.example/simple\n[install]\nuser = true\ntarget = /x\n")
    odd = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PIP_CONFIG_FILE": str(settings), "PIP_PREFIX": "/x", "PIP_TIMEOUT": "7"}
    command = [sys.executable, "-I", "slipway/environment.py", "--pip", sys.executable, "config", "list"]
    done = subprocess.run(command, cwd=PROJECT, env=odd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # The computer's own files may have more of what counts.
    assert {":env:.index-url='https://m.example/simple'", ":env:.timeout='7'"} <= set(done.stdout.split())
    assert not [word for word in ("user", "target", "prefix") if word in done.stdout]


@pytest.mark.parametrize("name", ["50% off", "feature%2Fx", "it's (1) & 2] #3; ~ ! <>|", "a chéckout 分析", "-rf", "a=b,c@d+e", "x" * 200])
def test_a_folder_of_an_odd_name_can_be_used(name: str) -> None:
    assert environment.refusal(f"/home/me/{name}/slipway") is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        *((f"a{mark}b", f"with {mark} cannot") for mark in (":", '"', "\\", "$", "`", "[", "*", "?", "{{", "{%", "{#")),
        ("a\nb", "a\\nb/slipway: a path with a line break"),
        ("a\tb", "a\\tb"),
        ("a\x7fb", "control character"),
        ("a\udce4b", "no UTF-8"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_in_one_line(name: str, said: str) -> None:
    why = environment.refusal(f"/home/me/{name}/slipway")
    assert why and said in why and "\n" not in why
    why.encode()


def test_a_home_that_cannot_be_used_is_named() -> None:
    assert environment.wrong("/a", {}) is None
    assert environment.wrong("/a", {"HOME": "/home/a%b"}, lambda _: True) is None
    for home in ("/home/a:b", "/nonexistent", ""):
        why = environment.wrong("/a", {"HOME": home}, lambda path: path == "/home/a:b")
        assert why and why.startswith("HOME: ") and not {"\n", "  "} & {why[at : at + size] for at in range(len(why)) for size in (1, 2)}
    assert "HOME: the empty text is no folder" in (environment.wrong("/a", {"HOME": ""}) or "")


def test_a_clone_without_symbolic_links_is_named(tmp_path: Path) -> None:
    assert environment.links_refusal(str(PROJECT)) is None
    file = tmp_path / "inventory" / "lab" / "group_vars" / "all" / "common.yml"
    file.parent.mkdir(parents=True)
    file.write_text("../../../common.yml")
    why = environment.links_refusal(str(tmp_path))
    assert why and "core.symlinks=true" in why


def test_a_command_is_run_in_it_by_any_python(tmp_path: Path) -> None:
    odd = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": "/x",
        "PYTHONHOME": "/x",
        "PYTHONSAFEPATH": "1",
        "ANSIBLE_BECOME": "1",
    }
    command = [sys.executable, "-I", "slipway/environment.py", "env"]
    done = subprocess.run(command, cwd=PROJECT, env=odd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {line.partition("=")[0] for line in done.stdout.splitlines()} == {"PATH", "HOME", *DIRECT}


@pytest.mark.parametrize("given", ["*", "*,example.org", " * "])
def test_a_user_who_wants_no_proxy_at_all_has_none(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = environment.clean({"https_proxy": "http://proxy:3128", "NO_PROXY": given})
    assert environment.clean(ours) == ours
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, ours[name])
    assert urllib.request.proxy_bypass("ec2.us-east-1.amazonaws.com")
    assert urllib.request.proxy_bypass("127.0.0.1")
