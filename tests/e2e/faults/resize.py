"""Faults that a resize meets, on a machine that holds data; each row leaves it serving, with everything that it held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tests.conftest import Checkout
from tests.e2e.faults.docker import cannot_start, clock, stopped
from tests.e2e.faults.ec2 import THROTTLED, answers, instance, suffers
from tests.e2e.faults.stack import COMPOSE, both, changed, given, on_host, redis, secret

NO_CAPACITY = "InsufficientInstanceCapacity"
SMALL, LARGE = "t2.micro", "t2.medium"


@dataclass(frozen=True)
class Row:
    """Of a resize from the type `{here}` to `{other}`; both names stand for what they are in this test."""

    #: What goes wrong, in few words; the test's name.
    fault: str
    #: Makes the fault on entry and takes it back on exit.
    inject: Callable[[Checkout], AbstractContextManager[object]]
    #: The exit code: 0 done, 2 bad input, 3 refused, 4 failed, 5 needs a person.
    code: int
    #: What the command prints: each of these words.
    says: tuple[str, ...] = ()
    #: What follows `resize`.
    words: tuple[str, ...] = ("{other}",)
    #: What follows `resize` in the command that finishes the job, where it was left half-way.
    finish: tuple[str, ...] = ()
    #: The type in the end.
    ends: str = "{other}"


def kind(machine: Checkout) -> str:
    """The instance's type."""
    found = machine.ec2().describe_instances(InstanceIds=[instance(machine)])["Reservations"][0]["Instances"][0]
    return str(found["InstanceType"])


def other(machine: Checkout) -> str:
    """The type that a resize goes to from here."""
    return LARGE if kind(machine) == SMALL else SMALL


@contextmanager
def hanging_stop(machine: Checkout) -> Iterator[None]:
    """The stop takes longer than the run waits."""
    machine.fault(instance=instance(machine), does="hang on stop", seconds=40)
    with machine.given({"ec2_resize_stop_seconds": 5}):
        yield


@contextmanager
def unit(machine: Checkout, of: str, text: str) -> Iterator[None]:
    """An addition to a unit of systemd, which counts from the next boot."""
    folder = f"/etc/systemd/system/{of}.service.d"
    machine.on_host(f"sudo mkdir -p {folder} && sudo tee {folder}/fault.conf", stdin=f"[Service]\n{text}\n")
    try:
        yield
    finally:
        machine.on_host(f"sudo rm {folder}/fault.conf && sudo systemctl daemon-reload")


def at_boot(of: str, text: str) -> Callable[[Checkout], AbstractContextManager[object]]:
    """A service of the host that comes up otherwise after the resize's start."""
    return lambda machine: unit(machine, of, text)


def starts(times: int) -> Callable[[Checkout], AbstractContextManager[object]]:
    """The next starts find no capacity. With EC2's status, 500, the SDK would try each again by itself, and wait."""
    return answers("StartInstances", code=NO_CAPACITY, times=times)


#: How often a type is tried.
A_TYPE = 3
#: Nobody who has the right password gets in, until it starts again.
LOCKED = (
    f"{redis('config', 'set', 'requirepass', 'another')} && "
    "until [ $(docker inspect --format '{{.State.Health.Status}}' slipway-redis-1) = unhealthy ]; do sleep 1; done"
)
#: As the module of a run that was killed, which goes on for a while.
WORKING = "nohup flock slipway sleep 60 >/dev/null 2>&1 & echo $! >working"
ROWS: list[Row] = [
    Row("no capacity for a while", answers("StartInstances", code=NO_CAPACITY, status=500, times=6), 0, ("{here} -> {other}",)),
    Row("the answer to a start is lost", answers("StartInstances", lost=True), 0, ("{here} -> {other}",)),
    Row(
        "no capacity for the new type",
        starts(A_TYPE),
        4,
        ("{other}: InsufficientInstanceCapacity", "{here} is back", "every store holds what it held"),
        ends="{here}",
    ),
    Row(
        "no capacity for the new type, and another will do",
        starts(A_TYPE),
        0,
        ("{here} -> t3.small (fallback)", "{other}: InsufficientInstanceCapacity"),
        ("{other}", "--fallback", "t3.small"),
        ends="t3.small",
    ),
    Row(
        "more virtual CPUs than the account may have",
        answers("StartInstances", code="VcpuLimitExceeded", times=1),
        4,
        ("{other}: VcpuLimitExceeded", "{here} is back"),
        ends="{here}",
    ),
    Row(
        "the old type is refused too",
        starts(2 * A_TYPE),
        5,
        ("is stopped", NO_CAPACITY, "The same command again", "resize --rollback"),
        finish=("{other}",),
    ),
    Row(
        "the old type is refused too, and the resize is undone",
        starts(2 * A_TYPE),
        5,
        ("resize --rollback",),
        finish=("--rollback",),
        ends="{here}",
    ),
    Row(
        "no permission for a later call",
        answers("StartInstances", code="UnauthorizedOperation", times=1000),
        3,
        ("ec2:StartInstances", "Nothing was changed"),
        ends="{here}",
    ),
    Row(
        "the stop is refused after all",
        answers("StopInstances", code="UnsupportedOperation", times=1000),
        4,
        ("{other}: UnsupportedOperation", "{here} is back"),
        ends="{here}",
    ),
    Row(
        "the API throttles for minutes",
        answers("ModifyInstanceAttribute", code=THROTTLED, times=1000),
        4,
        (f"{{other}}: {THROTTLED}", "{here} is back"),
        ends="{here}",
    ),
    Row("a stop that hangs", hanging_stop, 4, ("does not stop", "type is unchanged"), finish=("{other}",)),
    Row(
        "SSH comes late",
        at_boot("ssh", "ExecStartPre=/bin/sleep 15\nTimeoutStartSec=60"),
        0,
        ("{here} -> {other}",),
    ),
    Row("SSH refuses for a while", suffers(does="refuse ssh", seconds=20), 0, ("{here} -> {other}",)),
    Row("the engine is dead", stopped("docker", "docker.socket"), 0, ("{here} -> {other}",)),
    Row("the engine cannot start", cannot_start, 4, ("did not start", "its journal", "the engine has no disk"), ends="{here}"),
    Row(
        "the engine does not come with the host",
        at_boot("docker", 'ExecStart=\nExecStart=/bin/sh -c "echo the engine has no disk >&2; exit 1"'),
        4,
        ("did not start", "its journal", "the engine has no disk"),
        finish=("{other}",),
    ),
    Row("a clock that is wrong", clock("+1h"), 4, ("The clock of", "s ahead of this computer's"), ends="{here}"),
    Row("a store's password is empty", secret(""), 3, ("mongo_password is empty or short",), ends="{here}"),
    Row("the disk is too full", given(stack_free_disk_mib=99_999_999), 3, ("MiB free, and 99999999 MiB are needed",), ends="{here}"),
    Row("a store is sick already", on_host(LOCKED), 0, ("{here} -> {other}", "redis: it could not be read before")),
    Row(
        "a killed run's step still works",
        on_host(WORKING, "kill $(cat working) && rm working"),
        3,
        ("still works on", "Nothing was changed"),
        ends="{here}",
    ),
    Row(
        "a store does not come up again",
        both(
            given(stack_wait_seconds=20),
            changed(COMPOSE / "compose.redis.yml", "command: [sh, /slipway/start.sh,", 'command: [sh, -c, "echo I only sleep; sleep 600",'),
        ),
        4,
        ("Not healthy after 20 s: redis. The other services stay up", "I only sleep"),
        finish=("{other}",),
    ),
]
