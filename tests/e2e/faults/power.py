"""A power cut while a client writes to every store: what each has acknowledged must be there afterwards."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.conftest import Checkout
from tests.e2e.support.machines import instance

#: Prints a line for each write that a store has acknowledged, until the end of the world.
WRITER = """
import itertools, os, time
import psycopg2, pymongo, redis

env = os.environ
cache = redis.Redis(host=env["REDIS_HOST"], password=env["REDIS_PASSWORD"])
mongo = pymongo.MongoClient(env["MONGO_HOST"], username=env["MONGO_USER"], password=env["MONGO_PASSWORD"])
notes = mongo.power.notes
sql = psycopg2.connect(
    host=env["POSTGRES_HOST"], user=env["POSTGRES_USER"], dbname=env["POSTGRES_DB"], password=env["POSTGRES_PASSWORD"]
)
cursor = sql.cursor()
cursor.execute("CREATE TABLE IF NOT EXISTS power (n int)")
sql.commit()
for n in itertools.count():
    cache.sadd("power", n)
    print("redis", n, time.time(), flush=True)
    notes.insert_one({"_id": n})
    print("mongo", n, time.time(), flush=True)
    cursor.execute("INSERT INTO power VALUES (%s)", (n,))
    sql.commit()
    print("postgres", n, time.time(), flush=True)
"""
READER = """
import json, os
import psycopg2, pymongo, redis

env = os.environ
cache = redis.Redis(host=env["REDIS_HOST"], password=env["REDIS_PASSWORD"])
mongo = pymongo.MongoClient(env["MONGO_HOST"], username=env["MONGO_USER"], password=env["MONGO_PASSWORD"])
sql = psycopg2.connect(
    host=env["POSTGRES_HOST"], user=env["POSTGRES_USER"], dbname=env["POSTGRES_DB"], password=env["POSTGRES_PASSWORD"]
)
with sql, sql.cursor() as cursor:
    cursor.execute("SELECT n FROM power")
    rows = [row[0] for row in cursor.fetchall()]
    cursor.execute("DROP TABLE power")
members, notes = [int(n) for n in cache.smembers("power")], [note["_id"] for note in mongo.power.notes.find()]
cache.delete("power")
mongo.drop_database("power")
print(json.dumps({"redis": members, "mongo": notes, "postgres": rows}))
"""
PYTHON = "docker exec --interactive slipway-jupyter-1 python -"
#: `appendfsync everysec`, its default: Redis may lose the writes of its last second, and a second more where the disk is slow.
REDIS_MAY_LOSE_SECONDS = 2.0
WRITES_SECONDS = 5


def acknowledged(machine: Checkout, end: Callable[[], object]) -> dict[str, dict[int, float]]:
    """Write for some seconds and on, end the machine meanwhile, and return what each store had acknowledged by then, and when."""
    config = machine.path / ".slipway" / "lab" / "machines" / "slipway" / "ssh_config"
    written: dict[str, dict[int, float]] = {"redis": {}, "mongo": {}, "postgres": {}}
    # A connection of its own: the shared one would outlive the host it led to.
    command = ["ssh", "-F", str(config), "-o", "ControlPath=none", "-o", "ServerAliveInterval=2", "slipway", PYTHON]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin
        assert writer.stdout
        writer.stdin.write(WRITER)
        writer.stdin.close()
        with ThreadPoolExecutor(1) as reader:
            # All along: a writer whose reader waits would wait too.
            read = reader.submit(_read, writer.stdout, written)
            time.sleep(WRITES_SECONDS)
            end()
            read.result()
    return written


def _read(lines: Iterable[str], written: dict[str, dict[int, float]]) -> None:
    for line in lines:
        if len(words := line.split()) == 3:
            written[words[0]][int(words[1])] = float(words[2])


def lost(machine: Checkout, written: dict[str, dict[int, float]], redis_seconds: float = 0) -> dict[str, set[int]]:
    """What of it is gone, by store; of Redis, what is older than its last seconds. Forgets what was written."""
    kept = json.loads(machine.on_host(PYTHON, stdin=READER))
    last = max(when for writes in written.values() for when in writes.values())
    gone = {}
    for store, writes in written.items():
        grace = redis_seconds if store == "redis" else 0
        promised = {number for number, when in writes.items() if when <= last - grace}
        assert len(promised) > 10, (store, len(promised))
        gone[store] = promised - set(kept[store])
    return gone


@contextmanager
def power_cut(machine: Checkout) -> Iterator[None]:
    """Every write that a store has acknowledged is there after the command; of Redis, all but those of its last seconds."""
    written = acknowledged(machine, lambda: machine.fault(instance=instance(machine), does="lose power"))
    yield
    assert lost(machine, written, REDIS_MAY_LOSE_SECONDS) == {store: set() for store in written}
