"""One machine a name: the token of a launch, which command has the lock, whose key it is, and which of two instances is meant."""

from __future__ import annotations

import fcntl
import importlib.util
import io
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import boto3
import pytest
import yaml
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry, RetryingBotoClientWrapper
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber
from jinja2 import Environment

from slipway import keeper, lock
from slipway.callback.slipway_lock import holder
from tests.conftest import PROJECT
from tests.modules import load

once = load("ec2_once")
acts = load("ec2_lock")


def module(name: str) -> ModuleType:
    """One of the role's modules."""
    spec = importlib.util.spec_from_file_location(name, PROJECT / "roles" / "ec2_instance" / "library" / f"{name}.py")
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


launches, looks = module("ec2_launch"), module("ec2_look")


class Refused:
    def fail_json(self, msg: str, exit_code: int) -> None:
        raise SystemExit(f"{exit_code} {msg}")


class Asked(Refused):
    """A module's parameters, for one look."""

    def __init__(self, **params: str) -> None:
        self.params = params

    def client(self, *_: Any, **__: Any) -> None:
        """None is asked."""


def look(**params: str) -> Any:
    return looks.Look(Asked(**params))


MINE = once.Holder("a1", "desk", "boot 1", "/home/me/slipway/.slipway/locks/lab-1.lock", "orchestrate.py up", "2026-05-01T12:00:00+00:00")
#: What was found in EC2 -> what it is for the command MINE, which has its own file.
STANDINGS = [
    ({}, "mine"),
    # The same checkout: its file is MINE's now.
    ({"id": "b2"}, "ended"),
    # Another checkout of this computer: its file tells.
    ({"id": "b2", "lock": "/srv/slipway/.slipway/locks/lab-1.lock"}, "ask"),
    # Another computer, the same one before it was started again, or a container with a path that is also here.
    ({"id": "b2", "place": "boot 2"}, "held"),
    ({"id": "b2", "place": "boot 2", "computer": "laptop"}, "held"),
    # A group that a person made, or a path that no tag can hold.
    ({"id": "", "lock": "", "place": ""}, "held"),
    ({"id": "b2", "lock": ""}, "held"),
]


@pytest.mark.parametrize(("changes", "expected"), STANDINGS)
def test_what_a_lock_that_was_found_is(changes: dict[str, str], expected: str) -> None:
    assert once.standing(replace(MINE, **changes), MINE) == expected


@pytest.mark.parametrize("text", ["é雪 `$( )` {{ x }}", "x" * 300, ""])
def test_tags_hold_the_command_and_give_it_back(text: str) -> None:
    tags = replace(MINE, command=text).tags()
    assert all(len(value) <= 256 for value in tags.values())
    assert once.Holder.of(tags | {"Name": "slipway-x.lock"}) == replace(MINE, command=text[:256])


def test_a_path_that_no_tag_can_hold_is_left_out() -> None:
    assert once.Holder.of(replace(MINE, lock="/x" * 200).tags()) == replace(MINE, lock="")


def test_the_lock_of_one_machine_is_no_group_of_another_one() -> None:
    assert once.lock_name("x") not in {f"slipway-{name}" for name in ("x", "x-lock", "x-")}


def test_a_refusal_names_the_command_and_the_way_out() -> None:
    said = once.refusal("lab-7", replace(MINE, computer="a\x1b[2J"))
    assert "orchestrate.py up of the computer a?[2J, since 2026-05-01T12:00:00" in said
    assert "python orchestrate.py unlock" in said
    assert "has just begun" in once.refusal("x", once.Holder.of({}))


def test_each_life_of_a_machine_has_a_token_of_its_own() -> None:
    tokens = {once.token(name, group) for name in ("slipway", "x" * 40) for group in ("sg-0a1b2c3d4e5f60718", "sg-1a1b2c3d4e5f60718")}
    assert len(tokens) == 4
    # EC2 takes 64 ASCII characters.
    assert all(len(token) <= 64 and token.isascii() for token in tokens)
    assert once.token("slipway", "sg-1") == once.token("slipway", "sg-1")


def instance(number: int, state: str = "running", launch: str = "t") -> dict[str, Any]:
    return {
        "InstanceId": f"i-{number}",
        "InstanceType": "t2.micro",
        "State": {"Name": state},
        "LaunchTime": f"2026-05-01T12:00:0{number}Z",
        "ClientToken": launch,
    }


@pytest.mark.parametrize("state", ["pending", "running", "stopping", "stopped"])
def test_a_token_whose_instance_lives_is_that_machine(state: str) -> None:
    found = once.launched([instance(1, launch="another"), instance(2, state)], "t")
    assert found == instance(2, state)
    assert once.spent("x", found) is None


