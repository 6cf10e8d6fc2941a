"""`make bench`, fourth part: how long a new machine takes by `up`, from the plain image and from one that `bake` has made.

Needs the lab. Each machine has a name of its own and is removed afterwards; an image of this version is made if it is missing.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from tests.conftest import Checkout  # noqa: E402 (the project is no installed package)

ROUNDS = 3
NAME = "bench-new"


def main() -> None:
    """Take turns, and print the times and their ratio."""
    here = Checkout(PROJECT)

    def seconds(*words: str) -> float:
        began = time.monotonic()
        done = here.orchestrate(*words)
        if done.returncode:
            sys.exit(done.stderr)
        return time.monotonic() - began

    seconds("lab", "up")
    bake = seconds("bake")
    plain = max(
        (image for image in here.ec2().describe_images()["Images"] if image["Name"].startswith("slipway-lab/images/")),
        key=lambda image: str(image["CreationDate"]),
    )["ImageId"]
    took: dict[str, list[float]] = {"plain": [], "baked": []}
    for _ in range(ROUNDS):
        for kind, words in (("plain", ["--machine-image", plain]), ("baked", [])):
            took[kind].append(seconds("up", "--name", NAME, *words))
            seconds("destroy", "--name", NAME, "--yes")
    least = {kind: min(times) for kind, times in took.items()}
    print(f"bake                       {bake:6.1f} s (an image that is there is kept)")
    for kind, times in took.items():
        each = ", ".join(f"{one:.1f}" for one in times)
        print(f"new machine, {kind:<13} {least[kind]:6.1f} s  {least[kind] / least['baked']:.1f}  of {each}")


if __name__ == "__main__":
    main()
