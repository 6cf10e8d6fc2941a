"""`make chaos`: a resize that is ended at every point with every signal. Bounded: each pair once; CHAOS=5 for every fifth.

Makes a machine of its own in a lab of its own, and removes both.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from tests.conftest import copy_project  # noqa: E402 (the project is no installed package)
from tests.e2e import holdings  # noqa: E402
from tests.e2e.resize_points import POINTS, SIGNALS, interrupted  # noqa: E402


def main() -> int:
    """Print a line a run, and return 1 where one has failed."""
    runs = [(point, how) for point in POINTS for how in SIGNALS][:: int(os.environ.get("CHAOS", "1"))]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        machine = copy_project(Path(folder) / "slipway")
        try:
            machine.answer("up")
            holdings.fill(machine)
            for number, (point, how) in enumerate(runs, 1):
                started = time.monotonic()
                try:
                    outcome = f"{interrupted(machine, point, how)}, nothing lost"
                except (AssertionError, OSError) as wrong:
                    failed += 1
                    outcome = f"FAILED: {wrong}"
                    machine.orchestrate("resize", "--rollback")
                print(f"{number:>2}/{len(runs)}  {point:<34} {how.name:<8} {time.monotonic() - started:4.0f} s  {outcome}", flush=True)
        finally:
            machine.orchestrate("lab", "down", "--yes")
    print(f"{len(runs) - failed} of {len(runs)} runs finished with nothing lost.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
