"""The machine is stopped overnight and started again: what ran runs again, with what it held, at the same URL."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests import kernels
from tests.conftest import Checkout
from tests.e2e.faults.power import acknowledged, lost
from tests.e2e.support.interruptions import begin, end, kill_alone, request, started
from tests.e2e.support.machines import described, instance, marks
from tests.e2e.support.refusals import changes
from tests.e2e.support.stop_points import START, STOP

pytestmark = pytest.mark.xdist_group("machine")

#: A cell that works until the test lets it end.
CELL = """
import os, time

while not os.path.exists("/tmp/enough"):
    time.sleep(0.2)
os.remove("/tmp/enough")
"""
STORES = {"postgres", "mongo", "redis", "notebooks", "home"}
#: As `run` and `measure` start theirs, for as long as the test wants.
RUN = "cd slipway && docker compose run --detach --rm --no-TTY --name slipway-batch-run-test batch sleep 300"
#: A row in each store; what was written before stays.
WRITE = """
import json, os
import psycopg2, pymongo, redis

env = os.environ
cache = redis.Redis(host=env["REDIS_HOST"], password=env["REDIS_PASSWORD"])
mongo = pymongo.MongoClient(env["MONGO_HOST"], username=env["MONGO_USER"], password=env["MONGO_PASSWORD"])
sql = psycopg2.connect(
    host=env["POSTGRES_HOST"], user=env["POSTGRES_USER"], dbname=env["POSTGRES_DB"], password=env["POSTGRES_PASSWORD"]
)
mongo.nights.notes.insert_one({})
with sql, sql.cursor() as cursor:
    cursor.execute("CREATE TABLE IF NOT EXISTS nights (n int)")
    cursor.execute("INSERT INTO nights VALUES (1)")
    cursor.execute("SELECT count(*) FROM nights")
    print(json.dumps([cache.incr("nights"), mongo.nights.notes.count_documents({}), cursor.fetchone()[0]]))
