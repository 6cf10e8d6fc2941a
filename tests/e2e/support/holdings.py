"""What a user keeps on a machine: rows, documents, keys, notebooks and a home, written once and read back after whatever happens."""

from __future__ import annotations

import json
from typing import Any

from tests.conftest import Checkout
from tests.e2e.faults import SHOWN, healthy

NUMBER = 10_000
_CONNECT = """
import json, os, pathlib, site
import psycopg2, psycopg2.extras, pymongo, redis

env, number = os.environ, NUMBER
cache = redis.Redis(host=env["REDIS_HOST"], password=env["REDIS_PASSWORD"])
mongo = pymongo.MongoClient(env["MONGO_HOST"], username=env["MONGO_USER"], password=env["MONGO_PASSWORD"])
sql = psycopg2.connect(
    host=env["POSTGRES_HOST"], user=env["POSTGRES_USER"], dbname=env["POSTGRES_DB"], password=env["POSTGRES_PASSWORD"]
)
folder, home = pathlib.Path("/home/jovyan/work/holdings"), pathlib.Path("/home/jovyan")
"""
_FILL = """
with sql, sql.cursor() as cursor:
    cursor.execute("CREATE TABLE holdings (n int PRIMARY KEY, word text, score double precision, made timestamptz DEFAULT now())")
    psycopg2.extras.execute_values(cursor, "INSERT INTO holdings VALUES %s", [(n, f"word {n}", n / 7) for n in range(number)])
mongo.holdings.notes.insert_many([{"_id": n, "word": f"word {n}", "tags": ["a", "b"]} for n in range(number)])
with cache.pipeline() as pipe:
    for n in range(number):
        pipe.set(f"holdings:{n}", n)
    pipe.sadd("holdings:set", *range(2000))
    pipe.hset("holdings:hash", mapping={str(n): n for n in range(2000)})
    pipe.zadd("holdings:zset", {str(n): n for n in range(2000)})
    pipe.rpush("holdings:list", *range(2000))
    pipe.xadd("holdings:stream", {"a": "b"})
    pipe.setex("holdings:passing", 5, "gone soon")
    pipe.execute()
folder.mkdir()
for n in range(20):
    (folder / f"notebook é {n}.ipynb").write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5, "n": n}))
package = pathlib.Path(site.getusersitepackages(), "holdings_by_hand")
for made in (package, home / "where it opens", home / ".jupyter" / "lab" / "user-settings"):
    made.mkdir(parents=True, exist_ok=True)
(package / "__init__.py").write_text("value = 42")
(home / ".gitconfig").write_text("[user]\\n\\tname = me\\n")
(home / "where it opens" / "made é.ipynb").write_text("{}")
(home / "a link").symlink_to("where it opens")
"""
_COUNT = """
with sql, sql.cursor() as cursor:
    cursor.execute("SELECT count(*), sum(n) FROM holdings WHERE score = n / 7.0::double precision")
    rows = [str(value) for value in cursor.fetchone()]
notes = mongo.holdings.notes
documents = [notes.count_documents({}), sum(note["_id"] for note in notes.find())]
keys = cache.mget([f"holdings:{n}" for n in range(number)])
kept = [cache.scard("holdings:set"), cache.hlen("holdings:hash"), cache.zcard("holdings:zset")]
kept += [cache.llen("holdings:list"), cache.xlen("holdings:stream")]
files = sorted(path.name for path in folder.iterdir())
import holdings_by_hand
files += [(home / "a link" / "made é.ipynb").read_text(), (home / ".gitconfig").read_text(), holdings_by_hand.value]
print(json.dumps([rows, documents, sum(map(int, keys)), kept, files]))
"""
_READ = _CONNECT.replace("NUMBER", str(NUMBER)) + _COUNT
#: What resizes were once lost to: views and time series, one hash that fills most of a small Redis, and a user's own settings.
_ODD = """
import datetime
mongo.holdings.create_collection("seen", viewOn="notes")
mongo.holdings.create_collection("series", timeseries={"timeField": "at"})
mongo.holdings.create_collection("capped", capped=True, size=9999)
mongo.holdings.series.insert_many([{"at": datetime.datetime(2026, 1, 1, minute=n), "n": n} for n in range(60)])
mongo.holdings.passing.create_index("at", expireAfterSeconds=1)
mongo.holdings.passing.insert_many([{"at": datetime.datetime.now(datetime.UTC)}, {"at": None}])
for start in range(0, 100_000, 2000):
    cache.hset("holdings:large", mapping={f"field {n}": os.urandom(250) for n in range(start, start + 2000)})
with sql, sql.cursor() as cursor:
    cursor.execute("CREATE TABLE odd (); CREATE SEQUENCE odd_numbers; SELECT nextval('odd_numbers'), lo_from_bytea(7, 'x')")
    cursor.execute("CREATE MATERIALIZED VIEW odd_view AS SELECT 1 AS n WITH NO DATA")
    cursor.execute("ALTER ROLE slipway SET statement_timeout = '1s'; ALTER DATABASE slipway SET search_path = public, pg_catalog")
"""
PYTHON = "docker exec --interactive slipway-jupyter-1 python -"


def fill(machine: Checkout) -> None:
    """Write them, from a notebook's place."""
    machine.on_host(PYTHON, stdin=_CONNECT.replace("NUMBER", str(NUMBER)) + _FILL)


def odd(machine: Checkout) -> None:
    """Write what is harder to read than that."""
    machine.on_host(PYTHON, stdin=_CONNECT.replace("NUMBER", str(NUMBER)) + _ODD)


#: What `read` finds where nothing is lost.
WHOLE = [
    [str(NUMBER), str(sum(range(NUMBER)))],
    [NUMBER, sum(range(NUMBER))],
    sum(range(NUMBER)),
    [2000, 2000, 2000, 2000, 1],
    [*sorted(f"notebook é {n}.ipynb" for n in range(20)), "{}", "[user]\n\tname = me\n", 42],
]


def read(machine: Checkout) -> Any:
    """All that counts of them."""
    return json.loads(machine.on_host(PYTHON, stdin=_READ))


def serving(machine: Checkout) -> Any:
    """The same, where every service is healthy; both in one login, for a Python and an SSH of their own cost more than the looks."""
    *shown, held = machine.on_host(f"{SHOWN} && {PYTHON}", stdin=_READ).splitlines()
    healthy(shown)
    return json.loads(held)
