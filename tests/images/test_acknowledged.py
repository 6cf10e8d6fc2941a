"""A write that a store has acknowledged outlives the store's death: each with the role's own settings, under load, and killed."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from tests.images.conftest import archive
from tests.images.stores import Stores, running
from tests.modules import load

#: What a client reads again, by store.
FOUND = {
    "mongo": "print(*(each['_id'] for each in mongo.demo.notes.find()))",
    "postgres": "cursor.execute('SELECT number FROM notes'); print(*(number for number, in cursor))",
    "redis": "print(*(key.decode()[1:] for key in cache.scan_iter(count=10000)))",
}
#: As in the README.
CONNECT = """
import os
import psycopg2, pymongo, redis
env = os.environ
cache = redis.Redis(host=env["REDIS_HOST"], password=env["REDIS_PASSWORD"])
mongo = pymongo.MongoClient(env["MONGO_HOST"], username=env["MONGO_USER"], password=env["MONGO_PASSWORD"])
db = psycopg2.connect(host=env["POSTGRES_HOST"], user="slipway", dbname="slipway", password=env["POSTGRES_PASSWORD"])
db.autocommit = True
cursor = db.cursor()
"""
#: Seconds that a store may lose; a SIGKILL leaves Redis what it has written to its log, which a power cut need not.
MAY_LOSE = {"mongo": 0.0, "postgres": 0.0, "redis": 2.0}


@pytest.fixture(scope="module")
def stores(client: docker.DockerClient, image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    with running(client, image, tmp_path_factory.mktemp("acknowledged") / "stack", "mongo", "postgres", "redis") as made:
        made.compose("up", "--detach", "--wait")
        writer = Path(__file__).with_name("acknowledged.py").read_text()
        made.notebook.container.put_archive("/opt", archive({"acknowledged.py": (writer, 0o644)}))
        made.python(CONNECT + "cursor.execute('CREATE TABLE notes (number bigint)')")
        yield made


def killed_under_load(stores: Stores, store: str, first: int, seconds: float) -> list[tuple[int, float]]:
    """Kill a store while a notebook writes to it, and start it again; returns each number that was acknowledged, and when."""
    box = stores.box(store)
    command = ["docker", "exec", "--interactive", stores.notebook.container.name, "python", "/opt/acknowledged.py", store, str(first)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin and writer.stdout and writer.stdout.readline(), "nothing was written"
        time.sleep(seconds)
        box.container.kill("SIGKILL")
        time.sleep(0.5)
        writer.stdin.close()
        lines = [line.split() for line in writer.stdout if line.count(" ") == 1 and line.endswith("\n")]
    box.container.start()
    stores.ready(store)
    return [(int(number), float(when)) for number, when in lines]


def lost(stores: Stores, store: str, times: int, seconds: float) -> tuple[int, int, float]:
    """How many were acknowledged, how many of these are gone, and how many seconds before its death the oldest of them was written."""
    acknowledged, missing, oldest = 0, 0, 0.0
    for turn in range(times):
        written = killed_under_load(stores, store, turn * 10**7, seconds)
        found = {int(word) for word in stores.python(CONNECT + FOUND[store]).split()}
        gone = [when for number, when in written if number not in found]
        acknowledged, missing = acknowledged + len(written), missing + len(gone)
        oldest = max([oldest, *(max(when for _, when in written) - when for when in gone)])
        assert len(written) > 20, f"{len(written)} writes are no load"
    return acknowledged, missing, oldest


def test_mongo_promises_journaled_writes_to_every_client(stores: Stores) -> None:
    code = """
