#!/usr/bin/python
"""The first connection to a new machine, checked by a key that was made before the machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_first_key
short_description: Have a new instance make SSH host keys of its own, and write them into a known_hosts file
description:
  - The instance was launched with a host key in its user data (C(ec2_launch)). The first connection is checked by it. Over that
    connection the host makes keys of its own, they are written into C(known_hosts), and the host takes the first key away. Nothing
    secret is sent.
  - Ended anywhere, it is run again and finishes. It is done when the first key's private half is no longer in I(state_dir).
  - Changes nothing if I(fingerprint) is not that of the first key there; then that key is another instance's, and is removed.
options:
  instance_id: {type: str, required: true, description: The instance, under whose id the keys are written.}
  name: {type: str, required: true, description: "The machine's name, in C(ssh_config)."}
  fingerprint: {type: str, default: "", description: "What the instance's tag C(slipway-first-key) says."}
  state_dir: {type: path, required: true, description: "The folder with C(first_host_key), C(ssh_config) and C(known_hosts)."}
  script: {type: path, required: true, description: What the host runs.}
  timeout: {type: int, default: 300, description: Seconds to wait until SSH answers.}
  way_in: {type: str, default: "", description: What to look at if it does not.}
"""

RETURN = r"""
keys: {type: list, returned: when changed, description: The host's own keys, each with its type.}
"""

import contextlib
import os
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ec2_first_key import WrongAnswerError, fingerprint, is_stranger, known, own_keys, plain

PAUSE_SECONDS = 1
#: Seconds that the host may take for what it does over the connection: more than its script waits, so that it can end by itself.
LONGEST = 180


class StrangerError(Exception):
    """What answers has another key, or named other ones than before."""


class NoAnswerError(Exception):
    """SSH did not answer, or broke off."""


class Exchange:
    """A machine's folder, and the connection that leads from the first key to the host's own."""

    def __init__(self, module: AnsibleModule) -> None:
        self.asked = module.params
        self.folder = Path(module.params["state_dir"])
        self.first, self.known_hosts = self.folder / "first_host_key", self.folder / "known_hosts"
        self.once = plain(self.first.with_suffix(".pub").read_text())

    def pinned(self) -> list[str]:
        """The keys that are known already: of a command that was ended after it had learned them."""
        return known(self.known_hosts.read_text().splitlines() if self.known_hosts.exists() else [], self.asked["instance_id"])

    def connect(self) -> list[str]:
        """Connect, and return the host's keys when it serves them. Raises StrangerError, NoAnswerError or WrongAnswerError."""
        with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile("w+") as said:
            trusted = Path(scratch) / "known_hosts"
            trusted.write_text("".join(f"{self.asked['instance_id']} {key}\n" for key in [self.once, *self.pinned()]))
            # ssh splits it at spaces, and reads %h and the like (ssh_config(5)).
            quoted = str(trusted).replace("%", "%%")
            trust = [f'UserKnownHostsFile="{quoted}"', "GlobalKnownHostsFile=none", "UpdateHostKeys=no"]
            options = [*trust, "BatchMode=yes", "ControlPath=none", "ControlMaster=no"]
            remote = shlex.join(["sudo", "sh", "-c", Path(self.asked["script"]).read_text(), "sh", self.once])
            command = ["ssh", "-F", str(self.folder / "ssh_config"), *(f"-o{each}" for each in options), self.asked["name"], remote]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, bufsize=0) as process:
                limit = threading.Timer(LONGEST, process.kill)
                limit.start()
                try:
                    keys = self.talk(process)
                finally:
                    limit.cancel()
                    process.kill()
            said.seek(0)
            why = said.read().strip()
        if keys:
            return keys
        if is_stranger(why):
            raise StrangerError
        raise NoAnswerError(why.splitlines()[-1] if why else "the connection broke off")

    def talk(self, process: subprocess.Popen[bytes]) -> list[str]:
        """Say over the connection that the keys are written down; return them if the host serves them, and none if it broke off."""
        given, said = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        lines = (line.decode(errors="replace") for line in iter(said.readline, b""))
        keys = self.learn(lines)
        with contextlib.suppress(BrokenPipeError):
            given.write(b"pinned\n" if keys else b"")
        return keys if "served\n" in lines else []

    def learn(self, said: Iterator[str]) -> list[str]:
        """Read the host's keys, and write them down before it is told so; none if the connection broke off."""
        if next(said, "") != "keys\n":
            return []
        lines: list[str] = []
        for line in said:
            if line == "end\n":
                break
            lines.append(line)
        else:
            return []
        keys = own_keys(lines, self.once)
        before = self.pinned()
        if before and before != keys:
            raise StrangerError
        if not before:
            self.pin(keys)
        return keys

    def pin(self, keys: list[str]) -> None:
        """Write the keys down, in one step."""
        lines = self.known_hosts.read_text().splitlines() if self.known_hosts.exists() else []
        scratch = self.known_hosts.with_name(f".known_hosts.{os.getpid()}")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.writelines(f"{line}\n" for line in [*lines, *(f"{self.asked['instance_id']} {key}" for key in keys)])
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(self.known_hosts)

    def forget(self) -> None:
        """Remove the first key: it is good for nothing any more."""
        for path in (self.first, self.first.with_suffix(".pub")):
            path.unlink(missing_ok=True)


def exchange(machine: Exchange, module: AnsibleModule) -> list[str]:
    """Connect until the host serves keys of its own, which are known then."""
    deadline = time.monotonic() + module.params["timeout"]
    while True:
        try:
            return machine.connect()
        except StrangerError:
            module.fail_json(
                msg=f"What answers at the address of {module.params['instance_id']} is not the machine that was launched: its host key is "
                "another one. Nothing was sent. Find out why before anything else.",
                exit_code=5,
            )
        except WrongAnswerError as wrong:
            module.fail_json(msg=f"The host {module.params['instance_id']} did not make keys of its own. {wrong}", exit_code=4)
        except NoAnswerError as failure:
            if time.monotonic() > deadline:
                module.fail_json(
                    msg=f"SSH does not answer after {module.params['timeout']} s ({failure}). Look at {module.params['way_in']}, and the "
                    f"console output of {module.params['instance_id']}.",
                    exit_code=4,
                )
            time.sleep(PAUSE_SECONDS)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "instance_id": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "fingerprint": {"type": "str", "default": ""},
            "state_dir": {"type": "path", "required": True},
            "script": {"type": "path", "required": True},
            "timeout": {"type": "int", "default": 300},
            "way_in": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        machine = Exchange(module)
    except FileNotFoundError:
        # Another command has just finished it.
        module.exit_json(changed=False)
    except WrongAnswerError as wrong:
        first = shlex.quote(f"{module.params['state_dir']}/first_host_key")
        module.fail_json(
            msg=f"{first}.pub: {wrong} Make it again from its other half: ssh-keygen -y -f {first} > {first}.pub",
            exit_code=4,
        )
    if fingerprint(machine.once) != module.params["fingerprint"]:
        machine.forget()
        module.exit_json(changed=False)
    keys = exchange(machine, module)
    machine.forget()
    module.exit_json(changed=True, keys=keys)


if __name__ == "__main__":
    main()