@pytest.mark.parametrize(
    ("found", "named"), [(instance(1, "terminated"), "i-1"), (instance(1, "shutting-down"), "i-1"), (None, "An instance")]
)
def test_a_token_whose_instance_is_gone_makes_nothing(found: dict[str, Any] | None, named: str) -> None:
    said = once.spent("x", found)
    assert said.startswith(named) or f"The instance {named} " in said
    assert "destroy x" in said


def test_ec2s_own_reason_is_told() -> None:
    why = {"StateReason": {"Code": "Client.InvalidKMSKey", "Message": "Client.InvalidKMSKey: the key is disabled"}}
    assert "outside of this project (Client.InvalidKMSKey: the key is disabled)" in once.spent("x", instance(1, "terminated") | why)


class Late:
    """EC2 shortly after something was made: what it does not show at first."""

    def __init__(self, used: str = "", late: int = 2) -> None:
        self.used, self.late, self.asked = used, late, 0

    def _shown(self) -> bool:
        self.asked += 1
        return self.asked > self.late

    def describe_security_groups(self, **_: Any) -> dict[str, Any]:
        return {"SecurityGroups": [{"GroupId": "sg-1"}] if self.used or self._shown() else []}

    def run_instances(self, **_: Any) -> dict[str, Any]:
        if self.used:
            raise ClientError({"Error": {"Code": self.used, "Message": ""}}, "RunInstances")
        return {"Instances": [instance(1, "pending")]}

    def get_paginator(self, _: str) -> Late:
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        found = [instance(1, launch=once.token("x", "sg-1"))] if self._shown() else []
        return [{"Reservations": [{"Instances": found}]}]


@pytest.mark.parametrize("used", ["", "IdempotentParameterMismatch"])
def test_what_ec2_shows_late_is_waited_for(used: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launches, "PAUSE_SECONDS", 0)
    asked = {"name": "x", "resource": "slipway-x", "instance_type": "t2.micro", "disk_gib": 20, "tags": {"slipway": "x"}}
    asked |= {"image": {"image_id": "ami-1", "root_device_name": "/dev/sda1"}}
    assert launches.launch(Late(used), asked, Refused()) == "i-1"
    # At last it is a refusal, and no traceback.
    with pytest.raises(SystemExit, match="3 An instance" if used else "4 EC2 does not show the security group slipway-x"):
        launches.launch(Late(used, late=99), asked, Refused())


OURS, THEIRS = "ssh-ed25519 AAAAC3Nz one", "ssh-ed25519 BBBBC3Nz two"


@pytest.mark.parametrize(
    ("has_instance", "pair", "here", "expected"),
    [
        # The first machine of a name: there is nothing yet.
        (False, None, None, ""),
        # Made by this computer, whatever the comment; or left half-way before the key pair was imported.
        (True, OURS, "ssh-ed25519 AAAAC3Nz", ""),
        (False, OURS, OURS, ""),
        (False, None, OURS, ""),
        # Made by another one, which this one knows nothing of, or has a key of its own beside.
        (True, OURS, None, "missing"),
        (False, OURS, None, "missing"),
        (True, None, None, "missing"),
        (True, OURS, THEIRS, "other"),
        (False, OURS, THEIRS, "other"),
        # What cannot be compared: the key pair was removed by hand, or EC2 or this computer has no public half.
        (True, None, OURS, ""),
        (True, "", OURS, ""),
        (True, OURS, "", ""),
    ],
)
def test_whose_key_it_is(has_instance: bool, pair: str | None, here: str | None, expected: str) -> None:
    assert once.key_trouble(has_instance, pair, here) == expected


SETTINGS = "Host *\n    HostKeyAlias i-0a1b2c3d4e5f60718\n"


@pytest.mark.parametrize(
    ("has_instance", "here", "settings", "expected"),
    [
        # Replaced on the host by hand: this folder works with that instance.
        (True, THEIRS, SETTINGS, ""),
        (True, None, SETTINGS, "missing"),
        # Of another instance, or written by a command that only looked, with a key that was not EC2's.
        (True, THEIRS, SETTINGS.replace("i-0a", "i-1a"), "other"),
        (True, THEIRS, f"{once.UNCHECKED}\n{SETTINGS}", "other"),
        (True, THEIRS, None, "other"),
        (False, THEIRS, SETTINGS, "other"),
    ],
)
def test_a_machine_that_this_folder_knows_is_not_refused_for_its_key(
    has_instance: bool, here: str | None, settings: str | None, expected: str, tmp_path: Path
) -> None:
    if here is not None:
        (tmp_path / "ssh_key").write_text("private")
        (tmp_path / "ssh_key.pub").write_text(here)
    if settings is not None:
        (tmp_path / "ssh_config").write_text(settings)
    asked = look(key_path=str(tmp_path / "ssh_key"), state_dir=str(tmp_path))
    one = {"InstanceId": "i-0a1b2c3d4e5f60718"} if has_instance else None
    assert asked.key_trouble(one, {"PublicKey": OURS}) == expected


