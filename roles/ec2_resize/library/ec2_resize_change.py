#!/usr/bin/python
"""Stop an instance, change its type, start it; with the old type back where the new one cannot start."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_resize_change
short_description: Give an instance another type
description:
  - Writes what it is about to do into the instance's tags, stops the instance, changes its type and starts it.
  - Where a type cannot start, the next candidate is tried, and at last the old type.
  - May be repeated, also after it was killed at any point, and goes on from the state that it finds.
  - Fails with C(exit_code) 4 where the instance does not stop in time, with its type unchanged; 5 where it is gone or no type can start.
options:
  instance_id: {type: str, required: true, description: The instance.}
  origin: {type: str, required: true, description: 'The old type, to come back.'}
  goal: {type: str, required: true, description: The type that the resize was begun for; a rollback does not forget it.}
  candidates: {type: list, elements: str, required: true, description: 'Types to be tried, in order.'}
  fingerprints: {type: dict, default: {}, description: "What the stores hold, a line each, for the tags."}
  since: {type: str, required: true, description: When the resize was begun.}
  snapshot: {type: bool, default: false, description: Whether to make a snapshot of the disks before the stop.}
  stop_seconds: {type: int, default: 600, description: How long a stop may take.}
  start_seconds: {type: int, default: 600, description: How long a start may take.}
extends_documentation_fragment: [amazon.aws.common.modules, amazon.aws.region.modules, amazon.aws.boto3]
"""

RETURN = r"""
type: {type: str, returned: always, description: The type that runs now.}
since: {type: str, returned: always, description: When the resize was begun.}
refusals: {type: list, returned: always, description: "What EC2 said of each type that could not be had, with its code."}
snapshots: {type: list, returned: always, description: Ids of the snapshots.}
"""

import time
from contextlib import suppress
from typing import Any

from ansible.module_utils.ec2_resize_rules import FROM, SINCE, TO, packed
from ansible.module_utils.ec2_resize_steps import LONGEST, STALE, GoneError, Steps
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

with suppress(ImportError):  # AnsibleAWSModule says what is missing.
    from botocore.exceptions import BotoCoreError, ClientError

#: Refusals of a start that may pass by themselves.
PASSING = (
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientReservedInstanceCapacity",
)
#: How often a start without capacity is tried, and the seconds before the second try; then twice as long each.
TRIES, TRIES_PAUSE = 3, 5


