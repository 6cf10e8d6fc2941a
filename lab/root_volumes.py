"""CreateReplaceRootVolumeTask: another root for a running instance, which keeps its id, addresses and type. moto 5.2.5 does not know it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from moto.ec2.models import EC2Backend

from lab.rules import Params, RefusalError


@dataclass
class Task:
    """A replacement, as EC2 lists it. `state`: pending, in-progress, succeeded or failed-detached."""

    instance: str
    snapshot: str
    image: str
    delete: bool
    id: str = field(default_factory=lambda: f"replacevol-{random.getrandbits(68):017x}")
    state: str = "pending"
    start: str = field(default_factory=lambda: _now())
    complete: str = ""

    def xml(self) -> str:
        """The fields of ReplaceRootVolumeTask."""
        fields = {
            "replaceRootVolumeTaskId": self.id,
            "instanceId": self.instance,
            "taskState": self.state,
            "startTime": self.start,
            "completeTime": self.complete,
            "snapshotId": self.snapshot,
            "imageId": self.image,
            "deleteReplacedRootVolume": str(self.delete).lower(),
        }
        return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items() if value)


def create(params: Params, backend: EC2Backend) -> str:
    """Replace the root by a snapshot's or an image's, or by that which the instance began with; returns the task in XML."""
    instance: Any = backend.get_instance(params.get("InstanceId", ""))
    block = instance.block_device_mapping[instance.root_device_name]
    old = backend.get_volume(block.volume_id)
    image = params.get("ImageId", "")
    named = backend.describe_images(ami_ids=[image])[0].ebs_snapshot.id if image else params.get("SnapshotId", "")
    snapshot = backend.get_snapshot(named or instance.first_snapshot)
    if snapshot.volume_size > old.size:
        raise RefusalError("InvalidParameterValue", f"The snapshot {snapshot.id} is larger than the volume {old.id}.")
    task = Task(instance.id, params.get("SnapshotId", ""), image, params.get("DeleteReplacedRootVolume") == "true")
    instance.replacements = (*instance.replacements, task)

    def replace() -> None:
        task.state = "in-progress"
        new = backend.create_volume(old.size, str(old.availability_zone), snapshot.id, volume_type=old.volume_type)
        backend.detach_volume(old.id, instance.id, instance.root_device_name)
        backend.attach_volume(new.id, instance.id, instance.root_device_name, block.delete_on_termination)
        if task.delete:
            backend.delete_volume(old.id)
        task.state, task.complete = "succeeded", _now()
        if image:
            instance.image_id = image

    def failed() -> None:
        task.state, task.complete = "failed-detached", _now()

    first = task.xml()
    instance.with_still_disks(replace, failed, halt=True)
    return f"<replaceRootVolumeTask>{first}</replaceRootVolumeTask>"


def give_up(backend: EC2Backend) -> None:
    """End what an earlier process was replacing: no one does it any more."""
    for instance in backend.all_instances():
        for task in getattr(instance, "replacements", ()):
            if task.state in ("pending", "in-progress"):
                task.state, task.complete = "failed-detached", _now()


def describe(params: Params, backend: EC2Backend) -> str:
    """The tasks of all instances, or those that are named; in XML."""
    named = {value for name, value in params.items() if name.startswith("ReplaceRootVolumeTaskId.")}
    wanted = {value for name, value in params.items() if name.startswith("Filter.1.Value.")}
    tasks = [task for instance in backend.all_instances() for task in getattr(instance, "replacements", ())]
    chosen = (task for task in tasks if (not named or task.id in named) and (not wanted or task.instance in wanted))
    return f"<replaceRootVolumeTaskSet>{''.join(f'<item>{task.xml()}</item>' for task in chosen)}</replaceRootVolumeTaskSet>"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
