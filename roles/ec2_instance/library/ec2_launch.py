#!/usr/bin/python
"""One instance of a name, however many computers ask for it at the same moment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_launch
short_description: Launch the machine's instance, once in its life
description:
  - Calls RunInstances with a client token that is made from the machine's name and its security group's id (module_utils/ec2_once.py). A
    second call of the same life makes nothing, from whichever computer it comes and whatever it asks for.
  - Names no zone and no subnet. With one of them EC2 takes the token for that zone alone, and would make a second instance in another one
    ("Ensuring idempotency in Amazon EC2 API requests"); without, EC2 chooses a zone that offers the type.
  - Waits until the instance runs. C(amazon.aws.ec2_instance) 10.1.2 has no option for the token, and takes a random one.
options:
  name: {type: str, required: true, description: The machine's name.}
  resource: {type: str, required: true, description: The name of its key pair and its security group.}
  image: {type: dict, required: true, description: "The image: C(image_id) and C(root_device_name)."}
  instance_type: {type: str, required: true, description: The instance type.}
  disk_gib: {type: int, required: true, description: "The root disk in GiB: gp3, encrypted, removed with the instance."}
  tags: {type: dict, required: true, description: Tags of the instance and its volume.}
  first_key: {type: path, required: true, description: "The SSH host key of the first connection, with its public half beside it."}
  timeout: {type: int, default: 600, description: Seconds to wait until it runs.}
extends_documentation_fragment: [amazon.aws.common.modules, amazon.aws.region.modules, amazon.aws.boto3]
"""

RETURN = r"""
instance_id: {type: str, returned: always, description: The machine's instance.}
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.ec2_first_key import TAG, fingerprint, user_data
from ansible.module_utils.ec2_once import launched, spent, token
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.amazon.aws.plugins.module_utils.tagging import boto3_tag_specifications

with contextlib.suppress(ImportError):  # AnsibleAWSModule says what is missing.
    from botocore.exceptions import BotoCoreError, ClientError

#: The token was used: for another request, or by an instance that is gone.
USED = ("IdempotentParameterMismatch", "IdempotentInstanceTerminated")
PAUSE_SECONDS = 2
#: EC2 may not show for some seconds what was just made: the group, the key pair, or the instance of another call.
TRIES = 8
UNSEEN = ["InvalidGroup.NotFound", "InvalidKeyPair.NotFound"]


def request(asked: dict[str, Any], group_id: str) -> dict[str, Any]:
    """What RunInstances is asked for: the same each time, as its token wants it."""
    first = Path(asked["first_key"])
    public = first.with_suffix(".pub").read_text()
    disk = {"VolumeSize": asked["disk_gib"], "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    return {
        "ClientToken": token(asked["name"], group_id),
        "MinCount": 1,
        "MaxCount": 1,
        "ImageId": asked["image"]["image_id"],
        "InstanceType": asked["instance_type"],
        "KeyName": asked["resource"],
        "SecurityGroupIds": [group_id],
        "BlockDeviceMappings": [{"DeviceName": asked["image"]["root_device_name"], "Ebs": disk}],
        "UserData": user_data(first.read_text(), public),
        # No container of the host may read the user data: an image may have it otherwise.
        "MetadataOptions": {"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1},
        "InstanceInitiatedShutdownBehavior": "stop",
        "TagSpecifications": [
            *boto3_tag_specifications(asked["tags"] | {TAG: fingerprint(public)}, ["instance"]),
            *boto3_tag_specifications(asked["tags"], ["volume"]),
        ],
    }


def launch(client: Any, asked: dict[str, Any], module: AnsibleAWSModule) -> str:
    """Launch the instance, or find the one that was launched; return its id."""
    group = seen(lambda: _group(client, asked["resource"]))
    if group is None:
        module.fail_json(
            msg=f"EC2 does not show the security group {asked['resource']}, which was just made. Nothing was launched.", exit_code=4
        )
    wanted = request(asked, group["GroupId"])
    try:
        instance = client.run_instances(**wanted, aws_retry=True)["Instances"][0]
    except ClientError as refusal:
        if refusal.response["Error"]["Code"] not in USED:
            raise
        instance = seen(lambda: _launched(client, asked["name"], wanted["ClientToken"]))
    why = spent(asked["name"], instance)
    if why:
        module.fail_json(msg=why, exit_code=3)
    return str(instance["InstanceId"])


def seen(look: Callable[[], Any]) -> Any:
    """What EC2 shows, or none if it shows nothing after some seconds."""
    for tried in range(TRIES):
        if tried:
            time.sleep(PAUSE_SECONDS)
        if found := look():
            return found
    return None


def _group(client: Any, name: str) -> dict[str, Any] | None:
    """The machine's own security group."""
    filters = [{"Name": "group-name", "Values": [name]}]
    found = client.describe_security_groups(Filters=filters, aws_retry=True)["SecurityGroups"]
    return found[0] if found else None


def _launched(client: Any, name: str, wanted: str) -> Any:
    """The machine's instance that was launched by this token."""
    pages = client.get_paginator("describe_instances").paginate(Filters=[{"Name": "tag:slipway", "Values": [name]}])
    return launched((item for page in pages for each in page["Reservations"] for item in each["Instances"]), wanted)


def wait(client: Any, instance_id: str, seconds: int) -> str | None:
    """Return when it runs. If it does not, why."""
    deadline, last = time.monotonic() + seconds, "pending"
    while time.monotonic() < deadline:
        # EC2 may not know it yet.
        ids = [{"Name": "instance-id", "Values": [instance_id]}]
        found = client.describe_instances(Filters=ids, aws_retry=True)["Reservations"]
        for item in (item for each in found for item in each["Instances"]):
            last = item["State"]["Name"]
            if last == "running":
                return None
            if last in ("shutting-down", "terminated"):
                why = item.get("StateReason", {}).get("Message", "EC2 gives no reason")
                return f"The instance {instance_id} ended as it was made: {why}."
        time.sleep(PAUSE_SECONDS)
    return f"The instance {instance_id} is still {last} after {seconds} s."


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "resource": {"type": "str", "required": True},
            "image": {"type": "dict", "required": True},
            "instance_type": {"type": "str", "required": True},
            "disk_gib": {"type": "int", "required": True},
            "tags": {"type": "dict", "required": True},
            "first_key": {"type": "path", "required": True},
            "timeout": {"type": "int", "default": 600},
        },
    )
    again = AWSRetry.jittered_backoff(retries=6, delay=2, max_delay=20, catch_extra_error_codes=UNSEEN)
    client = module.client("ec2", retry_decorator=again)
    try:
        instance_id = launch(client, module.params, module)
        why = wait(client, instance_id, module.params["timeout"])
    except (BotoCoreError, ClientError) as failure:
        module.fail_json_aws(failure, msg="The instance was not made", exit_code=4)
    if why:
        module.fail_json(msg=why, exit_code=4)
    module.exit_json(changed=True, instance_id=instance_id)


if __name__ == "__main__":
    main()
