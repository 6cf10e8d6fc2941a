"""What the instances of this process stand on."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

from lab.config import Lab
from lab.faults import Faults
from lab.hosts import Hosts


class World:
    """What the instances of this process stand on. One a process: moto makes its models without arguments."""

    lab: Lab
    hosts: Hosts
    #: Why there are no real disks, if there are none.
    lacking: str = ""
    #: The folder of the images that it shares with other labs, if it does.
    images: Path | None = None
    workers: ClassVar = ThreadPoolExecutor(max_workers=8, thread_name_prefix="host")
    recent_addresses: ClassVar[deque[str]] = deque(maxlen=100)
    faults: ClassVar = Faults()
    #: What each client token of RunInstances asked for, and what it was answered; by token, region and zone.
    launched: ClassVar[dict[tuple[str, str, str], tuple[dict[str, str], Any]]] = {}
    #: Instances that the lab itself reboots.
    rebooting: ClassVar[set[str]] = set()
