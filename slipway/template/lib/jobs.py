"""Jobs for the workers, and the queue that carries them there.

A worker imports this module for every job: what it imports costs time and memory each time.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

from rq import Queue, Retry
from rq.job import Job, JobStatus

from .stores import connect_to_redis

QUEUE = "default"


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

    Raises RuntimeError with the error of the first job that failed for good, and TimeoutError that counts the jobs
    which are not finished after so many seconds.
    """
    deadline = time.monotonic() + seconds
    waiting = list(jobs)
    while waiting:
        states = [(job, job.get_status()) for job in waiting]
        for job, state in states:
            if state in {JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED}:
                result = job.latest_result()
                error = (result.exc_string if result else None) or "no error was noted"
                raise RuntimeError(f"The job {job.description} is {state.value}: {error.strip().splitlines()[-1]}")
        waiting = [job for job, state in states if state != JobStatus.FINISHED]
        if waiting and time.monotonic() > deadline:
            raise TimeoutError(f"{len(waiting)} of {len(jobs)} jobs are not finished after {seconds:g} s. Does a worker run?")
        if waiting:
            time.sleep(0.2)
    return [job.return_value() for job in jobs]


def square(number: int) -> int:
    """Return number², after a while: replace this by work of your own."""
    time.sleep(0.1)
    return number**2
