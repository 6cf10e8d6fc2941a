"""The lab's volumes and snapshots: moto's, each with a real disk, and EC2's states on the way.

Without real disks (lab/disks.py says when) they are what moto records.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import moto.ec2.models.amis as moto_amis
import moto.ec2.models.elastic_block_store as moto_ebs
from moto.ec2.models import EC2Backend
from moto.ec2.models.elastic_block_store import Snapshot, Volume, VolumeAttachment, VolumeModification
from moto.ec2.models.instance_types import INSTANCE_TYPES

from lab.disks import Disks

#: How long EC2's states in between show. The work itself takes milliseconds, and is done when a request is answered.
_SETTLES_SECONDS = 0.5
#: How long a disk that has grown is `optimizing`. EC2 takes minutes to hours; it can be used all the while, and there as here.
_OPTIMIZING_SECONDS = 2.0
#: How long a volume that was to be detached is waited for while its host has it mounted.
_BUSY_SECONDS = 600
#: The images that the lab has from its start.
_CATALOGUE = {ami["ami_id"] for ami in moto_amis.AMIS}


class Stock:
    """The disks of this process's lab. One a process: moto makes its models without arguments."""

    disks: Disks | None = None
    base: Path | None = None


class LabVolume(Volume):
    """moto's volume, with a disk."""

    #: When its state `creating` ends; of a volume that an earlier lab has made, long ago.
    ready = 0.0

    def __init__(self, ec2_backend: Any, volume_id: str, size: int, zone: Any, snapshot_id: str | None = None, **options: Any) -> None:
        super().__init__(ec2_backend, volume_id, size, zone, snapshot_id, **options)
        self.size = int(size)
        self.ready = time.time() + _SETTLES_SECONDS
        if Stock.disks is None:
            return
        snapshot = ec2_backend.snapshots.get(snapshot_id)
        source = snapshot.source if isinstance(snapshot, LabSnapshot) else None
        if source is not None:
            Stock.disks.copy(source, self.id, self.size)
        else:
            Stock.disks.blank(self.id, self.size)

    @property
    def status(self) -> str:
        if self.attachment:
            return "in-use"
        return "creating" if time.time() < self.ready else "available"

    @property
    def has_disk(self) -> bool:
        return Stock.disks is not None and Stock.disks.file(self.id).exists()

    def modify(self, target_size: int | None = None, *words: Any, **options: Any) -> None:
        size = int(target_size) if target_size else None
        super().modify(size, *words, **options)
        if size and Stock.disks and self.has_disk:
            Stock.disks.grow(self.id, size)


class LabModification(VolumeModification):
    """A change of a volume: the new size can be used from `optimizing` on."""

    def __init__(self, volume: Volume, **options: Any) -> None:
        super().__init__(volume, **options)
        self.began = time.time()

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return time.time() - self.began

    @property
    def modification_state(self) -> str:
        if self.age < _SETTLES_SECONDS:
            return "modifying"
        return "optimizing" if self.age < _SETTLES_SECONDS + _OPTIMIZING_SECONDS else "completed"

    @property
    def progress(self) -> int:
        return min(100, int(100 * self.age / (_SETTLES_SECONDS + _OPTIMIZING_SECONDS)))


class LabSnapshot(Snapshot):
    """moto's snapshot, with a copy of the disk as it was when the request was answered."""

    ready = 0.0
    _status = "completed"
    _size = 0

    def __init__(self, ec2_backend: Any, snapshot_id: str, volume: Any, description: str, **options: Any) -> None:
        super().__init__(ec2_backend, snapshot_id, volume, description, **options)
        self.ready = time.time() + _SETTLES_SECONDS
        # The volume may grow, or go.
        self._size = int(volume.size)
        # An image that moto makes begins with a snapshot of nothing.
        if Stock.disks and isinstance(volume, LabVolume) and volume.has_disk and not self.from_ami:
            Stock.disks.copy(Stock.disks.file(volume.id), self.id, self._size)

    @property
    def source(self) -> Path | None:
        """The file with its blocks, if there is one: of an image that the lab has from its start, the disk that hosts begin with."""
        if Stock.disks is None:
            return None
        if self.from_ami in _CATALOGUE:
            return Stock.base
        file = Stock.disks.file(self.id)
        return file if file.exists() else None

    @property
    def status(self) -> str:
        return "pending" if self._status == "completed" and time.time() < self.ready else self._status

    @status.setter
    def status(self, value: str) -> None:
        self._status = value

    @property
    def progress(self) -> str:
        return "100%" if self.status == "completed" else "0%"

    @property
    def volume_size(self) -> int:
        return self._size or int(self.volume.size)

    @volume_size.setter
    def volume_size(self, value: int) -> None:
        self._size = value


