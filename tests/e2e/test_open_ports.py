"""What a neighbour of the machine reaches: all of its TCP ports are tried, on both of its networks."""

from __future__ import annotations

import json
from typing import Any

import docker
import pytest

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


@pytest.mark.parametrize(("network", "address"), [("public", "public_ip"), ("vpc", "private_ip")])
def test_a_neighbour_of_the_allowed_network_reaches_ssh_and_nothing_else(machine: Checkout, network: str, address: str) -> None:
    status = machine.answer("status")
    assert {facts["health"] for facts in status["services"].values()} == {"healthy"}
    # The lab's public network is the operator's; the private one is not let in at all.
    assert open_ports(machine, network, status["instance"][address]) == ([22] if network == "public" else [])


def test_the_door_follows_the_group_at_once(machine: Checkout) -> None:
    status = machine.answer("status")
    ec2 = machine.ec2()
    group = ec2.describe_security_groups(GroupNames=["slipway-slipway"])["SecurityGroups"][0]["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 9000, "ToPort": 9000, "IpRanges": [{"CidrIp": "198.18.0.0/15"}]}
    machine.on_host("docker run --detach --name door --publish 9000:6379 $(docker images --quiet registry.lab:5000/redis)")
    try:
        assert open_ports(machine, "public", status["instance"]["public_ip"], 22, 9000) == [22]
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
        assert open_ports(machine, "public", status["instance"]["public_ip"], 22, 9000) == [22, 9000]
        ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])
        assert open_ports(machine, "public", status["instance"]["public_ip"], 22, 9000) == [22]
    finally:
        machine.on_host("docker rm --force --volumes door")
