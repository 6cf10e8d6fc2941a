"""The process of a lab's EC2 API: its port, its start and end, and what it is asked beside EC2's own calls."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from lab import config
from lab.config import PROJECT, Lab, LabError

_FIRST_PORT = 5180
_SECONDS = 60


def free_port(kept: Collection[int] = ()) -> int:
    """Return the first free loopback port, without those that are `kept` for other labs. Raises LabError if all are taken."""
    for port in range(_FIRST_PORT, _FIRST_PORT + 100):
        if port not in kept and _is_free(port):
            return port
    raise LabError(f"No free loopback port from {_FIRST_PORT} to {_FIRST_PORT + 99}.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def start(lab: Lab, host_image: str, kept: Collection[int] = ()) -> Lab:
    """Start the API, at another port if a program has taken the lab's; return the lab with its port. Raises LabError if none answers.

    `kept`: the ports of all labs.
    """
    stop()
    if not _is_free(lab.port):
        lab = dataclasses.replace(lab, port=free_port(kept))
        lab.save()
    with lab.log_file.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab", "serve", host_image],
            cwd=PROJECT,
            env=_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if identity(lab):
            return lab
        time.sleep(0.1)
    lines = lab.log_file.read_text(errors="replace").strip().splitlines()[-5:]
    raise LabError("\n".join([f"The lab's EC2 API does not answer at {lab.endpoint}. The end of {lab.log_file}:", *lines]))


def _environment(shell: Mapping[str, str]) -> dict[str, str]:
    """The API's: moto stands on boto3, which fails at settings of AWS that are wrong. What Python is told is for other programs."""
    kept = {name: value for name, value in shell.items() if not name.startswith(("AWS_", "BOTO_", "MOTO_", "PYTHON"))}
    return kept | {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def stop() -> None:
    """End the API of this folder, told by its command line and its folder: what was written down may be lost or old."""
    for pid in _api_processes():
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and any(_api_processes()):
        time.sleep(0.05)
    for pid in _api_processes():
        os.kill(pid, signal.SIGKILL)


def _api_processes() -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        # One that has ended meanwhile, is another user's, or was not waited for yet, has nothing to read.
        with contextlib.suppress(OSError):
            if b"\0-m\0lab\0serve\0" in (process / "cmdline").read_bytes() and (process / "cwd").samefile(PROJECT):
                found.append(int(process.name))
    return found


def identity(lab: Lab) -> dict[str, Any] | None:
    """Return what the lab's API says of itself, or None if it does not answer, or if another lab has its port."""
    return asked(lab, config.IDENTITY, 5)


def asked(lab: Lab, path: str, seconds: float = _SECONDS) -> dict[str, Any] | None:
    """Return the API's answer to a request of the lab's own, or None as `identity` does."""
    # A proxy knows nothing of this machine's loopback.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(lab.endpoint + path, timeout=seconds) as answer:
            said = dict(json.load(answer))
    except (OSError, ValueError):
        return None
    return said if said.get("lab") == lab.id else None
