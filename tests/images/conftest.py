"""Shared by the contract tests of the stand-in images: real containers, labelled, and removed whatever happens."""

import io
import tarfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import docker
import docker.errors
import pytest

from lab import engine, images
from tests.images.boxes import LABELS, Box
from tests.images.project import Project, running


def archive(files: dict[str, tuple[str | bytes, int]]) -> bytes:
    """A tar of path: (content, mode), owned by root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, (content, mode) in files.items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture(scope="session")
def client() -> Iterator[docker.DockerClient]:
    # Installed and started where there is none: these tests may be the first that need one.
    with engine.alone(print):
        connected = engine.connect(print)
    with closing(connected):
        yield connected


@pytest.fixture(scope="session")
def image(client: docker.DockerClient) -> Callable[[str], str]:
    with engine.alone(print):
        tags = images.ensure(client)
    return lambda name: tags[name]


@pytest.fixture(scope="module")
def volume(client: docker.DockerClient) -> Iterator[str]:
    """A volume that outlives containers; `start` asks for it, so that its containers are gone before it goes."""
    made = client.volumes.create(f"slipway-test-{uuid.uuid4().hex[:8]}", labels=LABELS)
    yield made.name
    with suppress(docker.errors.NotFound):  # a prune of unused volumes may have come first
        made.remove()


@pytest.fixture(scope="module")
def start(client: docker.DockerClient, image: Callable[[str], str], volume: str) -> Iterator[Callable[..., Box]]:
    """start(NAME, *command, files={path: (content, mode)}, environment=..., volumes=..., publish=PORT, user=...)"""
    boxes: list[Box] = []

    def make(name: str, *command: str, files: dict | None = None, publish: int | None = None, **options) -> Box:
        box = Box(
            client.containers.create(
                image(name),
                list(command) or None,
                name=f"slipway-test-{name}-{uuid.uuid4().hex[:8]}",
                labels=LABELS,
                ports={f"{publish}/tcp": ("127.0.0.1", None)} if publish else None,
                **options,
            )
        )
        boxes.append(box)
        if files:
            box.container.put_archive("/", archive(files))
        box.container.start()
        box.container.reload()
        return box

    yield make
    for box in boxes:
        with suppress(docker.errors.NotFound):
            box.container.remove(force=True, v=True)


@pytest.fixture(scope="module")
def notebook(start: Callable[..., Box]) -> Box:
    """A jupyter container that only runs commands: its Python has the stores' clients."""
    return start("jupyter", "sleep", "infinity")


@pytest.fixture(scope="module")
def project(client: docker.DockerClient, image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with running(client, image, tmp_path_factory.mktemp("project") / "compose") as made:
        yield made
