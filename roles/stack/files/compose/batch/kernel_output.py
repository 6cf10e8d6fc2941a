"""What a Python kernel does before the first cell: its output waits for the runner, and is counted.

A ZeroMQ publisher drops what its subscriber has not read yet, beyond 1,000 messages and without a word: a cell that prints more lines than
that, each flushed, loses some. With XPUB_NODROP it waits instead. https://libzmq.readthedocs.io/en/latest/zmq_setsockopt.html
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import zmq
from ipykernel.kernelapp import IPKernelApp

thread = IPKernelApp.instance().iopub_thread
send = thread.send_multipart
thread.slipway_sent = 0


def counted(*arguments: Any, **options: Any) -> None:
    thread.slipway_sent += 1
    send(*arguments, **options)


def count() -> int:
    """How many messages were sent until now, with all that was printed."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    return int(thread.slipway_sent)


thread.send_multipart = counted
thread.slipway_count = count
# In the thread that owns the socket.
thread.schedule(lambda: thread.socket.setsockopt(zmq.XPUB_NODROP, 1))
