"""Every Molecule scenario, on hosts of the tests' lab."""

from __future__ import annotations

import pytest

from tests.conftest import PROJECT, Checkout

SCENARIOS = sorted(path.parent.name for path in (PROJECT / "molecule").glob("*/molecule.yml"))
#: The roles that every machine of the other tests has been through, and all roles once more with other values.
LONG = {"docker", "ec2_instance", "ec2_resize", "flipped-defaults", "machine_image", "project", "tunnel"}


def marks(name: str) -> list[pytest.MarkDecorator]:
    """Each has a machine of its own, and so may have a worker of its own."""
    return [pytest.mark.xdist_group(f"molecule {name}"), *[pytest.mark.long] * (name in LONG)]


@pytest.mark.parametrize("scenario", [pytest.param(name, marks=marks(name)) for name in SCENARIOS])
def test_scenario(lab: Checkout, scenario: str) -> None:
    done = lab.run("molecule", "--base-config", ".config/molecule/config.yml", "test", "--scenario-name", scenario, timeout=1200)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-8000:]
