"""The parser on events of real runs (tests/unit/record.py keeps them), each folder named by the versions that wrote them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slipway.model import Exit, Result
from slipway.runner import parse

RECORDED = sorted(Path(__file__).with_name("recorded").glob("*/*.json"))
LOG = Path("/log")

#: Recording -> exit code, and what its reason must say.
FAILURES: dict[str, tuple[Exit, list[str]]] = {
    "unknown-service": (Exit.BAD_INPUT, ["stack_services", '"foo"', "jupyter, mongo, postgres, redis"]),
    "disk-not-a-number": (Exit.BAD_INPUT, ["ec2_instance_disk_gib: 'ten' cannot be used", "type int", "GiB"]),
    "type-in-capitals": (Exit.BAD_INPUT, ["ec2_instance_type: 'T2.MICRO'", "Did you mean t2.micro?"]),
    "no-credentials": (Exit.BAD_INPUT, ["AWS credentials: none found", "AWS_PROFILE"]),
    "playbook-missing": (Exit.FAILED, ["/project/playbooks/missing.yml could not be found"]),
    "host-unreachable": (Exit.FAILED, ["port 22: Connection refused"]),
    "service-not-healthy": (Exit.FAILED, ["Not healthy after 40 s: redis.", "\n  /usr/local/bin/docker-entrypoint.sh: line"]),
    "resize-restored": (Exit.FAILED, ["t2.medium could not be had", "t2.micro is back", "t2.medium: InsufficientInstanceCapacity"]),
    "resize-different": (Exit.NEEDS_A_PERSON, ["notebooks: before 20 files", "after 21 files"]),
    "canceled": (Exit.FAILED, ["interrupted", "same command again"]),
}


def result(recording: Path) -> Result:
    kept: dict[str, Any] = json.loads(recording.read_text())
    return parse(kept["events"], kept["variables"], kept["status"], seconds=1.5, log=LOG)


@pytest.mark.parametrize("recording", RECORDED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_failure_has_its_code_and_its_reason(recording: Path) -> None:
    parsed = result(recording)
    if recording.stem not in FAILURES:
        assert parsed.failure is None
        return
    code, said = FAILURES[recording.stem]
    assert parsed.failure is not None
    assert parsed.failure.code is code
    assert not [words for words in said if words not in parsed.failure.reason], parsed.failure.reason
    assert "\x1b" not in parsed.failure.reason
    assert parsed.failure.task
    assert parsed.failure.host


def test_every_failure_was_recorded() -> None:
    assert set(FAILURES) <= {path.stem for path in RECORDED}


@pytest.mark.parametrize(("name", "changed"), [("up-new", 12), ("up-again", 0)])
def test_what_roles_publish_and_how_much_changed(name: str, changed: int) -> None:
    for recording in (path for path in RECORDED if path.stem == name):
        parsed = result(recording)
        assert parsed.changed == changed
        assert parsed.seconds == 1.5
        assert parsed.log == LOG
        assert parsed.published["instance"]["type"] == "t2.micro"
        assert {facts["health"] for facts in parsed.published["services"].values()} == {"healthy"}
        assert parsed.published["tunnel_open"] is True


def test_a_run_without_a_word_names_its_log() -> None:
    parsed = parse([], {}, "failed", seconds=0.1, log=LOG)
    assert parsed.failure is not None
    assert parsed.failure.code is Exit.FAILED
    assert str(LOG) in parsed.failure.reason


def test_the_failed_items_of_a_loop_are_told_once_each() -> None:
    items = [{"failed": word != "b", "msg": word} for word in "abac"]
    event = {
        "event": "runner_on_failed",
        "event_data": {"task": "t", "host": "h", "res": {"msg": "One or more items failed", "results": items}},
    }
    failure = parse([event], {}, "failed", seconds=0, log=LOG).failure
    assert failure is not None
    assert failure.reason == "a\nc"
