"""Shared by the contract tests of the stand-in images: real containers, labelled, and removed whatever happens."""

import io
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import docker
import docker.errors
import pytest
from docker.models.containers import Container

from lab import engine, images

LABELS = {"slipway.test": "1"}


class Box:
    """A container under test."""

    def __init__(self, container: Container) -> None:
        self.container = container

    def run(self, *command: str, user: str = "", **environment: str) -> tuple[int, str]:
        """Runs a command in the container; returns its exit code and everything that it printed."""
        code, output = self.container.exec_run(command, user=user, environment=environment)
        return code, output.decode(errors="replace").strip()

    def out(self, *command: str, user: str = "", **environment: str) -> str:
        code, output = self.run(*command, user=user, **environment)
        assert code == 0, f"{command} gave {code}: {output}"
        return output

    def wait(self, *command: str, seconds: float = 60, **environment: str) -> "Box":
        """Waits until the command succeeds in the container."""
        deadline = time.monotonic() + seconds
        while True:
            self.container.reload()
            assert self.container.status == "running", self.logs()
            code, output = self.run(*command, **environment)
            if code == 0:
                return self
            assert time.monotonic() < deadline, f"{command} still gave {code}: {output}\n{self.logs()}"
            time.sleep(0.3)

    def wait_healthy(self, seconds: float = 90) -> "Box":
        deadline = time.monotonic() + seconds
        while self.container.attrs["State"]["Health"]["Status"] != "healthy":
            assert self.container.status == "running" and time.monotonic() < deadline, self.logs()
            time.sleep(0.3)
            self.container.reload()
        return self

    def exit_code(self, seconds: int = 60) -> int:
        return int(self.container.wait(timeout=seconds)["StatusCode"])

    def stop(self) -> int:
        """Sends the image's stop signal; returns the exit code: 137 if the server did not hear it."""
        self.container.stop(timeout=20)
        return self.exit_code()

    def logs(self) -> str:
        return str(self.container.logs().decode(errors="replace"))

    def port(self, port: int) -> int:
        """The port of 127.0.0.1 that leads to a published port of the container."""
        self.container.reload()
        return int(self.container.ports[f"{port}/tcp"][0]["HostPort"])

    def status(self, key: str, pid: int = 1) -> list[str]:
        """A line of /proc/PID/status, such as Uid."""
        lines = self.out("cat", f"/proc/{pid}/status").splitlines()
        return next(line.split()[1:] for line in lines if line.startswith(key + ":"))

    def command_line(self) -> list[str]:
        return self.out("cat", "/proc/1/cmdline").rstrip("\0").split("\0")


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
