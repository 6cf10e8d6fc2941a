"""Machine images that the labs of this computer share, if they are told to: SLIPWAY_LAB_IMAGES names a set of them.

A lab keeps a copy of each image that `bake` has finished there; any other lab of the set has it from then on as an image of its own. Copies
share their blocks, and take milliseconds.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moto.ec2.models import EC2Backend

from lab import internet, machine_images, volumes
from lab.image_sets import VARIABLE, Facts, keep, read
from lab.machine_images import LabAmi
from lab.world import World

log = logging.getLogger("lab.shared_images")

#: `bake` gives an image this tag last; its value names what is in it (roles/machine_image).
_CONTENTS = "slipway-contents"
_one_at_a_time = threading.Lock()


def give(backend: EC2Backend) -> None:
    """Keep a copy of each finished image of this lab that the set does not have."""
    with _one_at_a_time:
        if World.shared is None:
            return
        for image in list(backend.amis.values()):
            facts, disk = _facts(image, backend), _disk(image)
            if facts and disk and facts.contents not in World.taken:
                World.taken.add(facts.contents)
                if read(World.shared / f"{facts.contents}.json") is None:
                    keep(World.shared, facts, disk)
                    log.info("%s is shared: %s", image.id, facts.contents)


def take(backend: EC2Backend) -> bool:
    """Make images of this lab of those of the set, each once: one that was removed here does not come back. Whether there were any."""
    with _one_at_a_time:
        if World.shared is None or not World.shared.is_dir():
            return False
        found = [read(path) for path in sorted(World.shared.glob("*.json")) if path.stem not in World.taken]
        new = [facts for facts in found if facts and facts.region == backend.region_name]
        for facts in new:
            _register(facts, World.shared / f"{facts.contents}.img", backend)
            World.taken.add(facts.contents)
        return bool(new)


def _facts(image: Any, backend: EC2Backend) -> Facts | None:
    """Of an image that is finished, has one disk, and sees nothing of one lab alone (lab/internet.py)."""
    contents = _tags(image).get(_CONTENTS, "") if isinstance(image, LabAmi) else ""
    disk = _disk(image)
    if not contents or disk is None or image.state != "available" or len(image.disks) != 1 or internet.is_seen_from(image):
        return None
    gib = int(image.disks[image.root_device_name]["VolumeSize"])
    return Facts(contents, image.name, backend.region_name, image.architecture, image.virtualization_type, gib, disk.stat().st_size)


def _disk(image: Any) -> Path | None:
    snapshot = getattr(image, "ebs_snapshot", None)
    return snapshot.source if isinstance(snapshot, volumes.LabSnapshot) else None


def _tags(image: Any) -> Mapping[str, str]:
    return {tag["key"]: tag["value"] for tag in image.get_tags()}


def _register(facts: Facts, disk: Path, backend: EC2Backend) -> None:
    """As one does it in EC2: a volume, a snapshot of it, an image of that. They are there at once."""
    stock = volumes.Stock.disks
    assert stock is not None  # noqa: S101 (for mypy: without disks there is no set)
    volume = backend.create_volume(facts.gib, f"{facts.region}a")
    stock.remove(volume.id)
    stock.copy(disk, volume.id, facts.gib)
    snapshot: Any = backend.create_snapshot(volume.id, f"Shared by the labs of {VARIABLE}")
    backend.delete_volume(volume.id)
    root = "/dev/sda1"
    wanted = {
        "Name": facts.name,
        "Architecture": facts.architecture,
        "VirtualizationType": facts.virtualization,
        "RootDeviceName": root,
        "BlockDeviceMapping.1.DeviceName": root,
        "BlockDeviceMapping.1.Ebs.SnapshotId": snapshot.id,
        "BlockDeviceMapping.1.Ebs.VolumeType": "gp3",
    }
    image: Any = backend.amis[machine_images.register(wanted, backend)]
    for made in (snapshot, image):
        made.ready = 0.0
        made.add_tags({_CONTENTS: facts.contents})
    log.info("%s is of the set: %s", image.id, facts.contents)
