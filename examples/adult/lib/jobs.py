"""Jobs for the workers, and the queue that carries them there.

A worker imports this module for every job: what it imports costs time and memory each time.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

from rq import Queue, Retry
from rq.job import Job, JobStatus

from .stores import connect_to_postgres, connect_to_redis

QUEUE = "default"
#: LabelEncoder of scikit-learn gives the same codes: the labels in alphabetical order, from 0.
TARGETS = ("<=50K", ">50K")


@functools.cache
def queue() -> Queue:
    """Return the one queue that the project's workers listen to."""
    return Queue(QUEUE, connection=connect_to_redis())


def enqueue(function: Callable[..., Any], *arguments: Any) -> Job:
    """Put `function(*arguments)` into the queue and return the job.

    A job whose worker was killed is tried again, up to three times. It may then run twice, so a job has to be of the kind that
    does no harm a second time. The function must be one of a module, not of a notebook: workers import it by its name.
    """
    return queue().enqueue(function, *arguments, retry=Retry(max=3))


def wait(jobs: Sequence[Job], seconds: float = 60) -> list[Any]:
    """Return what the jobs returned, in their order.

    Raises RuntimeError with the error of a job that failed for good, and TimeoutError that counts the jobs which are
    not finished after so many seconds.
    """
    deadline = time.monotonic() + seconds
    # One after the other: to ask for all of them again and again would take the workers' share of a small machine.
    for job in jobs:
        while (state := job.get_status()) != JobStatus.FINISHED:
            if state in {JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED}:
                result = job.latest_result()
                error = (result.exc_string if result else None) or "no error was noted"
                raise RuntimeError(f"The job {job.description} is {state.value}:\n{error.rstrip()}")
            if time.monotonic() > deadline:
                unfinished = sum(not other.is_finished for other in jobs)
                raise TimeoutError(f"{unfinished} of {len(jobs)} jobs are not finished after {seconds:g} s. Does a worker run?")
            time.sleep(0.1)
    return [job.return_value() for job in jobs]


def encode_target(first: int, last: int) -> dict[str, int]:
    """Write a number for the text of the target into the rows of table adult with first <= id <= last.

    Returns how many rows got each code, by label. A label that is not in TARGETS raises ValueError, and nothing is written.
    """
    connection = connect_to_postgres()
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT id, target FROM adult WHERE id BETWEEN %s AND %s ORDER BY id", (first, last))
            rows = cursor.fetchall()
            ids = [number for number, _ in rows]
            codes = [TARGETS.index(label) for _, label in rows]
            cursor.execute(
                "UPDATE adult SET target_code = encoded.code FROM unnest(%s::int[], %s::smallint[]) AS encoded (id, code)"
                " WHERE adult.id = encoded.id",
                (ids, codes),
            )
    finally:
        connection.close()
    return {label: codes.count(code) for code, label in enumerate(TARGETS)}
