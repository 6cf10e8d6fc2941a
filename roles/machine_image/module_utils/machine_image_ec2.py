"""What EC2 says of machine images, and of the machine that one is made on; and the end of an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils import machine_image_rules as rules
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

#: An image that was just made may not be shown yet.
UNSEEN = ["InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"]
#: Of what has one of our tags, and others that begin like them.
TAGGED = [{"Name": "tag-key", "Values": ["slipway-*"]}]


def connected(module: Any) -> Any:
    """A client that asks again for a minute, about."""
    again = AWSRetry.jittered_backoff(retries=6, delay=2, max_delay=20, catch_extra_error_codes=UNSEEN)
    return module.client("ec2", retry_decorator=again)


def images(client: Any) -> list[dict[str, Any]]:
    """The account's own images that have one of our tags, the newest first. Others' may have one too."""
    found = client.describe_images(Owners=["self"], Filters=TAGGED, aws_retry=True)["Images"]
    return sorted(filter(rules.is_ours, found), key=lambda image: str(image["CreationDate"]), reverse=True)


def machine(client: Any, name: str) -> dict[str, Any] | None:
    """The machine of this name, as long as it is not on its way out."""
    states = ["pending", "running", "stopping", "stopped"]
    filters = [{"Name": "tag:slipway", "Values": [name]}, {"Name": "instance-state-name", "Values": states}]
    found = client.describe_instances(Filters=filters, aws_retry=True)["Reservations"]
    return next((dict(item) for each in found for item in each["Instances"]), None)


def remove(client: Any, image: Mapping[str, Any]) -> None:
    """Deregister an image, then delete its snapshots: in this order, for one that an image needs cannot be deleted."""
    client.deregister_image(ImageId=image["ImageId"], aws_retry=True)
    for snapshot in rules.snapshots(image):
        client.delete_snapshot(SnapshotId=snapshot, aws_retry=True)


def orphans(client: Any, image_id: str) -> list[str]:
    """The snapshots of an image of ours that was deregistered by a command that came no further."""
    pages = client.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=TAGGED)
    found = [each for page in pages for each in page["Snapshots"] if rules.is_ours(each)]
    # CreateImage's own words: "Created by CreateImage(i-…) for ami-…".
    return [str(each["SnapshotId"]) for each in found if each.get("Description", "").split()[-1:] == [image_id]]
