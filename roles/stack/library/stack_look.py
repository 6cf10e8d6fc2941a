#!/usr/bin/python
"""One look at a host for everything that the role stack decides on or tells."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_look
short_description: Read a Compose project's containers, volumes and memory from the engine, in one call
description:
  - Changes nothing. Asks the engine's socket, so it needs neither the docker CLI nor a Python package on the host.
  - Memory in use is what the C(docker stats) command shows, the usage of the control group without its inactive file cache.
options:
  name: {type: str, required: true, description: The Compose project.}
  directory: {type: str, required: true, description: Folder of the stack, absolute or relative to the user's home.}
  memory: {type: bool, default: false, description: Whether to read the memory in use, which takes a second.}
  port: {type: int, description: A port of the loopback that a service of this project wants to publish.}
  ports: {type: dict, default: {}, description: 'First ports to choose from, by the name of a setting, such as JUPYTER_PORT.'}
  idle_seconds: {type: int, default: 0, description: How long to wait for a module of an interrupted run that still works on the host.}
  secrets: {type: dict, default: {}, description: Secrets by the name of their file, to compare with those in the folder.}
"""

RETURN = r"""
directory: {type: str, returned: always, description: The folder's absolute path.}
bare: {type: bool, returned: always, description: "Whether the host has no folder of a stack or a project, and no engine or no container."}
made: {type: bool, returned: always, description: Whether the folder is there.}
engine: {type: bool, returned: always, description: Whether the engine answers this user.}
busy: {type: bool, returned: always, description: Whether a module of an interrupted run still works on the host.}
rsync: {type: bool, returned: always, description: Whether rsync is there.}
volumes: {type: dict, returned: always, description: "Name, driver, options and labels of the project's volumes, by key."}
images: {type: list, returned: always, description: Tags and digests of the images that the host has.}
home: {type: bool, returned: always, description: Whether the project's Jupyter has a container whose home is in the volume for it.}
services: {type: dict, returned: always, description: "State, health, memory, published ports and certificate of each service, and
  who in it was killed for memory; I(reason), what the health check of one that is not healthy said."}
postgres_major: {type: str, returned: always, description: Major version of the project's PostgreSQL; none where it has no container.}
strangers: {type: list, returned: always, description: Other projects whose containers or volumes belong to this folder.}
others: {type: dict, returned: always, description: "Other projects here: folder, running containers, runs, MiB that they may use, and
  I(at_rest) and I(takes_part) of those that lie in C(projects)."}
at_rest: {type: bool, returned: always, description: Whether the project was brought to rest.}
takes_part: {type: bool, returned: always, description: "Whether it goes along when the machine is made larger or smaller: it has
  containers, and is not at rest."}
runs: {type: int, returned: always, description: "How many `docker compose run` of this project work just now."}
batch_runs: {type: list, returned: always, description: "The batch runs of all projects that work, or have ended and were not fetched, as
  C(stack_runs) returns them."}
chosen_ports: {type: dict, returned: always, description: "Of I(ports), those that the folder's .env has, or the first that is free."}
seeds: {type: bool, returned: always, description: Whether the folder has copies of what its PostgreSQL is made from.}
seeded: {type: str, returned: always, description: What the folder says of the files that its PostgreSQL was made from, if anything.}
paused: {type: bool, returned: always, description: "Whether a C(stop) has written down what ran here, and that was not brought back yet."}
port_taken_by: {type: str, returned: always, description: "Who else has the port: a container, or something; none where it is free."}
disks: {type: list, returned: always, description: "The filesystems of the folder and of the engine: I(folder), I(free_mib) for others
  than root, and I(size_mib)."}
mislisted: {type: list, returned: always, description: "Containers of the project that have ended and that the engine lists as running, as
  after a disk that was full: Compose would not start them."}
uids: {type: dict, returned: always, description: "The ids that the stores of this project run as; empty if it has none yet."}
owned: {type: list, returned: always, description: Stores of the project that are healthy as that user; their volumes are theirs.}
other_secrets: {type: list, returned: always, description: Those of the given secrets that the folder has with another content.}
"""

import http.client
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_beside import MIB, chosen, listens, others, rests
from ansible.module_utils.stack_engine import SOCKET, Engine, alone, of_project, one_off, reason
from ansible.module_utils.stack_health import health
from ansible.module_utils.stack_home import kept
from ansible.module_utils.stack_memory import deaths, kills_and_peak, told
from ansible.module_utils.stack_paused import folders, found
from ansible.module_utils.stack_runs import of_all
from ansible.module_utils.stack_seed_copy import FOLDER
from ansible.module_utils.stack_uids import of_stack

