"""Faults that a resize meets, in this order: what a row leaves half-way the next row's command finishes.

Each other row leaves the machine as it should be, with everything that it held.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

from tests.conftest import Checkout
from tests.e2e.faults.docker import cannot_start, clock, stopped
from tests.e2e.faults.ec2 import THROTTLED, answers, suffers
from tests.e2e.faults.stack import COMPOSE, both, changed, given, on_host, redis, secret
from tests.e2e.support.machines import instance, origin, other

NO_CAPACITY = "InsufficientInstanceCapacity"


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
    #: Whether it is left half-way, for the next row's command.
    left: bool = False
    #: The type in the end, where it is not.
    ends: str = "{other}"
    #: Whether another row is much like it: only a run of all tests has this one too.
    long: bool = False


def meet(machine: Checkout, row: Row, whole: Callable[[str], None]) -> None:
    """Resize while the fault lasts, and check all that the row says; `whole` checks that the machine has this type and all that it held."""
    types = {"here": origin(machine), "other": other(machine)}

    def filled(*words: str) -> list[str]:
        return [word.format_map(types) for word in words]

    with row.inject(machine):
        done = machine.orchestrate("resize", *filled(*row.words))
    assert done.returncode == row.code, done.stdout + done.stderr
    printed = " ".join((done.stdout + done.stderr).split())
    assert [words for words in filled(*row.says) if words not in printed] == [], printed
    if row.left:
        refused = machine.orchestrate("up")
        assert refused.returncode == 3, refused.stderr
        assert "was left half-way" in refused.stderr
    else:
        whole(*filled(row.ends))


def nothing(_: Checkout) -> AbstractContextManager[None]:
    """No fault."""
    return nullcontext()


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


@contextmanager
def port_taken(machine: Checkout) -> Iterator[None]:
    """Another program takes the tunnel's port of this computer, as a local Jupyter does while the machine is down."""
    memory = json.loads((machine.path / ".slipway" / "lab" / "machines" / "slipway" / "tunnel.json").read_text())
    machine.run("ssh", "-F", str(machine.ssh_config()), "-S", memory["control"], "-O", "exit", "slipway")
    with socket.create_server(("127.0.0.1", memory["port"])):
        yield
    # The URL stays where it has moved to, until its port is chosen again.
    machine.answer("open", "--local-port", str(memory["port"]))


def starts(times: int) -> Callable[[Checkout], AbstractContextManager[object]]:
    """The next starts find no capacity. With EC2's status, 500, the SDK would try each again by itself, and wait."""
    return answers("StartInstances", code=NO_CAPACITY, times=times)


def at_last_lost(times: int) -> Callable[[Checkout], AbstractContextManager[object]]:
    """So many starts find no capacity, the SDK's own tries among them; the answer to the one that is carried out is lost."""

    @contextmanager
    def inject(machine: Checkout) -> Iterator[None]:
        asked = len(machine.requests())
        refused = answers("StartInstances", code=NO_CAPACITY, status=500, times=times)
        with refused(machine), answers("StartInstances", lost=True)(machine):
            yield
            tried = [
                line["error"]
                for line in machine.requests()[asked:]
                if line["action"] == "StartInstances" and line["params"].get("DryRun") != "true"
            ]
            # The one whose answer was lost was carried out, and asked for once more.
            assert tried == [NO_CAPACITY] * times + [None, None], tried

    return inject