def test_a_key_file_is_for_new_machines(tmp_path: Path) -> None:
    for name, public in (("ssh_key", OURS), ("other", THEIRS)):
        (tmp_path / name).write_text("private")
        (tmp_path / f"{name}.pub").write_text(public)
    asked, one, pair = look(key_path=str(tmp_path / "other"), state_dir=str(tmp_path)), {"InstanceId": "i-1"}, {"PublicKey": OURS}
    assert asked.key_trouble(one, pair) == ""
    assert asked.key_trouble(None, pair) == "other"
    # On another computer it names the key of the machine.
    (tmp_path / "ssh_key").unlink()
    assert asked.key_trouble(one, pair) == "other"
    assert asked.key_trouble(one, {"PublicKey": THEIRS}) == ""


@pytest.mark.parametrize(
    ("trouble", "holder", "check", "checked"),
    [
        # A command that looks (`status`) has no holder, outside of a dry run.
        ("other", {}, False, False),
        ("other", {"id": "a1"}, False, True),
        ("other", {}, True, True),
        ("missing", {}, False, True),
    ],
)
def test_a_command_that_only_looks_is_not_refused_for_another_key(trouble: str, holder: dict[str, str], check: bool, checked: bool) -> None:
    tasks = yaml.safe_load((PROJECT / "roles" / "ec2_instance" / "tasks" / "found_preflight.yml").read_text())
    [key] = [task for task in tasks if task["ansible.builtin.import_tasks"] == "key_refusal.yml"]
    found = {"__ec2_instance_look": {"instance": {"instance_id": "i-1"}, "key_trouble": trouble}}
    found |= {"ec2_instance_holder": holder, "ansible_check_mode": check}
    assert all(Environment(autoescape=True).compile_expression(each)(**found) for each in key["when"]) == checked


def test_the_mark_of_settings_is_what_their_template_writes() -> None:
    assert once.UNCHECKED in (PROJECT / "roles" / "ec2_instance" / "templates" / "ssh_config.j2").read_text().splitlines()


@pytest.mark.parametrize(
    ("living", "wanted", "expected", "said"),
    [
        ([], "", None, ""),
        ([1], "", 1, ""),
        ([1, 2], "", None, "destroy x --instance i-2"),
        ([1, 2], "i-1", 1, ""),
        ([1, 2], "i-3", None, "Allowed: i-1 (t2.micro, running"),
        ([1], "i-1", None, "the only instance"),
        ([], "i-1", None, "none, for there is no instance of that name"),
    ],
)
def test_which_of_two_is_meant(living: list[int], wanted: str, expected: int | None, said: str) -> None:
    found, why = once.one_of("x", [instance(number) for number in living], wanted)
    assert found == (instance(expected) if expected else None)
    assert said in why
    assert bool(why) == bool(said)


@pytest.mark.parametrize(("ours", "removed"), [("", "i-2"), ("i-1", "i-2"), ("i-2", "i-1"), ("i-7", "i-2")])
def test_of_two_the_one_that_this_computer_works_with_is_kept(ours: str, removed: str) -> None:
    _, why = once.one_of("x", [instance(1), instance(2)], "", ours)
    assert f"--instance {removed}," in why
    assert (f"{ours} is the one that this computer works with" in why) == (ours in ("i-1", "i-2"))


def test_whether_another_checkout_of_this_computer_still_works(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    assert not acts.is_held(str(path))
    path.touch()
    assert not acts.is_held(str(path))
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert acts.is_held(str(path))
    # A tag can name any path: neither a link nor a FIFO is followed, and neither makes a lock free.
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "fifo")
    assert acts.is_held(str(tmp_path / "link"))
    assert not acts.is_held(str(tmp_path / "fifo"))


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
def test_how_often_the_keeper_asks(
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
        raise denied("UnauthorizedOperation", "not allowed\nto")

    given = {"lock": str(tmp_path / "x.lock"), "id": "a1", "connection": {"region": "us-east-1"}}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(given)))
    monkeypatch.setattr(keeper, "give_back", give_back)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    keeper.main()
    assert told == [1]
    [line] = (tmp_path / "keeper.log").read_text().splitlines()
    assert "DeleteSecurityGroup operation: not allowed to To end it" in line


def test_a_keeper_without_credentials_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
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


def denied(code: str, said: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": said}}, "DeleteSecurityGroup")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("UnauthorizedOperation", "ec2:DeleteSecurityGroup (README, On AWS)"),
        ("AccessDenied", "ec2:CreateSecurityGroup"),
        ("DependencyViolation", "its security group slipway-x.lock, which was attached by hand"),
        ("RequestLimitExceeded", ""),
    ],
)
def test_a_lock_that_cannot_be_removed_says_what_to_do(code: str, said: str) -> None:
    why = once.stuck("x", code, str(denied(code)))
    assert said in why
    assert bool(why) == bool(said)
    assert "\n" not in why


