"""The image that all machines share: built once, by this computer's engine, and again only if one of its files has changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.conftest import Checkout
from tests.e2e.faults import SEEN
from tests.e2e.support.interruptions import begin, kill, started, task

pytestmark = pytest.mark.xdist_group("machine")

SHOWN = f"{SEEN}; docker inspect slipway-jupyter-1 --format '{{{{.Config.Image}}}} {{{{.Image}}}} {{{{.State.Health.Status}}}}'"
FOLDER = Path("roles/stack/files/compose/jupyter")
#: A file of the image, in the checkout and in the container.
FILE = FOLDER / "slipway_memory.py"
THERE = "docker exec slipway-jupyter-1 python -c 'import slipway_memory; print(open(slipway_memory.__file__).read())'"


def shown(machine: Checkout, name: str = "slipway") -> list[str]:
    """Jupyter's image by its name and by its id, and Jupyter's health."""
    return machine.on_host(SHOWN, machine=name).split()


def tags(name: str) -> dict[str, str]:
    """What this computer's engine has built under a name that begins so: by tag, of which each machine has its own, the image's id."""
    return {tag: str(image.id) for image in docker.from_env().images.list() for tag in image.tags if tag.startswith(name)}


@pytest.fixture(scope="module")
def second(machine: Checkout) -> Iterator[list[str]]:
    """The words that name a second machine, with Jupyter alone; it is up."""
    words = ["--name", "second"]
    machine.answer("up", *words, "--services", "jupyter")
    yield words
    machine.answer("destroy", "second", "--yes")


def test_a_machine_fetches_what_this_computer_has_built(machine: Checkout) -> None:
    name, image, _ = shown(machine)
    assert image in tags(name).values()
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
    assert image in tags(name).values()
    assert "# changed" in machine.on_host(THERE)
    # The old image is still there, in case the change is taken back.
    assert machine.on_host(f"docker image inspect {before[0]} --format '{{{{.Id}}}}'").strip() == before[1]


@pytest.mark.long
def test_killed_while_it_is_built_and_then_built_for_two_machines_at_once(machine: Checkout, second: list[str], tmp_path: Path) -> None:
    before, there = shown(machine), tags("slipway/jupyter:").keys()
    # pip installs again then, which takes long enough for the other machine's command to build the image too.
    with (machine.path / FOLDER / "requirements.txt").open("a") as file:
        file.write("# changed\n")
    told = machine.orchestrate("up", "--dry-run")
    assert told.returncode == 0, told.stderr
    assert "changes would be made" in told.stdout
    assert tags("slipway/jupyter:").keys() == there
    kill(machine, begin(machine, ["up"], task("Build the image on this computer")))
    logs = [tmp_path / "first", tmp_path / "second"]
    both = [started(machine, ["up", *words], file) for words, file in zip(([], [*second, "--services", "jupyter"]), logs, strict=True)]
    assert [command.process.wait(timeout=600) for command in both] == [0, 0], [file.read_text() for file in logs]
    names = set()
    for machine_name in ("slipway", "second"):
        name, _, health = shown(machine, machine_name)
        assert health == "healthy"
        assert "# changed" in machine.on_host("docker exec slipway-jupyter-1 cat /tmp/slipway/requirements.txt", machine=machine_name)
        names.add(name)
    [name] = names
    assert name != before[0]
    # Each by a name of its own on this computer, which the other's command does not move.
    assert len(tags(name).keys() - there) == 2
