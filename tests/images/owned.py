"""Volumes that belong to the users of their stores, as the role gives them on a host."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import docker

from tests.modules import load

rules = load("stack_uid_rules")
UIDS: dict[str, int] = rules.uids(rules.FIRST)


def settings(stores: Iterable[str]) -> dict[str, str]:
    """What the role writes into a stack's settings."""
    return {f"{store.upper()}_UID": str(UIDS[store]) for store in stores}


def give(client: docker.DockerClient, image: Callable[[str], str], name: str, stores: Iterable[str]) -> None:
    """Make the volumes of a Compose project's stores, and give them to their users. Files that they hold get them too."""
    for store in stores:
        for key in rules.VOLUMES[store]:
            labels = {"com.docker.compose.project": name, "com.docker.compose.volume": key}
            client.volumes.create(f"{name}_{key}", labels=labels)
            script = f"chown -hR {UIDS[store]}:{UIDS[store]} /volume && chmod 700 /volume"
            mounted = {f"{name}_{key}": {"bind": "/volume", "mode": "nocopy"}}
            client.containers.run(image("redis"), ["sh", "-c", script], entrypoint=[], volumes=mounted, network_mode="none", remove=True)
