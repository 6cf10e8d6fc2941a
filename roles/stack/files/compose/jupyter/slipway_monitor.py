"""The monitor, rq-dashboard, with pages of every job and behind a door: `python -P -m slipway_monitor`.

What a job was given and returned is the project's own: a class of lib/, an array, whatever. The monitor imports nothing of it. It shows
plain values as they are, of others the names of their types, and of large ones the size.
"""

import datetime
import decimal
import io
import json
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import rq
import slipway_rq as settings
from flask import Flask
from rq.job import Job
from rq.results import Result
from rq.serializers import DefaultSerializer
from rq_dashboard import cli, web
from slipway_door import Door

RQ_DASHBOARD_REDIS_HOST = settings.REDIS_HOST
RQ_DASHBOARD_REDIS_PASSWORD = settings.REDIS_PASSWORD
RQ_DASHBOARD_REDIS_URL = f"redis://{settings.REDIS_HOST}:6379"

#: In a folder that is mounted as a whole: a file that was replaced is seen.
TOKEN = Path("/run/slipway/monitor_token")

MIB = 2**20
#: Larger results are neither fetched nor read: the monitor has 64 MiB at least.
MOST_BYTES = 256 * 1024
MOST_LETTERS = 2000
#: What may be made of a pickle beside Python's plain values.
_KNOWN = (datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone, decimal.Decimal, OrderedDict)
_SAFE = {(each.__module__, each.__name__): each for each in (*_KNOWN, set, frozenset, complex, bytearray, range)}


class _Unpickler(pickle.Unpickler):
    """Makes of any pickle what can be shown; what it names is neither imported nor called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _SAFE:
            return _SAFE[module, name]
        # An array is made by a function of this name.
        # The pages take what is between < and > for HTML.
        words = "numpy.ndarray" if name in ("_reconstruct", "_frombuffer") and module.startswith("numpy") else f"{module}.{name}"

        class Shown:
            """Takes whatever a pickle gives it, and keeps nothing."""

            def __new__(cls, *_: Any, **__: Any) -> Any:
                return super().__new__(cls)

            def __init__(self, *_: Any, **__: Any) -> None:
                pass

            def take(self, *_: Any, **__: Any) -> Any:
                return self

            __call__ = __setstate__ = __setitem__ = append = extend = add = take

            def __repr__(self) -> str:
                return words

        return Shown


def shown(pickled: bytes) -> Any:
    """A pickled value as JSON can carry it."""
    if len(pickled) > MOST_BYTES:
        return f"{len(pickled) / MIB:.1f} MiB, not shown"
    try:
        value = _Unpickler(io.BytesIO(pickled)).load()
        text = repr(value)
    except Exception as unread:
        return f"cannot be shown: {type(unread).__name__}"
    try:
        # As the pages' JSON is written: browsers take no NaN.
        json.dumps(value, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        value = text
    return value if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}…"


class Serializer(DefaultSerializer):
    """Reads for the pages."""

    loads = staticmethod(shown)


class ShownJob(Job):
    """A job to look at: what it was called with is not read, and nothing of it can be saved."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.serializer = Serializer

    def restore(self, raw_data: Any) -> None:
        # Small in Redis, its arguments may be large when they are unpacked.
        super().restore({**raw_data, b"data": b""})

    def get_call_string(self) -> str | None:
        return self.description

    def latest_result(self, timeout: int = 0) -> Result | None:
        size = self.connection.memory_usage(Result.get_key(self.id), samples=0) or 0
        if size <= 2 * MOST_BYTES:
            return super().latest_result(timeout)
        text = f"{size / MIB:.1f} MiB in Redis, not shown"
        return Result(self.id, Result.Type.SUCCESSFUL, self.connection, id="large", return_value=text)

    @property
    def dependency_ids(self) -> list[Any]:
        # rq-dashboard 0.9 decodes them, and RQ 2 has done so.
        return [each.encode() for each in super().dependency_ids]

    def to_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        raise TypeError("A job that is only shown cannot be saved.")


def gated(app: Flask) -> Flask:
    """The application, behind its door."""
    paths = app.url_map.bind("127.0.0.1")
    # rq-dashboard's `requeue all` takes a GET too.
    app.wsgi_app = Door(app.wsgi_app, "monitor", TOKEN, lambda path: "POST" in paths.allowed_methods(path))  # type: ignore[method-assign]
    return app


def main() -> None:
    """Serve the pages."""
    web.Job = rq.Queue.job_class = rq.Worker.job_class = ShownJob
    web.config.serializer = Serializer
    make = cli.make_flask_app
    cli.make_flask_app = lambda *words, **options: gated(make(*words, **options))
    # It logs errors alone: no address of a request, which may have the token.
    cli.run(["--config", "slipway_monitor"])


if __name__ == "__main__":
    main()
