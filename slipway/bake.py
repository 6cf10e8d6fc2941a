"""`bake`: a machine image with all that machines have before their stack, made on a machine of its own that is removed afterwards."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from slipway import arguments, lab, plays, render
from slipway.model import Exit, RefusalError
from slipway.render import Progress

_LEFT = {
    "make": "a machine would be made, cleaned, copied and removed",
    "install": "the machine that is there would be finished, cleaned, copied and removed",
    "halt": "the machine that is being cleaned would be copied and removed",
    "image": "the machine, which is clean, would be copied and removed",
    "wait": "the image that EC2 is making would be finished, and its machine removed",
}


def bake(options: argparse.Namespace) -> Exit:
    """Make an image of this version, list images, or remove one."""
    if "listed" in options:
        return _list(options)
    if "remove" in options:
        return _remove(options)
    check = "dry_run" in options
    progress = Progress(check=check)
    if options.target == "lab":
        if check:
            lab.need(options)
        else:
            lab.start(progress)
        need_disks()
    result = plays.play("bake", "playbooks/bake.yml", options, arguments.variables(options), progress, check)
    if result.failure:
        if not check and result.published.get("machine_image_step") not in (None, "done"):
            print(left(options), file=sys.stderr)
        return plays.failed(options, result, result.failure)
    published = result.published
    document = {
        "target": options.target,
        "region": published["machine_image_region"],
        "step": published["machine_image_step"],
        "image": published["machine_image"],
        "price": published["machine_image_price"],
        "changed": result.changed,
        "seconds": result.seconds,
    }
    print(render.as_json(document) if options.json else text(document, check))
    return Exit.DONE


def left(options: argparse.Namespace) -> str:
    """What an image that was not finished may have left, and the way out of it."""
    end = plays.command(options, "destroy")
    return f"The machine {options.name}, on which it is made, costs as long as it is there. `bake` again finishes and removes it; or: {end}"


def text(document: Mapping[str, Any], check: bool) -> str:
    """Render what `bake` did for people."""
    if document["step"] == "done":
        first = "An image of this version is there already."
    elif check:
        return f"No image of this version is there: {_LEFT[document['step']]}. Nothing was changed."
    else:
        first = f"Made in {document['seconds']:.0f} s; its machine was removed."
    return (
        f"{first}\n{line(document['image'])}\n"
        f"up and deploy make new machines with {document['image']['gib']} GiB of disk or more in {document['region']} from it."
    )


def line(image: Mapping[str, Any]) -> str:
    """An image in a line."""
    monthly = (
        "at a price that is not known here" if image["usd_per_month"] is None else f"at most {image['usd_per_month']:.2f} USD per month"
    )
    return f"{image['id']}  {image['created'][:16].replace('T', ' ')}  {image['state']:<13}  {image['gib']} GiB, {monthly}"


def list_text(images: Sequence[Mapping[str, Any]], region: str, make: str) -> str:
    """Render the list for people."""
    if not images:
        return f"No images in {region}. Make one with: {make}"
    return "\n".join(line(image) for image in images)


def _list(options: argparse.Namespace) -> Exit:
    lab.need(options)
    result = plays.play("bake", "playbooks/bake/list.yml", options, arguments.variables(options))
    if result.failure:
        return plays.failed(options, result, result.failure)
    images, region = result.published["machine_images"], result.published["machine_image_region"]
    document = {"target": options.target, "region": region, "images": images}
    print(render.as_json(document) if options.json else list_text(images, region, _make(options)))
    return Exit.DONE


def _remove(options: argparse.Namespace) -> Exit:
    lab.need(options)
    check = "dry_run" in options
    result = plays.play("bake", "playbooks/bake/remove.yml", options, arguments.variables(options), Progress(check=check), check)
    if result.failure:
        return plays.failed(options, result, result.failure)
    document = {"target": options.target, "image": options.remove, "changed": result.changed, "seconds": result.seconds}
    done = "Would remove" if check else "Removed"
    print(
        render.as_json(document) if options.json else f"{done} {options.remove} with its snapshots. Machines that were made from it stay."
    )
    return Exit.DONE


def _make(options: argparse.Namespace) -> str:
    """The line to type for a new image: of the user's own words, the name is without its end."""
    words = argparse.Namespace(**{**vars(options), "name": options.user_name})
    if options.user_name is None:
        del words.name
    return plays.command(words, "bake")


def need_disks() -> None:
    """Refuse a lab whose disks are only recorded: it would be found out when the machine is clean."""
    from lab import disks

    if why := disks.lacking():
        raise RefusalError(f"An image is a copy of a real disk, and the lab has none here: {why}. Nothing was changed.")
