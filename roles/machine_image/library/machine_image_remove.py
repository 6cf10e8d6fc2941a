#!/usr/bin/python
"""The end of one machine image that this role has made."""

from __future__ import annotations

DOCUMENTATION = r"""
module: machine_image_remove
short_description: Deregister a machine image that this role has made, and delete its snapshots
description: [Machines that were made from it stay as they are. An image without this role's tags is never removed.]
options:
  image: {type: str, required: true, description: Its id.}
  contents: {type: str, required: true, description: The name of the contents of this version.}
  prices: {type: dict, default: {}, description: Prices by region.}
extends_documentation_fragment: [amazon.aws.common.modules, amazon.aws.region.modules, amazon.aws.boto3]
"""

RETURN = r"""
image: {type: dict, returned: always, description: "The image; none if a command before had deregistered it and left its snapshots."}
"""

from contextlib import suppress

from ansible.module_utils import machine_image_ec2 as ec2
from ansible.module_utils import machine_image_rules as rules
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

with suppress(ImportError):  # AnsibleAWSModule says what is missing.
    from botocore.exceptions import BotoCoreError, ClientError


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "image": {"type": "str", "required": True},
            "contents": {"type": "str", "required": True},
            "prices": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    asked, prices = module.params, module.params["prices"].get(module.region, {})
    client = ec2.connected(module)
    try:
        images = ec2.images(client)
        gone = all(image["ImageId"] != asked["image"] for image in images)
        if gone and (left := ec2.orphans(client, asked["image"])):
            for snapshot in left if not module.check_mode else []:
                client.delete_snapshot(SnapshotId=snapshot, aws_retry=True)
            module.exit_json(changed=True, image=None)
        image = rules.check_removed(images, asked["image"])
        if not module.check_mode:
            ec2.remove(client, image)
    except rules.RefusedError as refused:
        module.fail_json(msg=str(refused), exit_code=refused.code)
    except (BotoCoreError, ClientError) as failure:
        module.fail_json_aws(failure, msg="The image was not removed", exit_code=4)
    module.exit_json(changed=True, image=rules.document(image, asked["contents"], prices))


if __name__ == "__main__":
    main()
