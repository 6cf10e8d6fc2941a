"""Fingerprints of whatever a store can hold: they can be taken, are the same after a restart, and are other ones after a change."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.images.boxes import Box
from tests.images.readers import fingerprints, taken
from tests.modules import load

MIB = 1 << 20
PASSWORD = "se cret"
SECRETS = {f"/run/secrets/{store}_password": (PASSWORD, 0o444) for store in ("redis", "mongo", "postgres")}

# Every kind of relation and column, in databases of three encodings, with settings that are in the way of who reads.
ODD_SQL = r"""
CREATE EXTENSION hstore; CREATE EXTENSION seg; CREATE EXTENSION citext;
CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN blob AS bytea;
CREATE TYPE pair AS (a int, b text);
CREATE TABLE every_type (slipway_row int, a json, b jsonb, c xml, d int4range, e int[], f mood, g positive, h pair,
  i point, j polygon, k hstore,
  l seg, m aclitem[], n citext, o money, p interval, q bit varying, r tsvector, s inet, t uuid, u numeric, v "char", w name, x bytea,
  y timestamptz, z float8, aa blob, ab char(5), ac pair[], ad regclass, ae tstzmultirange);
INSERT INTO every_type VALUES (1, '{"a":  1}', '{"b": [1]}', '<a>é</a>', '[1,5)', '{1,2,NULL}', 'ok', 3, ROW(1,'x'),
  '(1,2)', '((0,0),(1,1))',
  'a=>1', '1 .. 2', '{slipway=r/slipway}', 'Ab', 1.5, '1 day', B'101', 'a b', '10.0.0.1', '00000000-0000-0000-0000-000000000001', 1.10, 'x',
  'nm', '\x00ff', now(), 'NaN', '\x01', 'ab', ARRAY[ROW(1,'y')::pair], 'pg_class', '{[2020-01-01,2020-01-02)}');
INSERT INTO every_type (b, x, aa, e, n) SELECT jsonb_agg(g), decode(repeat('00ff', 500000), 'hex'), decode(repeat('01', 500000), 'hex'),
  array_agg(g),
  repeat('x', 3000000) FROM generate_series(1, 200000) g;
CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES;
CREATE SCHEMA "odd ""schema"; CREATE TABLE "odd ""schema"."new
line 'é" (n int GENERATED ALWAYS AS IDENTITY, m int GENERATED ALWAYS AS (1) STORED); INSERT INTO "odd ""schema"."new
line 'é" DEFAULT VALUES;
CREATE TABLE parts (n int) PARTITION BY RANGE (n); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
INSERT INTO parts VALUES (1), (2);
CREATE MATERIALIZED VIEW filled AS SELECT * FROM parts; CREATE MATERIALIZED VIEW empty AS SELECT * FROM parts WITH NO DATA;
CREATE VIEW seen AS SELECT * FROM parts; CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION public.md5(bytea) RETURNS text LANGUAGE sql AS $$SELECT 'x'$$;
CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS n; CREATE SEQUENCE numbers; SELECT nextval('numbers'); SELECT lo_from_bytea(7, '\x0102');
CREATE TABLE hidden (n int); INSERT INTO hidden VALUES (1);
ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; ALTER TABLE hidden FORCE ROW LEVEL SECURITY;
CREATE EXTENSION file_fdw; CREATE SERVER f FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE elsewhere (t text) SERVER f OPTIONS (filename '/nowhere');
CREATE ROLE limited; CREATE DATABASE "odd = '\ db"; ALTER DATABASE "odd = '\ db" SET role = limited;
CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0;
CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0;
\connect latin
SET client_encoding = 'UTF8'; CREATE TABLE "café" (t text); INSERT INTO "café" VALUES ('é');
\connect ascii
CREATE TABLE raw (t text); INSERT INTO raw VALUES (E'\xe9\xff');
\connect slipway
ALTER ROLE slipway SET statement_timeout = '1ms'; ALTER ROLE slipway SET work_mem = '64kB';
ALTER ROLE slipway SET default_transaction_read_only = on;
ALTER DATABASE slipway SET datestyle = 'German'; ALTER DATABASE slipway SET extra_float_digits = 0;
ALTER DATABASE slipway SET bytea_output = 'escape';
ALTER DATABASE slipway SET search_path = public, pg_catalog;
"""
FREE = "-c statement_timeout=0 -c default_transaction_read_only=off"
SQL_CHANGES = {
    "a value in a large row": "UPDATE every_type SET e[7] = 8 WHERE slipway_row IS NULL",
    "a type without a binary form": "UPDATE every_type SET l = '1 .. 3' WHERE slipway_row = 1",
    "a byte of bytea": r"UPDATE every_type SET x = set_byte(x, 900000, 7) WHERE slipway_row IS NULL",
    "a row of a table without columns": "INSERT INTO nothing DEFAULT VALUES",
    "a hidden row": "UPDATE hidden SET n = 2",
    "a sequence": "SELECT nextval('numbers')",
    "a large object": r"SELECT lo_put(7, 0, '\x09')",
    "a materialised view": "REFRESH MATERIALIZED VIEW empty",
    "a view": "CREATE OR REPLACE VIEW seen AS SELECT * FROM parts WHERE n > 1",
    "a function": "CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 2'",
    "an index": "CREATE INDEX ON parts (n)",
    "a setting": "ALTER ROLE slipway SET work_mem = '128kB'",
}

ODD_MONGO = r"""
const shop = db.getSiblingDB("shop"), gone = db.getSiblingDB("gone"), now = new Date();
shop.orders.insertMany([{_id: 1, open: true, exact: NumberDecimal("1.10"), long: NumberLong("9007199254740993"), least: MinKey()},
  {_id: 2}]);
