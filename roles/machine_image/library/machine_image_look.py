#!/usr/bin/python
"""One read-only look at the machine images of the account, and at the machine that one is made on."""

from __future__ import annotations

DOCUMENTATION = r"""
module: machine_image_look
short_description: Look at the account's own images with contents of this project, and at what is left to do until there is one
description: [Changes nothing. Fails with C(exit_code) 3 if the machine of that name was not made for an image.]
options:
  name: {type: str, default: "", description: The machine on which an image is made. Empty asks for images alone.}
  contents: {type: str, required: true, description: The name of the contents that an image of this version has.}
  type: {type: str, default: "", description: The type of that machine, for its price.}
  disk_gib: {type: int, default: 0, description: Its disk in GiB. An image of a larger disk is not taken for one of this version.}
  minutes: {type: int, default: 0, description: How long it is needed, about.}
  prices: {type: dict, default: {}, description: Prices by region.}
extends_documentation_fragment: [amazon.aws.common.modules, amazon.aws.region.modules, amazon.aws.boto3]
"""

RETURN = r"""
step: {type: str, returned: always, description: "What is left to do: make, install, halt, image, wait or done (machine_image_rules)."}
scrap: {type: bool, returned: always, description: Whether the machine that is there has to be removed before.}
instance_id: {type: str, returned: always, description: That machine; empty if there is none.}
image: {type: dict, returned: always, description: The image of these contents; none if there is none that is whole.}
images: {type: list, returned: always, description: All images of ours in this region, the newest first.}
region: {type: str, returned: always, description: The region that was asked.}
price: {type: str, returned: always, description: What making one costs, in words.}
usd: {type: dict, returned: always, description: "The same: C(per_hour) of the machine, C(minutes), and C(per_month) at most of the image."}
"""

from contextlib import suppress
from typing import Any

from ansible.module_utils import machine_image_ec2 as ec2
from ansible.module_utils import machine_image_rules as rules
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

with suppress(ImportError):  # AnsibleAWSModule says what is missing.
    from botocore.exceptions import BotoCoreError, ClientError


def look(module: AnsibleAWSModule) -> dict[str, Any]:
    """Everything that was asked for. Raises RefusedError."""
    asked, client = module.params, ec2.connected(module)
    prices, contents = asked["prices"].get(module.region, {}), asked["contents"]
    images = ec2.images(client)
    machine = ec2.machine(client, asked["name"]) if asked["name"] else None
    rules.check_own(machine, asked["name"])
    step, scrap = rules.step(machine, images, contents, asked["disk_gib"])
    whole = rules.current(images, contents, asked["disk_gib"])
    return {
        "step": step,
        "scrap": scrap,
        "instance_id": machine["InstanceId"] if machine else "",
        "image": rules.document(whole, contents, prices) if whole else None,
        "images": [rules.document(image, contents, prices) for image in images],
        "region": module.region,
        "price": rules.price_line(prices, asked["type"], asked["disk_gib"], asked["minutes"]),
        "usd": {
            "per_hour": rules.hourly(prices, asked["type"], asked["disk_gib"]),
            "minutes": asked["minutes"],
            "per_month": rules.monthly(prices, asked["disk_gib"]),
        },
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "default": ""},
            "contents": {"type": "str", "required": True},
            "type": {"type": "str", "default": ""},
            "disk_gib": {"type": "int", "default": 0},
            "minutes": {"type": "int", "default": 0},
            "prices": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**look(module))
    except rules.RefusedError as refused:
        module.fail_json(msg=str(refused), exit_code=refused.code)
    except (BotoCoreError, ClientError) as failure:
        module.fail_json_aws(failure, msg="EC2 could not be asked", exit_code=4)


if __name__ == "__main__":
    main()
