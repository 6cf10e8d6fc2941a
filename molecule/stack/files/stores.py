"""Write a row to each store, read it back, and try again without the password. Runs in the Jupyter container.

Prints JSON: by store, what was written, what was found, and how the store refused.
"""

import json
import os
import uuid
from collections.abc import Callable

import psycopg2
import pymongo
import redis


def use_redis(row: str, password: str | None) -> str:
    """Set a key and return what is read back."""
    # Protocol 3 says hello first, and is refused for that.
    client = redis.Redis(host="redis", password=password, protocol=2, decode_responses=True)
    client.set(row, row)
    return str(client.get(row))


def use_mongo(row: str, password: str | None) -> str:
    """Insert a document and return what is found."""
    login = {"username": "slipway", "password": password} if password else {}
    rows = pymongo.MongoClient("mongo", **login).molecule.rows
    rows.insert_one({"_id": row})
    return str(rows.find_one({"_id": row})["_id"])


def use_postgres(row: str, password: str | None) -> str:
    """Insert a row, and return what another transaction finds."""
    with psycopg2.connect(host="postgres", user="slipway", dbname="slipway", password=password) as link, link.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS molecule (row text)")
        cursor.execute("INSERT INTO molecule VALUES (%s)", (row,))
    with link, link.cursor() as cursor:
        cursor.execute("SELECT row FROM molecule WHERE row = %s", (row,))
        return str(cursor.fetchone()[0])


def refusal(use: Callable[[str, str | None], str]) -> str:
    """How the store refuses without a password; empty where it does not."""
    try:
        use(uuid.uuid4().hex, None)
    except (redis.RedisError, pymongo.errors.PyMongoError, psycopg2.Error) as refused:
        return str(refused)
    return ""


def main() -> None:
    """Use each store with the password of the environment, then without."""
    result = {}
    for name, use in {"redis": use_redis, "mongo": use_mongo, "postgres": use_postgres}.items():
        row = uuid.uuid4().hex
        found = use(row, os.environ[f"{name.upper()}_PASSWORD"])
        result[name] = {"written": row, "found": found, "refusal": refusal(use)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
