#!/usr/bin/python
"""What an instance costs while it runs and while it is stopped, and whether it can be stopped."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_resize_costs
short_description: Look at what an instance costs, what it keeps in its tags, and whether it can be stopped
description:
  - Changes nothing. Of an instance that is there it asks EC2 for its type, its volumes and its addresses; without one it takes what it is
    given, and makes no call.
  - With I(stop) fails with C(exit_code) 3 if the instance cannot be stopped, or these credentials may not stop it; and warns of what the
    stop erases.
options:
  instance_id: {type: str, default: "", description: The instance; empty if it is not made yet.}
  type: {type: str, default: "", description: The type of one that is not made yet.}
  disk_gib: {type: int, default: 0, description: The size of its disk.}
  stop: {type: bool, default: false, description: Whether to check that it can be stopped.}
  prices: {type: dict, default: {}, description: What files/prices.json has, by region.}
extends_documentation_fragment: [amazon.aws.common.modules, amazon.aws.region.modules, amazon.aws.boto3]
"""

RETURN = r"""
costs: {type: dict, returned: always, description: "In USD, none if a price is not known: C(per_hour) and C(per_month) with disks and public
  address, C(stopped) with C(per_month) and its parts; C(type) and C(disks_gib)."}
running_line: {type: str, returned: always, description: The same in words, before it is made or started.}
stopped_line: {type: str, returned: always, description: What it costs while it is stopped.}
state: {type: str, returned: always, description: The instance's state; empty if it is not made yet.}
fingerprints: {type: dict, returned: always, description: "Those that its tags have, by store."}
since: {type: str, returned: always, description: "When a `stop` was begun whose end is not known to have come; empty if there is none."}
beside: {type: list, returned: always, description: "With I(stop): names of machines that belong to this one, and run."}
"""

from contextlib import suppress
from typing import Any

from ansible.module_utils import ec2_resize_facts as facts
from ansible.module_utils.ec2_resize_rules import (
    STOP,
    WrongError,
    beside,
    check_reached,
    check_stop,
    costs,
    known_fingerprints,
    running_line,
    stop_caveats,
    stopped_line,
)
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

with suppress(ImportError):  # AnsibleAWSModule says what is missing.
    from botocore.exceptions import BotoCoreError, ClientError


def told(found: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The costs, with their words."""
    return {"costs": found, "running_line": running_line(found), "stopped_line": stopped_line(found), **more}


def check(client: Any, instance: dict[str, Any]) -> None:
    """Raise WrongError if it cannot be stopped by these credentials."""
    name = instance["InstanceId"]
    check_stop(instance, {"disableApiStop": facts.attribute(client, name, "disableApiStop")})
    check_reached(instance)
    mine: dict[str, Any] = {"InstanceIds": [name]}
    tag: dict[str, Any] = {"Resources": [name], "Tags": [{"Key": STOP, "Value": ""}]}
    calls = {"create_tags": tag, "stop_instances": mine, "start_instances": mine, "delete_tags": tag, "describe_tags": {}}
    if missing := facts.forbidden(client, calls):
        names = ", ".join(missing)
        raise WrongError(
            f"These credentials may not call {names}, which a stop and a start need. Nothing was changed. Ask for the permission."
        )


def look(module: AnsibleAWSModule) -> dict[str, Any]:
    """Everything that was asked for. Raises WrongError."""
    asked, prices = module.params, module.params["prices"].get(module.region, {})
    if not asked["instance_id"]:
        return told(costs(prices, asked["type"], asked["disk_gib"]), state="", fingerprints={}, since="", beside=[])
    client = module.client("ec2", retry_decorator=AWSRetry.jittered_backoff(retries=6, delay=2, max_delay=20))
    instance = facts.described(client, asked["instance_id"])
    state, tags = instance["State"]["Name"], facts.tags(instance)
    if asked["stop"] and state in ("pending", "running"):
        check(client, instance)
        kinds = client.describe_instance_types(InstanceTypes=[instance["InstanceType"]], aws_retry=True)["InstanceTypes"]
        for warning in (each for kind in kinds for each in stop_caveats(kind)):
            module.warn(warning)
    found = costs(prices, instance["InstanceType"], facts.disks_gib(client, instance), facts.elastic_ips(instance))
    known = known_fingerprints(tags)[0] if STOP in tags else {}
    others = beside(tags.get("slipway", ""), facts.running(client)) if asked["stop"] else []
    return told(found, state=state, fingerprints=known, since=tags.get(STOP, ""), beside=others)


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "instance_id": {"type": "str", "default": ""},
            "type": {"type": "str", "default": ""},
            "disk_gib": {"type": "int", "default": 0},
            "stop": {"type": "bool", "default": False},
            "prices": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**look(module))
    except WrongError as wrong:
        module.fail_json(msg=str(wrong), exit_code=wrong.code)
    except (BotoCoreError, ClientError) as failure:
        module.fail_json_aws(failure, msg="EC2 could not be asked", exit_code=4)


if __name__ == "__main__":
    main()