#: Of a service that speaks TLS: the fingerprint of its certificate.
CERTIFICATE = "slipway.certificate_sha256"
SERVICE = "com.docker.compose.service"
#: Where a secret may lie in a stack's folder: the monitor's in one of its own.
SECRETS = ("secrets", "secrets_monitor")


def service(container_id: str, memory: bool) -> dict[str, Any]:
    """Return the state, health and memory (MiB) of a container, and the PostgreSQL in its image."""
    engine = Engine()
    facts = engine.ask(f"/containers/{container_id}/json")
    state, sound = facts["State"], health(engine, facts)
    ports, labels = facts["HostConfig"]["PortBindings"], facts["Config"]["Labels"]
    # One that fails may be of another version than its volume.
    major = next((item.partition("=")[2] for item in facts["Config"]["Env"] or [] if item.startswith("PG_MAJOR=")), None)
    used, kills, peak = None, 0, None
    if state["Running"]:
        # The group is gone where the container ended in between.
        with suppress(OSError):
            kills, peak = kills_and_peak(state["Pid"])
    # Of Jupyter alone: a store has no such file.
    killed = deaths(facts, kills, peak, told(Engine(), container_id) if (labels or {}).get(SERVICE) == "jupyter" else [])
    if memory and state["Running"]:
        stats = engine.ask(f"/containers/{container_id}/stats", **{"stream": "false", "one-shot": "true"})["memory_stats"]
        details = stats.get("stats", {})
        # The name is cgroup v2's, then v1's.
        cache = details.get("inactive_file", details.get("total_inactive_file", 0))
        used = round((stats["usage"] - cache) / MIB, 1) if "usage" in stats else None
    return {
        "container": facts["Id"][:12],
        "state": state["Status"],
        "health": sound,
        "reason": None if sound == "healthy" else reason(state),
        "exit_code": state["ExitCode"],
        "restarts": facts["RestartCount"],
        # The engine's own word is of the first process only; a kernel of a notebook is another.
        "out_of_memory": bool(killed),
        "killed": killed,
        "out_of_memory_kills": max(kills, int(state["OOMKilled"])),
        "image": facts["Config"]["Image"],
        "ports": [f"{host['HostIp']}:{host['HostPort']}" for hosts in (ports or {}).values() for host in hosts or []],
        "certificate_sha256": (labels or {}).get(CERTIFICATE),
        "memory_used_mib": used,
        "memory_peak_mib": peak,
        "memory_limit_mib": facts["HostConfig"]["Memory"] // MIB,
        "user": facts["Config"]["User"],
        "postgres_major": major if state["Running"] and not facts["RestartCount"] else None,
    }


