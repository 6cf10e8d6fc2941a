"""The lab's machine images: moto's, with snapshots of real disks.

CreateImage and RegisterImage are of this module: moto 5.2.5 takes the image's name alone.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from typing import Any

import moto.ec2.models.amis as moto_amis
from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import Ami
from moto.ec2.utils import random_ami_id

from lab.disks import BASE_GIB
from lab.rules import Params, RefusalError

_SETTLES_SECONDS = 0.5
_ROOT = "/dev/sda1"


class LabAmi(Ami):
    """moto's image, whose disks are snapshots.

    `disks`: of each device its `Ebs` part, as DescribeImages shows it. moto makes an image with one snapshot of 15 GiB, whatever it is of.
    """

    ready = 0.0
    _state = "available"
    #: None before a lab had real disks.
    disks: Mapping[str, Mapping[str, Any]] = {}

    def __init__(self, ec2_backend: Any, ami_id: str, **options: Any) -> None:
        source: Ami | None = options.get("source_ami")
        super().__init__(ec2_backend, ami_id, **options)
        if source is not None:
            self.root_device_name, self.root_device_type = source.root_device_name, source.root_device_type
            self._copy_disks(source)
        else:
            self.ebs_snapshot.volume_size = BASE_GIB
            self.disks = {self.root_device_name: ebs(self.ebs_snapshot.id, BASE_GIB)}

    def _copy_disks(self, source: Ami) -> None:
        """CopyImage: "the new AMI has snapshots of its own"."""
        backend = self.ec2_backend
        backend.snapshots.pop(self.ebs_snapshot.id)
        found = {}
        for device in source.block_device_mappings:
            copied = backend.copy_snapshot(
                source_snapshot_id=device["Ebs"]["SnapshotId"],
                source_region=backend.region_name,
                description=f"Copied for DestinationAmi {self.id} from SourceAmi {source.id}",
                kms_key_id=None,
            )
            copied.from_ami = self.id
            found[device["DeviceName"]] = {**device["Ebs"], "SnapshotId": copied.id}
        self.take(found)

    def take(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        """Stand on these snapshots."""
        self.disks = dict(found)
        self.ebs_snapshot = self.ec2_backend.snapshots[self.disks[self.root_device_name]["SnapshotId"]]

    @property
    def block_device_mappings(self) -> list[dict[str, Any]]:
        if not self.disks:
            return super().block_device_mappings
        return [{"DeviceName": name, "Ebs": dict(block)} for name, block in self.disks.items()]

    @property
    def state(self) -> str:
        return "pending" if self._state == "available" and time.time() < self.ready else self._state

    @state.setter
    def state(self, value: str) -> None:
        self._state = value


def ebs(snapshot: str, gib: int, kind: str = "gp3") -> dict[str, Any]:
    """The part `Ebs` of an image's block device."""
    return {"SnapshotId": snapshot, "VolumeSize": gib, "DeleteOnTermination": True, "VolumeType": kind, "Encrypted": False}


def install() -> None:
    """Let moto make images of this module's."""
    moto_amis.Ami = LabAmi  # type: ignore[misc, assignment]


def create(params: Params, backend: EC2Backend) -> str:
    """CreateImage: snapshots of all disks of an instance, which is stopped for them unless `NoReboot` is true; returns the image's id."""
    instance: Any = backend.get_instance(params.get("InstanceId", ""))
    tags = _tags(params)
    image = _made(backend, random_ami_id(), params, instance=instance)
    image.root_device_name = instance.root_device_name
    image.add_tags(tags.get("image", {}))
    # While the instance is halted, an image is shown as pending.
    image.ready = math.inf

    def snapshots() -> None:
        found = {}
        for device, block in instance.get_block_device_mapping:
            snapshot = backend.create_snapshot(block.volume_id, f"Created by CreateImage({instance.id}) for {image.id}", image.owner_id)
            snapshot.from_ami = image.id
            snapshot.add_tags(tags.get("snapshot", {}))
            volume = backend.get_volume(block.volume_id)
            found[device] = ebs(snapshot.id, volume.size, volume.volume_type or "gp3")
        image.take(found)
        image.ready = time.time() + _SETTLES_SECONDS

    def failed() -> None:
        image.state = "failed"

    instance.with_still_disks(snapshots, failed, halt=params.get("NoReboot") != "true")
    return image.id


