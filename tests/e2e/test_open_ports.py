"""What a neighbour of the machine reaches: all of its TCP ports are tried, on both of its networks."""

from __future__ import annotations

import pytest

from tests.conftest import Checkout
from tests.e2e.faults import serves
from tests.e2e.support.machines import described
from tests.e2e.support.ports import open_ports

pytestmark = pytest.mark.xdist_group("machine")


@pytest.mark.parametrize(("network", "address"), [("public", "PublicIpAddress"), ("vpc", "PrivateIpAddress")])
def test_a_neighbour_of_the_allowed_network_reaches_ssh_and_nothing_else(machine: Checkout, network: str, address: str) -> None:
    serves(machine)
    # The lab's public network is the operator's; the private one is not let in at all.
    assert open_ports(machine, network, described(machine)[address]) == ([22] if network == "public" else [])


def test_the_door_follows_the_group_at_once(machine: Checkout) -> None:
    ec2, public = machine.ec2(), described(machine)["PublicIpAddress"]
    group = ec2.describe_security_groups(GroupNames=["slipway-slipway"])["SecurityGroups"][0]["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 9000, "ToPort": 9000, "IpRanges": [{"CidrIp": "198.18.0.0/15"}]}
    machine.on_host("docker run --detach --name door --publish 9000:6379 $(docker images --quiet registry.lab:5000/redis)")
    try:
        assert open_ports(machine, "public", public, 22, 9000) == [22]
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
        assert open_ports(machine, "public", public, 22, 9000) == [22, 9000]
        ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])
        assert open_ports(machine, "public", public, 22, 9000) == [22]
    finally:
        machine.on_host("docker rm --force --volumes door")
