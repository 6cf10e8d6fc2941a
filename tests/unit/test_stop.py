"""What `stop` says when it is done, and what stops a machine that it cannot bring down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipway import pause
from slipway.model import Exit, Failure, Result
from tests.modules import load

rules: Any = load("ec2_resize_rules")

PRICES = {"gp3_gib_month": 0.08, "ipv4_hour": 0.005, "types": {"t2.micro": 0.0116}}


@pytest.mark.parametrize(
    ("was", "check", "first", "state"),
    [
        ("running", False, "Stopped   slipway (i-1) in 10 s", "stopped"),
        ("running", True, "The machine slipway (i-1) would be stopped. Nothing was changed.", "running"),
        ("stopping", False, "Stopped   slipway (i-1) in 10 s", "stopped"),
        ("stopped", False, "The machine slipway (i-1) is stopped already: nothing was changed.", "stopped"),
        ("stopped", True, "The machine slipway (i-1) is stopped already: nothing was changed.", "stopped"),
    ],
)
def test_stop_says_the_price_the_fingerprints_and_what_to_type(was: str, check: bool, first: str, state: str) -> None:
    found = rules.costs(PRICES, "t2.micro", 20)
    done = {"was": was, "fingerprints": {"survey.redis": "3 keys"}, "unread": ["mongo"], "costs": found, "beside": ["slipway-store"]}
    done["line"] = rules.stopped_line(found)
    result = Result(failure=None, changed=2, seconds=10.4, published={"stop": done, "instance": {"id": "i-1"}}, log=Path("log"))
    document = pause.stop_document("lab", "slipway", result, check)
    assert (document["state"], document["price"]["stopped"]["per_month"]) == (state, 1.6)
    beside = {"slipway-store": "python orchestrate.py stop --name slipway-store"}
    lines = pause.stop_text(document, check, "python orchestrate.py start", beside).splitlines()
    assert lines == [
        first,
        "Price     1.60 USD per month while it is stopped, for 20 GiB of disk; it has no public address until it is started",
        "  survey.redis 3 keys",
        "Not seen  mongo",
        "Runs on   slipway-store, and costs what it did. Stop it: python orchestrate.py stop --name slipway-store",
        "Start it, with all that ran: python orchestrate.py start",
    ]


RUNNING = {"id": "i-1", "state": "running"}


@pytest.mark.parametrize(
    ("host", "task", "instance", "region", "said"),
    [
        # The engine does not start, or the disk is full.
        ("i-1", "docker : Start the engine", RUNNING, None, "aws ec2 stop-instances --instance-ids i-1. "),
        ("i-1", "Take the fingerprints", RUNNING, "eu-west-1", "aws ec2 stop-instances --region eu-west-1 --instance-ids i-1. "),
        ("i-1", f"stack : {pause.AT_WORK}", RUNNING, None, None),
        ("localhost", "Check that no burst was left unfinished", RUNNING, None, None),
        ("i-1", "Take the fingerprints", RUNNING | {"state": "stopped"}, None, None),
        ("", "", None, None, None),
    ],
)
def test_a_machine_that_stop_cannot_bring_down_has_the_way_of_ec2(
    host: str, task: str, instance: dict[str, Any] | None, region: str | None, said: str | None
) -> None:
    text = pause.way_out(Failure(task=task, host=host, reason="", code=Exit.REFUSED), instance, region)
    assert (said in text and "compares nothing" in text) if said else text == ""