shop.orders.createIndex({open: 1}, {sparse: true});
shop.createCollection("open_orders", {viewOn: "orders", pipeline: [{$match: {open: true}}]});
shop.createCollection("readings", {timeseries: {timeField: "at", metaField: "sensor"}});
shop.readings.insertMany([...Array(500).keys()].map((n) => ({at: new Date(2026, 0, 1, 0, n), sensor: n % 4, value: n / 7})));
shop.createCollection("passing", {timeseries: {timeField: "at"}, expireAfterSeconds: 1}); shop.passing.insertOne({at: now});
shop.createCollection("capped", {capped: true, size: 100000, max: 3}); shop.capped.insertMany([{a: 1}, {a: 2}, {a: 3}, {a: 4}]);
shop.createCollection("german", {collation: {locale: "de", strength: 1}}); shop.german.insertMany([{_id: "a"}, {_id: "b"}, {x: "B"}]);
shop.createCollection("clustered", {clusteredIndex: {key: {_id: 1}, unique: true}, expireAfterSeconds: 1});
shop.clustered.insertMany([{_id: 1}, {_id: now}]);
for (const name of [" odd \n\"x", "é.ü", " ", "a'b"]) shop.runCommand({insert: name, documents: [{a: 1}]});
shop.sessions.createIndex({at: 1}, {expireAfterSeconds: 1});
shop.sessions.insertMany([{_id: 1, at: now}, {_id: 2, n: 1}, {_id: 3, at: [1, now]}, {_id: 4, at: "text"},
  {_id: 5, big: "x".repeat(15000000)}]);
shop.part.createIndex({at: 1}, {expireAfterSeconds: 1, partialFilterExpression: {gone: true}});
shop.part.insertMany([{_id: 1, at: now, gone: true}, {_id: 2, at: now}]);
shop.getCollection("fs.files").insertOne({_id: 1});
shop.getCollection("fs.chunks").insertMany([...Array(4).keys()].map((n) => ({files_id: 1, n, data: BinData(0, "/w".padEnd(340000, "A"))})));
gone.a.insertOne({_id: 1}); gone.createCollection("v", {viewOn: "a", pipeline: []}); gone.v.drop();
db.getSiblingDB("Ünï-1").a.insertOne({_id: 1});
print("filled");
"""
MONGO_CHANGES = {
    "a view's definition": 'shop.runCommand({collMod: "open_orders", viewOn: "orders", pipeline: []})',
    "a reading": "shop.readings.insertOne({at: new Date(2026, 1, 1), sensor: 1, value: 1})",
    "an index": "shop.orders.createIndex({a: 1})",
    "a document that stays beside those that expire": "shop.sessions.updateOne({_id: 2}, {$set: {n: 2}})",
    "a capped collection": "shop.capped.insertOne({a: 5})",
    "a user": 'shop.createUser({user: "second", pwd: "p", roles: []})',
}


def resp(*words: object) -> bytes:
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack's folder."""
    made = tmp_path_factory.mktemp("stack")
    (made / "secrets").mkdir()
    (made / "secrets" / "mongo_password").write_text(PASSWORD)
    return made


