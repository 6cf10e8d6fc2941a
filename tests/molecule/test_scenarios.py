"""Every Molecule scenario, on hosts of the tests' lab."""

from __future__ import annotations

import pytest

from tests.conftest import PROJECT, Checkout

SCENARIOS = sorted(path.parent.name for path in (PROJECT / "molecule").glob("*/molecule.yml"))
#: Which of them is the others once more, with other values.
LONG = "flipped-defaults"


@pytest.mark.parametrize("scenario", [pytest.param(name, marks=[pytest.mark.long] * (name == LONG)) for name in SCENARIOS])
def test_scenario(lab: Checkout, scenario: str) -> None:
    done = lab.run("molecule", "--base-config", ".config/molecule/config.yml", "test", "--scenario-name", scenario, timeout=1200)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-8000:]
