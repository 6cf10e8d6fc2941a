"""Connections to the project's stores. Hosts, users and passwords come from the environment; none is written here."""

import os
from typing import Any

import redis


def _setting(name: str) -> str:
    """Return a variable of the environment; raise LookupError with what to do where it is missing."""
    if name not in os.environ:
        service = name.partition("_")[0].lower()
        raise LookupError(f"{name} is not set. Is {service} among the services in slipway.yml? Add it, deploy, and start the kernel again.")
    return os.environ[name]


def connect_to_redis(**options: Any) -> redis.Redis:
    """Return a client of the project's Redis. Its answers are bytes; `decode_responses=True` makes them strings.

    Options are those of redis.Redis. A setting that is missing raises LookupError; a server that does not answer within
    10 seconds raises redis.exceptions.ConnectionError with the first command.
    """
    options = {"socket_connect_timeout": 10} | options
    return redis.Redis(host=_setting("REDIS_HOST"), password=_setting("REDIS_PASSWORD"), **options)
