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
"""

RETURN = r"""
directory: {type: str, returned: always, description: The folder's absolute path.}
engine: {type: bool, returned: always, description: Whether the engine answers this user.}
rsync: {type: bool, returned: always, description: Whether rsync is there.}
volumes: {type: list, returned: always, description: Keys of the project's volumes.}
images: {type: list, returned: always, description: Tags of the images that the host has.}
services: {type: dict, returned: always, description: State, health and memory of each service.}
"""

import http.client
import json
import os
import shutil
import socket
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule

SOCKET = "/var/run/docker.sock"
MIB = 1024 * 1024


class Engine(http.client.HTTPConnection):
    """The engine's HTTP API over its Unix socket."""

    def __init__(self) -> None:
        super().__init__("localhost", timeout=30)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)

    def ask(self, path: str, **query: Any) -> Any:
        """GET a path, of the engine's own version of the API, and return its JSON. Raises OSError on any other answer."""
        self.request("GET", f"{path}?{urllib.parse.urlencode(query)}")
        answer = self.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise OSError(f"{path}: {answer.status} {body[:200]!r}")
        return json.loads(body)


def service(container_id: str, memory: bool) -> dict[str, Any]:
    """Return the state, health and memory (MiB) of a container."""
    engine = Engine()
    facts = engine.ask(f"/containers/{container_id}/json")
    state = facts["State"]
    used = None
    if memory and state["Running"]:
        stats = engine.ask(f"/containers/{container_id}/stats", **{"stream": "false", "one-shot": "true"})["memory_stats"]
        details = stats.get("stats", {})
        # The name is cgroup v2's, then v1's.
        cache = details.get("inactive_file", details.get("total_inactive_file", 0))
        used = round((stats["usage"] - cache) / MIB, 1) if "usage" in stats else None
    return {
        "container": facts["Id"][:12],
        "state": state["Status"],
        "health": state.get("Health", {}).get("Status", "none"),
        "exit_code": state["ExitCode"],
        "restarts": facts["RestartCount"],
        "out_of_memory": state["OOMKilled"],
        "image": facts["Config"]["Image"],
        "memory_used_mib": used,
        "memory_limit_mib": facts["HostConfig"]["Memory"] // MIB,
    }


def one_off(container: dict[str, Any]) -> bool:
    """Whether it is a `docker compose run`, which is no service."""
    return bool(container["Labels"].get("com.docker.compose.oneoff") == "True")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "name": {"type": "str", "required": True},
            "directory": {"type": "str", "required": True},
            "memory": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    name = module.params["name"]
    result: dict[str, Any] = {
        "directory": os.path.join(os.path.expanduser("~"), module.params["directory"]),
        "rsync": shutil.which("rsync") is not None,
        "engine": True,
        "volumes": [],
        "images": [],
        "services": {},
    }
    project = json.dumps({"label": [f"com.docker.compose.project={name}"]})
    engine = Engine()
    try:
        volumes = engine.ask("/volumes", filters=project)["Volumes"] or []
        result["images"] = [tag for image in engine.ask("/images/json") for tag in image["RepoTags"] or []]
        containers = engine.ask("/containers/json", filters=project, all="1")
        result["volumes"] = sorted(item["Labels"]["com.docker.compose.volume"] for item in volumes)
        mine = {item["Labels"]["com.docker.compose.service"]: item["Id"] for item in containers if not one_off(item)}
        # The engine takes a second to answer for each.
        with ThreadPoolExecutor(max_workers=8) as pool:
            looks = {name: pool.submit(service, container, module.params["memory"]) for name, container in mine.items()}
        result["services"] = {name: look.result() for name, look in looks.items()}
    except (OSError, http.client.HTTPException) as silent:
        result.update(engine=False, reason=f"{SOCKET}: {silent.strerror if isinstance(silent, OSError) and silent.strerror else silent}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
