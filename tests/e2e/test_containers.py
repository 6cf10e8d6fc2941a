"""What docs/security.md says of the containers and the engine, read from the running machine."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.conftest import Checkout

pytestmark = pytest.mark.xdist_group("machine")

SERVICES = ["jupyter", "mongo", "postgres", "redis"]
#: Folders of the stack on the machine that a container may see, and how.
MOUNTS = {
    "/home/ubuntu/slipway/work": True,
    "/home/ubuntu/slipway/secrets": False,
    "/home/ubuntu/slipway/mongo": False,
    "/home/ubuntu/slipway/redis": False,
    "/home/ubuntu/slipway/secrets/redis_password": False,
    "/home/ubuntu/slipway/secrets/mongo_password": False,
    "/home/ubuntu/slipway/postgres": False,
    "/home/ubuntu/slipway/postgres/init": False,
    "/home/ubuntu/slipway/secrets/postgres_password": False,
}


@pytest.fixture(scope="module")
def inspected(machine: Checkout) -> dict[str, dict[str, Any]]:
    """`docker inspect` of each container, by its service."""
    all_of_them = json.loads(machine.on_host("docker inspect $(docker ps --all --quiet)"))
    return {item["Config"]["Labels"]["com.docker.compose.service"]: item for item in all_of_them}


@pytest.fixture(scope="module")
def info(machine: Checkout) -> dict[str, Any]:
    return dict(json.loads(machine.on_host("docker info --format '{{json .}}'")))


def test_there_is_no_other_container(inspected: dict[str, dict[str, Any]]) -> None:
    assert sorted(inspected) == SERVICES


@pytest.mark.parametrize("service", SERVICES)
def test_no_container_has_privileges(inspected: dict[str, dict[str, Any]], service: str) -> None:
    host = inspected[service]["HostConfig"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["Privileged"] is False
    assert host["Devices"] in (None, [])
    assert {host[mode] for mode in ("PidMode", "UTSMode", "UsernsMode", "CgroupParent")} == {""}
    assert host["IpcMode"] == "private"


@pytest.mark.parametrize("service", SERVICES)
def test_every_container_has_limits_a_health_check_and_rotated_logs(inspected: dict[str, dict[str, Any]], service: str) -> None:
    host = inspected[service]["HostConfig"]
    assert 0 < host["PidsLimit"] <= 2048
    assert host["Memory"] > 0
    # Equal: no swap on top.
    assert host["MemorySwap"] == host["Memory"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert inspected[service]["Config"]["Healthcheck"]["Test"]
    assert host["LogConfig"]["Type"] == "json-file"
    assert {"max-size", "max-file"} <= set(host["LogConfig"]["Config"])


@pytest.mark.parametrize("service", SERVICES)
def test_no_container_mounts_more_of_the_host_than_it_needs(inspected: dict[str, dict[str, Any]], service: str) -> None:
    binds = {item["Source"]: item["RW"] for item in inspected[service]["Mounts"] if item["Type"] == "bind"}
    assert binds.items() <= MOUNTS.items()
    assert {item["Type"] for item in inspected[service]["Mounts"]} <= {"bind", "volume"}
    assert {item["Propagation"] for item in inspected[service]["Mounts"]} <= {"", "rprivate"}


@pytest.mark.parametrize("service", SERVICES)
def test_jupyter_alone_is_published_and_on_the_loopback_only(inspected: dict[str, dict[str, Any]], service: str) -> None:
    assert list(inspected[service]["NetworkSettings"]["Networks"]) == ["slipway_default"]
    published = {port: [item["HostIp"] for item in to] for port, to in inspected[service]["HostConfig"]["PortBindings"].items()}
    assert published == ({"8888/tcp": ["127.0.0.1"]} if service == "jupyter" else {})


def test_each_server_runs_as_a_user_of_its_own(machine: Checkout) -> None:
    """From the first process on, no process is root or another store's user. To that user alone belongs what its volume holds."""
    first = int(re.search(r"^slipway ([0-9]+)$", machine.on_host("cat /etc/slipway/uids"), re.MULTILINE)[1])  # type: ignore[index]
    users = {"jupyter": 1000, "redis": first + 1, "mongo": first + 2, "postgres": first + 3}
    for service, user in users.items():
        said = machine.on_host(f"docker top slipway-{service}-1 -eo pid,uid").splitlines()[1:]
        assert {line.split()[1] for line in said} == {str(user)}, service
    for volume, service in (("redis_data", "redis"), ("mongo_data", "mongo"), ("mongo_config", "mongo"), ("postgres_data", "postgres")):
        found = machine.on_host(f"sudo find /var/lib/docker/volumes/slipway_{volume}/_data -printf '%U:%G\\n' | sort -u").split()
        assert found == [f"{users[service]}:{users[service]}"], volume
    assert machine.on_host("stat --format '%a %U' /etc/slipway /etc/slipway/uids").split() == ["755", "root", "644", "root"]


def test_no_process_stays_defunct(machine: Checkout) -> None:
    for service in SERVICES:
        said = machine.on_host(f"docker top slipway-{service}-1 -eo pid,stat,comm").splitlines()[1:]
        assert said
        assert [line for line in said if line.split()[1].startswith("Z")] == [], service


def test_no_server_has_a_capability(machine: Checkout) -> None:
    for service in SERVICES:
        said = machine.on_host(f"docker exec slipway-{service}-1 cat /proc/1/status")
        fields = dict(line.split(":", 1) for line in said.splitlines())
        assert {int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}, service
        assert fields["NoNewPrivs"].strip() == "1"


def test_the_engine_listens_on_no_tcp_port(machine: Checkout, info: dict[str, Any]) -> None:
    listening = machine.on_host("sudo ss --listening --tcp --numeric --processes --no-header").splitlines()
    assert listening
    assert [line for line in listening if '"dockerd"' in line] == []
    # Debian's containerd serves its own streams on the loopback.
    assert [line for line in listening if '"containerd"' in line and "127.0.0.1:" not in line] == []
    assert machine.on_host("stat --format '%a %U %G' /var/run/docker.sock").split() == ["660", "root", "docker"]
    assert info["Swarm"]["LocalNodeState"] == "inactive"


def test_the_engine_is_set_up_as_told(machine: Checkout, info: dict[str, Any]) -> None:
    assert info["Driver"] == "overlay2"
    assert info["ExperimentalBuild"] is False
    assert info["LoggingDriver"] == "json-file"
    assert any(option.startswith("name=seccomp") for option in info["SecurityOptions"])
    assert [name for name, facts in info["RegistryConfig"]["IndexConfigs"].items() if not facts["Secure"]] == []
    assert machine.on_host("stat --format '%a %U %G' /etc/docker/daemon.json").split()[1:] == ["root", "root"]
