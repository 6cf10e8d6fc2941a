"""Where a stop and a start are interrupted: before and after every step that changes something."""

from __future__ import annotations

from collections.abc import Callable

from tests.conftest import Checkout
from tests.e2e.support.interruptions import Reached, request, task
from tests.e2e.support.resize_points import later, without_jupyter

DOWN = "Take the fingerprints, and stop the services in order"
STORES = "Start the stores that ran, and take the fingerprints again"
REST = "Start the rest of what ran"
Points = dict[str, Callable[[Checkout], Reached]]

#: By what is about to be done, or was done last. Made for each use: some keep the time.
STOP: Points = {
    "before the services go down": lambda _: task(DOWN),
    "while they go down": lambda machine: without_jupyter(machine, DOWN),
    "after the marks, before the stop": lambda _: request("CreateTags"),
    "after the stop": lambda _: request("StopInstances"),
}
START: Points = {
    "after the start": lambda _: request("StartInstances"),
    "before the new address is written": lambda _: task("Write the SSH settings"),
    "while the stores come back": lambda _: later(task(STORES), 2),
    "after the comparison": lambda _: request("DeleteTags"),
    "while the rest comes back": lambda _: later(task(REST), 1),
}
