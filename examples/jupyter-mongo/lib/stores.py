"""Connections to the project's stores. Hosts, users and passwords come from the environment; none is written here."""

import os
from typing import Any

import pymongo


def _setting(name: str) -> str:
    """Return a variable of the environment; raise LookupError with what to do where it is missing."""
    if name not in os.environ:
        service = name.partition("_")[0].lower()
        raise LookupError(f"{name} is not set. Is {service} among the services in slipway.yml? Add it, deploy, and start the kernel again.")
    return os.environ[name]


def connect_to_mongo(**options: Any) -> pymongo.MongoClient[dict[str, Any]]:
    """Return a client of the project's MongoDB: `connect_to_mongo().shop.orders` is the collection orders of the database shop.

    Options are those of pymongo.MongoClient. A setting that is missing raises LookupError; a server that does not answer
    within 10 seconds raises pymongo.errors.ServerSelectionTimeoutError with the first command.
    """
    options = {"serverSelectionTimeoutMS": 10_000} | options
    return pymongo.MongoClient(_setting("MONGO_HOST"), username=_setting("MONGO_USER"), password=_setting("MONGO_PASSWORD"), **options)
