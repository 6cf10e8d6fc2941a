"""A machine with two projects, and a base stack that rests, is made larger and smaller, on a lab of its own."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Checkout, copy_project
from tests.e2e.support.interruptions import begin, end, request
from tests.e2e.support.machines import kind

#: One has a limit of its own, the other what is left.
CAP = 350
ROOM = {"t2.micro": 1024 - 224, "t2.small": 2048 - 224}
PROJECTS = {"capped": f"services: [jupyter, redis]\nmemory_mib: {CAP}\n", "roomy": "services: [jupyter, postgres]\n"}
STORES = {f"{name}.{store}" for name, own in (("capped", "redis"), ("roomy", "postgres")) for store in (own, "notebooks", "home")}
REDIS = "cd projects/capped && docker compose exec -T redis sh -c 'REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli {}'"
SQL = "cd projects/roomy && docker compose exec -T postgres psql -qAtU slipway slipway"
#: As `run` starts it, for as long as the test wants.
RUN = "cd projects/roomy && docker compose run --detach --rm --no-TTY --name roomy-run-test batch sleep 300"


def folder(root: Path, name: str) -> Path:
    """A project's folder."""
    here = root / name
    (here / "docker" / "jupyter").mkdir(parents=True)
    (here / "docker" / "jupyter" / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")
    (here / "ipynb").mkdir()
    (here / "ipynb" / "first.ipynb").write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    (here / "slipway.yml").write_text(PROJECTS[name])
    return here


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Checkout, dict[str, str]]]:
    """A t2.micro with both projects, which hold data, and a base stack that had to make room for them; and the projects' URLs."""
    root = tmp_path_factory.mktemp("resized")
    here = copy_project(root / "slipway")
    here.answer("up", "--services", "jupyter")
    answers = {name: here.answer("deploy", str(folder(root, name))) for name in PROJECTS}
    assert {name: answer["rested"] for name, answer in answers.items()} == {"capped": ["slipway"], "roomy": None}
    here.on_host(REDIS.format('eval "for i = 1, 1000 do redis.call(\\"set\\", \\"n\\" .. i, i) end" 0'))
    here.on_host(SQL, stdin="CREATE TABLE held AS SELECT n FROM generate_series(1, 1000) n;")
    yield here, {name: answer["url"] for name, answer in answers.items()}
    done = here.orchestrate("lab", "down", "--yes")
    assert done.returncode == 0, done.stderr


def limits(here: Checkout) -> dict[str, int]:
    """MiB of each container that runs."""
    shown = here.on_host("docker ps -q | xargs docker inspect --format '{{.Name}} {{.HostConfig.Memory}}'")
    return {name.strip("/"): int(limit) // 2**20 for name, limit in (line.split() for line in shown.splitlines())}


def whole(here: Checkout, wanted: str, urls: dict[str, str]) -> None:
    """Both serve as this type, by their URLs, with what they held; the base stack rests still."""
    assert kind(here) == wanted
    assert here.on_host(REDIS.format("get n1000")).strip() == "1000"
    assert here.on_host(SQL, stdin="SELECT sum(n) FROM held").strip() == "500500"
    for url in urls.values():
        with urllib.request.urlopen(url, timeout=30) as page:
            assert "JupyterLab" in page.read().decode()
    found = limits(here)
    assert set(found) == {"capped-jupyter-1", "capped-redis-1", "roomy-jupyter-1", "roomy-postgres-1"}
    capped = found["capped-jupyter-1"] + found["capped-redis-1"]
    roomy = found["roomy-jupyter-1"] + found["roomy-postgres-1"]
    assert CAP - 2 < capped <= CAP
    assert ROOM[wanted] - CAP - 2 < roomy <= ROOM[wanted] - capped
    assert here.on_host("ls slipway/at_rest").strip() == "slipway/at_rest"


#: As an earlier version has left a project: no Compose file of it knows the volume, and Jupyter's home is its container's.
EARLIER = (
    "cd projects/roomy && sed -i '/jupyter_home/d; /^volumes:$/d' compose.jupyter.yml compose.batch.yml && "
    "docker compose up --detach --wait --force-recreate jupyter && docker volume rm roomy_jupyter_home"
)
MADE = "docker exec roomy-jupyter-1 bash -c '{}'"


@pytest.mark.long
def test_every_stack_that_runs_comes_along(deployed: tuple[Checkout, dict[str, str]]) -> None:
    here, urls = deployed
    # A notebook that is being run would lose its work.
    here.on_host(RUN)
    refused = here.orchestrate("resize", "t2.small")
    assert refused.returncode == 3, refused.stderr
    assert "A notebook is being run in roomy" in refused.stderr
    here.on_host("docker stop --time 1 roomy-run-test")
    whole(here, "t2.micro", urls)
    here.on_host(EARLIER)
    here.on_host(MADE.format("mkdir made; echo mine > made/where-it-opens.ipynb; echo mine > .gitconfig"))
    # Larger, killed when all is down: the same command finishes.
    process = begin(here, ["resize", "t2.small"], request("StopInstances"))
    end(here, process, signal.SIGKILL)
    up = here.answer("resize", "t2.small")
    assert {name: found["equal"] for name, found in up["fingerprints"].items()} == dict.fromkeys(STORES, True)
    assert up["fingerprints"]["capped.redis"]["before"].startswith("1000 keys ")
    whole(here, "t2.small", urls)
    assert here.on_host(MADE.format("cat made/where-it-opens.ipynb .gitconfig")) == "mine\nmine\n"
    # Smaller again.
    down = here.answer("resize", "t2.micro")
    assert {name: found["equal"] for name, found in down["fingerprints"].items()} == dict.fromkeys(STORES, True)
    assert down["fingerprints"]["roomy.postgres"]["after"] == up["fingerprints"]["roomy.postgres"]["before"]
    whole(here, "t2.micro", urls)
    # No machine of that size bears both; nothing was stopped.
    refused = here.orchestrate("resize", "t2.nano")
    assert refused.returncode == 2, refused.stderr
    assert "capped (304 MiB), roomy (368 MiB) need 896 MiB together" in " ".join(refused.stderr.split())
    whole(here, "t2.micro", urls)
