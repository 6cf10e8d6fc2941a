"""Which machine image a new instance is made from. Facts as EC2 describes them in, an image or a refusal out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Facts = Mapping[str, Any]

#: The tag of an image that holds what a machine gets before its stack; the value says which. The role machine_image sets it at last.
CONTENTS = "slipway-contents"


class ImageError(Exception):
    """Why an image cannot be used: `args` are the field, the value found and what is allowed."""


def least_gib(image: Facts) -> int:
    """The size of its root disk in GiB: that of a machine from it is as large, or larger."""
    root = next(item for item in image["BlockDeviceMappings"] if item["DeviceName"] == image["RootDeviceName"])
    return int(root["Ebs"]["VolumeSize"])


def baked(own: Sequence[Facts], contents: str, architectures: Sequence[str], disk_gib: int) -> Facts | None:
    """Of the account's own images the newest that holds these contents and fits; None if no image does.

    `contents` is the name of what a machine of this version gets; empty: no image is to be taken.
    """
    found = [
        image
        for image in own
        if contents
        and {"Key": CONTENTS, "Value": contents} in image.get("Tags", [])
        and image["State"] == "available"
        and image["Architecture"] in architectures
        and least_gib(image) <= disk_gib
    ]
    return max(found, key=lambda image: str(image["CreationDate"]), default=None)


def newest(found: Sequence[Facts], pattern: str, owners: Sequence[str], wanted: str, architectures: Sequence[str], disk_gib: int) -> Facts:
    """Of the images with a name of this pattern the newest. Raises ImageError if there is no such image, or if it does not fit.

    `wanted` is the type of the new instance, and `architectures` are the type's; `disk_gib` is the size of its root disk.
    """
    if not found:
        field = "ec2_instance_image_name"
        raise ImageError(field, pattern, f"No image of the owners {', '.join(owners)} has such a name in this region.")
    image = max(found, key=lambda item: str(item["CreationDate"]))
    name, architecture = image["Name"], image["Architecture"]
    if architecture not in architectures:
        raise ImageError("ec2_instance_type", wanted, f"It is {'/'.join(architectures)}, and the image {name} is {architecture}.")
    if disk_gib < (least := least_gib(image)):
        raise ImageError("ec2_instance_disk_gib", disk_gib, f"The image {name} needs at least {least} GiB.")
    return image


def check_named(image: Facts, wanted: str, architectures: Sequence[str], disk_gib: int) -> None:
    """Raise ImageError if an image that was named cannot be used for a machine of this type and disk."""
    field, value = "ec2_instance_machine_image", image["ImageId"]
    if image["State"] != "available":
        raise ImageError(field, value, f"It is {image['State']}. Allowed: an image that is available.")
    if image["Architecture"] not in architectures:
        raise ImageError(
            field, value, f"It is {image['Architecture']}, and {wanted} is {'/'.join(architectures)}. Allowed: an image of the type's."
        )
    if image.get("RootDeviceType") != "ebs":
        raise ImageError(field, value, f"Its root device is {image.get('RootDeviceType')}. Allowed: an image on EBS.")
    if disk_gib < (least := least_gib(image)):
        raise ImageError("ec2_instance_disk_gib", disk_gib, f"The image {value} needs at least {least} GiB.")
