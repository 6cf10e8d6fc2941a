"""What is left to do until there is a machine image of these contents, and what images are worth. Facts as EC2 describes them in.

The machine that an image is made from is used for that alone. Its tag `slipway-bake` is "made", then "cleaning" until nothing keeps its
cleaning from its end, then the contents' name. Its cleaning ends with a halt from within, which EC2 tells from every other end; so a
stopped machine with the contents' name is known to be clean, and any other one is removed. The image has the tag `slipway-baking` until
all is done, then `slipway-contents`: only by this one `up` takes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Facts = Mapping[str, Any]

#: Tag of the machine, of an image in the making, and of one that is whole; the values of the last two are the contents' name.
MACHINE, BAKING, CONTENTS = "slipway-bake", "slipway-baking", "slipway-contents"
#: What the machine's tag says until its cleaning begins.
MADE = "made"
#: EC2's reason for an instance that has halted by itself. Source: "Troubleshoot instance launch issues", Amazon EC2 User Guide.
HALTED = "Client.InstanceInitiatedShutdown"
#: What is left to do, from nothing to the end: each step leads to the next one.
STEPS = ("make", "install", "halt", "image", "wait", "done")


class RefusedError(Exception):
    """Why nothing is done, and what to do about it; `code` is the exit code."""

    def __init__(self, text: str, code: int = 3) -> None:
        super().__init__(text)
        self.code = code


def tags(item: Facts | None) -> dict[str, str]:
    """The tags of a machine or an image."""
    return {tag["Key"]: tag["Value"] for tag in (item or {}).get("Tags", [])}


def is_ours(item: Facts) -> bool:
    """Whether an image, or a snapshot, was made by this role."""
    return CONTENTS in tags(item) or BAKING in tags(item)


def check_own(machine: Facts | None, name: str) -> None:
    """Raise RefusedError if the machine of this name was not made for an image: it would be cleaned and removed."""
    if machine and MACHINE not in tags(machine):
        raise RefusedError(
            f"The machine {name} ({machine['InstanceId']}) was not made for an image, and has data perhaps. Nothing was changed. Give "
            f"another name (--name): the image is made on a machine that is called as yours, with -bake at the end."
        )


def step(machine: Facts | None, images: Sequence[Facts], contents: str, disk_gib: int = 0) -> tuple[str, bool]:
    """What is left to do until there is an image for disks of this size, one of STEPS, and whether the machine that is there has to be
    removed before it."""
    if current(images, contents, disk_gib):
        return "done", False
    if unfinished(images, contents):
        return "wait", False
    if machine is None:
        return "make", False
    state, mark = machine["State"]["Name"], tags(machine).get(MACHINE)
    if mark == MADE:
        # A halt by hand, or a failure of its hardware: it is not known what is there.
        return ("install", False) if state in ("pending", "running") else ("make", True)
    if mark != contents:
        return "make", True
    if state in ("pending", "running", "stopping"):
        return "halt", False
    halted = machine.get("StateReason", {}).get("Code") == HALTED
    return ("image", False) if state == "stopped" and halted else ("make", True)


def current(images: Sequence[Facts], contents: str, disk_gib: int = 0) -> Facts | None:
    """The newest whole image of these contents, from which a machine with such a disk can be made; 0, of any size."""
    whole = [image for image in images if tags(image).get(CONTENTS) == contents and image["State"] == "available"]
    found = [image for image in whole if disk_gib == 0 or gib(image) <= disk_gib]
    return max(found, key=lambda image: str(image["CreationDate"]), default=None)


def unfinished(images: Sequence[Facts], contents: str) -> Facts | None:
    """An image of these contents that EC2 makes, or has made, and that has not its last tag."""
    found = [image for image in images if tags(image).get(BAKING) == contents and CONTENTS not in tags(image)]
    return next((image for image in found if image["State"] in ("pending", "available")), None)


def failed(images: Sequence[Facts]) -> list[Facts]:
    """Images of ours that EC2 could not make."""
    return [image for image in images if BAKING in tags(image) and image["State"] not in ("pending", "available")]


def snapshots(image: Facts) -> list[str]:
    """The ids of an image's snapshots."""
    ids = (device.get("Ebs", {}).get("SnapshotId") for device in image.get("BlockDeviceMappings", []))
    return [str(each) for each in ids if each]


def gib(image: Facts) -> int:
    """The size of the disks that it is a copy of, in GiB."""
    return sum(int(device.get("Ebs", {}).get("VolumeSize", 0)) for device in image.get("BlockDeviceMappings", []))


def monthly(prices: Facts, size_gib: int) -> float | None:
    """USD per month that an image of such disks costs at most: snapshots are billed for the blocks that were written. None if not known."""
    return round(size_gib * prices["snapshot_gib_month"], 2) if "snapshot_gib_month" in prices else None


def hourly(prices: Facts, wanted: str, disk_gib: int) -> float | None:
    """USD per hour of the machine, with its disk and its public address. None if not known."""
    if wanted not in prices.get("types", {}):
        return None
    return round(prices["types"][wanted] + disk_gib * prices["gp3_gib_month"] / 730 + prices["ipv4_hour"], 4)


def price_line(prices: Facts, wanted: str, disk_gib: int, minutes: int) -> str:
    """What is told before the machine is made."""
    machine, image = hourly(prices, wanted, disk_gib), monthly(prices, disk_gib)
    if machine is None or image is None:
        what = f"a {wanted} for about {minutes} minutes, and of an image of {disk_gib} GiB"
        return f"Price: of {what}, it is not known here; AWS's price list has it"
    return (
        f"Price: {machine * minutes / 60:.4f} USD for a {wanted} with {disk_gib} GiB of disk, for about {minutes} minutes; then at most "
        f"{image:.2f} USD per month for the image"
    )


def document(image: Facts, contents: str, prices: Facts) -> dict[str, Any]:
    """An image as `bake` and `bake --list` tell of it, which docs/json.md describes."""
    whole = tags(image).get(CONTENTS)
    return {
        "id": image["ImageId"],
        "name": image.get("Name", ""),
        "created": str(image["CreationDate"]),
        "contents": whole,
        "state": "unfinished" if whole is None else "current" if whole == contents else "other version",
        "architecture": image.get("Architecture"),
        "gib": gib(image),
        "usd_per_month": monthly(prices, gib(image)),
    }


def check_removed(images: Sequence[Facts], wanted: str) -> Facts:
    """The image of this id, if it is one of ours. Raises RefusedError."""
    found = next((image for image in images if image["ImageId"] == wanted), None)
    if found is None:
        listed = ", ".join(image["ImageId"] for image in images) or "none, for there is no such image in this region"
        raise RefusedError(
            f"machine_image_removed: {wanted!r} cannot be used. It is no image that `bake` has made in this region. Allowed: {listed}. "
            "Nothing was changed.",
            2,
        )
    return found
