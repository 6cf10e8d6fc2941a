"""What hosts do by themselves: a halt or a reboot from inside, which EC2 makes something of."""

from __future__ import annotations

import logging
import threading
import time

import docker

from lab.config import LABEL
from lab.hosts import INSTANCE_LABEL
from lab.state import HALTED, REBOOTED, everyone
from lab.world import World

log = logging.getLogger("lab.power")


def watch(client: docker.DockerClient) -> None:
    """Follow the hosts' ends in the background, until the end of the process."""
    threading.Thread(target=_watch, args=(client,), daemon=True, name="power").start()


def _watch(client: docker.DockerClient) -> None:
    mine = {"type": "container", "event": "die", "label": f"{LABEL}={World.lab.id}"}
    since = time.time()
    while True:
        try:
            for event in client.events(since=int(since), filters=mine, decode=True):
                since = time.time()
                facts = event["Actor"]["Attributes"]
                _ended(str(facts.get(INSTANCE_LABEL)), int(facts["exitCode"]))
        except Exception:
            # The engine is being restarted, say; what it did to hosts meanwhile is `believe_hosts`' to find. Without this thread
            # no later end would be seen, so it outlives whatever an event or the connection does.
            log.exception("the engine's events broke off")
        time.sleep(1)


def _ended(instance_id: str, code: int) -> None:
    """A host's first process has ended. What the lab itself does, its stops and kills, is known by the instance's state."""
    for instance in everyone():
        if instance.id == instance_id and code in (HALTED, REBOOTED):
            again = code == REBOOTED
            threading.Thread(target=instance.ended_inside, args=(code, again), daemon=True, name=f"end of {instance_id}").start()
