"""Settings for `rq worker -c slipway_rq` and `rq-dashboard -c slipway_rq`, and a worker that no job is lost with.

Host and password come from the environment, and the password is in no URL: both programs may show one.
"""

import contextlib
import os
import socket
import time
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import rq
import slipway_memory as memory
from redis.exceptions import LockError
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.utils import as_text, now, utcparse
from rq.worker_registration import register

# RQ reads these names, and the dashboard those that begin with its own.
QUEUES = ["default"]
REDIS_HOST = RQ_DASHBOARD_REDIS_HOST = os.environ.get("REDIS_HOST", "redis")
REDIS_PASSWORD = RQ_DASHBOARD_REDIS_PASSWORD = os.environ.get("REDIS_PASSWORD")
RQ_DASHBOARD_REDIS_URL = f"redis://{REDIS_HOST}:6379"


class Lost(NamedTuple):
    """A job whose worker is gone. `execution` is None where the worker had taken it from the queue, and no more."""

    queue: rq.Queue
    job_id: str
    execution: Execution | None


class Worker(rq.Worker):
    """Runs again what a worker that is gone had begun: each job runs at least once.

    RQ gives such a job up a minute after its worker's last heartbeat, if a worker is idle then, and counts it as failed
    unless it was enqueued with a Retry. Here every worker looks, idle or busy, with each of its own heartbeats.
    """

    #: Seconds between two looks at least; heartbeats come each --job-monitoring-interval, or --worker-ttl less 15.
    look_seconds = 3
    #: Silent so long and not connected to Redis: gone. Three heartbeats, in which a live one connects again.
    gone_seconds = 15
    #: Silent so long: gone, whatever Redis knows of it, which does not notice when a machine loses its power.
    silent_seconds = 60
    #: Taken from the queue so long ago and begun by nobody: lost. It takes a worker some milliseconds.
    taken_seconds = 30
    #: A job that takes its worker down each time fails in the end.
    most_losses = 3
    #: RQ's own way of giving up, which the dashboard goes too: later than any of these.
    heartbeat_ttl = 7 * 24 * 3600
    #: Touched with each look, for the container's health: written, so Redis has answered.
    alive = Path("/tmp/rq-worker")  # noqa: S108 (the container's own)

    def __init__(self, queues: Any, name: str | None = None, *args: Any, **options: Any) -> None:
        # Once here, and not in the process of each job: a third of what a job with PostgreSQL costs.
        import psycopg2.extensions  # noqa: F401

        super().__init__(queues, name or f"{socket.gethostname()}.{uuid4().hex[:8]}", *args, **options)
        self._looked = 0.0
        self._kills = memory.kills()
        if self.pid:
            # By these names Redis tells who is connected.
            self.connection.connection_pool.connection_kwargs["client_name"] = self.name

    def get_heartbeat_ttl(self, job: Job) -> int:
        return self.heartbeat_ttl

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        super().heartbeat(timeout, pipeline)
        if pipeline is None:
            self.look()

    def maintain_heartbeats(self, job: Job) -> None:
        super().maintain_heartbeats(job)
        self.look()

    def run_maintenance_tasks(self) -> None:
        # Before RQ counts as failed what was taken and never begun.
        self.look()
        super().run_maintenance_tasks()

    def setup_work_horse_signals(self) -> None:
        super().setup_work_horse_signals()
        # Where memory runs out the job goes, not the worker that tells of it.
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500")

    def execute_job(self, job: Job, queue: rq.Queue) -> None:
        self._kills = memory.kills()
        super().execute_job(job, queue)

    def handle_job_failure(self, job: Job, queue: rq.Queue, started_job_registry: Any = None, exc_string: str = "") -> None:
        # RQ tells the signal only.
        if not self.is_horse and memory.kills() > self._kills:
            exc_string += f"out of memory: {memory.used()}"
        super().handle_job_failure(job, queue, started_job_registry, exc_string)

    def look(self) -> None:
        """Put lost jobs back at the front of their queue; say that this worker is alive."""
        if self.is_horse or time.monotonic() - self._looked < self.look_seconds:
            return
        self._looked = time.monotonic()
        if not self.connection.sismember(self.redis_workers_keys, self.key):
            # Redis was emptied.
            self.connection.hset(self.key, mapping=self.serialize())
            register(self)
        if self.lost():
            self.put_back()
        self.alive.touch()

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
            for execution in begun:
                execution.worker_name = as_text(self.connection.hget(execution.key, "worker_name") or b"")
            # One without a name has ended meanwhile.
            gone = self.gone({execution.worker_name for execution in begun} - {self.name, ""})
            lost += [Lost(queue, execution.job_id, execution) for execution in begun if execution.worker_name in gone]
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
        return {name for name, seconds in silent.items() if name not in connected or seconds >= self.silent_seconds}

    def taken_long_ago(self, queue: rq.Queue, job_id: str) -> bool:
        queue.intermediate_queue.set_first_seen(job_id)
        seen = queue.intermediate_queue.get_first_seen(job_id)
        return seen is not None and (now() - seen).total_seconds() >= self.taken_seconds

    def put_back_one(self, lost: Lost) -> None:
        queue, job_id, execution = lost
        by = f"worker {execution.worker_name}, which is gone" if execution else "a worker that is gone"
        job = queue.fetch_job(job_id)
        counter = f"slipway:losses:{job_id}"
        losses = int(self.connection.get(counter) or 0) + 1
        failed = False
        # All at once, or the job would be in the queue twice or nowhere.
        with self.connection.pipeline() as pipeline:
            pipeline.incr(counter)
            pipeline.expire(counter, 24 * 3600)
            pipeline.lrem(queue.intermediate_queue_key, 1, job_id)
            pipeline.delete(queue.intermediate_queue.get_first_seen_key(job_id))
            if execution:
                pipeline.delete(execution.key)
                pipeline.zrem(queue.started_job_registry.key, execution.composite_key)
                pipeline.zrem(f"rq:executions:{job_id}", execution.id)
                for key in (self.redis_workers_keys, f"rq:workers:{queue.name}"):
                    pipeline.srem(key, self.redis_worker_namespace_prefix + execution.worker_name)
                pipeline.delete(self.redis_worker_namespace_prefix + execution.worker_name)
            # Whatever else its state is, it has ended or somebody has stopped it.
            if job and job.get_status() in (JobStatus.QUEUED, JobStatus.STARTED):
                failed = losses >= self.most_losses
                if failed:
                    text = f"Its worker was lost {losses} times while it ran this job: the last was {by}. Does it need more memory?"
                    job.set_status(JobStatus.FAILED, pipeline=pipeline)
                    job._handle_failure(text, pipeline)
                else:
                    job.started_at = job.ended_at = None
                    queue._enqueue_job(job, pipeline=pipeline, at_front=True)
            pipeline.execute()
        if job and failed:
            queue.enqueue_dependents(job)
        self.log.warning("Worker %s: job %s was with %s: it %s", self.name, job_id, by, "has failed" if failed else "runs again")
