"""The lab's instances: moto's, each with a host of its own, and their state, which outlives the process."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as StillRunning
from typing import Any

from moto.ec2.exceptions import EC2ClientError, InvalidKeyPairNameError
from moto.ec2.models import EC2Backend
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance, InstanceState, StateReason
from moto.ec2.models.subnets import Subnet

from lab import door, internet, metadata
from lab.hosts import Size, Spec
from lab.instance_disks import PATIENCE_SECONDS, HasDisks
from lab.state import PENDING, RUNNING, SHUTTING_DOWN, STOPPED, STOPPING, TERMINATED, everyone, save
from lab.world import World

log = logging.getLogger("lab.instances")


class LabInstance(HasDisks, Instance):
    """moto's instance, with a host of its own."""

    # As every image for Nitro types has it; moto says nothing of it.
    ena_support = True

    def __init__(self, ec2_backend: EC2Backend, image_id: str, user_data: Any, security_groups: list[Any], **kwargs: Any) -> None:
        key = kwargs.get("key_name")
        if key and key not in ec2_backend.key_pairs:
            raise InvalidKeyPairNameError([key])
        if not kwargs.get("subnet_id") and not kwargs.get("nics"):
            # As in an account with a default VPC: its subnet of the asked zone, or of the first with such a type, with a public address.
            subnets = ec2_backend.get_default_subnets()
            offers = ec2_backend.describe_instance_type_offerings("availability-zone", {"instance-type": [kwargs["instance_type"]]})
            fit = subnets.keys() & {offer["Location"] for offer in offers}
            kwargs["subnet_id"] = subnets[kwargs.get("placement") or min(fit or subnets)].id
        # As of an image that was registered for IMDSv2, in an account that lets a token travel one hop.
        kwargs["metadata_options"] = {"HttpTokens": "required"} | (kwargs.get("metadata_options") or {})
        if kwargs.get("associate_public_ip") is None:
            kwargs["associate_public_ip"] = True
        if not kwargs.get("private_ip") and kwargs.get("subnet_id"):
            kwargs["private_ip"] = _free_private_address(ec2_backend.get_subnet(kwargs["subnet_id"]))
        super().__init__(ec2_backend, image_id, user_data, security_groups, **kwargs)
        self.public_key = str(ec2_backend.key_pairs[key].public_key) if key else ""
        self._state = copy.copy(PENDING)

    def boot(self) -> None:
        """Make the host, now that the instance has its volumes."""
        root = self.block_device_mapping.get(self.root_device_name)
        self.first_snapshot = self.ec2_backend.get_volume(root.volume_id).snapshot_id if root else None
        addresses = str(self.private_ip), str(self.public_ip)
        spec = Spec(self.id, self.size, *addresses, self._door(), self.root_disk, self.sees_internet)
        self.follow_metadata()

        def make() -> None:
            World.hosts.create(spec)
            self.show_all()

        self._carry_out(PENDING, RUNNING, TERMINATED, make)

    @property
    def sees_internet(self) -> bool:
        """Whether its host sees the names of lab/internet.py; an image of it hands that on."""
        image = self.ec2_backend.amis.get(self.image_id)
        return bool(image and internet.is_seen_from(image))

    @property
    def size(self) -> Size:
        """Memory and virtual CPUs of the type, from moto's copy of DescribeInstanceTypes."""
        facts = INSTANCE_TYPES[self.instance_type]
        return Size(memory_mib=facts["MemoryInfo"]["SizeInMiB"], vcpus=facts["VCpuInfo"]["DefaultVCpus"])

    def _door(self) -> str:
        """Its security groups' rules, and what the host was told last."""
        groups = self.security_groups or [self.ec2_backend.get_default_security_group(self.vpc_id)]
        self.door = door.rules({group.id: group for group in groups}.values(), _addresses())
        return self.door

    def follow_groups(self) -> None:
        """Tell the running host what its security groups let in now, where that changed."""
        before = getattr(self, "door", None)
        if self._state.name == "running" and self._door() != before:
            World.hosts.close_door(self.id, self.door)

    def follow_metadata(self) -> None:
        """Let the instance ask for what is so now."""
        if self._state.name not in ("shutting-down", "terminated"):
            metadata.tell(World.lab, self, getattr(self, "public_key", ""))

    def start(self) -> InstanceState:
        if self._state.name != "stopped":
            return copy.copy(self._state)
        previous = super().start()
        self.follow_metadata()
        self._carry_out(PENDING, RUNNING, STOPPED, self.start_host)
        return previous

    def start_host(self) -> None:
        World.hosts.start(self.id, self.size, str(self.public_ip), self._door(), self.root_disk)
        self.show_all()

    def stop(self) -> InstanceState:
        if self._state.name != "running":
            return copy.copy(self._state)
        previous = super().stop()
        hangs = World.faults.stop_takes(self.id)

        def halt() -> None:
            time.sleep(hangs)
            World.hosts.stop(self.id)

        self._carry_out(STOPPING, STOPPED, RUNNING, halt)
        return previous

    def terminate(self) -> InstanceState:
        if self._state.name == "terminated":
            return copy.copy(self._state)
        metadata.forget(World.lab, self)
        previous = super().terminate()
        self._carry_out(SHUTTING_DOWN, TERMINATED, TERMINATED, self._end)
        return previous

    def _end(self) -> None:
        """Remove the host, and then the volumes that end with it; moto's own end takes them away while the host still has them."""
        World.hosts.remove(self.id)
        super().teardown_defaults()

    def teardown_defaults(self) -> None:
        """Nothing yet: see `_end`."""

    def reboot(self) -> None:
        World.rebooting.add(self.id)

        def again() -> None:
            try:
                World.hosts.reboot(self.id)
                self.show_all()
            finally:
                World.rebooting.discard(self.id)

        World.workers.submit(again)

    def ended_inside(self, code: int, again: bool) -> None:
        """The host has halted, or reboots (`again`), by a command inside: what EC2 makes of it. `code`: how its first process ended."""
        by_the_lab = self._state.name != "running" or self.halted or self.id in World.rebooting
        if by_the_lab or World.hosts.ended(self.id) != code:
            return
        if again:
            log.info("%s reboots by itself", self.id)
            self.reboot()
            return
        log.info("%s has shut itself down: %s", self.id, self.instance_initiated_shutdown_behavior)
        if self.instance_initiated_shutdown_behavior == "terminate":
            self.terminate()
        else:
            self.stop()
        self._reason, why = "", "Client.InstanceInitiatedShutdown"
        self.state_reason = StateReason(f"{why}: Instance initiated shutdown", why)
        save()

    def lose_power(self) -> None:
        """End the host as a power cut does."""
        World.hosts.kill(self.id)
        super().stop()
        self._state = copy.copy(STOPPED)

    def vanish(self) -> None:
        """End the host and its disk, as when another user terminates the instance: EC2 shows the new state before the host is gone."""
        metadata.forget(World.lab, self)
        super().terminate()
        self._state = copy.copy(SHUTTING_DOWN)
        self._end()
        self._state = copy.copy(TERMINATED)

    def suffer(self, seconds: float, begin: Sequence[str], end: Sequence[str]) -> None:
        """Run a command in the host as root, and another one after a while."""
        World.hosts.run(self.id, *begin)
        timer = threading.Timer(seconds, World.hosts.run, (self.id, *end))
        timer.daemon = True
        timer.start()

    def _carry_out(self, during: InstanceState, after: InstanceState, failed: InstanceState, work: Callable[[], None]) -> None:
        """Do the host's part in the background and show EC2's states on the way."""
        self._state = copy.copy(during)

        def run() -> None:
            try:
                work()
            except Exception as failure:
                log.exception("%s: %s -> %s failed", self.id, during.name, after.name)
                self._state = copy.copy(failed)
                self.state_reason = StateReason(f"Server.InternalError: {failure}", "Server.InternalError")
                raise
            else:
                self._state = copy.copy(after)
                # Groups that changed meanwhile are followed only now that it runs: on a slow computer a host takes longer than one answer.
                with _following:
                    self.follow_groups()
            finally:
                save()

        try:
            World.workers.submit(run).result(timeout=PATIENCE_SECONDS)
        except StillRunning:
            return
        except Exception as failure:
            raise EC2ClientError("InternalError", str(failure)) from failure


_following = threading.Lock()


def follow_metadata() -> None:
    """Let each instance ask for what is so now."""
    for instance in everyone():
        instance.follow_metadata()


def follow_groups() -> None:
    """Tell each running host what its security groups let in now, one request after the other: each is answered when its change stands."""
    with _following:
        for instance in everyone():
            instance.follow_groups()


def _addresses() -> dict[str, list[str]]:
    """The addresses of each security group's members, by the group's id."""
    found: dict[str, list[str]] = {}
    for instance in everyone():
        if instance._state.name != "terminated":
            for group in instance.security_groups:
                found.setdefault(group.id, []).extend(str(item) for item in (instance.private_ip, instance.public_ip) if item)
    return found


def _free_private_address(subnet: Subnet) -> str:
    """The first free address after those that AWS keeps; moto 5.2.5 hands out the gateway's."""
    return next(str(address) for address in list(subnet.cidr)[4:] if str(address) not in subnet._subnet_ips)
