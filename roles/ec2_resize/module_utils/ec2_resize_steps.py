"""The steps that a change of type and a stop share: each looks at what there is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

with suppress(ImportError):  # AnsibleAWSModule says what is missing.
    from botocore.exceptions import ClientError

#: Seconds in which EC2 may still show an instance as it was before a call.
STALE = 30
#: Seconds between two questions for a state: the first, by how much each is longer, and the last.
PAUSE, LONGER, LONGEST = 0.2, 1.3, 3.0


class GoneError(Exception):
    """The instance is no more."""


class Steps:
    """The steps for one instance."""

    def __init__(self, client: Any, instance_id: str) -> None:
        self.client = client
        self.instance_id = instance_id
        self.mine = {"InstanceIds": [instance_id]}

    def look(self) -> dict[str, Any]:
        """The instance as it is. Raises GoneError where it is no more."""
        try:
            found = self.client.describe_instances(**self.mine, aws_retry=True)["Reservations"]
        except ClientError as refusal:
            if refusal.response["Error"]["Code"] == "InvalidInstanceID.NotFound":
                raise GoneError from refusal
            raise
        instance = dict(found[0]["Instances"][0]) if found else {"State": {"Name": "terminated"}}
        if instance["State"]["Name"] in ("terminated", "shutting-down"):
            raise GoneError
        return instance

    def mark(self, marks: Mapping[str, str]) -> None:
        """Write into the tags what is about to be done: the next command after a kill reads it there."""
        listed = [{"Key": key, "Value": value} for key, value in marks.items()]
        self.client.create_tags(Resources=[self.instance_id], Tags=listed, aws_retry=True)

    def stop(self, seconds: int) -> None:
        """Stop the instance. Raises TimeoutError where it hangs."""
        if self.look()["State"]["Name"] in ("running", "pending"):
            self.client.stop_instances(**self.mine, aws_retry=True)
        if self.wait("stopped", seconds) != "stopped":
            raise TimeoutError

    def wait(self, wanted: str, seconds: int) -> str:
        """Wait for a state, and return the one that there is then: a start may end in `stopped`."""
        began, pause, seen = time.monotonic(), PAUSE, set()
        while (state := self.look()["State"]["Name"]) != wanted:
            seen.add(state)
            waited = time.monotonic() - began
            ended = wanted == "running" and state == "stopped" and ("pending" in seen or waited > STALE)
            if waited > seconds or ended:
                break
            time.sleep(pause)
            pause = min(pause * LONGER, LONGEST)
        return str(state)
