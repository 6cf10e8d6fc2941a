"""What EC2 refuses of volumes, snapshots and images, and moto 5.2.5 lets through, in EC2's own codes and words.

Source: "Error codes for the Amazon EC2 API" and the pages of the actions, docs.aws.amazon.com/AWSEC2/latest/APIReference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from moto.ec2.models import EC2Backend

from lab.rules import Params, RefusalError, instance_of
from lab.volumes import LabModification

#: "After modifying a volume, you must wait at least six hours" (ModifyVolume).
BETWEEN_CHANGES_SECONDS = 6 * 3600
_NITRO_OR_NOT = "Invalid value '{}' for unixDevice. Attachment point {} is already in use"


def check(action: str, params: Params, backend: EC2Backend, lacking: str) -> None:
    """Raise RefusalError where EC2 would refuse this request, or where it needs real disks and the lab has none (`lacking` says why)."""
    if params.get("DryRun") == "true":
        return
    if lacking and action in _NEED_DISKS:
        raise RefusalError("UnsupportedOperation", f"{action} needs the lab's real disks. It has none: {lacking}.")
    for rule in _RULES.get(action, ()):
        rule(params, backend)


def _never_smaller(params: Params, backend: EC2Backend) -> None:
    volume, size = backend.volumes.get(params.get("VolumeId", "")), params.get("Size")
    if volume and size is not None and int(size) < int(volume.size):
        raise RefusalError("InvalidParameterValue", "New size cannot be smaller than existing size")


def _not_too_soon(params: Params, backend: EC2Backend) -> None:
    volume = backend.volumes.get(params.get("VolumeId", ""))
    last = volume.modifications[-1] if volume and volume.modifications else None
    if not isinstance(last, LabModification):
        return
    if last.modification_state != "completed":
        state = last.modification_state.upper()
        raise RefusalError("IncorrectModificationState", f"Volume {last.volume_id} cannot be modified in modification state {state}")
    if last.age < BETWEEN_CHANGES_SECONDS:
        raise RefusalError(
            "VolumeModificationRateExceeded",
            "You've reached the maximum modification rate per volume limit. Wait at least 6 hours between modifications per EBS volume.",
        )


def _attachable(params: Params, backend: EC2Backend) -> None:
    volume = backend.volumes.get(params.get("VolumeId", ""))
    instance = instance_of(params.get("InstanceId", ""), backend)
    device = params.get("Device", "")
    if volume is None or instance is None:
        return
    if instance._state.name not in ("running", "stopped"):
        raise RefusalError("IncorrectState", f"Instance '{instance.id}' is not 'running'.")
    if volume.attachment:
        raise RefusalError("VolumeInUse", f"{volume.id} is already attached to an instance")
    if volume.status != "available":
        raise RefusalError("IncorrectState", f"Volume '{volume.id}' is not 'available'.")
    if volume.availability_zone != instance.availability_zone:
        text = f"The volume '{volume.id}' is not in the same availability zone as instance '{instance.id}'"
        raise RefusalError("InvalidVolume.ZoneMismatch", text)
    if device in instance.block_device_mapping:
        raise RefusalError("InvalidParameterValue", _NITRO_OR_NOT.format(device, device))


def _detachable(params: Params, backend: EC2Backend) -> None:
    volume = backend.volumes.get(params.get("VolumeId", ""))
    if volume is None:
        return
    if volume.attachment is None:
        raise RefusalError("IncorrectState", f"Volume '{volume.id}' is in the 'available' state.")
    instance: Any = volume.attachment.instance
    if params.get("InstanceId", instance.id) != instance.id:
        raise RefusalError("InvalidAttachment.NotFound", f"The volume '{volume.id}' is not attached to '{params['InstanceId']}'.")
    if volume.attachment.device == instance.root_device_name and instance._state.name != "stopped":
        raise RefusalError("OperationNotPermitted", f"Unable to detach root volume '{volume.id}' from instance '{instance.id}'")


def _large_as_its_snapshot(params: Params, backend: EC2Backend) -> None:
    snapshot, size = backend.snapshots.get(params.get("SnapshotId", "")), params.get("Size")
    if snapshot and size is not None and int(size) < snapshot.volume_size:
        text = f"Volume of size {size}GB is smaller than snapshot '{snapshot.id}', expect size >= {snapshot.volume_size}GB"
        raise RefusalError("InvalidParameterValue", text)


def _size_in_range(params: Params, _: EC2Backend) -> None:
    size = params.get("Size")
    if size is not None and not 1 <= int(size) <= 16384:
        raise RefusalError("InvalidParameterValue", f"Volume size of {size} GiB is invalid. A volume has from 1 to 16384 GiB.")


def _snapshot_is_whole(params: Params, backend: EC2Backend) -> None:
    snapshot = backend.snapshots.get(params.get("SnapshotId", ""))
    if snapshot and snapshot.status != "completed":
        raise RefusalError("IncorrectState", f"Snapshot is in invalid state - {snapshot.status}")


def _image_is_whole(params: Params, backend: EC2Backend) -> None:
    image = backend.amis.get(params.get("ImageId", ""))
    if image and image.state != "available":
        raise RefusalError("InvalidAMIID.Unavailable", f"The image ID '{image.id}' is not available")


def _instance_to_copy(params: Params, backend: EC2Backend) -> None:
    instance = instance_of(params.get("InstanceId", ""), backend)
    if instance and instance._state.name not in ("running", "stopped"):
        raise RefusalError("IncorrectInstanceState", f"Instance is not in state 'running' or 'stopped': {instance._state.name}")


def _root_to_replace(params: Params, backend: EC2Backend) -> None:
    instance = instance_of(params.get("InstanceId", ""), backend)
    if instance and instance._state.name != "running":
        raise RefusalError("IncorrectInstanceState", f"The instance '{instance.id}' is not in the 'running' state.")
    if params.get("SnapshotId") and params.get("ImageId"):
        raise RefusalError("InvalidParameterCombination", "SnapshotId and ImageId cannot be specified together.")
    if instance and instance.halted:
        raise RefusalError("IncorrectState", f"A task on the root volume of '{instance.id}' is already in progress.")


_NEED_DISKS = (
    "CreateSnapshot",
    "CreateSnapshots",
    "CopySnapshot",
    "CreateImage",
    "CopyImage",
    "RegisterImage",
    "CreateReplaceRootVolumeTask",
)
_RULES: Mapping[str, tuple[Callable[[Params, EC2Backend], None], ...]] = {
    "ModifyVolume": (_size_in_range, _never_smaller, _not_too_soon),
    "AttachVolume": (_attachable,),
    "DetachVolume": (_detachable,),
    "CreateVolume": (_size_in_range, _snapshot_is_whole, _large_as_its_snapshot),
    "RunInstances": (_image_is_whole,),
    "CreateImage": (_instance_to_copy,),
    "CreateReplaceRootVolumeTask": (_snapshot_is_whole, _image_is_whole, _root_to_replace),
}
