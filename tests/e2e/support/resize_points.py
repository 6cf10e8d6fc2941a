"""Where a resize is interrupted: before and after every step that changes something."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

import docker

from tests.conftest import Checkout
from tests.e2e.support import holdings
from tests.e2e.support.interruptions import Reached, begin, end, request, task
from tests.e2e.support.machines import instance, kind, marks, other

DOWN = "Stop what writes, take the fingerprints, and stop the stores"
UP = "Start the services, and take the fingerprints again"


def later(reached: Reached, seconds: float) -> Reached:
    """So long after it: in the middle of the step."""
    since: list[float] = []

    def passed(run: Path, calls: list[str]) -> bool:
        if not since and reached(run, calls):
            since.append(time.monotonic())
        return bool(since) and time.monotonic() - since[0] > seconds

    return passed


def without_jupyter(machine: Checkout, down: str = DOWN) -> Reached:
    """Jupyter is stopped by the task `down`, and the stores are about to be."""
    host = docker.from_env().containers.get(f"{machine.lab.id}-{instance(machine)}")
    running = ["docker", "ps", "--quiet", "--filter", "name=jupyter"]
    begun = later(task(down), 0)

    def reached(run: Path, calls: list[str]) -> bool:
        # A host that is stopped already runs nothing.
        with contextlib.suppress(docker.errors.APIError):
            return begun(run, calls) and not host.exec_run(running).output
        return True

    return reached


def unmarked(machine: Checkout) -> Reached:
    """The last mark is gone: by the second call, or by the only one where a command that was ended had compared already."""
    return lambda _, calls: "DeleteTags" in calls and not marks(machine)


#: By what is about to be done, or was done last. Made anew for each use: some keep the time.
POINTS: dict[str, Callable[[Checkout], Reached]] = {
    "before the settings are sent": lambda _: task("Send the Compose files, then the settings and secrets"),
    "before the services go down": lambda _: task(DOWN),
    "while they go down": without_jupyter,
    "after the marks, before the stop": lambda _: request("CreateTags"),
    "after the stop": lambda _: request("StopInstances"),
    "after the change of type": lambda _: request("ModifyInstanceAttribute"),
    "after the start": lambda _: request("StartInstances"),
    "before the new address is written": lambda _: task("Write the SSH settings"),
    "before the services come up": lambda _: task(UP),
    "while they come up": lambda _: later(task(UP), 3),
    "after the comparison, before the tunnel": lambda _: request("DeleteTags"),
    "after the marks were taken away": unmarked,
}
#: Of these nothing is left to compare.
COMPARED = ("after the comparison, before the tunnel", "after the marks were taken away")
STORES = ("postgres", "mongo", "redis", "notebooks")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def interrupted(machine: Checkout, point: str, how: signal.Signals) -> str:
    """Resize, end the command at the point, and let the same command finish; then nothing is lost. The second one's outcome."""
    wanted = other(machine)
    url = machine.answer("status")["url"]
    process = begin(machine, ["resize", wanted], POINTS[point](machine))
    end(machine, process, how)
    # A command that came to its end was not interrupted.
    assert process.returncode != 0
    done = machine.answer("resize", wanted)
    status = machine.answer("status")
    assert done["url"] == url
    assert (kind(machine), status["url"], status["instance"]["resize_to"]) == (wanted, url, None)
    # They were compared, by this run or by the one that was ended after it had compared.
    if done["outcome"] != "unchanged" and point not in COMPARED:
        assert {name: found["equal"] for name, found in done["fingerprints"].items()} == dict.fromkeys(STORES, True)
    assert holdings.read(machine) == holdings.WHOLE
    return f"ended with {process.returncode}, then {done['outcome']}"
