"""Fingerprints on a host: each way of writing gives another one, and reading gives the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PROJECT, Checkout

pytestmark = pytest.mark.xdist_group("machine")

FOLDER = "fingerprints"
MODULES = Path("roles", "stack", "module_utils")
#: Runs each line of its input, and tells by store whether the fingerprint is another one now, and whether its mark has moved.
HARNESS = """
import json, os, sys
sys.path.insert(0, "FOLDER")
from ansible.module_utils.stack_engine import services
from ansible.module_utils.stack_fingerprints import Readers

with Readers(services("slipway"), os.path.expanduser("~/slipway"), 60) as readers:
    known = readers.take()
    for line in sys.stdin:
        os.system(line)
        found = readers.take(known)
        print(json.dumps({name: [found[name][key] != known[name][key] for key in ("said", "mark")] for name in found}))
        known = found
"""
PSQL = 'docker exec slipway-postgres-1 sh -c \'PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE") psql -qU slipway slipway -c "{}"\' >&2'
REDIS = "docker exec slipway-redis-1 sh -c 'REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli {}' >&2"
MONGO = (
    "docker exec slipway-jupyter-1 python -c 'import os, pymongo; env = os.environ; "
    'db = pymongo.MongoClient(env["MONGO_HOST"], username=env["MONGO_USER"], password=env["MONGO_PASSWORD"]).fingerprints; {}\' >&2'
)
HOME = "docker exec slipway-jupyter-1 bash -c 'cd && {}'"
WORK = "cd ~/slipway/work && {}"
#: By store, one after the other: each changes what the store holds.
WRITES: dict[str, list[str]] = {
    "home": [
        HOME.format("mkdir made && echo {} > made/where-it-opens.ipynb"),
        HOME.format("chmod 600 made/where-it-opens.ipynb"),
        HOME.format("mv made/where-it-opens.ipynb elsewhere.ipynb"),
        HOME.format("rm -r made elsewhere.ipynb"),
    ],
    "postgres": [
        PSQL.format("CREATE TABLE prints (n int, m int); INSERT INTO prints VALUES (1, NULL), (2, 2)"),
        PSQL.format("UPDATE prints SET m = 1 WHERE n = 1"),
        PSQL.format("DELETE FROM prints WHERE n = 2"),
        PSQL.format("CREATE UNLOGGED TABLE passing (n int); INSERT INTO passing VALUES (1)"),
        PSQL.format("INSERT INTO passing VALUES (1)"),
        PSQL.format("TRUNCATE passing"),
        PSQL.format("CREATE SEQUENCE prints_numbers"),
        PSQL.format("SELECT nextval('prints_numbers'), nextval('prints_numbers')").replace(
            "'prints_numbers'", "\\$\\$prints_numbers\\$\\$"
        ),
        PSQL.format("CREATE VIEW prints_view AS SELECT 1"),
        PSQL.format("DROP TABLE prints, passing; DROP SEQUENCE prints_numbers; DROP VIEW prints_view"),
    ],
    "redis": [
        REDIS.format("SET prints 1"),
        REDIS.format("INCR prints"),
        REDIS.format("RENAME prints other"),
        REDIS.format("HSET hash a 1 b 2"),
        REDIS.format("HSET hash a 2 b 1"),
        REDIS.format("-n 3 SET other 2"),
        REDIS.format("-n 3 FLUSHDB"),
        REDIS.format("XADD stream 1-1 a b"),
        REDIS.format("XGROUP CREATE stream group 0"),
        REDIS.format("DEL other hash stream"),
    ],
    "mongo": [
        MONGO.format('db.a.insert_one({"_id": 1, "n": 1})'),
        MONGO.format('db.a.update_one({"_id": 1}, {"$set": {"n": 2}})'),
        MONGO.format('db.a.find_one_and_update({"_id": 1}, {"$set": {"n": 3}})'),
        MONGO.format('db.a.aggregate([{"$out": "b"}])'),
        MONGO.format('db.b.rename("c")'),
        MONGO.format("db.c.drop()"),
        MONGO.format('db.create_collection("view", viewOn="a")'),
        MONGO.format("db.view.drop()"),
        MONGO.format("db.client.drop_database(db)"),
    ],
    "notebooks": [
        WORK.format("mkdir prints && echo one > prints/'é 1.ipynb'"),
        WORK.format("echo two > prints/'é 1.ipynb'"),
        WORK.format("printf one > prints/new && touch --date 2020-01-01 prints/new && mv prints/new prints/'é 1.ipynb'"),
        WORK.format("ln -s nowhere prints/link"),
        WORK.format("rm prints/link"),
        WORK.format("chmod g-r prints/'é 1.ipynb'"),
        WORK.format("mkdir prints/empty"),
        WORK.format("rm -r prints"),
    ],
}
#: None of these writes, nor does it keep anything that lasts.
READS = [
    PSQL.format("SELECT count(*) FROM pg_class"),
    REDIS.format("GET nothing"),
    REDIS.format("SET passing 1 EX 100"),
    MONGO.format("list(db.a.find())"),
    WORK.format("ls -R >&2"),
]


@pytest.fixture(scope="module")
def host(machine: Checkout) -> Iterator[Checkout]:
    """The machine with the modules' own files on it."""
    # Where Ansible puts them for a module.
    machine.on_host(f"mkdir --parents {FOLDER}/ansible/module_utils")
    for path in (PROJECT / MODULES).glob("*.py"):
        machine.on_host(f"cat > {FOLDER}/ansible/module_utils/{path.name}", stdin=path.read_text())
    machine.on_host(f"cat > {FOLDER}/harness.py", stdin=HARNESS.replace("FOLDER", FOLDER))
    yield machine
    machine.on_host(f"rm -r {FOLDER}")


def taken(host: Checkout, lines: list[str]) -> list[dict[str, list[bool]]]:
    """For each line, by store: whether the fingerprint is another one, and whether the mark has moved."""
    said = host.on_host(f"python3 {FOLDER}/harness.py", stdin="".join(f"{line}\n" for line in lines))
    return [json.loads(line) for line in said.splitlines()]


@pytest.mark.parametrize("store", WRITES)
def test_every_write_gives_another_one(host: Checkout, store: str) -> None:
    found = taken(host, WRITES[store])
    assert [each[store] for each in found] == [[True, True]] * len(WRITES[store])


def test_reading_gives_the_same(host: Checkout) -> None:
    assert [[name for name, (other, _) in each.items() if other] for each in taken(host, READS)] == [[]] * len(READS)
    # What has not been written to is not read again, but for MongoDB's own writes: a checkpoint each minute, and after the tests above.
    moved = [[name for name, (_, moved) in each.items() if moved] for each in taken(host, [READS[0], READS[1], READS[3], READS[4]] * 4)]
    assert moved.count([]) >= 8, moved


def test_what_cannot_be_read_is_reported_by_the_dry_run(machine: Checkout) -> None:
    machine.on_host("mkdir -p slipway/work/shut/in && chmod 000 slipway/work/shut")
    started = "docker inspect --format '{{.State.StartedAt}}' $(docker ps --quiet) | sort"
    try:
        before = machine.on_host(started)
        refused = machine.orchestrate("resize", "t2.small", "--dry-run")
        assert refused.returncode == 3, refused.stdout + refused.stderr
        assert "'shut'" in refused.stderr
        assert "chmod -R u+rwX" in refused.stderr
        assert "Nothing was stopped" in refused.stderr
        assert machine.on_host(started) == before
    finally:
        machine.on_host("chmod 755 slipway/work/shut && rm -r slipway/work/shut")
