"""The lab's instances: moto's, each with a host of its own, and their state, which outlives the process."""

from __future__ import annotations

import copy
import logging
import pickle
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRunning
from typing import Any, ClassVar, cast

import moto.ec2.models.elastic_network_interfaces as moto_interfaces
import moto.ec2.models.instances as moto_instances
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.exceptions import EC2ClientError, InvalidKeyPairNameError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance, InstanceState, StateReason
from moto.ec2.models.subnets import Subnet
from moto.ec2.models.vpcs import VPC, VPCBackend

from lab import door
from lab.config import Lab, write_private
from lab.faults import Faults
from lab.hosts import Hosts, Size, Spec

log = logging.getLogger("lab.instances")

#: How long a call waits for its host before it answers with the state in between (`stopping`, …).
#: boto3's waiters look every 15 s, so an answer with the final state saves a user that long.
_PATIENCE_SECONDS = 20
_PENDING, _RUNNING = InstanceState("pending", 0), InstanceState("running", 16)
_STOPPING, _STOPPED = InstanceState("stopping", 64), InstanceState("stopped", 80)
_SHUTTING_DOWN, _TERMINATED = InstanceState("shutting-down", 32), InstanceState("terminated", 48)


class World:
    """What the instances of this process stand on. One a process: moto makes its models without arguments."""

    lab: Lab
    hosts: Hosts
    workers: ClassVar = ThreadPoolExecutor(max_workers=8, thread_name_prefix="host")
    recent_addresses: ClassVar[deque[str]] = deque(maxlen=100)
    faults: ClassVar = Faults()
    #: What each client token of RunInstances asked for, and what it was answered; by token, region and zone.
    launched: ClassVar[dict[tuple[str, str, str], tuple[dict[str, str], Any]]] = {}


class LabInstance(Instance):
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
        if kwargs.get("associate_public_ip") is None:
            kwargs["associate_public_ip"] = True
        if not kwargs.get("private_ip") and kwargs.get("subnet_id"):
            kwargs["private_ip"] = _free_private_address(ec2_backend.get_subnet(kwargs["subnet_id"]))
        super().__init__(ec2_backend, image_id, user_data, security_groups, **kwargs)
        public_key = ec2_backend.key_pairs[key].public_key if key else ""
        spec = Spec(self.id, self.size, str(self.private_ip), str(self.public_ip), public_key, self._door())
        self._carry_out(_PENDING, _RUNNING, _TERMINATED, lambda: World.hosts.create(spec))

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

    def start(self) -> InstanceState:
        if self._state.name != "stopped":
            return copy.copy(self._state)
        previous = super().start()
        self._carry_out(_PENDING, _RUNNING, _STOPPED, lambda: World.hosts.start(self.id, self.size, str(self.public_ip), self._door()))
        return previous

    def stop(self) -> InstanceState:
        if self._state.name != "running":
            return copy.copy(self._state)
        previous = super().stop()
        hangs = World.faults.stop_takes(self.id)

        def halt() -> None:
            time.sleep(hangs)
            World.hosts.stop(self.id)

        self._carry_out(_STOPPING, _STOPPED, _RUNNING, halt)
        return previous

    def terminate(self) -> InstanceState:
        if self._state.name == "terminated":
            return copy.copy(self._state)
        previous = super().terminate()
        self._carry_out(_SHUTTING_DOWN, _TERMINATED, _TERMINATED, lambda: World.hosts.remove(self.id))
        return previous

    def reboot(self) -> None:
        World.workers.submit(World.hosts.reboot, self.id)

    def lose_power(self) -> None:
        """End the host as a power cut does."""
        World.hosts.kill(self.id)
        super().stop()
        self._state = copy.copy(_STOPPED)

    def vanish(self) -> None:
        """End the host and its disk, as when another user terminates the instance: EC2 shows the new state before the host is gone."""
        super().terminate()
        self._state = copy.copy(_SHUTTING_DOWN)
        World.hosts.remove(self.id)
        self._state = copy.copy(_TERMINATED)

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
            World.workers.submit(run).result(timeout=_PATIENCE_SECONDS)
        except StillRunning:
            return
        except Exception as failure:
            raise EC2ClientError("InternalError", str(failure)) from failure


_saving = threading.Lock()
_following = threading.Lock()


