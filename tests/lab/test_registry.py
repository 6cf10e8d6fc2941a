"""The lab's registry, as the engine of this computer sees it."""

from __future__ import annotations

import io
from collections import Counter

import docker

from lab.images import STAND_INS
from tests.conftest import Checkout


def test_a_projects_image_is_pushed_without_the_layers_that_the_registry_has(lab: Checkout) -> None:
    client, registry = docker.from_env(), f"127.0.0.1:{lab.lab.registry_port}"
    base, target = f"{registry}/{STAND_INS['jupyter']}", f"{registry}/slipway/test:pushed"
    below = len(client.images.pull(base).attrs["RootFS"]["Layers"])
    dockerfile = io.BytesIO(f"FROM {base}\nLABEL for={registry}\nRUN echo {registry} > /tmp/mine\n".encode())
    client.images.build(fileobj=dockerfile, tag=target, rm=True)
    try:
        said = Counter(event.get("status") for event in client.images.push(target, stream=True, decode=True) if "id" in event)
    finally:
        client.images.remove(target)
    assert said["Pushed"] == 1, said
    assert said[f"Mounted from {STAND_INS['jupyter'].partition(':')[0]}"] == below, said
