"""`make chaos`: a resize that is ended at every point with every signal. Bounded: each pair once; CHAOS=5 for every fifth.

Two at a time, each on a machine of its own in a lab of its own, which it removes.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import Signals

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from tests.conftest import copy_project  # noqa: E402 (the project is no installed package)
from tests.e2e import holdings  # noqa: E402
from tests.e2e.resize_points import POINTS, SIGNALS, interrupted  # noqa: E402

AT_A_TIME = 2


def share(folder: Path, runs: list[tuple[str, Signals]], over: threading.Event) -> int:
    """Print a line a run, and return how many finished with nothing lost."""
    machine = copy_project(folder / "slipway")
    whole = 0
    try:
        machine.answer("up")
        holdings.fill(machine)
        for point, how in runs:
            if over.is_set():
                break
            started = time.monotonic()
            try:
                outcome = f"{interrupted(machine, point, how)}, nothing lost"
                whole += 1
            except (AssertionError, OSError) as wrong:
                outcome = f"FAILED: {wrong}"
                machine.orchestrate("resize", "--rollback")
            print(f"{point:<40} {how.name:<8} {time.monotonic() - started:4.0f} s  {outcome}", flush=True)
    finally:
        machine.orchestrate("lab", "down", "--yes")
    return whole


def main() -> int:
    """Return 1 where a run has failed. Ctrl-C ends it after the two that run."""
    runs = [(point, how) for point in POINTS for how in SIGNALS][:: int(os.environ.get("CHAOS", "1"))]
    over = threading.Event()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_A_TIME) as pool:
        shares = [pool.submit(share, Path(folder) / str(part), runs[part::AT_A_TIME], over) for part in range(AT_A_TIME)]
        try:
            whole = sum(each.result() for each in shares)
        finally:
            over.set()
    print(f"{whole} of {len(runs)} runs finished with nothing lost.")
    return 0 if whole == len(runs) else 1


if __name__ == "__main__":
    sys.exit(main())
