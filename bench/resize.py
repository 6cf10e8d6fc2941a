"""`make bench`, second part: how long Jupyter is away in a resize, beside a bare script that only stops, changes and starts.

Needs a machine of the lab that is up. Both are seen from the same place, the host's own loopback, so that neither pays for a tunnel; what
the user of the URL sees is told beside it. Rounds take turns.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import docker

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from tests.conftest import Checkout  # noqa: E402 (the project is no installed package)
from tests.e2e.support.machines import instance  # noqa: E402

ROUNDS = 4
SSH = ["ssh", "-F", ".slipway/lab/machines/slipway/ssh_config", "-o", "ControlPath=none", "-o", "ConnectTimeout=2"]
#: An HTTP answer of Jupyter, whatever it says.
ASK = "exec 3<>/dev/tcp/127.0.0.1/8888 && printf 'GET /api HTTP/1.0\\r\\n\\r\\n' >&3 && read -t 2 -r _ code _ <&3 && [ \"$code\" = 200 ]"


class Watch:
    """Asks again and again, and keeps when the first answer was missing and when the last gap ended."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask = ask
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.away: list[float] = []

    def _run(self) -> None:
        while not self._done.is_set():
            now = time.monotonic()
            if not self._ask():
                self.away += [now, time.monotonic()]
            time.sleep(0.2)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        return self.away[-1] - self.away[0] if self.away else 0.0


def on_the_host(machine: Checkout) -> Callable[[], bool]:
    """Ask Jupyter from inside the host."""
    name = f"{machine.lab.id}-{instance(machine)}"
    return lambda: subprocess.run(["docker", "exec", name, "bash", "-c", ASK], capture_output=True).returncode == 0


def by_url(url: str) -> Callable[[], bool]:
    """Ask Jupyter as its user does."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask() -> bool:
        try:
            opener.open(url.partition("/lab")[0] + "/api", timeout=2).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    return ask


def bare(machine: Checkout, wanted: str) -> None:
    """Stop, change, start, and let Compose wait: no check, no fingerprint, no limits for the new memory."""
    ec2, which = machine.ec2(), instance(machine)

    def state() -> str:
        return str(ec2.describe_instances(InstanceIds=[which])["Reservations"][0]["Instances"][0]["State"]["Name"])

    ec2.stop_instances(InstanceIds=[which])
    while state() != "stopped":
        time.sleep(0.2)
    ec2.modify_instance_attribute(InstanceId=which, InstanceType={"Value": wanted})
    ec2.start_instances(InstanceIds=[which])
    while state() != "running":
        time.sleep(0.2)
    address = ec2.describe_instances(InstanceIds=[which])["Reservations"][0]["Instances"][0]["PublicIpAddress"]
    command = [*SSH, "-o", f"HostName={address}", "slipway", "cd slipway && docker compose up --wait"]
    while (done := subprocess.run(command, cwd=PROJECT, capture_output=True)).returncode == 255:
        time.sleep(0.2)
    assert done.returncode == 0, done.stderr


def main() -> int:
    """Print the median of each, and the ratio."""
    machine = Checkout(PROJECT)
    status = machine.answer("up")
    taken: dict[str, list[float]] = {"bare": [], "resize": [], "resize, by its URL": []}
    here = status["instance"]["type"]
    there = "t2.medium" if here == "t2.micro" else "t2.micro"
    for turn in range(ROUNDS):
        # Each goes both ways, as often as the other.
        for who, wanted in zip(("bare", "resize")[:: 1 if turn % 2 == 0 else -1], (there, here), strict=True):
            with Watch(on_the_host(machine)) as watch, Watch(by_url(status["url"])) as user:
                if who == "bare":
                    bare(machine, wanted)
                else:
                    machine.answer("resize", wanted)
            taken[who].append(watch.seconds)
            if who == "bare":
                # The limits of the type that there is, and the tunnel.
                machine.answer("up")
            else:
                taken["resize, by its URL"].append(user.seconds)
            print(f"{who} to {wanted}: {watch.seconds:.1f} s", file=sys.stderr)
    base = statistics.median(taken["bare"])
    print(f"{'Jupyter is away':<30} {'median, s':>10} {'ratio':>7}")
    for name, seconds in taken.items():
        print(f"{name:<30} {statistics.median(seconds):>10.2f} {statistics.median(seconds) / base:>7.2f}")
    print("`resize` shall take at most 1.2 times as long as `bare`.")
    return 0


if __name__ == "__main__":
    docker.from_env().ping()
    sys.exit(main())
