"""RQ's worker, which loses no job and no result: `python -P -m slipway_worker`."""

import contextlib
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
import rq
import slipway_memory as memory
import slipway_rq as settings
from redis.exceptions import RedisError
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.suspension import is_suspended
from rq.utils import now
from slipway_lost import Keeper, Lost
from slipway_rq import tell

MIB = 2**20


class Worker(Keeper):
    """RQ's worker ends if Redis refuses, and its job with it. This one says why, waits, and goes on; the job too.

    A job that runs when the worker is stopped has some time to end. Then it goes back to the queue.
    """

    death_penalty_class = settings.Limit
    #: A job beyond its limit that does not notice, as one in a library's C code, is killed so much later.
    kill_seconds = 5
    #: RQ's own way of giving up, which the dashboard goes too: later than any of these.
    heartbeat_ttl = 7 * 24 * 3600
    #: Of RQ's own pauses while Redis does not answer.
    max_connection_wait_time = 5.0

    def __init__(self, queues: Any, name: str | None = None, *args: Any, **options: Any) -> None:
        # Once here, and not in the process of each job: a third of what a job with PostgreSQL costs.
        import psycopg2.extensions  # noqa: F401

        super().__init__(queues, name, *args, **options)
        self._kills = memory.kills()
        self._running: tuple[Job, rq.Queue, float] | None = None
        self._killed_late = False

    @property
    def stopping(self) -> bool:
        return self._shutdown_requested_date is not None

    def trouble(self, problem: Exception) -> None:
        self.troubled = time.monotonic()
        tell(problem)

    def patiently(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call it until Redis serves; say meanwhile why it does not."""
        while True:
            try:
                return call(*args, **options)
            except redis.WatchError:
                raise
            except RedisError as problem:
                self.trouble(problem)
            if self.stopping and not self.is_horse:
                raise StopRequested
            time.sleep(settings.PAUSE)

    def stored(self, store: Callable[..., Any], *args: Any, **options: Any) -> None:
        """Store how a job ended, as soon as Redis takes it. RQ forgets the execution before that, and swallows a refusal."""
        execution = self.execution

        def once() -> None:
            self.execution = execution
            self.connection.set("slipway:writable", 1, ex=60)
            store(*args, **options)

        self.patiently(once)

    def get_heartbeat_ttl(self, job: Job) -> int:
        return self.heartbeat_ttl

    def check_for_suspension(self, burst: bool) -> None:
        if self.patiently(is_suspended, self.connection):
            tell("RQ was suspended by `rq suspend`. `rq resume` lets it go on.")
        super().check_for_suspension(burst)

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        return self.patiently(super().dequeue_job_and_maintain_ttl, timeout, max_idle_time)

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        beat = super().heartbeat
        if pipeline is not None:
            beat(timeout, pipeline)
            return

        def once() -> None:
            beat(timeout)
            self.look()

        self.patiently(once)

    def set_current_job_working_time(self, current_job_working_time: float, pipeline: Any = None) -> None:
        try:
            super().set_current_job_working_time(current_job_working_time, pipeline)
        except RedisError as problem:
            self.trouble(problem)

    def maintain_heartbeats(self, job: Job) -> None:
        """Called while the job runs."""
        stopped = self._shutdown_requested_date
        if stopped and (now() - stopped).total_seconds() >= settings.JOB_SECONDS:
            self.hand_back(job)
        if self.over_limit() and not settings.PERFORMED.exists():
            self._killed_late = True
            self.kill_horse()
            return
        try:
            super().maintain_heartbeats(job)
            self.look()
        except RedisError as problem:
            # The job goes on without it.
            self.trouble(problem)

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
        # One that was enqueued without any limit.
        job.timeout = job.timeout or -1
        settings.PERFORMED.unlink(missing_ok=True)
        super().execute_job(job, queue)

    def prepare_execution(self, job: Job) -> Execution:
        prepare = super().prepare_execution

        def once() -> Execution:
            execution = prepare(job)
            self.connection.hset(execution.key, "boot", settings.BOOT)
            return execution

        return self.patiently(once)

    def monitor_work_horse(self, job: Job, queue: rq.Queue) -> None:
        # RQ kills a job a minute after its limit, also one that only waits for Redis to take its result: this is done here.
        self._killed_late = False
        self._running, job.timeout = (job, queue, job.timeout), -1
        super().monitor_work_horse(job, queue)
        self._running = None

    def over_limit(self) -> bool:
        """Whether the job has run longer than its limit, and did not notice."""
        return self._running is not None and 0 < self._running[2] < self.current_job_working_time - self.kill_seconds

    def prepare_job_execution(self, job: Job, remove_from_intermediate_queue: bool = False) -> None:
        self.patiently(super().prepare_job_execution, job, remove_from_intermediate_queue)

    def handle_execution_ended(self, job: Job, queue: rq.Queue, heartbeat_ttl: int) -> None:
        settings.PERFORMED.touch()
        self.patiently(super().handle_execution_ended, job, queue, heartbeat_ttl)

    def handle_job_success(self, job: Job, queue: rq.Queue, started_job_registry: Any) -> None:
        # RQ would store a text in the place of what cannot be pickled.
        try:
            size = len(job.serializer.dumps(job._result))
        except Exception as unfit:
            raise TypeError(f"What the job returned cannot be sent back: {unfit}") from unfit
        most = self.patiently(self.connection.info, "memory")["maxmemory"] // settings.RESULT_SHARE if size > MIB else 0
        if most and size > most:
            text = f"The job returned {size / MIB:.1f} MiB, and this Redis takes {most / MIB:.1f} MiB."
            raise ValueError(f"{text} Write it to a file or a store, and return its name.")
        self.stored(super().handle_job_success, job, queue, started_job_registry)

    def handle_job_failure(self, job: Job, queue: rq.Queue, started_job_registry: Any = None, exc_string: str = "") -> None:
        if self._running and job is self._running[0]:
            job.timeout = self._running[2]
            # RQ tells the signal only.
            if memory.kills() > self._kills:
                exc_string += f"out of memory: {memory.used()}"
            elif self._killed_late:
                exc_string = settings.too_long(job.timeout)
        if len(exc_string) > settings.MOST_ERROR:
            exc_string = f"{exc_string[: settings.MOST_ERROR // 2]}\n…\n{exc_string[-settings.MOST_ERROR // 2 :]}"
        if job.failure_ttl is None:
            job.failure_ttl = settings.RESULT_SECONDS
        self.stored(super().handle_job_failure, job, queue, started_job_registry, exc_string)

    def set_shutdown_requested_date(self) -> None:
        """Called by the signal: a job of a worker that is stopped has not taken it down."""
        with contextlib.suppress(RedisError):
            super().set_shutdown_requested_date()
            if self.execution and self.connection.exists(self.execution.key):
                self.connection.hset(self.execution.key, "stopped", 1)

    def hand_back(self, job: Job) -> None:
        """End the job, whose time is over, and put it at the front of its queue: it is done once more. Raises StopRequested."""
        self.kill_horse()
        self.wait_for_horse()
        self._horse_pid = 0
        with contextlib.suppress(RedisError):
            self.put_back_one(Lost(self._running[1], job.id, self.execution, planned=True))
        raise StopRequested

    def teardown(self) -> None:
        # What Redis does not take of it, the others find out.
        with contextlib.suppress(RedisError):
            super().teardown()


def main() -> None:
    """Work until a signal ends it. Whatever keeps the worker from it is told, and tried again."""
    settings.FOLDER.mkdir(exist_ok=True)
    while True:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        connection = redis.Redis(settings.REDIS_HOST, credential_provider=settings.Password())
        try:
            worker = Worker(
                settings.QUEUES,
                connection=connection,
                default_result_ttl=settings.RESULT_SECONDS,
                # A heartbeat each 5 seconds: of an idle worker the first less 15, of a busy one the second. By them the others find
                # a worker that is gone, and run its job again.
                worker_ttl=20,
                job_monitoring_interval=5,
            )
            worker.work()
            if worker.stopping:
                return
        except RedisError as problem:
            tell(problem)
        finally:
            # By its connections the others would take it for alive.
            connection.connection_pool.disconnect()
        time.sleep(settings.PAUSE)


if __name__ == "__main__":
    main()
