"""Jobs for the workers, and the queue that carries them there.

A worker imports this module for every job: what it imports costs time and memory each time.
"""

import functools
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from rq import Queue, Worker
from rq.job import Job, JobStatus
from rq.results import Result

from .stores import connect_to_redis

QUEUE = "default"
#: Seconds that the workers keep a result until it is read, and that it is kept afterwards.
KEPT, READ = 7 * 24 * 3600, 3600
#: Seconds without any worker after which `wait` gives up.
NO_WORKER = 60


@functools.cache
def queue() -> Queue:
    """Return the one queue that the project's workers listen to."""
    return Queue(QUEUE, connection=connect_to_redis())


def enqueue(function: Callable[..., Any], *arguments: Any, timeout: int | None = None) -> Job:
    """Put `function(*arguments)` into the queue and return the job.

    The job may take as long as it takes, or `timeout` seconds at most. One whose worker was stopped or killed is run again: a job has
    to be of the kind that does no harm a second time. The function must be one of a module, not of a notebook: workers import it by
    its name.
    """
    return queue().enqueue_call(function, arguments, timeout=-1 if timeout is None else timeout)


def wait(jobs: Sequence[Job], seconds: float | None = None) -> list[Any]:
    """Return what the jobs returned, in their order. Results are kept for a week, and for an hour after they were read here.

    Waits as long as a worker runs, or `seconds` at most. Raises RuntimeError with the error of the first job that failed, LookupError
    for one whose result is no longer there, and TimeoutError that says what the jobs which are not finished wait for.
    """
    begun = worked = time.monotonic()
    pause, waiting = 0.05, list(jobs)
    while waiting := [job for job, state in zip(waiting, _states(waiting), strict=True) if not _finished(job, state)]:
        now = time.monotonic()
        if _workers():
            worked = now
        if now - worked > NO_WORKER or (seconds is not None and now - begun > seconds):
            raise TimeoutError(_unfinished(waiting, len(jobs), now - begun))
        time.sleep(pause)
        pause = min(2 * pause, 1)
    results = [_result(job) for job in jobs]
    with queue().connection.pipeline() as pipeline:
        # One that was enqueued with a time of its own keeps it.
        for job in (job for job in jobs if job.result_ttl is None):
            pipeline.expire(Result.get_key(job.id), READ)
            job.cleanup(READ, pipeline)
            job.finished_job_registry.add(job, READ, pipeline)
        pipeline.execute()
    return results


def _states(jobs: Sequence[Job]) -> list[JobStatus | None]:
    """Their states, by one question; none of a job that Redis no longer has."""
    with queue().connection.pipeline() as pipeline:
        for job in jobs:
            pipeline.hget(job.key, "status")
        return [JobStatus(state.decode()) if state else None for state in pipeline.execute()]


def _finished(job: Job, state: JobStatus | None) -> bool:
    """Whether it is. Raises LookupError if it is gone, and RuntimeError if it has failed."""
    if state is None:
        raise LookupError(_gone(job))
    if state in {JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED}:
        result = job.latest_result()
        error = (result.exc_string if result else None) or "no error was noted"
        raise RuntimeError(f"The job {job.description} is {state.value}: {error.strip().splitlines()[-1]}")
    return state == JobStatus.FINISHED


def _result(job: Job) -> Any:
    """What it returned, which may be None. Raises LookupError if that is gone, and RuntimeError if it cannot be read here."""
    try:
        result = job.latest_result()
    except Exception as error:
        raise RuntimeError(f"The result of {job.description} cannot be read here: {type(error).__name__}: {error}") from error
    if result is None:
        raise LookupError(_gone(job))
    return result.return_value


def _gone(job: Job) -> str:
    kept = f"{KEPT // 86400} days, or {READ // 60} minutes after `wait` has read it"
    return f"The result of {job.description} is gone: it is kept for {kept}, or it was removed from Redis. Enqueue the job again."


def _workers() -> int:
    """How many workers have been heard of in the last minute."""
    heard = [worker.last_heartbeat for worker in Worker.all(queue=queue())]
    return sum((datetime.now(UTC) - beat.replace(tzinfo=UTC)).total_seconds() < NO_WORKER for beat in heard if beat)


def _unfinished(waiting: Sequence[Job], total: int, seconds: float) -> str:
    states = _states(waiting)
    counts = ", ".join(f"{states.count(state)} {state.value}" for state in JobStatus if state in states)
    found = f"{len(waiting)} of {total} jobs are not finished after {seconds:.0f} s: {counts}. Workers that run: {_workers()}."
    return f"{found} `status` says why a worker cannot work; wait(jobs, seconds=…) waits longer."


def square(number: int) -> int:
    """Return number², after a while: replace this by work of your own."""
    time.sleep(0.1)
    return number**2
