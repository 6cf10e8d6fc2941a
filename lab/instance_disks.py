"""The disks of a lab's instance: its root, further volumes in its host, and what wants them still."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as StillRunning
from contextlib import suppress
from typing import Any

from moto.ec2.models.instances import InstanceState

from lab.state import save
from lab.volumes import LabVolume, device_in_host
from lab.world import World

log = logging.getLogger("lab.instances")

#: How long a call waits for its host before it answers with the state in between (`stopping`, …).
#: boto3's waiters look every 15 s, so an answer with the final state saves a user that long.
PATIENCE_SECONDS = 20


class HasDisks:
    """What the lab's instance does with its disks; the rest of it is moto's."""

    id: str
    instance_type: str
    root_device_name: str
    block_device_mapping: Any
    ec2_backend: Any
    _state: InstanceState
    #: Starts its host, which is halted.
    start_host: Callable[[], None]
    #: Whether the host is halted while the instance counts as running: for an image of it, or another root.
    halted = False
    #: The tasks that replace its root, which EC2 lists.
    replacements: Sequence[Any] = ()
    #: The snapshot that its first root was made from.
    first_snapshot: str | None = None

    @property
    def root_disk(self) -> str | None:
        """The name of its root's real disk, if it has one."""
        block = self.block_device_mapping.get(self.root_device_name)
        volume = self.ec2_backend.volumes.get(block.volume_id) if block else None
        return volume.id if isinstance(volume, LabVolume) and volume.has_disk else None

    def plug(self, volume: Any, device_path: str) -> None:
        """Show a volume that was attached, if the host runs."""
        if self._state.name == "running":
            self._show(volume, device_path)

    def _show(self, volume: Any, device_path: str) -> None:
        if isinstance(volume, LabVolume) and volume.has_disk and volume.id != self.root_disk:
            others = [block.volume_id for _, block in list(self.block_device_mapping.items())]
            volume.attachment.node = device_in_host(self.instance_type, device_path, others.index(volume.id))  # type: ignore[union-attr]
            World.hosts.plug(self.id, volume.id, volume.attachment.node)  # type: ignore[union-attr]

    def unplug(self, volume: Any) -> bool:
        """Take a volume from the host; False if a filesystem on it is mounted there."""
        node = getattr(volume.attachment, "node", None)
        return self._state.name != "running" or node is None or World.hosts.unplug(self.id, volume.id, node)

    def show_all(self) -> None:
        for device_path, block in list(self.block_device_mapping.items()):
            self._show(self.ec2_backend.volumes.get(block.volume_id), device_path)

    def with_still_disks(self, work: Callable[[], None], failed: Callable[[], None], *, halt: bool) -> None:
        """Do something with the disks, in the background if it takes long, while the host is halted if it runs and that is wanted."""

        def run() -> None:
            self.halted = halt and self._state.name == "running"
            try:
                if self.halted:
                    World.hosts.stop(self.id)
                try:
                    work()
                finally:
                    if self.halted:
                        self.start_host()
            except Exception:
                log.exception("%s: what was to be done with its disks failed", self.id)
                failed()
            finally:
                self.halted = False
                save()

        with suppress(StillRunning):
            World.workers.submit(run).result(timeout=PATIENCE_SECONDS)