ANY_OF_ZONES = {"LocationType": "availability-zone", "Filters": ANY}
TAKEN = {"GroupName": "slipway-x.lock", "Description": acts.DESCRIPTION, "TagSpecifications": ANY}
LOOKED = {"Filters": [{"Name": "group-name", "Values": ["slipway-x.lock"]}]}


def group_of(**changes: str) -> list[dict[str, Any]]:
    tags = [{"Key": key, "Value": value} for key, value in replace(MINE, **changes).tags().items()]
    return [{"GroupId": "sg-1", "Tags": tags}]


HELD = ("there", group_of(id="c3", place="boot 2"))


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["made"], None),
        # An earlier play of this command has it; or the answer to this call was lost, and the SDK asked again.
        (["there", group_of()], None),
        # Left by a command of this checkout, or of another one of this computer that has ended: removed by its id, and taken.
        (["there", group_of(id="b2"), "removed", "made"], None),
        (["there", group_of(id="b2", lock="/nowhere/x.lock"), "removed", "made"], None),
        # Another one removed it first, and took it.
        (
            ["there", group_of(id="b2"), "gone", "there", group_of(id="c3", place="boot 2"), "there", group_of(id="c3", place="boot 2")],
            "c3",
        ),
        # Held by another computer, by a checkout that works, by a person; and given back while this one waits.
        ([*HELD, *HELD], "c3"),
        (["there", group_of(id="b2", lock="HELD"), "there", group_of(id="b2", lock="HELD")], "b2"),
        (["there", [{"GroupId": "sg-1"}], "there", [{"GroupId": "sg-1"}]], ""),
        ([*HELD, "made"], None),
        # EC2 does not show yet what it refuses.
        (["there", [], "there", group_of()], None),
        (["UnauthorizedOperation"], "UnauthorizedOperation"),
        (["there", group_of(id="b2"), "DependencyViolation"], "DependencyViolation"),
    ],
)
def test_how_a_lock_is_taken(answers: list[Any], expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = boto3.client("ec2", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    monkeypatch.setattr(acts, "PATIENCE_SECONDS", 0.1)
    (tmp_path / "x.lock").touch()
    with Stubber(client) as ec2, (tmp_path / "x.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        for answer in answers:
            call = "delete_security_group" if answer in ("removed", "gone", "DependencyViolation") else "create_security_group"
            wanted: dict[str, Any] = {"GroupId": "sg-1"} if call.startswith("delete") else TAKEN
            if isinstance(answer, list):
                found = json.loads(json.dumps(answer).replace("HELD", str(tmp_path / "x.lock")))
                ec2.add_response("describe_security_groups", {"SecurityGroups": found}, LOOKED)
            elif answer in ("made", "removed"):
                ec2.add_response(call, {"GroupId": "sg-2"} if answer == "made" else {}, wanted)
            else:
                code = {"there": "InvalidGroup.Duplicate", "gone": "InvalidGroup.NotFound"}.get(answer, answer)
                ec2.add_client_error(call, code, expected_params=wanted)
        retrying = RetryingBotoClientWrapper(client, AWSRetry.jittered_backoff(retries=1))
        if expected in ("UnauthorizedOperation", "DependencyViolation"):
            with pytest.raises(ClientError, match=expected):
                acts.take(retrying, "x", MINE)
        else:
            holder = acts.take(retrying, "x", MINE)
            assert (holder and holder.id) == expected
        ec2.assert_no_pending_responses()


def test_a_type_that_no_zone_offers_is_refused() -> None:
    client = boto3.client("ec2", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as ec2:
        for zones in ([{"InstanceType": "u7i.metal", "Location": "us-east-1a"}], []):
            ec2.add_response("describe_instance_type_offerings", {"InstanceTypeOfferings": zones}, ANY_OF_ZONES)
        asked = look()
        asked.client = RetryingBotoClientWrapper(client, AWSRetry.jittered_backoff(retries=1))
        asked.check_offered("u7i.metal")
        with pytest.raises(SystemExit, match=r"2 ec2_instance_type: 'u7i.metal' cannot be used. It is not offered in any zone"):
            asked.check_offered("u7i.metal")


def test_a_command_is_one_holder_in_all_of_its_plays_and_another_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    note = {"command": "orchestrate.py up", "pid": "7", "since": "2026-05-01T12:00:00+00:00"}
    first = holder(path, note)
    assert holder(path, note) == first
    assert once.Holder(**first).command == "orchestrate.py up"
    assert len({holder(path, note | {"pid": "8"})["id"], holder(tmp_path / "y.lock", note)["id"], first["id"]}) == 3
