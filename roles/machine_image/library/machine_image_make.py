#!/usr/bin/python
"""An image of a machine that halts by itself when it is clean."""

from __future__ import annotations

DOCUMENTATION = r"""
module: machine_image_make
short_description: Make an image of a machine that has been cleaned and has halted, and give it the tag of its contents at last
description:
  - Waits until the instance has halted by itself. One that does not in I(halt_seconds) is ended, for it costs and cannot be reached.
  - Calls CreateImage with a name that is made from the contents and the instance, so that a second call of the same makes nothing; waits
    until EC2 has copied the disk; then sets the tag by which C(up) takes an image. Images of this role that EC2 could not make are removed.
  - Ended anywhere, it is run again and goes on.
options:
  name: {type: str, required: true, description: The machine.}
  contents: {type: str, required: true, description: The name of its contents.}
  prices: {type: dict, default: {}, description: Prices by region.}
  halt_seconds: {type: int, default: 300, description: Seconds that the machine has until it has halted.}
  timeout: {type: int, default: 3600, description: Seconds that EC2 has for the copy.}
extends_documentation_fragment: [amazon.aws.common.modules, amazon.aws.region.modules, amazon.aws.boto3]
"""

RETURN = r"""
image: {type: dict, returned: always, description: "The image, in the form of C(machine_image_look)."}
"""

import time
from contextlib import suppress
from typing import Any

from ansible.module_utils import machine_image_ec2 as ec2
from ansible.module_utils import machine_image_rules as rules
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.tagging import boto3_tag_specifications

with suppress(ImportError):  # AnsibleAWSModule says what is missing.
    from botocore.exceptions import BotoCoreError, ClientError

PAUSE_SECONDS = 1
#: Why EC2 makes no image of a machine at all: of the lab, if it has no real disks.
UNSUPPORTED = "UnsupportedOperation"


def halted(client: Any, asked: dict[str, Any]) -> str:
    """The id of the machine, as soon as it has halted. Raises RefusedError if it does not."""
    deadline = time.monotonic() + asked["halt_seconds"]
    while True:
        machine = ec2.machine(client, asked["name"])
        left, scrap = rules.step(machine, [], asked["contents"])
        if machine is None or scrap:
            raise rules.RefusedError(f"The machine {asked['name']} is gone, or was stopped from outside, before it was clean.", 4)
        if left == "image":
            return str(machine["InstanceId"])
        if time.monotonic() > deadline:
            client.terminate_instances(InstanceIds=[machine["InstanceId"]], aws_retry=True)
            raise rules.RefusedError(
                f"The machine {asked['name']} ({machine['InstanceId']}) has not halted within {asked['halt_seconds']} s after it was to be "
                "cleaned. It was ended, and no image was made. The same command makes another one.",
                4,
            )
        time.sleep(PAUSE_SECONDS)


def begun(client: Any, asked: dict[str, Any]) -> str:
    """The id of the image that EC2 makes, or has made."""
    contents = asked["contents"]
    if found := rules.unfinished(ec2.images(client), contents):
        return str(found["ImageId"])
    instance = halted(client, asked)
    for broken in rules.failed(ec2.images(client)):
        ec2.remove(client, broken)
    name = f"slipway-{contents}-{instance}"
    tags = {rules.BAKING: contents, "Name": name}
    try:
        return str(
            client.create_image(
                InstanceId=instance,
                Name=name,
                Description="Made by `orchestrate.py bake`: engine, Compose and the images of the services, and no data",
                TagSpecifications=boto3_tag_specifications(tags, ["image", "snapshot"]),
                aws_retry=True,
            )["ImageId"]
        )
    except ClientError as refusal:
        # Its reply was lost.
        if refusal.response["Error"]["Code"] != "InvalidAMIName.Duplicate":
            raise
        return str(next(image for image in ec2.images(client) if image["Name"] == name)["ImageId"])


def whole(client: Any, image_id: str, seconds: int) -> dict[str, Any]:
    """The image, as soon as EC2 has it. Raises RefusedError if it does not come to that."""
    deadline = time.monotonic() + seconds
    while True:
        image = client.describe_images(ImageIds=[image_id], aws_retry=True)["Images"][0]
        if image["State"] == "available":
            return dict(image)
        if image["State"] != "pending" or time.monotonic() > deadline:
            why = image.get("StateReason", {}).get("Message", "EC2 gives no reason")
            raise rules.RefusedError(f"The image {image_id} is {image['State']} after {seconds} s at most: {why}.", 4)
        time.sleep(PAUSE_SECONDS)


def make(client: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """The image, with its tags."""
    image = whole(client, begun(client, asked), asked["timeout"])
    ids = [image["ImageId"], *rules.snapshots(image)]
    # In this order: an image that has both is whole.
    client.create_tags(Resources=ids, Tags=[{"Key": rules.CONTENTS, "Value": asked["contents"]}], aws_retry=True)
    client.delete_tags(Resources=ids, Tags=[{"Key": rules.BAKING}], aws_retry=True)
    return dict(client.describe_images(ImageIds=[image["ImageId"]], aws_retry=True)["Images"][0])


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "contents": {"type": "str", "required": True},
            "prices": {"type": "dict", "default": {}},
            "halt_seconds": {"type": "int", "default": 300},
            "timeout": {"type": "int", "default": 3600},
        },
    )
    prices = module.params["prices"].get(module.region, {})
    try:
        image = make(ec2.connected(module), module.params)
    except rules.RefusedError as refused:
        module.fail_json(msg=str(refused), exit_code=refused.code)
    except ClientError as refusal:
        if refusal.response["Error"]["Code"] == UNSUPPORTED:
            module.fail_json(msg=f"No image can be made here: {refusal.response['Error']['Message']}", exit_code=3)
        module.fail_json_aws(refusal, msg="The image was not made", exit_code=4)
    except BotoCoreError as failure:
        module.fail_json_aws(failure, msg="The image was not made", exit_code=4)
    module.exit_json(changed=True, image=rules.document(image, module.params["contents"], prices))


if __name__ == "__main__":
    main()
