"""Of RQ's worker what finds the jobs of workers that are gone, and has them done again: each job runs at least once."""

import contextlib
import socket
import time
from typing import Any, NamedTuple
from uuid import uuid4

import rq
import slipway_rq as settings
from redis.exceptions import LockError
from rq.executions import Execution
from rq.job import JobStatus
from rq.utils import as_text, now, utcparse
from rq.worker_registration import register


class Lost(NamedTuple):
    """A job whose worker is gone. `execution` is None where the worker had taken it from the queue, and no more.

    `planned`: the worker was stopped, or the host was: the job has not taken it down.
    """

    queue: rq.Queue
    job_id: str
    execution: Execution | None
    planned: bool = False


class Keeper(rq.Worker):
    """Runs again what a worker that is gone had begun.

    RQ gives such a job up a minute after its worker's last heartbeat, if a worker is idle then, and counts it as failed
    unless it was enqueued with a Retry. Here every worker looks, idle or busy, with each of its own heartbeats.
    """

    #: Seconds between two looks at least; heartbeats come each job_monitoring_interval, or worker_ttl less 15.
    look_seconds = 3
    #: Silent so long and not connected to Redis: gone. Three heartbeats, in which a live one connects again.
    gone_seconds = 15
    #: Silent so long: gone, whatever Redis knows of it, which does not notice when a machine loses its power.
    silent_seconds = 60
    #: Taken from the queue so long ago, and not begun by any worker: lost. To begin a job takes a worker some milliseconds.
    taken_seconds = 30
    #: A job that takes its worker down each time fails in the end.
    most_losses = 3

    def __init__(self, queues: Any, name: str | None = None, *args: Any, **options: Any) -> None:
        super().__init__(queues, name or f"{socket.gethostname()}.{uuid4().hex[:8]}", *args, **options)
        #: When it looked last, and when Redis did not serve it last.
        self.looked = self.troubled = float("-inf")
        if self.pid:
            # By these names Redis tells who is connected.
            self.connection.connection_pool.connection_kwargs["client_name"] = self.name

    def look(self) -> None:
        """Put lost jobs back at the front of their queue; say that this worker is alive."""
        if self.is_horse or time.monotonic() - self.looked < self.look_seconds:
            return
        self.looked = time.monotonic()
        if not self.connection.sismember(self.redis_workers_keys, self.key):
            # Redis was emptied.
            self.connection.hset(self.key, mapping=self.serialize())
            register(self)
        # After a trouble with Redis the others have to find it again too.
        if time.monotonic() - self.troubled >= self.gone_seconds and self.lost():
            self.put_back()
        settings.TROUBLE.unlink(missing_ok=True)
        settings.ALIVE.touch()

    def put_back(self) -> None:
        lock = self.connection.lock("slipway:put-back", timeout=10)
        if not lock.acquire(blocking=False):
            return
        # Another worker may have been here first.
        for lost in self.lost():
            self.put_back_one(lost)
        with contextlib.suppress(LockError):
            lock.release()

    def lost(self) -> list[Lost]:
        lost = []
        for queue in self.queues:
            registry = queue.started_job_registry
            begun = [Execution(run, job_id, self.connection) for job_id, run in registry.get_job_and_execution_ids(cleanup=False)]
            planned = set()
            for execution in begun:
                name, boot, stopped = self.connection.hmget(execution.key, "worker_name", "boot", "stopped")
                execution.worker_name = as_text(name or b"")
                if stopped or (boot and as_text(boot) != settings.BOOT):
                    planned.add(execution.id)
            # One without a name has ended meanwhile.
            gone = self.gone({execution.worker_name for execution in begun} - {self.name, ""})
            lost += [Lost(queue, each.job_id, each, each.id in planned) for each in begun if each.worker_name in gone]
            taken = set(queue.intermediate_queue.get_job_ids()) - {execution.job_id for execution in begun}
            lost += [Lost(queue, job_id, None) for job_id in taken if self.taken_long_ago(queue, job_id)]
        return lost

    def gone(self, workers: set[str]) -> set[str]:
        """Those of the workers that no longer run."""
        silent = {}
        for name in workers:
            heartbeat, hostname = self.connection.hmget(self.redis_worker_namespace_prefix + name, "last_heartbeat", "hostname")
            seconds = (now() - utcparse(as_text(heartbeat))).total_seconds() if heartbeat else self.silent_seconds
            # An earlier life of this container is told by its name, and needs no time.
            here = hostname is not None and as_text(hostname) == self.hostname
            if here or seconds >= self.gone_seconds:
                silent[name] = seconds
        connected = {client["name"] for client in self.connection.client_list()} if silent else set()
        if silent and self.connection.info("server")["uptime_in_seconds"] < self.gone_seconds:
            # Redis has just started: the others may not have found it yet. An earlier life of this container never will.
            silent = {name: seconds for name, seconds in silent.items() if name.partition(".")[0] == self.hostname}
        return {name for name, seconds in silent.items() if name not in connected or seconds >= self.silent_seconds}

    def taken_long_ago(self, queue: rq.Queue, job_id: str) -> bool:
        queue.intermediate_queue.set_first_seen(job_id)
        seen = queue.intermediate_queue.get_first_seen(job_id)
        return seen is not None and (now() - seen).total_seconds() >= self.taken_seconds

    def put_back_one(self, lost: Lost) -> None:
        queue, job_id, execution, planned = lost
        by = f"worker {execution.worker_name}, which is gone" if execution else "a worker that is gone"
        job = queue.fetch_job(job_id)
        counter = f"slipway:losses:{job_id}"
        losses = int(self.connection.get(counter) or 0) + (not planned)
        failed = False
        # All at once, or the job would be in the queue twice or nowhere.
        with self.connection.pipeline() as pipeline:
            pipeline.set(counter, losses, ex=24 * 3600)
            pipeline.lrem(queue.intermediate_queue_key, 1, job_id)
            pipeline.delete(queue.intermediate_queue.get_first_seen_key(job_id))
            if execution:
                pipeline.delete(execution.key)
                pipeline.zrem(queue.started_job_registry.key, execution.composite_key)
                pipeline.zrem(f"rq:executions:{job_id}", execution.id)
                for key in (self.redis_workers_keys, f"rq:workers:{queue.name}"):
                    pipeline.srem(key, self.redis_worker_namespace_prefix + execution.worker_name)
                pipeline.delete(self.redis_worker_namespace_prefix + execution.worker_name)
            # Whatever else its state is, it has ended, or was stopped.
            if job and job.get_status() in (JobStatus.QUEUED, JobStatus.STARTED):
                failed = not planned and losses >= self.most_losses
                if failed:
                    text = f"Its worker was lost {losses} times while it ran this job: the last was {by}. Does it need more memory?"
                    job.set_status(JobStatus.FAILED, pipeline=pipeline)
                    job.failure_ttl = settings.RESULT_SECONDS if job.failure_ttl is None else job.failure_ttl
                    job._handle_failure(text, pipeline)
                else:
                    job.started_at = job.ended_at = None
                    queue._enqueue_job(job, pipeline=pipeline, at_front=True)
            pipeline.execute()
        if job and failed:
            queue.enqueue_dependents(job)
        self.log.warning("Worker %s: job %s was with %s: it %s", self.name, job_id, by, "has failed" if failed else "runs again")