def restarted(box: Box, *ready: str, **environment: str) -> None:
    box.container.restart(timeout=20)
    box.wait(*ready, **environment)


def test_the_fingerprint_of_postgres_covers_every_type_and_setting(start: Callable[..., Box], directory: Path) -> None:
    environment = {"POSTGRES_USER": "slipway", "POSTGRES_PASSWORD_FILE": "/run/secrets/postgres_password"}
    box = start(
        "postgres",
        "postgres",
        "-c",
        "shared_buffers=16MB",
        files=SECRETS | {"/odd.sql": (ODD_SQL, 0o444)},
        environment=environment,
        mem_limit=124 * MIB,
        memswap_limit=124 * MIB,
    )
    ready = ("pg_isready", "-h", "127.0.0.1")
    psql = ("psql", "-XAtqU", "slipway", "-v", "ON_ERROR_STOP=1")
    box.wait(*ready)
    box.out(*psql, "-f", "/odd.sql")
    before = taken(directory, postgres=box)["postgres"]
    assert before.startswith("12 rows in 9 tables sha256/3:")
    restarted(box, *ready)
    last = taken(directory, postgres=box)["postgres"]
    assert last == before
    for name, change in SQL_CHANGES.items():
        box.out(*psql, "-c", change, PGOPTIONS=FREE)
        now = taken(directory, postgres=box)["postgres"]
        assert now != last, name
        last = now


def test_a_sequence_that_moves_without_a_transaction_changes_the_fingerprint(start: Callable[..., Box], directory: Path) -> None:
    environment = {"POSTGRES_USER": "slipway", "POSTGRES_PASSWORD_FILE": "/run/secrets/postgres_password"}
    box = start("postgres", files=SECRETS, environment=environment).wait("pg_isready", "-h", "127.0.0.1")
    psql = ("psql", "-XAtqU", "slipway", "-c")
    box.out(*psql, "CREATE SEQUENCE numbers; SELECT nextval('numbers')")
    with fingerprints.Readers({"postgres": {"Id": box.container.id}}, str(directory), 20) as readers:
        known = readers.take()
        assert readers.take(known) == known
        box.out(*psql, "SELECT nextval('numbers')")
        assert readers.take(known)["postgres"]["said"] != known["postgres"]["said"]


def test_the_fingerprint_of_mongo_covers_every_kind_and_leaves_out_what_expires(start: Callable[..., Box], directory: Path) -> None:
    environment = {"MONGO_INITDB_ROOT_USERNAME": "slipway", "MONGO_INITDB_ROOT_PASSWORD_FILE": "/run/secrets/mongo_password"}
    command = ("mongod", "--wiredTigerEngineConfigString", "cache_size=64m", "--setParameter", "ttlMonitorSleepSecs=1")
    login = f'db.getSiblingDB("admin").auth("slipway", "{PASSWORD}"); const shop = db.getSiblingDB("shop");'
    box = start("mongo", *command, files=SECRETS | {"/odd.js": (login.split("const")[0] + ODD_MONGO, 0o444)}, environment=environment)
    ready = ("sh", "-c", "grep -q mongod /proc/1/comm && mongosh --quiet --eval 1")
    box.wait(*ready)
    assert "filled" in box.out("mongosh", "--quiet", "/odd.js")
    before = taken(directory, mongo=box)["mongo"]
    end = time.monotonic() + 20
    while (
        box.out("mongosh", "--quiet", "--eval", f"{login} print(shop.sessions.countDocuments({{}}), shop.part.countDocuments({{}}))")
        != "3 1"
    ):
        assert time.monotonic() < end
    assert taken(directory, mongo=box)["mongo"] == before
    restarted(box, *ready)
    last = taken(directory, mongo=box)["mongo"]
    assert last == before
    for name, change in MONGO_CHANGES.items():
        box.out("mongosh", "--quiet", "--eval", login + change)
        now = taken(directory, mongo=box)["mongo"]
        assert now != last, name
        last = now


def filled(box: Box, *commands: bytes) -> None:
    """Give Redis these commands from here: a client in its container would take its memory."""
    address = (
        load("stack_engine").Engine().ask(f"/containers/{box.container.id}/json")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    )
    with socket.create_connection((address, 6379), timeout=60) as connection, connection.makefile("rb") as answers:
        for command in (resp("AUTH", PASSWORD), *commands):
            connection.sendall(command)
            said = answers.readline()
            assert not said.startswith(b"-"), said


