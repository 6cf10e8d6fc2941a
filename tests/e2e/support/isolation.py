"""What a notebook and a store could reach beside their own, tried on a machine with two projects."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from tests.conftest import Checkout
from tests.e2e.support.projects import python

#: Run in a container, as its user: what of these files it can read or write by any way that names a file, of which processes it sees the
#: users, and which of these addresses let it in. It prints JSON.
TRY = r"""
import glob, json, os, socket, sys

asked = json.loads({asked!r})
ways = ["", *glob.glob("/proc/[0-9]*/root"), *glob.glob("/proc/[0-9]*/cwd"), "/proc/self/fd/9", "/home/jovyan/work/data"]
try:
    # A folder that was open before: /proc/self/fd/9/../../.. is what lies above it.
    os.dup2(os.open("/home/jovyan/work", os.O_RDONLY), 9)
    ways.append("/proc/self/fd/9/../../../../../..")
except OSError:
    pass
found = {{"uid": os.getuid(), "users": [], "read": [], "written": [], "open": []}}
for way in ways:
    for path in asked["files"]:
        full = way + path
        try:
            with open(full, "rb") as file:
                file.read(1)
            found["read"].append(full)
        except OSError:
            pass
        try:
            os.close(os.open(full, os.O_WRONLY | os.O_NONBLOCK))
            found["written"].append(full)
        except OSError:
            pass
found["users"] = sorted({{os.stat(each).st_uid for each in glob.glob("/proc/[0-9]*")}})
for host, port in asked["addresses"]:
    try:
        socket.create_connection((host, port), timeout=1).close()
        found["open"].append([host, port])
    except OSError:
        pass
print(json.dumps(found))
"""
#: The same of files and processes alone, where there is no Python: as PostgreSQL's user by COPY PROGRAM, or as another store's.
TRY_IN_SHELL = r"""
for way in "" /proc/[0-9]*/root /proc/[0-9]*/cwd /proc/self/fd/0/../../.. /data /project; do
  for path in {files}; do
    [ ! -r "$way$path" ] || echo "read $way$path"
    [ ! -w "$way$path" ] || echo "written $way$path"
  done
done
for each in /proc/[0-9]*; do echo "user $(stat -c %u $each 2> /dev/null)"; done | sort -u
"""


@dataclass(frozen=True)
class Other:
    """What a project must not reach: files by their path on the host, ports, and processes by their number there."""

    files: list[str]
    addresses: list[tuple[str, int]]
    processes: list[int]


PORTS = {"redis": 6379, "mongo": 27017, "postgres": 5432, "jupyter": 8888}


def other(here: Checkout, project: str) -> Other:
    """What there is of a project, with a file in its work/ and one of the host's own."""
    # In runs/, which no sync touches.
    files = [
        str(PurePosixPath("/home/ubuntu/projects", project, "work", "runs", "mine.txt")),
        "/root/mine.txt",
        "/etc/shadow",
        "/var/run/docker.sock",
        "/home/ubuntu/.ssh/authorized_keys",
    ]
    here.on_host(f"mkdir -p {files[0].removesuffix('/mine.txt')}")
    here.on_host(f"echo secret | tee {files[0]} | sudo tee {files[1]} > /dev/null && chmod 600 {files[0]}")
    files += here.on_host(f"ls -d ~/projects/{project}/secrets/*").split()
    files += here.on_host(f"sudo sh -c 'find /var/lib/docker/volumes/{project}_*_data/_data -type f -size +0 | head -n 20'").split()
    inspected = _inspected(here, project)
    addresses = [
        (network["IPAddress"], PORTS[each["Config"]["Labels"]["com.docker.compose.service"]])
        for each in inspected
        for network in each["NetworkSettings"]["Networks"].values()
    ]
    gateways = {network["Gateway"] for each in inspected for network in each["NetworkSettings"]["Networks"].values()}
    published = [int(to["HostPort"]) for each in inspected for host in each["HostConfig"]["PortBindings"].values() for to in host]
    return Other(files, addresses + [(each, port) for each in gateways for port in published], [each["State"]["Pid"] for each in inspected])


def closed(here: Checkout, project: str, beyond: Other) -> None:
    """From a project's notebook, and as the user of each of its stores, nothing beyond it is open."""
    asked = json.dumps({"files": beyond.files, "addresses": beyond.addresses})
    found = json.loads(python(here, project, TRY.format(asked=asked)))
    assert found == {"uid": 1000, "users": [1000], "read": [], "written": [], "open": []}
    for each in _inspected(here, project):
        service, user = each["Config"]["Labels"]["com.docker.compose.service"], each["Config"]["User"].partition(":")[0]
        if service == "jupyter":
            continue
        script = TRY_IN_SHELL.format(files=shlex.join(each for each in beyond.files if each != "/etc/shadow"))
        said = here.on_host(f"docker exec --interactive {each['Id']} sh -s", stdin=script)
        assert said.split("\n") == [f"user {user}", ""], service
        # As if it had got out of its container: to its user nothing of the host is open that is another one's.
        tried = [
            "id -u",
            *(f"head -c 1 {path} >&2 && echo {path}\ntrue >> {path} && echo {path}" for path in map(shlex.quote, beyond.files)),
        ]
        tried += [f"ls -d /proc/{number}/root/* >&2 && echo {number}\nkill -0 {number} && echo {number}" for number in beyond.processes]
        outside = f"sudo setpriv --reuid={user} --regid={user} --clear-groups sh -s 2> /dev/null"
        assert here.on_host(outside, stdin="\n".join([*tried, "exit 0"])) == f"{user}\n", service


def users(here: Checkout, project: str) -> set[str]:
    """The ids as which a project's stores run, from their first process on."""
    return {
        line.split()[1]
        for each in _inspected(here, project)
        if each["Config"]["Labels"]["com.docker.compose.service"] != "jupyter"
        for line in here.on_host(f"docker top {each['Id']} -eo pid,uid").splitlines()[1:]
    }


def _inspected(here: Checkout, project: str) -> list[dict[str, Any]]:
    return list(json.loads(here.on_host(f"docker inspect $(docker ps --quiet --filter label=com.docker.compose.project={project})")))