#: How often a type is tried.
A_TYPE = 3
#: Nobody who has the right password gets in, until it starts again.
LOCKED = (
    f"{redis('config', 'set', 'requirepass', 'another')} && "
    "until [ $(docker inspect --format '{{.State.Health.Status}}' slipway-redis-1) = unhealthy ]; do sleep 1; done"
)
#: As the module of a run that was killed, which goes on for a while; one process, for a child would keep the lock.
WORKING = "nohup flock --no-fork slipway sleep 300 >/dev/null 2>&1 & echo $! >working"
#: Ends what the row before it has left half-way.
UNDONE = Row("the resize is undone", nothing, 0, ("(rolled back)",), ("--rollback",), ends="{here}")
#: Those of EC2 and of the way to the machine, on one without a stack.
BARE: list[Row] = [
    Row(
        "more virtual CPUs than the account may have",
        answers("StartInstances", code="VcpuLimitExceeded", times=1),
        4,
        ("{other}: VcpuLimitExceeded", "{here} is back"),
        ends="{here}",
        long=True,
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
        long=True,
    ),
    Row(
        "the API throttles for minutes",
        answers("ModifyInstanceAttribute", code=THROTTLED, times=1000),
        4,
        (f"{{other}}: {THROTTLED}", "{here} is back"),
        ends="{here}",
        long=True,
    ),
    Row(
        "the old type is refused too",
        starts(2 * A_TYPE),
        5,
        ("is stopped", NO_CAPACITY, "The same command again", "resize --rollback"),
        left=True,
    ),
    UNDONE,
    Row("no capacity for a while, then the answer to a start is lost", at_last_lost(6), 0, ("{here} -> {other}",)),
    Row(
        "no capacity for the new type, and another will do",
        starts(A_TYPE),
        0,
        ("{here} -> t3.small (fallback)", "{other}: InsufficientInstanceCapacity"),
        ("{other}", "--fallback", "t3.small"),
        ends="t3.small",
    ),
    Row("a stop that hangs", hanging_stop, 4, ("does not stop", "type is unchanged"), left=True, long=True),
    Row(
        "the old type is refused too, for one that was stopped before", starts(2 * A_TYPE), 5, ("resize --rollback",), left=True, long=True
    ),
    replace(UNDONE, fault="the resize of one that was stopped before is undone", long=True),
    Row("SSH refuses for a while", suffers(does="refuse ssh", seconds=20), 0, ("{here} -> {other}",), long=True),
]
#: Those that services meet, and of EC2 the one after which they are as they were.
ROWS: list[Row] = [
    Row(
        "no capacity for the new type",
        starts(A_TYPE),
        4,
        ("{other}: InsufficientInstanceCapacity", "{here} is back", "every store holds what it held"),
        ends="{here}",
    ),
    Row(
        "the engine is dead, and then SSH comes late",
        both(at_boot("ssh", "ExecStartPre=/bin/sleep 15\nTimeoutStartSec=60"), stopped("docker", "docker.socket")),
        0,
        ("{here} -> {other}",),
        long=True,
    ),
    Row("the engine cannot start", cannot_start, 4, ("did not start", "its journal", "the engine has no disk"), ends="{here}", long=True),
    Row(
        "the engine does not come with the host",
        at_boot("docker", 'ExecStart=\nExecStart=/bin/sh -c "echo the engine has no disk >&2; exit 1"'),
        4,
        ("did not start", "its journal", "the engine has no disk"),
        left=True,
        long=True,
    ),
    Row(
        "a store does not come up again",
        both(
            given(stack_wait_seconds=20),
            changed(COMPOSE / "compose.redis.yml", "command: [sh, /slipway/start.sh,", 'command: [sh, -c, "echo I only sleep; sleep 600",'),
        ),
        4,
        ("Not healthy after 20 s: redis. The other services stay up", "I only sleep"),
        left=True,
        long=True,
    ),
    replace(UNDONE, long=True),
    Row("the tunnel's port is taken", port_taken, 0, ("is taken by another program. Jupyter is now at", "{here} -> {other}"), long=True),
    Row("a clock that is wrong", clock("+1h"), 4, ("The clock of", "s ahead of this computer's"), ends="{here}", long=True),
    Row("a store's password is empty", secret(""), 3, ("mongo_password is empty or short",), ends="{here}"),
    Row(
        "the disk is too full",
        given(stack_free_disk_mib=99_999_999),
        3,
        ("MiB free, and 99999999 MiB are needed",),
        ends="{here}",
        long=True,
    ),
    Row(
        "a killed run's step still works",
        on_host(WORKING, "kill $(cat working) && rm working"),
        3,
        ("still works on", "Nothing was changed"),
        ends="{here}",
    ),
    Row(
        "a store is sick already, there is no capacity for the new type, and another will do",
        both(on_host(LOCKED), starts(A_TYPE)),
        0,
        ("{here} -> t3.small (fallback)", "{other}: InsufficientInstanceCapacity", "redis: it could not be read before"),
        ("{other}", "--fallback", "t3.small"),
        ends="t3.small",
        long=True,
    ),
]
