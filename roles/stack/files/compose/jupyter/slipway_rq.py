"""What workers and the monitor share: Redis, its times and limits, and the words for why a worker cannot work.

Also the settings of RQ's own commands (`rq info --config slipway_rq`). Host and password come from the environment, and the password
is in no URL: a program may show one.
"""

import os
import sys
from pathlib import Path
from typing import Any

import redis
from rq.timeouts import UnixSignalDeathPenalty
from slipway_begin import FOLDER, TROUBLE

# RQ reads these names.
QUEUES = ["default"]
REDIS_HOST = os.environ.get("REDIS_HOST", "redis")
REDIS_PASSWORD = os.environ.get("REDIS_PASSWORD")

#: Seconds that results, and the errors of jobs that failed, are kept. RQ's own defaults are 500 seconds and a year.
RESULT_SECONDS = 7 * 24 * 3600
#: Of Redis's memory one result may take so much: RQ's encoding and the way there take three times as much for a moment.
RESULT_SHARE = 8
#: Of an error's text so much is kept.
MOST_ERROR = 32 * 1024
#: Seconds that a running job has when the worker is stopped. The container's stop_grace_period is longer.
JOB_SECONDS = int(os.environ.get("WORKER_JOB_SECONDS", "60"))
#: Touched with each look: written, so Redis has answered.
ALIVE = FOLDER / "alive"
#: Made when the job's function has ended.
PERFORMED = FOLDER / "performed"
#: Other after each start of the host.
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
#: Seconds between two tries while Redis cannot serve.
PAUSE = 2


class Password(redis.credentials.CredentialProvider):
    """Redis's password as it is now: one that was mended needs no new container."""

    file = Path("/run/secrets/redis_password")

    def get_credentials(self) -> tuple[str, ...]:
        password = self.file.read_text().rstrip("\n") if self.file.exists() else REDIS_PASSWORD
        return (password,) if password else ()


class Limit(UnixSignalDeathPenalty):
    """Ends a job at its limit, with words."""

    def handle_death_penalty(self, signum: int, frame: Any) -> None:
        raise self._exception(too_long(self._timeout))


def too_long(seconds: float) -> str:
    """What is said of a job that was ended at its limit."""
    return f"The job took longer than {seconds} s, the limit that it was given."


def words(problem: Exception | str) -> str:
    """Why the worker cannot work, for `status`."""
    if isinstance(problem, redis.exceptions.OutOfMemoryError):
        return "Redis is full: it takes neither jobs nor results. Remove keys, or give it more memory; the worker then goes on by itself."
    if isinstance(problem, redis.exceptions.AuthenticationError):
        return f"Redis refuses the password: {problem}"
    if isinstance(problem, redis.exceptions.BusyLoadingError):
        return "Redis is still loading its data."
    if isinstance(problem, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError):
        return f"Redis does not answer at {REDIS_HOST}:6379: {problem}"
    return problem if isinstance(problem, str) else f"{type(problem).__name__}: {problem}"


def tell(problem: Exception | str) -> None:
    """Say why the worker cannot work: in its log, and to its health check."""
    text = words(problem)
    if not TROUBLE.exists() or TROUBLE.read_text() != text:
        TROUBLE.write_text(text)
        print(text, file=sys.stderr, flush=True)
