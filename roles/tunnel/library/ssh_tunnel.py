#!/usr/bin/python
"""An SSH tunnel on the controller that outlives the run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ssh_tunnel
short_description: Keep an SSH tunnel from a loopback port of the controller to one of a machine
description:
  - The local port is chosen once and remembered in I(state_dir), so that the URL stays the same. If another program has taken it, the next
    free one is, with a warning that says so.
  - A tunnel to an address that the machine no longer has is closed and made anew.
options:
  state: {type: str, choices: [open, closed, looked], default: open, description: What to do.}
  host: {type: str, required: true, description: Name of the machine in I(ssh_config).}
  ssh_config: {type: path, required: true, description: SSH settings.}
  state_dir: {type: path, required: true, description: Folder for the remembered port.}
  beside: {type: path, description: 'Folder below which other tunnels remember theirs; default, the one that I(state_dir) lies in.'}
  page: {type: str, default: Jupyter, description: What it leads to, for people.}
  path: {type: str, default: /lab, description: Where the page is that the URL leads to.}
  remote_port: {type: int, default: 8888, description: Port on the machine's loopback.}
  local_port: {type: int, default: 8888, description: First port to try here.}
  wanted_port: {type: int, default: 0, description: 'The port that the user chose, which is remembered; 0, none.'}
  wait_seconds: {type: int, default: 120, description: How long to wait for HTTP through the tunnel.}
"""

RETURN = r"""
url: {type: str, returned: when a port was chosen, description: Where the page is on this machine.}
open: {type: bool, returned: always, description: Whether HTTP is answered through the tunnel.}
"""

import hashlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.tunnel_port import candidates, refusal, told
from ansible.module_utils.tunnel_sockets import folder

# A proxy knows nothing of this machine's loopback.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class PortTakenError(OSError):
    """Somebody else has the local port."""


def is_free(port: int) -> bool:
    """Whether no program has this port of the IPv4 loopback, which the URL names. What was closed just now (TIME_WAIT) is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def any_free() -> int:
    """A free port that the system chooses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ChoiceError(Exception):
    """The port that the user chose cannot be used; why, and the exit code."""