def save() -> None:
    """Write the state of every region that was touched."""
    with _saving:
        while True:
            try:
                state = pickle.dumps({"regions": dict(ec2_backends[DEFAULT_ACCOUNT_ID]), "launched": World.launched})
                break
            except RuntimeError:
                log.info("the state changed while it was read; reading it again")
        write_private(World.lab.state_file, state)


def restore() -> None:
    """Read the state back and believe the hosts where the two differ (a reboot of this machine, say)."""
    if World.lab.state_file.exists():
        # Our own file, in our own 0700 folder: nobody else can put a pickle there.
        kept = pickle.loads(World.lab.state_file.read_bytes())  # noqa: S301
        for region, backend in kept["regions"].items():
            ec2_backends[DEFAULT_ACCOUNT_ID][region] = backend
        World.launched.update(kept["launched"])
    believe_hosts(moving=True)


def believe_hosts(moving: bool = False) -> None:
    """Take over what became of the hosts outside of the lab. `moving` ones too: those between two states, if no other thread moves them."""
    before = [(instance, instance._state, instance._state.name) for instance in everyone()]
    running = World.hosts.running()
    for instance, state, name in before:
        # The lab replaces a state, moto changes its name: neither happened while the hosts were looked at.
        if instance._state is not state or state.name != name:
            continue
        if name == "terminated" or (name not in ("running", "stopped") and not moving):
            continue
        if instance.id not in running:
            log.warning("%s has lost its host: terminated", instance.id)
            instance._state = copy.copy(_TERMINATED)
        elif running[instance.id]:
            instance._state = copy.copy(_RUNNING)
        elif name != "stopped":
            # moto's own stop, which takes the public address back.
            Instance.stop(instance)
            instance._state = copy.copy(_STOPPED)
    save()


def follow_groups() -> None:
    """Tell each running host what its security groups let in now, one request after the other: each is answered when its change stands."""
    with _following:
        for instance in everyone():
            instance.follow_groups()


def everyone() -> Iterator[LabInstance]:
    """Every instance of every region, those that are gone included."""
    for backend in ec2_backends[DEFAULT_ACCOUNT_ID].values():
        yield from cast(Iterable[LabInstance], backend.all_instances())


def _addresses() -> dict[str, list[str]]:
    """The addresses of each security group's members, by the group's id."""
    found: dict[str, list[str]] = {}
    for instance in everyone():
        if instance._state.name != "terminated":
            for group in instance.security_groups:
                found.setdefault(group.id, []).extend(str(item) for item in (instance.private_ip, instance.public_ip) if item)
    return found


def _new_public_address() -> str:
    """A free address of the lab's public range that no host had lately: a start always changes it."""
    used = {interface.public_ip for backend in ec2_backends[DEFAULT_ACCOUNT_ID].values() for interface in backend.enis.values()}
    free = [str(address) for address in World.lab.public_cidr if 10 <= int(address) % 256 < 250]
    choice = random.choice([address for address in free if address not in used and address not in World.recent_addresses])  # noqa: S311 (an address, no secret)
    World.recent_addresses.append(choice)
    return choice


def _free_private_address(subnet: Subnet) -> str:
    """The first free address after those that AWS keeps; moto 5.2.5 hands out the gateway's."""
    return next(str(address) for address in list(subnet.cidr)[4:] if str(address) not in subnet._subnet_ips)


def install() -> None:
    """Let moto make instances of this module's, in the lab's networks."""
    moto_instances.Instance = LabInstance  # type: ignore[misc]
    moto_interfaces.random_public_ip = _new_public_address  # type: ignore[attr-defined]
    _put_default_vpc_on_the_labs_network()
    _lend_addresses()


def _lend_addresses() -> None:
    """An address that is no Elastic IP is Amazon's; moto says the account's."""
    plain = moto_interfaces.NetworkInterface.association.fget  # type: ignore[attr-defined]

    def association(self: moto_interfaces.NetworkInterface) -> dict[str, Any]:
        found = dict(plain(self))
        if found and not found.get("associationId"):
            found["ipOwnerId"] = "amazon"
        return found

    moto_interfaces.NetworkInterface.association = property(association)  # type: ignore[assignment]


def _put_default_vpc_on_the_labs_network() -> None:
    create_vpc = VPCBackend.create_vpc

    def create(self: VPCBackend, cidr_block: str, *arguments: Any, **options: Any) -> VPC:
        cidr = str(World.lab.vpc_cidr) if options.get("is_default") else cidr_block
        return create_vpc(self, cidr, *arguments, **options)

    VPCBackend.create_vpc = create  # type: ignore[method-assign]