SMALL_REDIS = (
    "redis-server",
    "--appendonly",
    "yes",
    "--maxmemory",
    "45mb",
    "--maxmemory-policy",
    "noeviction",
    "--requirepass",
    PASSWORD,
)


@pytest.fixture
def small_redis(start: Callable[..., Box]) -> Box:
    """As on a t2.micro."""
    box = start("redis", *SMALL_REDIS, files=SECRETS, mem_limit=60 * MIB, memswap_limit=60 * MIB)
    return box.wait("redis-cli", "ping", REDISCLI_AUTH=PASSWORD)


def test_redis_that_still_reads_its_data_is_waited_for(start: Callable[..., Box], directory: Path) -> None:
    # Redis's own way to load slowly, in microseconds for each command of its log; meanwhile INFO answers, and knows of no key.
    box = start("redis", *SMALL_REDIS, "--key-load-delay", "1000", files=SECRETS)
    box.wait("redis-cli", "ping", REDISCLI_AUTH=PASSWORD)
    passing = [command for _ in range(3000) for command in (resp("SET", "passing", "x"), resp("DEL", "passing"))]
    # It answers after each 1024 commands, of which its log's own SELECT is the first: with these no key is there then.
    odd = [resp("MSET", "first", 1, "second", 2), resp("DEL", "first"), resp("DEL", "second")]
    filled(box, *odd, *passing, *[resp("SET", f"kept:{n}", n) for n in range(50)])
    said = taken(directory, redis=box)["redis"]
    assert said.startswith("50 keys ")
    box.container.restart(timeout=20)
    assert taken(directory, redis=box)["redis"] == said


def pairs(first: int, count: int, size: int) -> list[object]:
    return [word for n in range(first, first + count) for word in (f"customer:{n}", os.urandom(size))]


#: By what one key holds, 20 to 41 MB each: more than there is room for once more.
LARGE: dict[str, Callable[[], list[bytes]]] = {
    "hash": lambda: [resp("HSET", "large", *pairs(first, 1000, 360)) for first in range(0, 100_000, 1000)],
    "set": lambda: [resp("SADD", "large", *(os.urandom(200) for _ in range(1000))) for _ in range(120)],
    "zset": lambda: [resp("ZADD", "large", *(word for n in range(1000) for word in (n / 7, os.urandom(200)))) for _ in range(80)],
    "list": lambda: [resp("RPUSH", "large", *(os.urandom(300) for _ in range(1000))) for _ in range(120)],
    "stream": lambda: [resp("XADD", "large", f"1-{n + 1}", "f", os.urandom(1000)) for n in range(30_000)],
    "string": lambda: [resp("SETRANGE", "large", 20_000_000, "x")],
    "fields of a megabyte": lambda: [resp("HSET", "large", n, os.urandom(1 << 20)) for n in range(25)],
}


@pytest.mark.parametrize(
    "kind", [*["hash", "list"], *(pytest.param(kind, marks=pytest.mark.long) for kind in LARGE if kind not in ("hash", "list"))]
)
def test_redis_with_one_large_value_is_not_killed(small_redis: Box, directory: Path, kind: str) -> None:
    filled(small_redis, *LARGE[kind]())
    said = taken(directory, redis=small_redis)["redis"]
    small_redis.container.reload()
    state = small_redis.container.attrs
    assert (state["RestartCount"], state["State"]["OOMKilled"], state["State"]["Running"]) == (0, False, True)
    assert said.startswith("1 keys sha256/3:")
    assert taken(directory, redis=small_redis)["redis"] == said


_ODD = b"\xff\n\r\n \x00"
_MEMBERS = [struct.pack(">I", n) + _ODD for n in range(3000)]
#: A value of every type, with names and members of any bytes, in three databases, and some that expire.
ODD_REDIS = [
    *(resp("SET", _ODD + b"%d" % n, n) for n in range(2000)),
    resp("SET", "", ""),
    resp("SET", "long", "x" * 300_000),
    resp("SETBIT", "bits", 99, 1),
    resp("PFADD", "log", 1, 2),
    resp("HSET", "small hash", _ODD, _ODD, "", ""),
    resp("HSET", "hash", *(word for each in _MEMBERS for word in (each, _ODD))),
    resp("SADD", "numbers", 1, 2, 3),
    resp("SADD", "set", *_MEMBERS),
    resp("RPUSH", "small list", "a", _ODD, ""),
    resp("RPUSH", "list", *_MEMBERS),
    resp("ZADD", "small zset", 0.1, "a", "-inf", "b", 1e300, "c"),
    resp("ZADD", "zset", *(w for n, each in enumerate(_MEMBERS) for w in (n / 7, each))),
    resp("GEOADD", "places", 13.4, 52.5, "berlin"),
    resp("XADD", "stream", "1-1", "a", _ODD),
    resp("XGROUP", "CREATE", "stream", "group", 0),
    resp("SETEX", "passing", 1, "x"),
    resp("SELECT", 15),
    resp("SET", "other", 1),
    resp("SELECT", 3),
    resp("SETEX", "only passing", 1, "x"),
]


