"""Jobs of a project's workers, on a machine of a lab of its own: a long one, a resize, a reboot and a power cut in the middle of one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.conftest import Checkout, own_lab
from tests.e2e.support.machines import instance
from tests.e2e.support.projects import make, python

pytestmark = pytest.mark.long

SECONDS, PAUSE = 400, 600
#: Each job says when it begins and when it has ended.
MODULE = """
import time
from lib.stores import connect_to_redis

def slow(name, seconds):
    redis = connect_to_redis()
    redis.rpush(f"begun:{name}", time.time())
    time.sleep(seconds)
    redis.rpush(f"done:{name}", time.time())
    return name
"""
ENQUEUE = "from lib.jobs import enqueue\nfrom lib.slow import slow\nprint(*[enqueue(slow, *job).id for job in {jobs!r}])\n"
WAIT = "from lib.jobs import wait, queue\nfrom rq.job import Job\nprint(*wait(Job.fetch_many({ids!r}, queue().connection)))\n"
#: When the host's first process has begun.
STARTED = "ps -o lstart= -p 1"
FAILED = "from lib.jobs import queue\nprint(len(queue().failed_job_registry), len(queue()), len(queue().started_job_registry))\n"


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A t2.micro with a project that has two workers, which give a running job five seconds."""
    with own_lab(tmp_path_factory.mktemp("jobs")) as here:
        folder = make(here, "jobs", "redis,worker,monitor", job_seconds=5)
        (folder / "lib" / "slow.py").write_text(MODULE)
        here.answer("deploy", "jobs")
        yield here


def enqueue(here: Checkout, *jobs: tuple[str, float]) -> list[str]:
    return python(here, "jobs", ENQUEUE.format(jobs=list(jobs))).split()


def results(here: Checkout, ids: list[str]) -> list[str]:
    return python(here, "jobs", WAIT.format(ids=ids)).split()


def times(here: Checkout, what: str, name: str) -> int:
    """How often a job has begun, or was done."""
    redis = f"docker exec jobs-redis-1 sh -c 'REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli llen {what}:{name}'"
    return int(here.on_host(redis))


def begun(here: Checkout, name: str) -> None:
    end = time.monotonic() + 60
    while not times(here, "begun", name):
        assert time.monotonic() < end, f"{name} has not begun"
        time.sleep(0.2)
    # Redis writes to its log every second.
    time.sleep(2)


def once_more(here: Checkout, name: str, ids: list[str]) -> None:
    """The job has come to its end once, at its second time, and nothing else is left of it."""
    assert results(here, ids) == [name]
    assert (times(here, "begun", name), times(here, "done", name)) == (2, 1)
    assert python(here, "jobs", FAILED).split() == ["0", "0", "0"]


def right(here: Checkout) -> None:
    """`status` shows every service as it is."""
    status = here.answer("status", "jobs")
    assert {name: facts["health"] for name, facts in status["services"].items()} == dict.fromkeys(status["services"], "healthy")
    assert {facts["state"] for facts in status["services"].values()} == {"running"}
    assert (status["stack_state"], status["out_of_memory"]) == ("running", [])


def test_all_results_of_a_hundred_jobs_come_back_after_a_pause(workers: Checkout) -> None:
    ids = enqueue(workers, *((f"job-{n}", SECONDS if n == 10 else 0.1) for n in range(100)))
    time.sleep(PAUSE)
    assert results(workers, ids) == [f"job-{n}" for n in range(100)]
    assert times(workers, "begun", "job-10") == 1
    right(workers)


def test_a_job_in_the_middle_of_a_resize_is_done_once_more(workers: Checkout) -> None:
    ids = enqueue(workers, ("resized", 60))
    begun(workers, "resized")
    done = workers.answer("resize", "t2.small")
    assert {found["equal"] for found in done["fingerprints"].values()} == {True}
    right(workers)
    once_more(workers, "resized", ids)


def test_a_job_in_the_middle_of_a_reboot_is_done_once_more(workers: Checkout) -> None:
    ids = enqueue(workers, ("rebooted", 60))
    begun(workers, "rebooted")
    started = workers.on_host(STARTED)
    workers.ec2().reboot_instances(InstanceIds=[instance(workers)])
    rebooted(workers, started)
    # The address stays; the tunnel is gone.
    workers.answer("open", "jobs")
    settled(workers)
    right(workers)
    once_more(workers, "rebooted", ids)


def rebooted(here: Checkout, before: str) -> None:
    """Wait until the machine has started once more and lets SSH in."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        with contextlib.suppress(AssertionError):
            if here.on_host(STARTED) != before:
                return
        time.sleep(1)
    raise AssertionError("the machine has not started once more")


def settled(here: Checkout) -> None:
    """Wait as a user does who looks at `status` until no service is starting."""
    end = time.monotonic() + 120
    while "starting" in {facts["health"] for facts in here.answer("status", "jobs")["services"].values()}:
        assert time.monotonic() < end
        time.sleep(2)


def test_a_job_in_the_middle_of_a_power_cut_is_done_once_more(workers: Checkout) -> None:
    ids = enqueue(workers, ("dark", 60))
    begun(workers, "dark")
    workers.fault(instance=instance(workers), does="lose power")
    assert workers.answer("status")["instance"]["state"] == "stopped"
    refused = workers.orchestrate("status", "jobs")
    assert refused.returncode == 3, refused.stderr
    assert "is stopped. Start it with: python orchestrate.py deploy" in " ".join(refused.stderr.split())
    answer = workers.answer("deploy", "jobs")
    assert {facts["health"] for facts in answer["services"].values()} == {"healthy"}
    right(workers)
    once_more(workers, "dark", ids)
