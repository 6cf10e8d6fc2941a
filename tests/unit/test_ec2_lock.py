"""The lock of a machine in EC2: which command has it, how it is taken, and what is said if it cannot be."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry, RetryingBotoClientWrapper
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber

from tests.modules import load

once = load("ec2_once")
acts = load("ec2_lock")

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
def test_a_lock_that_was_found_is_held_ended_or_has_to_be_asked(changes: dict[str, str], expected: str) -> None:
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


def test_another_checkouts_lock_counts_only_while_its_command_works(tmp_path: Path) -> None:
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
    why = once.stuck("x", code, f"An error occurred ({code}) when calling the DeleteSecurityGroup operation: no")
    assert said in why
    assert bool(why) == bool(said)
    assert "\n" not in why


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
def test_a_lock_is_taken_or_refused_by_what_ec2_answers(
    answers: list[Any], expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = boto3.client("ec2", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    # One look more than the first, however slow this computer is.
    now = [0.0]
    passes = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(acts, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(acts, "time", passes)
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
