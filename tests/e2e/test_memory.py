"""What is killed for memory is named, with what would fit; and what everything uses is shown while it runs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import shlex
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator

import pytest

from tests import kernels
from tests.conftest import Checkout
from tests.e2e.faults.stack import redis

pytestmark = pytest.mark.xdist_group("machine")

GREEDY = "work/big data é.ipynb"


def in_kernels(machine: Checkout, *codes: tuple[str, str | None, str]) -> list[str]:
    """How each kernel of the running Jupyter has answered."""
    return list(json.loads(machine.on_host(shlex.join(["docker", "exec", "slipway-jupyter-1", *kernels.words(*codes)]))))


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds
        time.sleep(1)


@pytest.fixture(scope="module")
def killed(machine: Checkout) -> Iterator[Checkout]:
    """A notebook has more than Jupyter may have; another one ends its own kernel by the same signal, and a third one works."""
    suicide = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    codes = [(GREEDY, "notebook", kernels.HOARD), ("work/other.ipynb", "notebook", suicide), ("work/good.ipynb", "notebook", "1 + 1")]
    assert in_kernels(machine, *codes) == ["restarting", "restarting", "ok"]
    until(lambda: "out of memory" in machine.on_host("docker logs slipway-jupyter-1 2>&1"))
    yield machine
    # With the containers goes what they tell.
    machine.on_host("cd slipway && docker compose up --detach --force-recreate --wait --wait-timeout 120 jupyter redis 2>&1")


def test_status_names_the_notebook_its_limit_its_peak_and_the_command(killed: Checkout) -> None:
    status = killed.answer("status")
    limit = status["services"]["jupyter"]["memory_limit_mib"]
    (death,) = status["out_of_memory"]
    assert (death["service"], death["who"], death["notebook"], death["times"]) == ("jupyter", "kernel", GREEDY, 1)
    assert death["limit_mib"] == death["peak_mib"] == limit
    assert status["services"]["jupyter"]["out_of_memory_kills"] == 1
    assert status["services"]["jupyter"]["memory_peak_mib"] == limit
    assert {facts["health"] for facts in status["services"].values()} == {"healthy"}
    assert (status["fit"]["type"], status["fit"]["commands"]) == ("t2.small", ["python orchestrate.py resize t2.small"])
    text = killed.orchestrate("status", "--name", "slipway").stdout
    assert f"Killed    the kernel of {GREEDY} (" in text
    assert f"UTC): the limit is {limit} MiB, the peak was {limit} MiB" in text
    assert "          python orchestrate.py resize t2.small --name slipway\n" in text


def test_logs_tell_it_in_jupyters_own_and_at_the_end(killed: Checkout) -> None:
    logs = killed.orchestrate("logs", "jupyter", "--tail", "200")
    assert logs.returncode == 0
    assert f"out of memory: the kernel of {GREEDY} was killed; the limit is " in logs.stdout
    assert f"Killed    the kernel of {GREEDY} (" in logs.stderr
    assert logs.stderr.rstrip().endswith("python orchestrate.py resize t2.small")
    # Nothing of it where another service is asked for.
    other = killed.orchestrate("logs", "redis", "--tail", "1")
    assert "Killed" not in other.stderr
    assert "Ready to accept connections" in other.stdout


def test_top_without_a_terminal_prints_one_table(killed: Checkout) -> None:
    shown = killed.orchestrate("top", "--interval", "1")
    assert shown.returncode == 0, shown.stderr
    assert "\033" not in shown.stdout
    names = [line.split()[0] for line in shown.stdout.splitlines()]
    assert names[2:] == ["slipway/jupyter", "slipway/mongo", "slipway/postgres", "slipway/redis", "slipway"]
    assert "out of memory" in shown.stdout.splitlines()[2]
    document = killed.answer("top", "--interval", "1")
    assert document["cpus"] == 1
    assert document["host"]["memory_limit_mib"] == 1024
    assert 0 < document["host"]["memory_used_mib"] <= 1024
    assert all(row["cpu_percent"] is not None and row["memory_used_mib"] for row in document["services"])


def test_top_at_a_terminal_goes_on_until_it_is_interrupted(killed: Checkout) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [killed.path / ".venv/bin/python", "orchestrate.py", "top", "--interval", "1"]
    process = subprocess.Popen(["setsid", "--ctty", "--wait", *command], cwd=killed.path, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown, stopped, interrupted = b"", False, False
    # Linux says by an error that nobody has the other end any more.
    with contextlib.suppress(OSError):
        while part := os.read(ours, 4096):
            shown += part
            if not interrupted and (b"mongo     exited" in shown or shown.count(b"\033[H") > 30):
                interrupted = os.write(ours, b"\x03") > 0
            elif shown.count(b"\033[H") >= 2 and not stopped:
                stopped = bool(killed.on_host("docker stop --time 1 slipway-mongo-1"))
    os.close(ours)
    killed.on_host("docker start slipway-mongo-1")
    assert process.wait(timeout=30) == 0
    assert b"mongo     exited" in shown
    assert "█".encode() in shown
    # The screen is as it was.
    assert shown.rstrip().endswith(b"\033[?1049l")


def test_a_store_that_is_killed_and_starts_again_is_named(killed: Checkout) -> None:
    """Its first process: the engine starts it again by itself."""
    killed.on_host("docker update --memory 10m --memory-swap 10m slipway-redis-1")
    killed.on_host(redis("eval", "return #string.rep('x', 30000000)", "0") + " || true")
    until(lambda: int(killed.on_host("docker inspect --format '{{.RestartCount}}' slipway-redis-1")) > 0)
    deaths = [each for each in killed.answer("status")["out_of_memory"] if each["service"] == "redis"]
    assert ("service", 10) in [(each["who"], each["limit_mib"]) for each in deaths]