class RefusedError(Exception):
    """EC2 does not give this type: its code and its words."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code

    def told(self, name: str) -> dict[str, str]:
        """For the receipt."""
        return {"type": name, "code": self.code, "message": str(self)}


def refused(failure: Any) -> RefusedError:
    """What an SDK's error says, with EC2's code where EC2 has answered."""
    error = getattr(failure, "response", {}).get("Error", {})
    return RefusedError(error.get("Code", type(failure).__name__), error.get("Message", str(failure)))


class Change(Steps):
    """The steps, each of which looks at what there is."""

    def __init__(self, module: AnsibleAWSModule) -> None:
        self.asked: dict[str, Any] = module.params
        client = module.client("ec2", retry_decorator=AWSRetry.jittered_backoff(retries=6, delay=2, max_delay=20))
        super().__init__(client, self.asked["instance_id"])
        self.one = {"InstanceId": self.asked["instance_id"]}
        self.changed = False

    def make(self) -> dict[str, Any]:
        """Do it all, and say which type runs."""
        if (instance := self.look())["State"]["Name"] == "pending":
            # A start that an interrupted run has asked for.
            self.wait("running", self.asked["start_seconds"])
            instance = self.look()
        result: dict[str, Any] = {"refusals": [], "snapshots": [], "since": self.asked["since"]}
        if not (instance["State"]["Name"] == "running" and instance["InstanceType"] in self.asked["candidates"]):
            self.changed = True
            try:
                marks = {FROM: self.asked["origin"], TO: self.asked["goal"], SINCE: self.asked["since"]}
                self.mark(marks | packed(self.asked["fingerprints"]))
                result["snapshots"] = self.snapshot() if self.asked["snapshot"] else []
                self.stop(self.asked["stop_seconds"])
            except (BotoCoreError, ClientError) as failure:
                if self.look()["State"]["Name"] != "running":
                    raise
                # Nothing is lost yet: the caller brings the services up again.
                result["refusals"].append(refused(failure).told(self.asked["candidates"][0]))
            else:
                self.start_one(result["refusals"])
        return result | {"type": self.look()["InstanceType"], "changed": self.changed}

    def snapshot(self) -> list[str]:
        """Make a snapshot of every disk, once a resize: EC2 keeps the disk's content of this moment."""
        mark = {"Key": SINCE, "Value": self.asked["since"]}
        filters = [{"Name": f"tag:{SINCE}", "Values": [self.asked["since"]]}]
        found = self.client.describe_snapshots(OwnerIds=["self"], Filters=filters, aws_retry=True)["Snapshots"]
        if not found:
            tags = [mark, {"Key": "Name", "Value": f"before the resize of {self.asked['instance_id']}"}]
            found = self.client.create_snapshots(
                InstanceSpecification=self.one, TagSpecifications=[{"ResourceType": "snapshot", "Tags": tags}], aws_retry=True
            )["Snapshots"]
        return sorted(item["SnapshotId"] for item in found)

    def start_one(self, refusals: list[dict[str, str]]) -> None:
        """Start it with the first type that can be had, the old one at last. Raises RefusedError where none can."""
        for name in dict.fromkeys([*self.asked["candidates"], self.asked["origin"]]):
            try:
                return self.start(name)
            except RefusedError as refusal:
                refusals.append(refusal.told(name))
        raise RefusedError(refusals[-1]["code"], refusals[-1]["message"])

    def start(self, name: str) -> None:
        """Change the type and start it. Raises RefusedError where EC2 does not give it."""
        began, tried = time.monotonic(), 0
        while True:
            try:
                if self.look()["InstanceType"] != name:
                    self.client.modify_instance_attribute(**self.one, InstanceType={"Value": name}, aws_retry=True)
                self.client.start_instances(**self.mine, aws_retry=True)
                break
            except (BotoCoreError, ClientError) as failure:
                refusal, tried = refused(failure), tried + 1
                if refusal.code == "IncorrectInstanceState" and time.monotonic() - began < STALE:
                    time.sleep(LONGEST)
                elif refusal.code in PASSING and tried < TRIES:
                    time.sleep(TRIES_PAUSE * 2 ** (tried - 1))
                else:
                    raise refusal from failure
        if self.wait("running", self.asked["start_seconds"]) != "running":
            # A start may be taken and end in `stopped` again.
            reason = self.look().get("StateReason", {})
            raise RefusedError(reason.get("Code") or "timeout", reason.get("Message") or "it did not start in time")


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "instance_id": {"type": "str", "required": True},
            "origin": {"type": "str", "required": True},
            "goal": {"type": "str", "required": True},
            "candidates": {"type": "list", "elements": "str", "required": True},
            "fingerprints": {"type": "dict", "default": {}},
            "since": {"type": "str", "required": True},
            "snapshot": {"type": "bool", "default": False},
            "stop_seconds": {"type": "int", "default": 600},
            "start_seconds": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True, type=module.params["candidates"][0], since=module.params["since"], refusals=[], snapshots=[])
    name = module.params["instance_id"]
    try:
        module.exit_json(**Change(module).make())
    except GoneError:
        module.fail_json(
            msg=f"The instance {name} is gone: it was terminated outside of this project, and its disk with all data went with it. "
            "Nothing was made in its place.",
            exit_code=5,
        )
    except TimeoutError:
        module.fail_json(
            msg=f"{name} does not stop: it has been `stopping` for {module.params['stop_seconds']} s. Its type is unchanged. "
            "The same command again goes on; `aws ec2 stop-instances --force` ends what hangs.",
            exit_code=4,
        )
    except RefusedError as refusal:
        module.fail_json(
            msg=f"{name} is stopped, and EC2 starts it with no type, the old one included: {refusal.code}: {refusal}. Its disk with all "
            "data is as it was. The same command again tries anew, and `resize --rollback` the old type alone.",
            exit_code=5,
        )
    except (BotoCoreError, ClientError) as failure:
        module.fail_json_aws(failure, msg="EC2 refused a step of the resize", exit_code=4)


if __name__ == "__main__":
    main()
