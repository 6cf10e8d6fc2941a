"""The lab's registry, as the engine of this computer sees it."""

from __future__ import annotations

import io
from collections import Counter

import docker
import pytest

from lab.images import STAND_INS
from tests.conftest import Checkout


def expect_one_layer_pushed(registry: str) -> None:
    """Build an image with one layer of its own, and push it: the registry has the others."""
    client = docker.from_env()
    base, target = f"{registry}/{STAND_INS['common']}", f"{registry}/slipway/jupyter:test"
    below = len(client.images.pull(base).attrs["RootFS"]["Layers"])
    dockerfile = io.BytesIO(f"FROM {base}\nLABEL for={registry}\nRUN echo {registry} > /tmp/mine\n".encode())
    client.images.build(fileobj=dockerfile, tag=target, rm=True)
    try:
        said = Counter(event.get("status") for event in client.images.push(target, stream=True, decode=True) if "id" in event)
    finally:
        client.images.remove(target)
    assert said["Pushed"] == 1, said
    assert said["Layer already exists"] + sum(number for how, number in said.items() if str(how).startswith("Mounted from")) == below, said


def test_a_projects_image_is_pushed_without_the_layers_that_the_registry_has(lab: Checkout) -> None:
    expect_one_layer_pushed(f"127.0.0.1:{lab.lab.registry_port}")


@pytest.mark.parametrize("end", ["restart", "kill"])
def test_up_finds_a_registry_that_was_started_again(lab: Checkout, end: str) -> None:
    registry, before = docker.from_env().containers.get(f"{lab.lab.id}-registry"), lab.lab.registry_port
    getattr(registry, end)()
    registry.start()
    assert lab.answer("lab", "status")["registry"] is False
    started = lab.orchestrate("lab", "up")
    assert started.returncode == 0, started.stderr
    assert lab.answer("lab", "status")["registry"] is True
    assert lab.lab.registry_port != before
    expect_one_layer_pushed(f"127.0.0.1:{lab.lab.registry_port}")
