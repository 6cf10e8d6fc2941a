#!/usr/bin/python
"""One look at a host for everything that the role docker decides on."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_look
short_description: Read a host's distribution, Docker engine, Compose plugin and their users, in one call
description: [Changes nothing. One module instead of five, because each start of Python costs a small host 0.3 s.]
options:
  users: {type: list, elements: str, default: [], description: Users whose membership in the group docker is read.}
"""

RETURN = r"""
distribution: {type: str, returned: always, description: ID of /etc/os-release (debian, ubuntu).}
codename: {type: str, returned: always, description: VERSION_CODENAME of /etc/os-release.}
architecture: {type: str, returned: always, description: As uname says.}
dpkg_architecture: {type: str, returned: always, description: As dpkg says.}
installed: {type: bool, returned: always, description: Whether there is an engine.}
half_installed: {type: bool, returned: always, description: Whether an installation was cut off, by dpkg's own account.}
stale: {type: bool, returned: always, description: Whether the engine started before its settings were last written.}
running: {type: bool, returned: always, description: Whether its service is active.}
enabled: {type: bool, returned: always, description: Whether it starts at boot.}
compose_version: {type: str, returned: always, description: Version of the plugin, empty where there is none.}
failing: {type: bool, returned: always, description: "Whether its service failed, or is between two starts that fail."}
daemon_config: {type: dict, returned: always, description: What /etc/docker/daemon.json says.}
time: {type: float, returned: always, description: "The host's clock, in seconds since 1970."}
outsiders: {type: list, returned: always, description: Users that are not in the group docker.}
"""

import grp
import json
import os
import platform
import pwd
import shutil
import time

from ansible.module_utils.basic import AnsibleModule

DAEMON_CONFIG = "/etc/docker/daemon.json"
# Written by the engine when it starts.
PID_FILE = "/var/run/docker.pid"


def main() -> None:
    """Run the module."""
    module = AnsibleModule({"users": {"type": "list", "elements": "str", "default": []}}, supports_check_mode=True)

    def first_line(*command: str) -> str:
        """What the command prints, or nothing where it fails."""
        code, output, _ = module.run_command(list(command), handle_exceptions=False)
        return output.strip() if code == 0 else ""

    with open("/etc/os-release") as stream:
        release = dict(line.rstrip().split("=", 1) for line in stream if "=" in line)
    installed = shutil.which("dockerd", path="/usr/sbin:/usr/bin:/usr/local/bin:/sbin:/bin") is not None
    states = first_line("systemctl", "show", "docker.service", "--property=ActiveState,UnitFileState") if installed else ""
    try:
        with open(DAEMON_CONFIG) as stream:
            daemon_config = json.load(stream)
        if not isinstance(daemon_config, dict):
            raise ValueError("not an object in braces")
    except FileNotFoundError:
        daemon_config = {}
    except ValueError as broken:
        module.fail_json(msg=f"{DAEMON_CONFIG} is not valid JSON ({broken}). Mend or remove it, then run the same command again.")
    module.exit_json(
        distribution=release["ID"].strip('"'),
        codename=release.get("VERSION_CODENAME", "").strip('"'),
        architecture=platform.machine(),
        dpkg_architecture=first_line("dpkg", "--print-architecture") if shutil.which("dpkg") else "",
        installed=installed,
        half_installed=bool(shutil.which("dpkg")) and first_line("dpkg", "--audit") != "",
        stale=stale(),
        running="ActiveState=active" in states,
        failing="ActiveState=failed" in states or "ActiveState=activating" in states,
        enabled="UnitFileState=enabled" in states,
        compose_version=first_line("docker", "compose", "version", "--short") if installed else "",
        daemon_config=daemon_config,
        outsiders=outsiders(module, module.params["users"]),
        time=time.time(),
    )


def stale() -> bool:
    """Whether a run was cut off between writing the settings and restarting the engine."""
    try:
        return os.stat(DAEMON_CONFIG).st_mtime > os.stat(PID_FILE).st_mtime
    except FileNotFoundError:
        return False


def outsiders(module: AnsibleModule, users: list[str]) -> list[str]:
    """Users that are not in the group docker, by the files that the next login reads."""
    known = {entry.pw_name for entry in pwd.getpwall()}
    strangers = [user for user in users if user not in known]
    if strangers:
        module.fail_json(msg=f"docker_users: {', '.join(strangers)} cannot be used. Allowed: users that the host has.", exit_code=2)
    try:
        group = grp.getgrnam("docker")
    except KeyError:
        return users
    return [user for user in users if user not in group.gr_mem and pwd.getpwnam(user).pw_gid != group.gr_gid]


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C"
    main()
