"""One machine a name: the token of a launch, whose key it is, and which of two instances is meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry, RetryingBotoClientWrapper
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber
from jinja2 import Environment

from tests.conftest import PROJECT
from tests.modules import load, read

once = load("ec2_once")
launches, looks = (read("roles", "ec2_instance", "library", f"{name}.py") for name in ("ec2_launch", "ec2_look"))


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
    ("found", "named"),
    [
        (instance(1, "terminated"), "The instance i-1 of the machine x was terminated"),
        (instance(1, "shutting-down"), "The instance i-1 of the machine x was terminated"),
        # Of one that EC2 does not show nothing is known.
        (None, "EC2 has launched an instance of the machine x before, and does not show it. Nothing was made in its place. Run the same"),
    ],
)
def test_a_token_whose_instance_is_gone_makes_nothing(found: dict[str, Any] | None, named: str) -> None:
    said = once.spent("x", found)
    assert said.startswith(named)
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
def test_what_ec2_shows_late_is_waited_for(used: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(launches, "PAUSE_SECONDS", 0)
    asked = {"name": "x", "resource": "slipway-x", "instance_type": "t2.micro", "disk_gib": 20, "tags": {"slipway": "x"}}
    first = tmp_path / "first_host_key"
    first.write_text("PRIVATE\n")
    first.with_suffix(".pub").write_text("ssh-ed25519 AAAA\n")
    asked |= {"image": {"image_id": "ami-1", "root_device_name": "/dev/sda1"}, "first_key": str(first)}
    assert launches.launch(Late(used), asked, Refused()) == "i-1"
    # At last it is a refusal, and no traceback.
    with pytest.raises(SystemExit, match="3 EC2 has launched" if used else "4 EC2 does not show the security group slipway-x"):
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
def test_a_key_pair_that_does_not_fit_the_key_here_is_named(has_instance: bool, pair: str | None, here: str | None, expected: str) -> None:
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
        # It is done already.
        ([1], "i-9", None, ""),
        ([1, 2], "i-9", None, ""),
        ([], "i-9", None, ""),
    ],
)
def test_of_two_instances_the_wanted_one_is_taken_or_the_choice_is_told(
    living: list[int], wanted: str, expected: int | None, said: str
) -> None:
    found, why = once.one_of("x", [instance(number) for number in living], wanted, ended=[instance(9, "terminated")])
    assert found == (instance(expected) if expected else None)
    assert said in why
    assert bool(why) == bool(said)


@pytest.mark.parametrize(("ours", "removed"), [("", "i-2"), ("i-1", "i-2"), ("i-2", "i-1"), ("i-7", "i-2")])
def test_of_two_the_one_that_this_computer_works_with_is_kept(ours: str, removed: str) -> None:
    _, why = once.one_of("x", [instance(1), instance(2)], "", ours)
    assert f"--instance {removed}," in why
    assert (f"{ours} is the one that this computer works with" in why) == (ours in ("i-1", "i-2"))


ZONES = {"LocationType": "availability-zone", "Filters": ANY}


def test_a_type_that_no_zone_offers_is_refused() -> None:
    client = boto3.client("ec2", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as ec2:
        for zones in ([{"InstanceType": "u7i.metal", "Location": "us-east-1a"}], []):
            ec2.add_response("describe_instance_type_offerings", {"InstanceTypeOfferings": zones}, ZONES)
        asked = look()
        asked.client = RetryingBotoClientWrapper(client, AWSRetry.jittered_backoff(retries=1))
        asked.check_offered("u7i.metal")
        with pytest.raises(looks.WrongError) as refusal:
            asked.check_offered("u7i.metal")
        assert refusal.value.args == ("ec2_instance_type", "u7i.metal", "It is not offered in any zone of this region.")