def filesystems(*folders: str) -> list[dict[str, Any]]:
    """Each filesystem that these folders, or the nearest above them that are there, lie on: its room, and what others than root may use."""
    found = {}
    for folder in folders:
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        facts = os.statvfs(folder)
        free, size = (blocks * facts.f_frsize // MIB for blocks in (facts.f_bavail, facts.f_blocks))
        found[os.stat(folder).st_dev] = {"folder": folder, "free_mib": free, "size_mib": size}
    return list(found.values())


def taken_by(port: int, name: str, containers: list[dict[str, Any]]) -> str | None:
    """Who has the port, other than this project's own containers."""
    for container in containers:
        if any(item.get("PublicPort") == port for item in container["Ports"]):
            mine = container["Labels"].get("com.docker.compose.project") == name
            return None if mine else f"the container {container['Names'][0].lstrip('/')}"
    return "a process" if listens(port) else None


def seeded(directory: str) -> str | None:
    """What was written down when PostgreSQL's volume was made."""
    with suppress(OSError):
        return Path(directory, "seeded").read_text().strip()
    return None


def strangers(name: str, directory: str, containers: list[dict[str, Any]], volumes: list[dict[str, Any]]) -> list[str]:
    """Other projects of this folder: those of its containers, and the one that its settings name, where that has volumes."""
    inside = {"com.docker.compose.project.working_dir": directory}.items()
    found = {item["Labels"]["com.docker.compose.project"] for item in containers if inside <= item["Labels"].items()}
    with suppress(OSError):
        settings = Path(directory, ".env").read_text().splitlines()
        named = {line.partition("=")[2] for line in settings if line.startswith("COMPOSE_PROJECT_NAME=")}
        found |= named & {(item["Labels"] or {}).get("com.docker.compose.project") for item in volumes}
    return sorted(found - {name})


def volume(facts: dict[str, Any]) -> dict[str, Any]:
    """What a Compose file can say of a volume."""
    own = {key: value for key, value in facts["Labels"].items() if not key.startswith("com.docker.compose.")}
    return {"name": facts["Name"], "driver": facts["Driver"], "options": facts["Options"] or {}, "labels": own}


def other(directory: str, secrets: Mapping[str, str]) -> list[str]:
    """Those of the secrets whose file in the folder says something else."""
    found = []
    for name, wanted in secrets.items():
        for place in SECRETS:
            with suppress(FileNotFoundError):
                if Path(directory, place, name).read_bytes() != wanted.encode():
                    found.append(name)
    return found


def bare(deployed: bool, has_engine: bool, containers: int | None) -> bool:
    """Whether nothing was deployed to the host; one from a baked image has an engine all the same. `containers`: None if that is silent."""
    return not deployed and (not has_engine if containers is None else containers == 0)


def look(engine: Engine, module: AnsibleModule, directory: str) -> dict[str, Any]:
    """Everything that the engine knows."""
    name = module.params["name"]
    port = module.params["port"] or chosen(directory, module.params["ports"]).get("JUPYTER_PORT")
    volumes = engine.ask("/volumes")["Volumes"] or []
    images = engine.ask("/images/json")
    containers = engine.ask("/containers/json", all="1")
    label = {"com.docker.compose.project": name}.items()
    mine = of_project(name, containers)
    # The engine takes a second to answer for each.
    with ThreadPoolExecutor(max_workers=8) as pool:
        ask = {key: pool.submit(service, item["Id"], module.params["memory"]) for key, item in mine.items()}
    services = {key: facts.result() for key, facts in ask.items()}
    majors = {key: facts.pop("postgres_major") for key, facts in services.items()}
    users = {key: facts.pop("user") for key, facts in services.items()}
    uids = of_stack(name)
    own = [item for item in volumes if label <= (item["Labels"] or {}).items()]
    return {
        "volumes": {item["Labels"]["com.docker.compose.volume"]: volume(item) for item in own},
        "images": [word for image in images for word in (image["RepoTags"] or []) + (image["RepoDigests"] or [])],
        "home": "jupyter" in mine and kept(mine["jupyter"]),
        "services": services,
        "uids": uids,
        "owned": [key for key, uid in uids.items() if users.get(key) == f"{uid}:{uid}" and services[key]["health"] == "healthy"],
        # The list is a copy, which the engine could not renew.
        "mislisted": [item["Id"][:12] for key, item in mine.items() if item["State"] == "running" and services[key]["state"] == "exited"],
        "at_rest": rests(directory, mine),
        "takes_part": bool(mine) and not rests(directory, mine),
        "postgres_major": majors.get("postgres"),
        "strangers": strangers(name, directory, containers, volumes),
        "others": others(name, containers),
        "runs": sum(one_off(item) and item["State"] == "running" for item in containers if label <= item["Labels"].items()),
        "batch_runs": of_all(containers),
        "port_taken_by": port and taken_by(port, name, containers),
        "root": engine.ask("/info")["DockerRootDir"],
        "containers": len(containers),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "name": {"type": "str", "required": True},
            "directory": {"type": "str", "required": True},
            "memory": {"type": "bool", "default": False},
            "port": {"type": "int"},
            "ports": {"type": "dict", "default": {}},
            "idle_seconds": {"type": "int", "default": 0},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    directory = os.path.join(os.path.expanduser("~"), module.params["directory"])
    result: dict[str, Any] = {
        "directory": directory,
        "rsync": shutil.which("rsync") is not None,
        "engine": True,
        "volumes": {},
        "images": [],
        "home": False,
        "services": {},
        "uids": of_stack(module.params["name"]),
        "owned": [],
        "mislisted": [],
        "at_rest": False,
        "takes_part": False,
        "postgres_major": None,
        "strangers": [],
        "others": {},
        "runs": 0,
        "batch_runs": [],
        "chosen_ports": chosen(directory, module.params["ports"]),
        "seeds": os.path.isdir(os.path.join(directory, FOLDER)),
        "seeded": seeded(directory),
        "paused": bool(found(folders(directory, Path.home()))),
        "port_taken_by": None,
        "root": "/var/lib/docker",
        "other_secrets": other(directory, module.params["secrets"]),
    }
    result["made"] = os.path.isdir(directory)
    deployed = result["made"] or os.path.isdir(os.path.expanduser("~/projects"))
    has_engine = shutil.which("dockerd", path="/usr/sbin:/usr/bin:/usr/local/bin:/sbin:/bin") is not None
    result["busy"] = False
    if result["made"]:
        with alone(directory, module.params["idle_seconds"]) as idle:
            result["busy"] = not idle
    try:
        result.update(look(Engine(), module, directory))
    except (OSError, http.client.HTTPException) as silent:
        result.update(engine=False, reason=f"{SOCKET}: {silent.strerror if isinstance(silent, OSError) and silent.strerror else silent}")
    result["bare"] = bare(deployed, has_engine, result.pop("containers") if result["engine"] else None)
    result["disks"] = filesystems(directory, result.pop("root"))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
