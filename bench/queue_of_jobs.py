"""`make bench`, third part: what the queue costs a job, beside the same calls in a plain loop.

Deploys examples/adult on a machine of its own in the lab, which it removes at its end. 100 times `encode_target`, over all 32,561 rows:
in a loop of one process in one worker's container, and as jobs for the project's two workers, from the first that is enqueued to the last
result. Rounds take turns; what a Python takes to start and to import is in neither.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

import yaml

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from tests.conftest import Checkout  # noqa: E402 (the project is no installed package)

ROUNDS = 5
JOBS = 100
EXAMPLE = "examples/adult"
MACHINE = "bench-queue"
BEGIN = f"""
import time
from lib import jobs

edges = [number * 32561 // {JOBS} for number in range({JOBS} + 1)]
ranges = [(first + 1, last) for first, last in zip(edges, edges[1:])]
jobs.encode_target(*ranges[0])
jobs.queue().count
started = time.perf_counter()
"""
END = """
seconds = time.perf_counter() - started
assert sum(count for result in results for count in result.values()) == 32561
print(seconds)
"""
#: By name: the container, and what runs there.
WAYS = {
    "a loop in one container": ("adult-worker-1", "results = [jobs.encode_target(*each) for each in ranges]"),
    "jobs in the queue": (
        "adult-jupyter-1",
        "results = jobs.wait([jobs.enqueue(jobs.encode_target, *each) for each in ranges], seconds=600)",
    ),
}


def seconds(machine: Checkout, way: str) -> float:
    """Run it once."""
    container, lines = WAYS[way]
    command = f"docker exec --interactive --workdir /home/jovyan/work {container} python -"
    return float(machine.on_host(command, stdin=BEGIN + lines + END, machine=MACHINE))


def measure(machine: Checkout) -> dict[str, list[float]]:
    """The seconds of each way in each round."""
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(ROUNDS + 1):
        # Each comes first as often as the other. The first round only warms up.
        for way in list(WAYS)[:: 1 if turn % 2 == 0 else -1]:
            took = seconds(machine, way)
            if turn:
                taken[way].append(took)
                print(f"{way}: {took:.2f} s", file=sys.stderr)
    return taken


def main() -> int:
    """Print the median of each, jobs per second and worker, and how much longer a worker takes for a job than the loop."""
    machine = Checkout(PROJECT)
    try:
        machine.answer("deploy", EXAMPLE, "--name", MACHINE)
        taken = measure(machine)
    finally:
        subprocess.run([sys.executable, "orchestrate.py", "destroy", MACHINE, "--yes"], cwd=PROJECT, stdout=sys.stderr, check=True)
    workers = yaml.safe_load((PROJECT / EXAMPLE / "slipway.yml").read_text())["scale"]["worker"]
    medians = {way: statistics.median(seconds) for way, seconds in taken.items()}
    loop = medians["a loop in one container"]
    print(f"{f'encode_target, {JOBS} times':<30} {'median, s':>10} {'jobs/s':>8} {'a worker':>9} {'ratio':>7}")
    for way, median in medians.items():
        hands = workers if way == "jobs in the queue" else 1
        print(f"{way:<30} {median:>10.2f} {JOBS / median:>8.1f} {JOBS / median / hands:>9.1f} {median * hands / loop:>7.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
