"""A base stack whose stores hold all that a store can, on a lab of its own: a resize both ways, and power cuts under load."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.conftest import PROJECT, Checkout, own_lab
from tests.e2e.support.machines import instance
from tests.images.test_acknowledged import CONNECT, FOUND
from tests.images.test_fingerprints import FILES, ODD_MONGO, ODD_REDIS, ODD_SQL

pytestmark = pytest.mark.long

STORES = {"home", "mongo", "notebooks", "postgres", "redis"}
PYTHON = "docker exec --interactive slipway-jupyter-1 python -"
SQL = "docker exec --interactive slipway-postgres-1 psql -XAtqU slipway_superuser -d slipway -v ON_ERROR_STOP=1"
#: In a container of its own: the server's has no room for a shell of 100 MB.
MONGO = (
    'image=$(docker inspect --format "{{.Image}}" slipway-mongo-1) && docker run --rm --interactive --network slipway_default '
    "--entrypoint sh $image -c 'cat > /tmp/odd.js && mongosh --quiet --host mongo /tmp/odd.js'"
)
REDIS = "docker exec --interactive slipway-redis-1 sh -c 'REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli --pipe'"
#: One hash of 40 MB, with random values, beside all that it holds already.
LARGE = """
import os, redis
cache = redis.Redis(host=os.environ["REDIS_HOST"], password=os.environ["REDIS_PASSWORD"])
first = 0
while (cache.memory_usage("large", samples=0) or 0) < 40 << 20:
    cache.hset("large", mapping={f"customer:{n}": os.urandom(300) for n in range(first, first + 500)})
    first += 500
print(cache.hlen("large"))
"""
READ_LARGE = """
import hashlib, os, redis
cache = redis.Redis(host=os.environ["REDIS_HOST"], password=os.environ["REDIS_PASSWORD"])
total = 0
for field, value in cache.hscan_iter("large", count=500):
    total ^= int.from_bytes(hashlib.sha256(field + value).digest(), "big")
print(total)
"""
POWER_CUTS = 5
WRITES_SECONDS = 5


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A t2.micro with all of it."""
    with own_lab(tmp_path_factory.mktemp("everything")) as here:
        here.answer("up")
        here.on_host(f"{SQL} -f -", stdin=ODD_SQL)
        password = here.on_host("cat slipway/secrets/mongo_password").strip()
        said = here.on_host(MONGO, stdin=f'db.getSiblingDB("admin").auth("slipway", "{password}");{ODD_MONGO}')
        assert "filled" in said, said
        said = here.on_host(f"base64 -d | {REDIS}", stdin=base64.b64encode(b"".join(ODD_REDIS)).decode())
        assert "errors: 0" in said, said
        print("fields of the large hash:", here.on_host(PYTHON, stdin=LARGE).strip())
        here.on_host(FILES.replace("/tmp/stack", "/home/ubuntu/slipway").replace("python -", "python3 -"))  # noqa: S108 - to be replaced
        yield here


def killed(here: Checkout) -> dict[str, str]:
    """By store, how often the engine has started it again, and whether it was killed for memory."""
    shown = here.on_host("docker ps -q | xargs docker inspect --format '{{.Name}} {{.RestartCount}} {{.State.OOMKilled}}'")
    return dict(line.split(maxsplit=1) for line in shown.splitlines())


def test_a_resize_both_ways_of_all_that_stores_can_hold(held: Checkout) -> None:
    plan = held.orchestrate("resize", "t2.small", "--dry-run")
    assert plan.returncode == 0, plan.stdout + plan.stderr
    sum_of_large, last = held.on_host(PYTHON, stdin=READ_LARGE), None
    for wanted in ("t2.small", "t2.micro"):
        assert set(killed(held).values()) == {"0 false"}
        done = held.answer("resize", wanted)
        assert {name: found["equal"] for name, found in done["fingerprints"].items()} == dict.fromkeys(STORES, True)
        print({name: found["after"] for name, found in done["fingerprints"].items()}, f"{done['downtime_s']} of {done['seconds']} s")
        if last:
            assert {name: found["before"] for name, found in done["fingerprints"].items()} == last
        last = {name: found["after"] for name, found in done["fingerprints"].items()}
        assert set(killed(held).values()) == {"0 false"}
        assert held.on_host(PYTHON, stdin=READ_LARGE) == sum_of_large
        status = held.answer("status")
        assert {facts["health"] for facts in status["services"].values()} == {"healthy"}


def cut_under_load(here: Checkout, first: int) -> list[int]:
    """Cut the machine's power while a notebook's four threads write to MongoDB; returns each number that was acknowledged."""
    there = f"docker exec --interactive slipway-jupyter-1 python work/acknowledged.py mongo {first}"
    command = ["ssh", "-F", str(here.ssh_config()), "-o", "ControlPath=none", "-o", "ServerAliveInterval=2", "slipway", there]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin and writer.stdout and writer.stdout.readline(), "nothing was written"
        time.sleep(WRITES_SECONDS)
        here.fault(instance=instance(here), does="lose power")
        lines = [line.split() for line in writer.stdout if line.count(" ") == 1 and line.endswith("\n")]
        writer.kill()
    return [int(number) for number, _ in lines]


def test_power_cuts_lose_no_write_that_mongo_has_acknowledged(held: Checkout) -> None:
    # What was not synced would be gone with the power.
    held.on_host("cat > slipway/work/acknowledged.py && sync", stdin=(PROJECT / "tests" / "images" / "acknowledged.py").read_text())
    notes = CONNECT.partition("db =")[0] + FOUND["mongo"]
    total, gone = 0, []
    for turn in range(POWER_CUTS):
        written = cut_under_load(held, turn * 10**7)
        assert len(written) > 50, f"{len(written)} writes are no load"
        answer = held.answer("up")
        assert {facts["health"] for facts in answer["services"].values()} == {"healthy"}
        found = {int(word) for word in held.on_host(PYTHON, stdin=notes).split()}
        total, gone = total + len(written), [*gone, *(number for number in written if number not in found)]
    print(json.dumps({"cuts": POWER_CUTS, "acknowledged": total, "gone": len(gone)}))
    assert gone == []
