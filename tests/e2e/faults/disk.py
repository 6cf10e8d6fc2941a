"""A disk that is really full, while a client writes to every store."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.conftest import Checkout
from tests.e2e.faults.power import PYTHON, READER
from tests.e2e.support.machines import instance
from tests.modules import load

grow: Any = load("ec2_grow_rules")

#: Prints a line for each write that a store has acknowledged, and one when it refuses or ends; each store has a thread of its own.
WRITER = """
import itertools, os, threading, time
import psycopg2, pymongo, redis

env = os.environ
FILL = "x" * 50_000
cache = redis.Redis(host=env["REDIS_HOST"], password=env["REDIS_PASSWORD"])
mongo = pymongo.MongoClient(
    env["MONGO_HOST"], username=env["MONGO_USER"], password=env["MONGO_PASSWORD"], serverSelectionTimeoutMS=3000, retryWrites=False
)
sql = psycopg2.connect(
    host=env["POSTGRES_HOST"], user=env["POSTGRES_USER"], dbname=env["POSTGRES_DB"], password=env["POSTGRES_PASSWORD"]
)
cursor = sql.cursor()
cursor.execute("CREATE TABLE IF NOT EXISTS power (n int, fill text)")
sql.commit()

def insert(n):
    cursor.execute("INSERT INTO power VALUES (%s, %s)", (n, FILL))
    sql.commit()

def until_refused(store, write):
    for n in itertools.count():
        try:
            write(n)
        except Exception as refused:
            print(store, "refused", type(refused).__name__, flush=True)
            return
        print(store, n, flush=True)
        time.sleep(0.02)

writes = {
    "redis": lambda n: cache.pipeline().sadd("power", n).set("waste", FILL).execute(),
    "mongo": lambda n: mongo.power.notes.insert_one({"_id": n, "fill": FILL}),
    "postgres": insert,
}
for item in writes.items():
    threading.Thread(target=until_refused, args=item).start()
"""
#: 300 MiB are left for writes, which then take all.
FILL = """sudo sh -c '
free=$(df --output=avail --block-size=1M / | tail -n 1)
fallocate --length $((free - 300))M /ballast
dd if=/dev/zero of=/filled bs=1M conv=fsync 2>&1 | grep -o "No space left on device"'"""
_SECONDS = 120
_STORES = ("mongo", "postgres", "redis")


def _fill(machine: Checkout) -> tuple[dict[str, set[int]], dict[str, str]]:
    """Fill the disk under load; return what each store had acknowledged, and with what it refused the next write."""
    acknowledged: dict[str, set[int]] = {store: set() for store in _STORES}
    refused: dict[str, str] = {}
    command = ["ssh", "-F", str(machine.ssh_config()), "-o", "ControlPath=none", "slipway", PYTHON]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin
        assert writer.stdout
        writer.stdin.write(WRITER)
        writer.stdin.close()
        deadline, filled = time.monotonic() + _SECONDS, False
        for line in writer.stdout:
            store, number, *why = line.split()
            if why:
                refused[store] = why[0]
            else:
                acknowledged[store].add(int(number))
            if not filled and all(len(numbers) > 20 for numbers in acknowledged.values()):
                filled = True
                assert "No space left on device" in machine.on_host(FILL)
            if time.monotonic() > deadline:
                break
        writer.kill()
    return acknowledged, refused


@contextmanager
def disk_full(machine: Checkout) -> Iterator[None]:
    """Fill the disk, see it named, grow it; after the command everything that was acknowledged is there."""
    acknowledged, refused = _fill(machine)
    print({store: (len(numbers), refused.get(store)) for store, numbers in acknowledged.items()})
    assert set(refused) == set(_STORES)

    shown = machine.orchestrate("status")
    assert shown.returncode == 0, shown.stderr
    assert "Disk      full: 0.0 of " in shown.stdout
    # What is there is not made worse.
    again = machine.orchestrate("up")
    assert again.returncode == 3, again.stderr
    assert "MiB are needed: stack_free_disk_mib" in again.stderr

    ec2 = machine.ec2()
    [root] = ec2.describe_instances(InstanceIds=[instance(machine)])["Reservations"][0]["Instances"][0]["BlockDeviceMappings"]
    [volume] = ec2.describe_volumes(VolumeIds=[root["Ebs"]["VolumeId"]])["Volumes"]
    ec2.modify_volume(VolumeId=volume["VolumeId"], Size=volume["Size"] + 4)
    facts = (json.loads(machine.on_host(shlex.join(command))) for command in (grow.FINDMNT, grow.LSBLK))
    commands = grow.commands(*facts)
    assert commands == [["xfs_growfs", "/"]]
    for command in commands:
        machine.on_host(shlex.join(["sudo", *command]))
    yield
    kept = json.loads(machine.on_host(PYTHON, stdin=READER.replace('delete("power")', 'delete("power", "waste")')))
    assert {store: numbers - set(kept[store]) for store, numbers in acknowledged.items()} == {store: set() for store in _STORES}
    machine.on_host("sudo rm /ballast /filled")