def test_the_fingerprint_of_redis_covers_every_type_in_several_databases(small_redis: Box, directory: Path) -> None:
    assert taken(directory, redis=small_redis)["redis"].startswith("0 keys ")
    filled(small_redis, *ODD_REDIS)
    said = taken(directory, redis=small_redis)["redis"]
    assert said.startswith("2015 keys ")
    time.sleep(1.2)
    assert taken(directory, redis=small_redis)["redis"] == said
    # Its tables are others then: the same keys come in another order.
    restarted(small_redis, "redis-cli", "ping", REDISCLI_AUTH=PASSWORD)
    assert taken(directory, redis=small_redis)["redis"] == said
    changes = [
        resp("SETRANGE", "long", 299_999, "y"),
        resp("HSET", "hash", _MEMBERS[7], "y"),
        resp("SREM", "set", _MEMBERS[7]),
        resp("LSET", "list", 7, "y"),
        resp("ZINCRBY", "zset", 1, _MEMBERS[7]),
        resp("XGROUP", "SETID", "stream", "group", "1-1"),
        resp("HSET", "small hash", "", "y"),
        resp("LSET", "small list", 0, _ODD),
        resp("ZADD", "small zset", 0.2, "a"),
        resp("RENAME", "numbers", "numerals"),
    ]
    for change in changes:
        filled(small_redis, change)
        now = taken(directory, redis=small_redis)["redis"]
        assert now != said, change
        said = now


LOOK = """
import sys
sys.path.insert(0, "/tmp/modules")
from ansible.module_utils.stack_store_files import Notebooks
try:
    print(Notebooks("/tmp/stack").read("")["said"])
except Exception as refused:
    print(type(refused).__name__, refused)
"""
FILES = """
mkdir -p /tmp/stack/work/empty /tmp/stack/work/d && cd /tmp/stack/work && echo 1 > d/a && ln -s nowhere link && mkfifo fifo
python - <<'END'
import os, socket
open(b"/tmp/stack/work/\\xff\\xfe\\n", "w").write("x")
socket.socket(socket.AF_UNIX).bind("/tmp/stack/work/socket")
END
"""
FILE_CHANGES = ["rmdir empty", "chmod u+x d/a", "ln -sfn elsewhere link", "rm fifo", "mv d/a d/b", "touch d/c", "mv d e", "chmod g-rx e"]


def test_files_that_cannot_be_read_are_named_and_every_other_one_is_compared(notebook: Box) -> None:
    for path in (PROJECT / "roles" / "stack" / "module_utils").glob("*.py"):
        notebook.out(
            "sh",
            "-c",
            f"mkdir -p /tmp/modules/ansible/module_utils && cat > /tmp/modules/ansible/module_utils/{path.name} <<'END'\n"
            f"{path.read_text()}\nEND",
        )
    notebook.out("bash", "-c", FILES)
    look = ("python", "-c", LOOK)
    said = notebook.out(*look)
    assert said.startswith("5 files sha256/3:")
    for change in FILE_CHANGES:
        notebook.out("bash", "-c", f"cd /tmp/stack/work && {change}")
        now = notebook.out(*look)
        assert "files sha256/3:" in now
        assert now != said, change
        said = now
    notebook.out("bash", "-c", "cd /tmp/stack/work && mkdir -p shut/in && echo 1 > e/shut && chmod 000 e/shut shut")
    refused = notebook.out(*look)
    assert (
        refused.startswith("StoreError the machine's user may not read 'e/shut', 'shut' in /tmp/stack/work.")
        or "'shut', 'e/shut'" in refused
    )
    assert "chmod -R u+rwX /tmp/stack/work" in refused
    notebook.out("bash", "-c", "chmod -R u+rwX /tmp/stack/work")
    assert "files sha256/3:" in notebook.out(*look)
