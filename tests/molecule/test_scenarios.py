"""Every Molecule scenario, on hosts of the tests' lab."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.conftest import PROJECT, own_lab

SCENARIOS = sorted(path.parent.name for path in (PROJECT / "molecule").glob("*/molecule.yml"))
#: The roles that every machine of the other tests has been through, and all roles once more with other values.
LONG = {"docker", "ec2_instance", "ec2_resize", "flipped-defaults", "machine_image", "project", "tunnel"}


def marks(name: str) -> list[pytest.MarkDecorator]:
    """Each has a machine of its own, and so may have a worker of its own."""
    return [pytest.mark.xdist_group(f"molecule {name}"), *[pytest.mark.long] * (name in LONG)]


@pytest.mark.parametrize("scenario", [pytest.param(name, marks=marks(name)) for name in SCENARIOS])
def test_scenario(request: pytest.FixtureRequest, tmp_path: Path, scenario: str) -> None:
    # What makes an image itself must find none of the run's.
    with own_lab(tmp_path, plain=True) if scenario == "machine_image" else contextlib.nullcontext(request.getfixturevalue("lab")) as lab:
        done = lab.run("python", "-m", "lab", "up")
        assert done.returncode == 0, done.stderr
        done = lab.run("molecule", "--base-config", ".config/molecule/config.yml", "test", "--scenario-name", scenario, timeout=1200)
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-8000:]
