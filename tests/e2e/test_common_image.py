"""The image that all machines share: built once, by this computer's engine, and again only if one of its files has changed."""

from __future__ import annotations

import docker
import pytest

from tests.conftest import Checkout

pytestmark = pytest.mark.xdist_group("machine")

SHOWN = "docker inspect slipway-jupyter-1 --format '{{.Config.Image}} {{.Image}} {{.State.Health.Status}}'"
#: A file of the image, in the checkout and in the container.
FILE = "roles/stack/files/compose/jupyter/slipway_memory.py"
THERE = "docker exec slipway-jupyter-1 python -c 'import slipway_memory; print(open(slipway_memory.__file__).read())'"


def shown(machine: Checkout) -> list[str]:
    """Jupyter's image by its name and by its id, and Jupyter's health."""
    return machine.on_host(SHOWN).split()


def test_a_machine_fetches_what_this_computer_has_built(machine: Checkout) -> None:
    name, image, _ = shown(machine)
    assert docker.from_env().images.get(name).id == image
    digests = machine.on_host(f"docker image inspect {name} --format '{{{{join .RepoDigests \" \"}}}}'").split()
    assert any(digest.startswith("registry.lab:5000/slipway/jupyter@sha256:") for digest in digests), digests


def test_a_changed_file_makes_another_image(machine: Checkout) -> None:
    before = shown(machine)
    # It stays: the tests after this one have the new image, which does the same.
    with (machine.path / FILE).open("a") as file:
        file.write("# changed\n")
    machine.answer("up")
    name, image, health = shown(machine)
    assert name != before[0]
    assert health == "healthy"
    assert docker.from_env().images.get(name).id == image
    assert "# changed" in machine.on_host(THERE)
    # The old image is still there, in case the change is taken back.
    assert machine.on_host(f"docker image inspect {before[0]} --format '{{{{.Id}}}}'").strip() == before[1]
