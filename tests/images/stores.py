"""The stores of a stack on this computer's engine, by the role's own Compose files, and a container like a notebook's beside them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from tests.conftest import PROJECT
from tests.images import owned
from tests.images.boxes import LABELS, Box

PASSWORD = "p" * 32
#: What ends well as soon as a store takes writes: sooner than Compose's next look at its health.
READY = {
    "mongo": '[ "$(bash /slipway/state.sh)" = primary ] && [ "$(cat /data/db/slipway_rights)" = "$MONGO_RIGHTS" ]',
    "postgres": "pg_isready --quiet --host=127.0.0.1 --username=slipway",
    "redis": "REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli ping | grep -q PONG",
}


@dataclass
class Stores:
    """A stack's folder and its containers."""

    folder: Path
    name: str
    client: docker.DockerClient
    notebook: Box

    def compose(self, *arguments: str) -> str:
        command = [str(Path(sys.prefix) / "bin" / "docker-compose"), *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stderr + self._logs()
        return done.stdout

    def _logs(self) -> str:
        command = [str(Path(sys.prefix) / "bin" / "docker-compose"), "logs", "--no-color", "--tail", "40"]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60).stdout

    def box(self, service: str) -> Box:
        return Box(self.client.containers.get(f"{self.name}-{service}-1"))

    def ready(self, service: str) -> Box:
        """The store, as soon as it takes writes."""
        return self.box(service).wait("sh", "-c", READY[service])

    def python(self, code: str, **environment: str) -> str:
        """What a notebook's cell with this code prints."""
        return self.notebook.out("python", "-c", code, **environment)


@contextmanager
def running(client: docker.DockerClient, image: Callable[[str], str], folder: Path, *services: str, **more: str) -> Iterator[Stores]:
    """These stores, with the limits that they have on a t2.micro; all of it is removed in the end."""
    shutil.copytree(PROJECT / "roles" / "stack" / "files" / "compose", folder)
    (folder / "secrets").mkdir()
    for store in services:
        (folder / "secrets" / f"{store}_password").write_text(PASSWORD)
    name = f"slipway-test-{uuid.uuid4().hex[:8]}"
    settings: dict[str, Any] = {"COMPOSE_PROJECT_NAME": name, "COMPOSE_FILE": ":".join(f"compose.{each}.yml" for each in services)}
    settings |= {f"{each.upper()}_IMAGE": image(each) for each in services}
    settings |= owned.settings(services)
    settings |= {"MONGO_MEMORY": "252m", "MONGO_CACHE": "100M", "REDIS_MEMORY": "60m", "REDIS_MAXMEMORY": "45mb"}
    settings |= {"POSTGRES_MEMORY": "124m", "POSTGRES_SHARED_BUFFERS": "31MB", "POSTGRES_SEED_SECONDS": "60"}
    (folder / ".env").write_text("".join(f"{key}={value}\n" for key, value in (settings | more).items()))
    network = client.networks.create(f"{name}_shell", labels=LABELS)
    environment = {f"{each.upper()}_{key}": value for each in services for key, value in (("HOST", each), ("PASSWORD", PASSWORD))}
    environment |= {"MONGO_USER": "slipway", "JUPYTER_DOCKER_STACKS_QUIET": "1"}
    shell = client.containers.create(
        image("jupyter"), ["sleep", "infinity"], name=f"{name}-shell", labels=LABELS, environment=environment, network=network.name
    )
    made = Stores(folder, name, client, Box(shell))
    try:
        owned.give(client, image, name, services)
        made.compose("create")
        network.disconnect(shell)
        client.networks.get(f"{name}_default").connect(shell)
        shell.start()
        yield made
    finally:
        shell.remove(force=True, v=True)
        network.remove()
        made.compose("down", "--volumes", "--timeout", "1")