def install(stock: Disks | None, base: Path | None) -> None:
    """Let moto make volumes and snapshots of this module's, with these disks; None: recorded only."""
    Stock.disks, Stock.base = stock, base
    moto_ebs.Volume = LabVolume  # type: ignore[misc, assignment]
    moto_ebs.VolumeModification = LabModification  # type: ignore[misc, assignment]
    moto_ebs.Snapshot = LabSnapshot  # type: ignore[misc, assignment]
    _wrap("delete_volume", _delete_volume)
    _wrap("delete_snapshot", _delete_snapshot)
    _wrap("copy_snapshot", _copy_snapshot)
    _wrap("attach_volume", _attach_volume)
    _wrap("detach_volume", _detach_volume)


def _wrap(name: str, around: Callable[..., Any]) -> None:
    plain = getattr(EC2Backend, name)

    def wrapped(self: EC2Backend, *words: Any, **options: Any) -> Any:
        return around(self, plain, *words, **options)

    setattr(EC2Backend, name, wrapped)


def _delete_volume(backend: EC2Backend, plain: Callable[..., Any], volume_id: str) -> Volume:
    volume: Volume = plain(backend, volume_id)
    if Stock.disks:
        Stock.disks.remove(volume.id)
    return volume


def _delete_snapshot(backend: EC2Backend, plain: Callable[..., Any], snapshot_id: str) -> Snapshot:
    snapshot: Snapshot = plain(backend, snapshot_id)
    if Stock.disks:
        Stock.disks.remove(snapshot.id)
    return snapshot


def _copy_snapshot(backend: EC2Backend, plain: Callable[..., Any], source_snapshot_id: str, source_region: str, **options: Any) -> Snapshot:
    """moto's copy is of the volume as it is now, if there still is one."""
    snapshot: LabSnapshot = plain(backend, source_snapshot_id=source_snapshot_id, source_region=source_region, **options)
    source = backend.get_snapshot(source_snapshot_id)
    snapshot.volume_size = source.volume_size
    if Stock.disks and isinstance(source, LabSnapshot) and source.source:
        Stock.disks.copy(source.source, snapshot.id, source.volume_size)
    return snapshot


def _attach_volume(
    backend: EC2Backend, plain: Callable[..., Any], volume_id: str, instance_id: str, device_path: str, *words: Any, **options: Any
) -> VolumeAttachment:
    attachment: VolumeAttachment = plain(backend, volume_id, instance_id, device_path, *words, **options)
    attachment.instance.plug(attachment.volume, device_path)
    return attachment


def _detach_volume(backend: EC2Backend, plain: Callable[..., Any], volume_id: str, instance_id: str, device_path: str) -> VolumeAttachment:
    volume = backend.get_volume(volume_id)
    attachment = volume.attachment
    if attachment is None:
        return plain(backend, volume_id, instance_id, device_path)  # type: ignore[no-any-return]

    def gone() -> bool:
        """Take it from the host; False while a filesystem on it is mounted there."""
        if not attachment.instance.unplug(volume):
            return False
        # The request need not name the instance.
        plain(backend, volume.id, attachment.instance.id, attachment.device)
        return True

    def wait() -> None:
        deadline = time.monotonic() + _BUSY_SECONDS
        while volume.attachment is attachment and time.monotonic() < deadline and not gone():
            time.sleep(1)

    if not gone():
        attachment.status = "busy"
        threading.Thread(target=wait, daemon=True).start()
    return attachment


def device_in_host(instance_type: str, device_path: str, position: int) -> str:
    """The name by which a host knows a further volume ("Device names for volumes on Amazon EC2 instances"): by its place on Nitro
    types, by the asked name's last letter on Xen's."""
    if INSTANCE_TYPES[instance_type].get("Hypervisor") == "nitro":
        return f"/dev/nvme{position}n1"
    return "/dev/xvd" + device_path.rpartition("/")[2].removeprefix("sd").removeprefix("xvd")
