"""EC2's state, which outlives the process, and what became of the hosts meanwhile."""

from __future__ import annotations

import copy
import logging
import pickle
import signal
import threading
from collections.abc import Iterator
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance, InstanceState

from lab import machine_images, root_volumes
from lab.config import write_private
from lab.world import World

log = logging.getLogger("lab.state")

PENDING, RUNNING = InstanceState("pending", 0), InstanceState("running", 16)
STOPPING, STOPPED = InstanceState("stopping", 64), InstanceState("stopped", 80)
SHUTTING_DOWN, TERMINATED = InstanceState("shutting-down", 32), InstanceState("terminated", 48)
#: How a host's first process ends by a halt and by a reboot: the kernel's signal to that of a PID namespace (reboot(2)), as exit code.
HALTED, REBOOTED = 128 + signal.SIGINT, 128 + signal.SIGHUP
_saving = threading.Lock()


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
            machine_images.give_up(backend)
            root_volumes.give_up(backend)
        World.launched.update(kept["launched"])
    believe_hosts(moving=True)


def believe_hosts(moving: bool = False) -> None:
    """Take over what became of the hosts outside of the lab. `moving` ones too: those between two states, if no other thread moves them."""
    before = [(instance, instance._state, instance._state.name) for instance in everyone()]
    rebooting = set(World.rebooting)
    running = World.hosts.running()
    for instance, state, name in before:
        # The lab replaces a state, moto changes its name: neither happened while the hosts were looked at.
        if instance._state is not state or state.name != name:
            continue
        if name == "terminated" or (name not in ("running", "stopped") and not moving):
            continue
        if (instance.halted or instance.id in rebooting) and not moving:
            continue
        # A halt for an image, say, ends as one from inside does.
        by_the_lab, instance.halted = instance.halted or name != "running", False
        if instance.id not in running:
            log.warning("%s has lost its host: terminated", instance.id)
            instance._state = copy.copy(TERMINATED)
        elif running[instance.id]:
            instance._state = copy.copy(RUNNING)
        elif name != "stopped" and (code := World.hosts.ended(instance.id)) == REBOOTED:
            instance._state = copy.copy(RUNNING)
            instance.reboot()
        elif name != "stopped" and code == HALTED and not by_the_lab:
            instance.ended_inside(HALTED, again=False)
        elif name != "stopped":
            # moto's own stop, which takes the public address back.
            Instance.stop(instance)
            instance._state = copy.copy(STOPPED)
            World.hosts.unmount(instance.id)
    save()


def everyone() -> Iterator[Any]:
    """Every instance of every region, those that are gone included."""
    for backend in ec2_backends[DEFAULT_ACCOUNT_ID].values():
        yield from backend.all_instances()
