"""`make bench`: what commands cost with nothing to change, as ratios to one bare SSH command in the same run.

Needs a machine that is up. Rounds take turns, so that a slow moment of this computer meets all of them.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
ROUNDS = 3
ORCHESTRATE = [sys.executable, "orchestrate.py"]
MACHINE = ["ssh", "-F", ".slipway/lab/machines/slipway/ssh_config", "-o", "ControlPath=none", "slipway"]
BARE = "bare: ssh, docker compose ps"
COMMANDS = {
    BARE: [*MACHINE, "cd slipway && docker compose ps"],
    "up, nothing to change": [*ORCHESTRATE, "up"],
    "ansible-playbook site.yml": [str(Path(sys.executable).with_name("ansible-playbook")), "site.yml"],
    "status": [*ORCHESTRATE, "status"],
    "open": [*ORCHESTRATE, "open"],
}


def main() -> int:
    """Print the median of each command and its ratio to the bare one."""
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            started = time.monotonic()
            done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
            if done.returncode:
                print(f"{name} failed:\n{done.stdout}{done.stderr}\nMake a machine first: make up", file=sys.stderr)
                return 1
            taken[name].append(time.monotonic() - started)
    bare = statistics.median(taken[BARE])
    print(f"{'':<30} {'median, s':>10} {'ratio':>7}")
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        print(f"{name:<30} {median:>10.2f} {median / bare:>7.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