class Tunnel:
    """A background ssh, told through its control socket."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        #: Ports that other programs have, and that would have come before the one that was chosen.
        self.taken: list[int] = []
        self.memory = Path(params["state_dir"]) / "tunnel.json"
        name = hashlib.sha256(os.path.abspath(self.memory).encode()).hexdigest()[:12]
        self.control = Path(folder()) / f"slipway-{name}"
        self.ssh = ["ssh", "-F", params["ssh_config"], "-S", str(self.control)]
        try:
            self.remembered = json.loads(self.memory.read_text())
        except (FileNotFoundError, ValueError):
            self.remembered = {}

    @property
    def port(self) -> int | None:
        return self.remembered.get("port")

    @property
    def url(self) -> str | None:
        return f"http://127.0.0.1:{self.port}{self.params['path']}" if self.port else None

    def promised(self) -> set[int]:
        """The ports of the other tunnels: one that is closed for a while comes back to its own."""
        found = set()
        # Not Path.rglob, which ends with an error where another machine's folder is removed meanwhile.
        for place, _, files in os.walk(self.params["beside"] or self.memory.parent.parent):
            if self.memory.name in files and Path(place, self.memory.name) != self.memory:
                with suppress(OSError, ValueError):
                    found.add(json.loads(Path(place, self.memory.name).read_text()).get("port"))
        return found

    def address(self) -> str:
        """Where ssh would connect to now: address and the machine's identity."""
        shown = subprocess.run(
            ["ssh", "-G", "-F", self.params["ssh_config"], self.params["host"]], capture_output=True, text=True, check=True
        )
        wanted = ("hostname ", "hostkeyalias ", "port ")
        return " ".join(line.partition(" ")[2] for line in shown.stdout.splitlines() if line.startswith(wanted))

    def alive(self) -> bool:
        done = subprocess.run([*self.ssh, "-O", "check", self.params["host"]], capture_output=True)
        return done.returncode == 0

    def answers(self) -> bool:
        """Whether a server answers, whatever it says."""
        if not self.port:
            return False
        try:
            DIRECT.open(f"http://127.0.0.1:{self.port}/api", timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def is_open(self) -> bool:
        return self.alive() and self.remembered.get("address") == self.address() and self.remembered.get("to") == self.params["remote_port"]

    def close(self) -> None:
        subprocess.run([*self.ssh, "-O", "exit", self.params["host"]], capture_output=True)
        # One that has lost its socket would keep the port, as another program does.
        for process in self.processes():
            os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + 5
        while any(True for _ in self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.control.unlink(missing_ok=True)

    def processes(self) -> Iterator[int]:
        """Those that are this tunnel: `ssh -S CONTROL … -N`."""
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = file.read_bytes().split(b"\0")
                if os.path.basename(words[0]) == b"ssh" and b"-N" in words and os.fsencode(self.control) in words:
                    yield int(file.parent.name)

    def open(self) -> None:
        """Start ssh on the wanted port; else on the remembered one; else on the next that is free. Raises OSError if it cannot connect."""
        before, wanted = self.remembered, self.params["wanted_port"]
        if wanted and wanted != self.port:
            if not self.opened([wanted]):
                # Taken by a program that was faster. The old port comes back.
                self.remembered, self.taken = before, []
                self.open_again()
                raise ChoiceError(*refusal(wanted, (), free=False))
        else:
            self.open_again()

    def open_again(self) -> None:
        """Start ssh where it was, or as near as can be: no command ends for a port."""
        ports = candidates(self.port, self.params["local_port"], self.promised())
        if not self.opened(ports) and not self.opened([any_free()]):
            raise OSError(f"No port of this computer is free: {len(ports)} were tried from {ports[0]} on. End a program that has one.")

    def opened(self, ports: Iterable[int]) -> bool:
        """Start ssh on the first of these that is free, and remember it."""
        for port in ports:
            if is_free(port):
                self.remembered = {"port": port, "address": self.address(), "to": self.params["remote_port"], "control": str(self.control)}
                # Another program may be faster.
                with suppress(PortTakenError):
                    self.forward()
                    scratch = self.memory.with_suffix(".new")
                    scratch.write_text(json.dumps(self.remembered))
                    scratch.replace(self.memory)
                    return True
            self.taken.append(port)
        return False

    def forward(self) -> None:
        """Start ssh in the background. Raises OSError with its last line where it cannot connect."""
        self.memory.parent.mkdir(mode=0o700, exist_ok=True)
        log = self.memory.with_name("tunnel.log")
        log.unlink(missing_ok=True)
        options = ["-o", "ControlMaster=yes", "-o", "ExitOnForwardFailure=yes", "-o", "BatchMode=yes", "-E", str(log)]
        forward = ["-L", f"127.0.0.1:{self.port}:127.0.0.1:{self.params['remote_port']}"]
        # -f goes to the background once the forward stands; open pipes would keep this module waiting for it.
        nothing = subprocess.DEVNULL
        command = [*self.ssh, *options, *forward, "-f", "-N", self.params["host"]]
        done = subprocess.run(command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True, timeout=60)
        if done.returncode:
            lines = log.read_text(errors="replace").strip().splitlines() or ["no message"]
            # ExitOnForwardFailure's word.
            taken = "Could not request local forwarding" in lines[-1]
            raise (PortTakenError if taken else OSError)(f"The tunnel could not be opened: {lines[-1]}")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        {
            "state": {"type": "str", "choices": ["open", "closed", "looked"], "default": "open"},
            "host": {"type": "str", "required": True},
            "ssh_config": {"type": "path", "required": True},
            "state_dir": {"type": "path", "required": True},
            "beside": {"type": "path"},
            "page": {"type": "str", "default": "Jupyter"},
            "path": {"type": "str", "default": "/lab"},
            "remote_port": {"type": "int", "default": 8888},
            "local_port": {"type": "int", "default": 8888},
            "wanted_port": {"type": "int", "default": 0},
            "wait_seconds": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    try:
        tunnel = Tunnel(module.params)
    except OSError as failure:
        module.fail_json(msg=str(failure), exit_code=3)
    state = module.params["state"]
    there = os.path.exists(module.params["ssh_config"])
    # An ssh whose machine was rebooted under it is alive for a while, and answers nothing.
    stands = there and tunnel.is_open() and tunnel.answers()
    wanted = module.params["wanted_port"] if state == "open" else 0
    moves = wanted not in (0, tunnel.port)
    if moves and (why := refusal(wanted, tunnel.promised(), is_free(wanted) if 0 < wanted < 65536 else False)):
        module.fail_json(msg=why[0], exit_code=why[1])
    changed = there and tunnel.alive() if state == "closed" else state == "open" and (moves or not stands)
    if state == "looked" or module.check_mode or not changed:
        module.exit_json(changed=changed, url=tunnel.url, open=stands and state != "closed")
    try:
        tunnel.close()
        if state == "open":
            tunnel.open()
            wait(module, tunnel)
    except ChoiceError as refused:
        module.fail_json(msg=refused.args[0], exit_code=refused.args[1])
    except (OSError, subprocess.SubprocessError) as failure:
        # Another host key is a person's to explain; nothing was sent.
        module.fail_json(msg=str(failure), exit_code=5 if "Host key verification failed" in str(failure) else 4)
    if moved := told(tunnel.taken, str(tunnel.url), module.params["page"]):
        module.warn(moved)
    module.exit_json(changed=True, url=tunnel.url, open=state == "open")


def wait(module: AnsibleModule, tunnel: Tunnel) -> None:
    """Return when HTTP is answered through the tunnel; fail the module when it takes too long."""
    deadline = time.monotonic() + module.params["wait_seconds"]
    while not tunnel.answers():
        if time.monotonic() > deadline:
            module.fail_json(
                msg=f"The tunnel is open, but nothing answered through it within {module.params['wait_seconds']} s. "
                "Look at the services with: python orchestrate.py logs"
            )
        time.sleep(0.3)


if __name__ == "__main__":
    main()