"""


@dataclass(frozen=True)
class Night(Checkout):
    """A machine, and what must be the same in the morning."""

    url: str
    ran: tuple[str, ...]

    def written(self) -> list[int]:
        """How often this was written to each store."""
        return list(json.loads(self.on_host("docker exec --interactive slipway-jupyter-1 python -", stdin=WRITE)))


@pytest.fixture(scope="module")
def night(machine: Checkout) -> Night:
    """The machine, up."""
    return Night(machine.path, machine.answer("open")["url"], tuple(machine.containers()))


def whole(here: Night, written: list[int]) -> None:
    """It serves by its URL, by the containers that it had, with what it held, and no mark is left."""
    assert marks(here) == {}
    status = here.answer("status")
    assert (status["url"], status["instance"]["state"], status["instance"]["stopped_since"]) == (here.url, "running", None)
    assert {facts["health"] for facts in status["services"].values()} == {"healthy"}
    assert tuple(here.containers()) == here.ran
    with urllib.request.urlopen(here.url, timeout=30) as page:
        assert "JupyterLab" in page.read().decode()
    assert here.written() == [each + 1 for each in written]
    assert here.on_host("ls slipway/paused.json 2>/dev/null || true") == ""


def equal(compared: dict[str, Any]) -> None:
    assert set(compared) == STORES
    assert {found["equal"] for found in compared.values()} == {True}


def ended(here: Night, words: list[str], point: str, how: Callable[[Night, subprocess.Popen[bytes]], None]) -> None:
    points = STOP if words == ["stop"] else START
    process = begin(here, words, points[point](here))
    how(here, process)
    assert process.returncode != 0


def whole_tree(here: Night, process: subprocess.Popen[bytes]) -> None:
    end(here, process, signal.SIGKILL)


def test_stopped_with_its_price_and_started_at_the_same_url_with_equal_fingerprints(night: Night) -> None:
    written, before = night.written(), described(night)
    # A first one is killed in the middle: the same command finishes, and knows what ran before both.
    ended(night, ["stop"], "while they go down", whole_tree)
    stopped = night.answer("stop")
    assert (stopped["was"], stopped["state"], stopped["instance"]) == ("running", "stopped", instance(night))
    assert set(stopped["fingerprints"]) == STORES
    # 20 GiB at 0.08 USD in us-east-1, and no address.
    assert stopped["price"]["stopped"] == {"per_month": 1.6, "disks_per_month": 1.6, "elastic_ips": 0, "elastic_ips_per_month": 0.0}
    again = night.orchestrate("stop")
    assert again.returncode == 0, again.stderr
    assert "is stopped already" in again.stdout
    assert "1.60 USD per month while it is stopped, for 20 GiB" in again.stdout
    status = night.answer("status")
    assert (status["instance"]["state"], status["instance"]["stopped_since"] is not None) == ("stopped", True)
    done = night.orchestrate("start", "--json")
    assert done.returncode == 0, done.stderr
    # Before it starts anything.
    assert done.stderr.index("Price: 0.0188 USD per hour, 13.72 USD per month") < done.stderr.index("Start the instance")
    answer = json.loads(done.stdout)
    assert (answer["url"], answer["price"]["per_hour"]) == (night.url, 0.0188)
    equal(answer["fingerprints"])
    assert {name: found["before"] for name, found in answer["fingerprints"].items()} == stopped["fingerprints"]
    assert answer["instance"]["public_ip"] != before["PublicIpAddress"]
    whole(night, written)


def test_refused_while_a_kernel_or_a_run_is_at_work(night: Night) -> None:
    busy = [
        "ssh",
        "-F",
        str(night.ssh_config()),
        "slipway",
        "docker exec slipway-jupyter-1 " + shlex.join(kernels.words(("work/at work é.ipynb", "notebook", CELL))),
    ]
    asked = len(night.requests())
    night.on_host(RUN)
    with subprocess.Popen(busy, stdout=subprocess.PIPE, text=True) as kernel:
        try:
            deadline = time.monotonic() + 90
            # A kernel takes its time to begin.
            while "the kernel of work/at work é.ipynb in slipway" not in (refused := night.orchestrate("stop")).stderr:
                assert (refused.returncode, time.monotonic() < deadline) == (3, True), refused.stderr
            assert refused.returncode == 3, refused.stderr
            assert "the container slipway-batch-run-test in slipway" in refused.stderr
        finally:
            night.on_host("docker rm --force slipway-batch-run-test 2>/dev/null || true")
            night.on_host("docker exec slipway-jupyter-1 touch /tmp/enough")
            assert kernel.communicate(timeout=120)[0].strip() == '["ok"]'
    # An idle kernel is not at work.
    planned = night.answer("stop", "--dry-run")
    assert (planned["was"], planned["state"]) == ("running", "running")
    assert changes(night.requests()[asked:]) == []
    assert tuple(night.containers()) == night.ran


#: Which command is ended where and how, and by which one it goes on. The test above is one more, in the short run.
ENDED = [
    ("stop", "while they go down", whole_tree, "up"),
    ("stop", "before the services go down", kill_alone, "stop"),
    ("stop", "while they go down", kill_alone, "stop"),
    ("stop", "while they go down", whole_tree, "start"),
    ("stop", "after the marks, before the stop", whole_tree, "stop"),
    ("stop", "after the marks, before the stop", whole_tree, "open"),
    ("stop", "after the stop", whole_tree, "stop"),
    ("stop", "after the stop", kill_alone, "start"),
    ("start", "after the start", whole_tree, "start"),
    ("start", "before the new address is written", kill_alone, "up"),
    ("start", "while the stores come back", whole_tree, "start"),
    ("start", "while the stores come back", whole_tree, "open"),
    ("start", "after the comparison", whole_tree, "start"),
    ("start", "while the rest comes back", whole_tree, "up"),
]


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "point", "how", "then"),
    [pytest.param(*row, id=f"{row[0]} {row[1]}, {row[2].__name__}, then {row[3]}") for row in ENDED],
)
def test_killed_anywhere_a_command_finishes(
    night: Night, command: str, point: str, how: Callable[[Night, subprocess.Popen[bytes]], None], then: str
) -> None:
    written = night.written()
    if command == "start":
        night.answer("stop")
    ended(night, [command], point, how)
    done = night.answer(then)
    if then == "stop":
        assert done["state"] == "stopped"
        assert set(done["fingerprints"]) == STORES
        done = night.answer("start")
        equal(done["fingerprints"])
    # None if they were compared already, or the machine was never stopped.
    assert {found["equal"] for found in done["fingerprints"].values()} <= {True}
    whole(night, written)


@pytest.mark.long
def test_others_wait_for_a_stop(night: Night) -> None:
    written = night.written()
    # However slow this computer is: by then it has nothing left to do but to wait, for longer than all these commands take.
    night.fault(instance=instance(night), does="hang on stop", seconds=120)
    command = started(night, ["stop"])
    command.until(request("StopInstances"))
    for words in (["up"], ["start"], ["open"], ["destroy", "slipway"], ["resize", "t2.large"], ["lab", "down", "--yes"]):
        # Without it `destroy` and `lab down` would do what they say.
        assert command.process.poll() is None
        second = night.orchestrate(*words)
        assert second.returncode == 3, second.stderr
        assert "orchestrate.py stop (process" in second.stderr
    assert command.process.wait(timeout=300) == 0
    refused = night.orchestrate("resize", "t2.medium")
    assert refused.returncode == 3, refused.stderr
    assert "is stopped" in refused.stderr
    opened = night.answer("open")
    assert opened["url"] == night.url
    equal(opened["fingerprints"])
    whole(night, written)
    # Of a machine that runs.
    running = night.answer("start")
    assert (running["changed"], running["url"], running["price"], running["fingerprints"]) == (0, night.url, None, {})


@pytest.mark.long
def test_a_store_that_holds_something_else_is_named_and_no_service_writes(night: Night) -> None:
    written = night.written()
    night.answer("stop")
    night.ec2().start_instances(InstanceIds=[instance(night)])
    night.ec2().get_waiter("instance_running").wait(InstanceIds=[instance(night)], WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    # Written while nothing may write, as by a machine that had the disk meanwhile.
    night.answer("status")
    night.on_host("touch slipway/work/stranger.ipynb")
    done = night.orchestrate("start")
    assert done.returncode == 5, done.stderr
    assert "notebooks: before " in done.stderr
    names = night.on_host("docker ps --format '{{.Names}}'").split()
    assert sorted(names) == ["slipway-mongo-1", "slipway-postgres-1", "slipway-redis-1"]
    night.on_host("rm slipway/work/stranger.ipynb")
    assert night.answer("start")["fingerprints"] == {}
    whole(night, written)


@pytest.mark.long
def test_ten_nights_under_the_end_of_a_write_load(night: Night) -> None:
    for _ in range(10):
        stopped: dict[str, Any] = {}
        promised = acknowledged(night, lambda kept=stopped: kept.update(night.answer("stop")))
        done = night.answer("start")
        equal(done["fingerprints"])
        assert {name: found["after"] for name, found in done["fingerprints"].items()} == stopped["fingerprints"]
        assert done["url"] == night.url
        assert lost(night, promised) == {"redis": set(), "mongo": set(), "postgres": set()}