default = mongo.admin.command("getDefaultRWConcern")["defaultWriteConcern"]
config = mongo.admin.command("replSetGetConfig")["config"]
print(default["w"], config["writeConcernMajorityJournalDefault"], len(config["members"]), mongo.write_concern.document)
"""
    assert stores.python(CONNECT + code) == "majority True 1 {}"


@pytest.mark.parametrize("store", ["mongo", "postgres", "redis"])
def test_an_acknowledged_write_outlives_a_sigkill(stores: Stores, store: str) -> None:
    acknowledged, missing, oldest = lost(stores, store, times=1, seconds=0.7)
    assert oldest <= MAY_LOSE[store] and (not missing or MAY_LOSE[store]), f"{missing} of {acknowledged} are gone"


@pytest.mark.long
@pytest.mark.parametrize("store", ["mongo", "postgres", "redis"])
def test_acknowledged_writes_outlive_twenty_sigkills(stores: Stores, store: str) -> None:
    acknowledged, missing, oldest = lost(stores, store, times=20, seconds=2)
    print(f"{store}: {missing} of {acknowledged} acknowledged writes are gone, the oldest from {oldest:.2f} s before the kill")
    assert oldest <= MAY_LOSE[store] and (not missing or MAY_LOSE[store])


def fingerprint(stores: Stores) -> str:
    """What a resize compares of MongoDB."""
    found = stores.box("mongo").container.attrs
    with load("stack_fingerprints").Readers({"mongo": {"Id": found["Id"], "ImageID": found["Image"]}}, str(stores.folder), 60) as readers:
        return str(readers.take()["mongo"]["said"])


#: How the version before started a replica set, whose user slipway was root.
BEFORE = """
base64 -w 0 < /dev/urandom | head -c 64 > /dev/shm/mongo.key
chmod 400 /dev/shm/mongo.key
(until [[ $(bash /slipway/state.sh) == none ]] && mongosh --quiet admin --eval '
  db.auth("slipway", require("fs").readFileSync("/run/secrets/mongo_password", "utf8"));
  rs.initiate({_id: "slipway", members: [{_id: 0, host: "mongo:27017"}]})'; do sleep 1; done) &
exec docker-entrypoint.sh "$@" --replSet slipway --keyFile /dev/shm/mongo.key
"""
#: What an earlier version gave mongod's image to make the user slipway of: it was root.
ROOT = """    environment:
      MONGO_INITDB_ROOT_USERNAME: slipway
      MONGO_INITDB_ROOT_PASSWORD_FILE: /run/secrets/mongo_password
"""


@pytest.mark.parametrize("was", ["no replica set", "a replica set"])
def test_mongo_of_an_earlier_version_becomes_as_it_is_now_with_what_it_holds(
    client: docker.DockerClient, image: Callable[[str], str], tmp_path: Path, was: str
) -> None:
    """Its user slipway was root, and is so no more: for a fingerprint nothing has changed by that."""
    with running(client, image, tmp_path / "stack", "mongo") as made:
        files, now = made.folder / "compose.mongo.yml", (made.folder / "compose.mongo.yml").read_text()
        before = re.sub(r"    environment:\n.*?\n(?=    volumes:)", ROOT, now, flags=re.DOTALL)
        before = re.sub(r"test: \[CMD-SHELL.*", 'test: ["CMD", "true"]', before)
        if was == "no replica set":
            before = before.replace("    entrypoint: [bash, /slipway/start.sh]\n", "")
        else:
            (made.folder / "mongo" / "before.sh").write_text(BEFORE)
            before = before.replace("/slipway/start.sh", "/slipway/before.sh")
        assert before != now
        files.write_text(before)
        made.compose("up", "--detach")
        notes = CONNECT.split("cache =")[0].replace("psycopg2, pymongo, redis", "pymongo") + CONNECT.splitlines()[5] + "\n"
        made.box("mongo").wait("bash", "-c", "grep -q mongod /proc/1/comm && exec 3<> /dev/tcp/$HOSTNAME/27017")
        if was == "a replica set":
            made.box("mongo").wait("bash", "-c", '[ "$(bash /slipway/state.sh)" = primary ]')
        made.python(notes + "mongo.demo.notes.insert_one({'_id': 1})")
        rights = notes + "print(sorted(each['role'] for each in mongo.admin.command('usersInfo', 'slipway')['users'][0]['roles']))"
        assert made.python(rights) == "['root']"
        before_it = fingerprint(made)
        files.write_text(now)
        made.compose("up", "--detach")
        # As a resize reads it, perhaps before it is a replica set.
        assert fingerprint(made) == before_it
        made.ready("mongo")
        assert made.python(notes + "print(*mongo.demo.notes.find(), mongo.admin.command('hello')['setName'])") == "{'_id': 1} slipway"
        assert made.python(rights) == "['clusterMonitor', 'dbAdminAnyDatabase', 'readWriteAnyDatabase']"
        assert fingerprint(made) == before_it
        # And by itself after a restart.
        made.compose("restart", "mongo")
        made.ready("mongo")
        assert made.python(notes + "print(*mongo.demo.notes.find())") == "{'_id': 1}"
