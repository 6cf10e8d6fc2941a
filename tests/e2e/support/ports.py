"""A scan of a machine's TCP ports from a neighbour in its network."""

from __future__ import annotations

import json
from typing import Any

import docker

from tests.conftest import Checkout

#: Run in a container beside the machine, with its address and ports (none: all); prints those that open. A dropped packet is waited
#: for 1 s. The kernel opens the connections meanwhile, however late a busy computer lets this program go on.
SCAN = """
import json, socket, sys, time
found, ports = [], [int(port) for port in sys.argv[2:]] or range(1, 65536)
for first in range(0, len(ports), 8000):
    tried = {number: socket.socket() for number in ports[first:first + 8000]}
    for number, connection in tried.items():
        connection.setblocking(False)
        connection.connect_ex((sys.argv[1], number))
    time.sleep(1)
    for number, connection in tried.items():
        try:
            connection.getpeername()
            found.append(number)
        except OSError:
            pass
        connection.close()
print(json.dumps(found))
"""


def open_ports(lab: Checkout, network: str, address: str, *ports: int) -> list[int]:
    """Which of the ports, or of all, a neighbour in the lab's network reaches."""
    engine = docker.from_env(timeout=600)
    base = max(image.tags[0] for image in engine.images.list("slipway-lab/base"))
    limits: dict[str, Any] = {"ulimits": [docker.types.Ulimit(name="nofile", soft=16384, hard=16384)], "mem_limit": "1g"}
    command = ["python3", "-c", SCAN, address, *map(str, ports)]
    said = engine.containers.run(
        base, command, network=f"{lab.lab.id}-{network}", labels={"slipway.lab": lab.lab.id}, remove=True, **limits
    )
    return list(json.loads(said))
