"""The default machine's instance as EC2 knows it, and the types that tests give it."""

from __future__ import annotations

from typing import Any

from tests.conftest import Checkout

SMALL, LARGE = "t2.micro", "t2.medium"
MARKS = ("slipway-resize-", "slipway-fingerprint-", "slipway-stop-")


def instance(machine: Checkout) -> str:
    """The id of the default machine's instance."""
    known = (machine.path / ".slipway" / "lab" / "machines" / "slipway" / "known_hosts").read_text()
    return known.split()[0]


def described(machine: Checkout) -> dict[str, Any]:
    """The instance as EC2 describes it."""
    return dict(machine.ec2().describe_instances(InstanceIds=[instance(machine)])["Reservations"][0]["Instances"][0])


def kind(machine: Checkout) -> str:
    """The instance's type."""
    return str(described(machine)["InstanceType"])


def marks(machine: Checkout) -> dict[str, str]:
    """The tags that a resize, or a stop, has on its way."""
    return {tag["Key"]: tag["Value"] for tag in described(machine)["Tags"] if tag["Key"].startswith(MARKS)}


def origin(machine: Checkout) -> str:
    """The type that a resize goes from; one that was left half-way has begun there."""
    return marks(machine).get("slipway-resize-from") or kind(machine)


def other(machine: Checkout) -> str:
    """The type that it goes to."""
    return marks(machine).get("slipway-resize-to") or (LARGE if kind(machine) == SMALL else SMALL)
