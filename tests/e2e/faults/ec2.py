"""Faults of EC2's API and of the way to the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from tests.conftest import Checkout
from tests.e2e.faults import Fault
from tests.e2e.support.machines import instance

MINE = "slipway-slipway"


def answers(action: str, stopped: bool = False, **fault: Any) -> Callable[[Checkout], AbstractContextManager[object]]:
    """EC2 answers an action so; where `stopped`, the machine was stopped before."""

    @contextmanager
    def inject(machine: Checkout) -> Iterator[None]:
        if stopped:
            machine.ec2().stop_instances(InstanceIds=[instance(machine)])
        machine.fault(action=action, **fault)
        try:
            yield
        finally:
            machine.fault(action=action, times=0)

    return inject


def suffers(**fault: Any) -> Callable[[Checkout], AbstractContextManager[object]]:
    """The host suffers so, for as long as the fault says."""

    @contextmanager
    def inject(machine: Checkout) -> Iterator[None]:
        machine.fault(instance=instance(machine), **fault)
        yield

    return inject


@contextmanager
def slow_stop(machine: Checkout) -> Iterator[None]:
    """Somebody stops the instance, and the stop hangs for longer than the API waits."""
    which = instance(machine)
    machine.fault(instance=which, does="hang on stop", seconds=30)
    machine.ec2().stop_instances(InstanceIds=[which])
    yield


@contextmanager
def shut_port(machine: Checkout) -> Iterator[None]:
    """SSH refuses for longer than a user who has set a short time waits."""
    machine.fault(instance=instance(machine), does="refuse ssh", seconds=25)
    with machine.given({"ec2_instance_ssh_timeout": 5}):
        yield


def serves_again(machine: Checkout) -> None:
    """The same command once more finishes the job, on the same instance."""
    before = instance(machine)
    assert machine.answer("up")["instance"]["id"] == before


THROTTLED = "RequestLimitExceeded"
ROWS: list[Fault] = [
    Fault("the API throttles for a while", answers("DescribeInstances", code=THROTTLED, times=7), 0, words=("status",)),
    Fault(
        "the API fails for a while",
        answers("DescribeSecurityGroups", code="InternalError", status=500, times=7),
        0,
        words=("status",),
        long=True,
    ),
    Fault(
        "the API throttles for minutes",
        answers("DescribeInstances", code=THROTTLED, times=1000),
        4,
        (THROTTLED, "DescribeInstances"),
        ("status",),
        long=True,
    ),
    Fault(
        "EC2's clock is another one",
        answers("DescribeInstances", code="RequestExpired", times=1000, clock=3600),
        4,
        ("clock is 3", "s behind EC2's"),
        ("status",),
        long=True,
    ),
    Fault(
        "no capacity for a stopped instance",
        answers("StartInstances", stopped=True, code="InsufficientInstanceCapacity", status=500, times=1000),
        4,
        ("InsufficientInstanceCapacity", "StartInstances"),
        after=serves_again,
    ),
    Fault(
        "no permission to start",
        answers("StartInstances", stopped=True, code="UnauthorizedOperation", times=1000),
        4,
        ("UnauthorizedOperation", "StartInstances"),
        after=serves_again,
        long=True,
    ),
    Fault("a stop that hangs", slow_stop, 0, long=True),
    Fault("SSH refuses for a while", suffers(does="refuse ssh", seconds=20), 0, long=True),
    Fault("SSH says nothing for a while", suffers(does="hang on ssh", seconds=20), 0),
    Fault("SSH refuses for longer than one waits", shut_port, 4, ("port 22", MINE, "ssh_key"), after=serves_again, long=True),
    Fault("the network is cut for a while", suffers(does="cut network", seconds=20), 0, long=True),
]
