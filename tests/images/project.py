"""A project on this computer's engine: the role's own Compose files and image, with the stand-ins."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors
import nbformat

from tests.conftest import PROJECT
from tests.images import owned
from tests.images.boxes import Box
from tests.modules import load

home = load("stack_home")

#: Of characters that shells, URLs and Redis's own files give a meaning.
PASSWORD = 'a b"c\\d@e:f/g%h$i'
#: The monitor's, of such characters too.
TOKEN = 'm n"o\\p@q:r/s%t$é&u#v;w'
JOBS = '''
import os, time
from pathlib import Path

def mark(name, seconds=0.0):
    """Writes who begins, and later who ends."""
    with open(f"/home/jovyan/work/{name}", "a") as file:
        print("begin", os.uname().nodename, file=file, flush=True)
        time.sleep(seconds)
        print("end", os.uname().nodename, file=file)
    return os.getcwd()

def eat():
    eaten = []
    while True:
        eaten.append(bytearray(8 << 20))

def take_the_worker_down():
    mark("downs")
    os.kill(os.getppid(), 9)
    time.sleep(60)
'''
QUEUE = """
import json, lib.jobs, os, redis, rq
queue = rq.Queue(connection=redis.Redis(os.environ["REDIS_HOST"], password=os.environ["REDIS_PASSWORD"]))
"""


@dataclass
class Project:
    """A project's folder and what Compose has started of it."""

    folder: Path
    name: str
    client: docker.DockerClient

    def compose(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.prefix) / "bin" / "docker-compose"), *arguments]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120, **options)

    def boxes(self, service: str) -> list[Box]:
        labels = [f"com.docker.compose.project={self.name}", f"com.docker.compose.service={service}"]
        found = self.client.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
        return [Box(container) for container in found if container.labels["com.docker.compose.oneoff"] == "False"]

    def python(self, code: str) -> str:
        """What a notebook's cell with this code prints."""
        return self.shell.out("python", "-c", QUEUE + code)

    @property
    def shell(self) -> Box:
        """The container for commands."""
        return Box(self.client.containers.get(f"{self.name}-shell"))

    def enqueue(self, call: str) -> str:
        return self.python(f"print(queue.enqueue(lib.jobs.{call}).id)")

    def job(self, job: str) -> tuple[str, str | None]:
        """Its state, and what it has returned or how it has failed."""
        code = f"job = queue.fetch_job({job!r})\nresult = job.latest_result()\n"
        code += "print(json.dumps([job.get_status(), result and (result.return_value or result.exc_string)]))"
        state, text = json.loads(self.python(code))
        return state, text

    def marks(self, name: str) -> list[list[str]]:
        path = self.folder / "work" / name
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def until(self, condition: Callable[[], Any], seconds: float = 30) -> float:
        """Waits; returns how long it took."""
        begun = time.monotonic()
        while not condition():
            assert time.monotonic() - begun < seconds, self.compose("logs", "--no-color", "worker", "jupyter").stdout[-6000:]
            time.sleep(0.2)
        return time.monotonic() - begun

    def notebook(self, name: str, *cells: str, kernel: str = "python3", parameters: bool = False) -> str:
        path = self.folder / "work" / "ipynb" / f"{name}.ipynb"
        made = [nbformat.v4.new_code_cell(source, id=f"c{number}") for number, source in enumerate(cells)]
        if parameters:
            made[0].metadata.tags = ["parameters"]
        metadata = {"kernelspec": {"name": kernel, "display_name": kernel}}
        path.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=made, metadata=metadata)))
        return f"ipynb/{name}.ipynb"

    def printed(self, output: str) -> str:
        """All that the cells of an executed notebook have printed."""
        cells = json.loads((self.folder / "work" / output).read_text())["cells"]
        return "".join("".join(out.get("text", "")) for cell in cells for out in cell.get("outputs", []))

    def batch(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """As `slipway run` does it, in a container of its own."""
        return self.compose("run", "--rm", "-T", "batch", "python", "/slipway/run_notebook.py", *arguments)

    def monitor(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Mapping[str, str], str]:
        """What the monitor answers to a request with these headers alone: its status, headers and text."""
        port = self.boxes("monitor")[0].port(9181)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        with closing(connection):
            sent = {"Host": f"127.0.0.1:{port}"} | {name.replace("_", "-"): value.format(port=port) for name, value in headers.items()}
            connection.request(method, path, headers={name: value.encode() for name, value in sent.items()})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode(errors="replace")

    def shown(self, path: str, **options: Any) -> Any:
        """What a page of the monitor shows, as JSON; by its token."""
        status, _, text = self.monitor(f"/0/data/{path}.json", Authorization=f"token {TOKEN}")
        assert status == 200, text
        return json.loads(text, **options)

    def tried(self, *arguments: str) -> tuple[int, str]:
        """The same in a container that there is."""
        return self.shell.run("python", "/slipway/run_notebook.py", *arguments)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def running(client: docker.DockerClient, image: Callable[[str], str], folder: Path) -> Iterator[Project]:
    """A project with its workers and its monitor, and a batch container that only runs commands; Jupyter is not started."""
    made = Project(folder, f"slipway-test-{uuid.uuid4().hex[:8]}", client)
    shutil.copytree(PROJECT / "roles" / "stack" / "files" / "compose", made.folder)
    for path, text in {
        "secrets/redis_password": PASSWORD,
        "secrets/jupyter_token": "t" * 20,
        "secrets_monitor/monitor_token": TOKEN,
        "work/lib/__init__.py": "",
        "work/lib/jobs.py": JOBS,
    }.items():
        (made.folder / path).parent.mkdir(exist_ok=True)
        (made.folder / path).write_text(text)
    (made.folder / "work" / "ipynb").mkdir()
    # The containers' user is 1000, whoever runs the tests.
    for folder in ("work", "work/ipynb", "work/lib"):
        (made.folder / folder).chmod(0o777)
    settings = {
        "COMPOSE_PROJECT_NAME": made.name,
        "COMPOSE_FILE": ":".join(f"compose.{part}.yml" for part in ("jupyter", "redis", "worker", "monitor", "batch")),
        "JUPYTER_ADDRESS": "127.0.0.1",
        "JUPYTER_PORT": str(free_port()),
        # The least that the budget gives.
        "JUPYTER_MEMORY": "256m",
        "JUPYTER_BASE_IMAGE": image("jupyter"),
        "JUPYTER_IMAGE": image("common"),
        "REDIS_IMAGE": image("redis"),
        **owned.settings(["redis"]),
        "REDIS_MEMORY": "48m",
        "REDIS_MAXMEMORY": "36mb",
        "WORKER_MEMORY": "112m",
        "WORKER_SCALE": "2",
        # Of what the role gives 60 and 75 seconds.
        "WORKER_JOB_SECONDS": "4",
        "WORKER_STOP_SECONDS": "19",
        "MONITOR_MEMORY": "64m",
        "MONITOR_PORT": str(free_port()),
    }
    (made.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    try:
        # As the role does before Compose starts anything.
        home.bring(made.name, image("common"))
        owned.give(client, image, made.name, ["redis"])
        for command in ("up --detach redis worker monitor", f"run --detach --name {made.name}-shell batch sleep 600"):
            done = made.compose(*command.split())
            assert done.returncode == 0, done.stderr
        for box in (*made.boxes("worker"), *made.boxes("monitor")):
            box.wait_healthy()
        yield made
    finally:
        made.compose("--profile", "batch", "down", "--volumes", "--remove-orphans", "--timeout", "0")
        with suppress(docker.errors.APIError):
            client.containers.get(f"{made.name}-shell").remove(force=True)