def give_up(backend: EC2Backend) -> None:
    """End what an earlier process was making: no one makes it any more."""
    for image in backend.amis.values():
        if isinstance(image, LabAmi) and image.ready == math.inf:
            image.ready, image.state = 0.0, "failed"


def register(params: Params, backend: EC2Backend) -> str:
    """RegisterImage from a snapshot of a root disk; returns the image's id."""
    mappings = _mappings(params)
    root = params.get("RootDeviceName", _ROOT)
    if root not in mappings or "SnapshotId" not in mappings[root]:
        raise RefusalError("InvalidBlockDeviceMapping", f"A snapshot for the root device {root} has to be named.")
    found = {}
    for device, wanted in mappings.items():
        snapshot = backend.get_snapshot(wanted["SnapshotId"])
        size = int(wanted.get("VolumeSize", snapshot.volume_size))
        _large_enough(size, snapshot)
        found[device] = ebs(snapshot.id, size, wanted.get("VolumeType", "standard"))
    image = _made(backend, random_ami_id(), params, root_device_name=root)
    for block in found.values():
        backend.get_snapshot(block["SnapshotId"]).from_ami = image.id
    image.take(found)
    image.architecture = params.get("Architecture", "i386")
    image.virtualization_type = params.get("VirtualizationType", "paravirtual")
    image.add_tags(_tags(params).get("image", {}))
    return image.id


def _made(backend: EC2Backend, ami_id: str, params: Params, **options: Any) -> LabAmi:
    name = params.get("Name", "")
    if not name:
        raise RefusalError("MissingParameter", "The request must contain the parameter name")
    twin = next((ami for ami in backend.amis.values() if ami.name == name and ami.owner_id == backend.account_id), None)
    if twin is not None:
        raise RefusalError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {twin.id}")
    image = LabAmi(backend, ami_id, name=name, description=params.get("Description", ""), root_device_type="ebs", **options)
    backend.snapshots.pop(image.ebs_snapshot.id)
    image.ready = time.time() + _SETTLES_SECONDS
    backend.amis[ami_id] = image
    return image


def whole_mapping(backend: EC2Backend, image_id: str, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The block devices of a new instance: the image's, with what the request says of them, and the request's own."""
    image = backend.amis.get(image_id)
    devices = {each["DeviceName"]: each for each in asked}
    if not isinstance(image, LabAmi):
        return asked
    found = []
    for name, block in image.disks.items():
        wanted = devices.pop(name, {})
        if wanted.get("NoDevice") == "" and name != image.root_device_name:
            continue
        given = {key: value for key, value in wanted.get("Ebs", {}).items() if value is not None}
        found.append({"DeviceName": name, "Ebs": {**block, **given}})
    return [*found, *(each for each in devices.values() if each.get("NoDevice") != "")]


def _large_enough(size: int, snapshot: Any) -> None:
    if size < snapshot.volume_size:
        least = snapshot.volume_size
        text = f"Volume of size {size}GB is smaller than snapshot '{snapshot.id}', expect size >= {least}GB"
        raise RefusalError("InvalidBlockDeviceMapping", text)


def _tags(params: Params) -> dict[str, dict[str, str]]:
    """TagSpecification.N.Tag.M of a request, by the kind of what is tagged."""
    found: dict[str, dict[str, str]] = {}
    for key, kind in params.items():
        if spec := re.fullmatch(r"(TagSpecification\.\d+)\.ResourceType", key):
            if kind not in ("image", "snapshot"):
                raise RefusalError("InvalidParameterValue", f"'{kind}' is not a valid taggable resource type for this operation.")
            for name, value in params.items():
                if tag := re.fullmatch(re.escape(spec[1]) + r"\.Tag\.(\d+)\.Key", name):
                    found.setdefault(kind, {})[value] = params.get(f"{spec[1]}.Tag.{tag[1]}.Value", "")
    return found


def _mappings(params: Params) -> dict[str, dict[str, str]]:
    """BlockDeviceMapping.N.Ebs of a request, by the device's name."""
    found: dict[str, dict[str, str]] = {}
    for key, device in params.items():
        if number := re.fullmatch(r"(BlockDeviceMapping\.\d+)\.DeviceName", key):
            start = f"{number[1]}.Ebs."
            found[device] = {name.removeprefix(start): value for name, value in params.items() if name.startswith(start)}
    return found
