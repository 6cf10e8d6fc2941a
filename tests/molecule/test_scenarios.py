"""Every Molecule scenario, on hosts of the tests' lab."""

from __future__ import annotations

import pytest

from tests.conftest import PROJECT, Checkout

SCENARIOS = sorted(path.parent.name for path in (PROJECT / "molecule").glob("*/molecule.yml"))
#: The roles that every machine of the other tests has been through, and all roles once more with other values.
LONG = {"docker", "ec2_instance", "tunnel", "flipped-defaults"}


@pytest.mark.parametrize("scenario", [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in SCENARIOS])
def test_scenario(lab: Checkout, scenario: str) -> None:
    done = lab.run("molecule", "--base-config", ".config/molecule/config.yml", "test", "--scenario-name", scenario, timeout=1200)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-8000:]
