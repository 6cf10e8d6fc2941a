"""Machine images that several labs of this computer share: a machine that one of them has baked is there for all.

Labs that have SLIPWAY_LAB_IMAGES=NAME in the environment of their API share the set NAME. Without it a lab neither gives nor takes any.
The set is a folder of the pool: of each image a copy of its disk, and then a file with its facts. A copy alone counts for nothing.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from moto.ec2.models import EC2Backend

from lab import disks, internet
from lab.machine_images import LabAmi, ebs
from lab.volumes import LabSnapshot, Stock

#: The tag that an image of a Slipway machine is given last, when it is good. Others are their lab's own.
_CONTENTS = "slipway-contents"
_FACTS = ("name", "description", "architecture", "virtualization_type", "root_device_name")
_exchanging = threading.Lock()


def exchange(backend: EC2Backend, place: Path | None) -> bool:
    """Give the set what this lab has made, and take what others have; whether something was taken."""
    if Stock.disks is None or place is None:
        return False
    with _exchanging:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for image in list(backend.amis.values()):
            if isinstance(image, LabAmi):
                _give(place, backend, image)
        return sum(_take(path, backend) for path in sorted(place.glob("ami-*.json"))) > 0


def _give(place: Path, backend: EC2Backend, image: LabAmi) -> None:
    tags = _tags(image)
    facts = place / f"{image.id}.json"
    snapshot = image.ebs_snapshot
    # A machine that sees the names of lab/internet.py knows its own lab's.
    if _CONTENTS not in tags or image.state != "available" or len(image.disks) != 1 or facts.exists() or internet.is_seen_from(image):
        return
    if not isinstance(snapshot, LabSnapshot) or snapshot.source is None:
        return
    disks.clone(snapshot.source, facts.with_suffix(".img"))
    found: dict[str, Any] = {key: getattr(image, key) for key in _FACTS}
    found |= {"region": backend.region_name, "gib": snapshot.volume_size, "tags": tags, "snapshot_tags": _tags(snapshot)}
    half = facts.with_suffix(".part")
    half.write_text(json.dumps(found))
    half.rename(facts)


def _take(facts: Path, backend: EC2Backend) -> bool:
    """Take one image, if this lab never had it."""
    # One that was deregistered here does not come back.
    if facts.stem in backend.amis or facts.stem in backend.deleted_amis or Stock.disks is None:
        return False
    disk = facts.with_suffix(".img")
    try:
        found = json.loads(facts.read_text())
    except (OSError, ValueError):
        return False
    if not disk.exists() or found["region"] != backend.region_name or any(image.name == found["name"] for image in backend.amis.values()):
        return False
    image: Any = LabAmi(backend, facts.stem, root_device_type="ebs", **{key: found[key] for key in _FACTS})
    snapshot = image.ebs_snapshot
    snapshot.ready, snapshot.volume_size = 0.0, found["gib"]
    snapshot.add_tags(found["snapshot_tags"])
    Stock.disks.copy(disk, snapshot.id, found["gib"])
    image.take({image.root_device_name: ebs(snapshot.id, found["gib"])})
    image.add_tags(found["tags"])
    backend.amis[image.id] = image
    return True


def _tags(item: Any) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in item.get_tags()}
