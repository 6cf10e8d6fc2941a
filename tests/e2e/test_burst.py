"""A larger machine for one notebook: the whole of it, and killed at every step of its way.

The tests of projects use its machine afterwards.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Checkout
from tests.e2e.support.interruptions import Reached, begin, end, request, task
from tests.e2e.support.machines import MARKS, described, kind
from tests.e2e.support.projects import make, write
from tests.e2e.support.refusals import changes

pytestmark = pytest.mark.xdist_group("projects")

SMALL, LARGE = "t2.micro", "t2.small"
#: More than the t2.micro has in all.
HOLD = ["mib = 1050", "held = bytearray(mib * 2**20)\nopen('made.txt', 'w').write(str(len(held)))"]
#: Long enough to be killed in the middle, and then more than the t2.small has.
STARVE = [
    "seconds = 20",
    "import time\nfor second in range(seconds):\n    print('second', second, flush=True)\n    time.sleep(1)",
    "open('half.txt', 'w').write('half')",
    "hoard = [bytes(range(256)) * 40960 for _ in range(400)]",
]
REDIS = "cd projects/job && docker compose exec -T redis sh -c 'REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli {}'"
SQL = "cd projects/job && docker compose exec -T postgres psql -qAtU slipway slipway"


@dataclass(frozen=True)
class Machine(Checkout):
    """The checkout of a machine with a project, whose URL it has for good."""

    url: str

    def runs(self) -> set[Path]:
        """The executed notebooks that are here."""
        return set((self.path / "job" / "runs").glob("*.ipynb"))


@pytest.fixture(scope="module")
def borrower(projects: Checkout) -> Machine:
    """A t2.micro with a project that holds data."""
    here = projects
    folder = make(here, "job", "redis,postgres", HOLD)
    write(folder / "ipynb" / "starve.ipynb", STARVE)
    machine = Machine(here.path, here.answer("deploy", "job")["url"])
    here.on_host(REDIS.format('eval "for i = 1, 1000 do redis.call(\\"set\\", \\"n\\" .. i, i) end" 0'))
    here.on_host(SQL, stdin="CREATE TABLE held AS SELECT n FROM generate_series(1, 1000) n;")
    return machine


def marks(here: Machine) -> dict[str, str]:
    """The tags that a burst and its resizes have on their way."""
    tags = {tag["Key"]: tag["Value"] for tag in described(here)["Tags"]}
    return {key: value for key, value in tags.items() if key.startswith((*MARKS, "slipway-burst-"))}


def whole(here: Machine) -> None:
    """It is the small one, with all that it held, by the URL that it always had, and with no mark."""
    assert (kind(here), marks(here)) == (SMALL, {})
    assert here.on_host(REDIS.format("get n1000")).strip() == "1000"
    assert here.on_host(SQL, stdin="SELECT sum(n) FROM held").strip() == "500500"
    with urllib.request.urlopen(here.url, timeout=30) as page:
        assert "JupyterLab" in page.read().decode()


#: Type -> what the refusal says. The first two are refused by EC2's answers and by the wrapper; the others like one of them.
WRONG = {
    "T2.SMALL": ["Did you mean t2.small?"],
    "{{ 7*7 }}": ["{{ 7*7 }}"],
    "t4g.small": ["arm64"],
    "": ["--on: ''", "t2.medium for one"],
    "t2.nano": ["MiB"],
}


@pytest.mark.parametrize("given", [pytest.param(given, marks=[pytest.mark.long] * (number > 1)) for number, given in enumerate(WRONG)])
def test_a_type_that_cannot_be_borrowed_is_bad_input_and_changes_nothing(borrower: Machine, given: str) -> None:
    asked = len(borrower.requests())
    done = borrower.orchestrate("run", "job/ipynb/own.ipynb", "--on", given)
    assert done.returncode == 2, done.stderr
    assert [words for words in WRONG[given] if words not in done.stderr] == []
    assert changes(borrower.requests()[asked:]) == []


def test_a_dry_run_tells_both_ways_and_the_price(borrower: Machine) -> None:
    asked = len(borrower.requests())
    done = borrower.orchestrate("run", "job/ipynb/own.ipynb", "--on", LARGE, "--dry-run")
    assert done.returncode == 0, done.stderr
    for words in ("per hour", f"from {SMALL}", f"to {LARGE}", f"the machine is a {SMALL} again"):
        assert words in done.stdout
    assert changes(borrower.requests()[asked:]) == []
    # Nobody has measured it yet.
    refused = borrower.orchestrate("run", "job/ipynb/own.ipynb", "--on", "auto")
    assert refused.returncode == 3, refused.stderr


def killed(here: Machine, words: list[str], reached: Reached) -> None:
    end(here, begin(here, words, reached), signal.SIGKILL)


def larger(here: Machine, starts: int = 1) -> Reached:
    """The way up is at its end, and the notebook not begun; the machine was started so often for it."""

    def reached(_run: Path, calls: list[str]) -> bool:
        return calls.count("StartInstances") >= starts and "slipway-resize-to" not in (found := marks(here)) and "slipway-burst-to" in found

    return reached


def in_the_notebook(here: Machine, process: subprocess.Popen[bytes]) -> None:
    """Return when the notebook is being run."""
    deadline = time.monotonic() + 180
    while "job-run-" not in here.on_host("docker ps --format '{{.Names}}'"):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_a_burst_that_was_killed_on_its_way_up_is_finished_by_the_same_command(borrower: Machine) -> None:
    words = ["run", "job/ipynb/own.ipynb", "--on", LARGE]
    before = borrower.runs()
    # Before the tag nobody knows of it, and nothing has happened.
    killed(borrower, words, task("Check that no notebook is being run"))
    assert borrower.answer("status")["burst"] is None
    whole(borrower)
    killed(borrower, words, request("StopInstances"))
    told = borrower.answer("status")["burst"]
    assert (told["from"], told["to"], told["halfway"], told["end"]) == (SMALL, LARGE, True, "resize --rollback")
    # The same again: it ends what was left, and begins anew.
    done = borrower.orchestrate(*words, "--json")
    assert done.returncode == 0, done.stderr
    assert "had not begun: there is no result" in done.stderr
    answer = json.loads(done.stdout)
    burst = answer["burst"]
    assert (burst["from"], burst["to"], burst["now"]) == (SMALL, LARGE, SMALL)
    assert 1050 < burst["peak_mib"] < burst["limit_mib"]
    assert set(burst["fingerprints"]) == {"job.postgres", "job.redis", "job.notebooks", "job.home"}
    assert set(burst["fingerprints"].values()) == {True}
    assert 0 < burst["usd_more"] < burst["usd"]
    assert min(burst["seconds"].values()) > 0
    assert borrower.runs() - before == {borrower.path / "job" / answer["executed"]}
    assert (borrower.path / "job/ipynb/made.txt").read_text() == str(1050 * 2**20)
    whole(borrower)


@pytest.mark.long
def test_a_burst_is_finished_after_a_kill_before_the_notebook_and_ctrl_c_in_it(borrower: Machine) -> None:
    words = ["run", "job/ipynb/starve.ipynb", "--on", LARGE]
    before = borrower.runs()
    killed(borrower, words, larger(borrower))
    status = borrower.orchestrate("status", "job")
    assert f"Burst     {LARGE} instead of {SMALL}" in status.stdout + status.stderr
    # Down again for what was left, and up for itself.
    told = borrower.path / "told.txt"
    process = begin(borrower, words, larger(borrower, starts=2), told)
    assert "had not begun: there is no result" in told.read_text()
    in_the_notebook(borrower, process)
    time.sleep(5)
    # Without a terminal to ask at, Ctrl-C stops it.
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=300) == 4
    (result,) = borrower.runs() - before
    assert json.loads(result.read_text())["metadata"]["slipway"]["exit_code"] == 143
    whole(borrower)


@pytest.mark.long
def test_a_burst_is_finished_after_kills_in_the_notebook_the_fetch_and_on_its_way_down(borrower: Machine) -> None:
    before = borrower.runs()
    process = begin(borrower, ["run", "job/ipynb/starve.ipynb", "--on", LARGE], larger(borrower))
    in_the_notebook(borrower, process)
    end(borrower, process, signal.SIGKILL)
    burst = borrower.answer("status")["burst"]
    assert burst["runs"] is True
    assert burst["price_per_hour"]["after"] > 0
    # It waits for the notebook, which goes on.
    killed(borrower, ["push", "job"], task("Fetch what a run made"))
    assert borrower.answer("status")["burst"]["runs"] is False
    killed(borrower, ["push", "job"], request("StopInstances"))
    assert borrower.answer("status")["burst"]["halfway"]
    done = borrower.orchestrate("push", "job")
    assert done.returncode == 0, done.stderr
    assert "Out of memory in cell 4 of 4: " in done.stderr
    assert f"more than {SMALL}" in done.stderr
    (result,) = borrower.runs() - before
    told: dict[str, Any] = json.loads(result.read_text())["metadata"]["slipway"]
    assert (told["state"], told["exit_code"], told["place"]) == ("done", 137, "cell 4 of 4")
    assert (borrower.path / "job/ipynb/half.txt").read_text() == "half"
    # What died asks for twice what it had.
    assert borrower.answer("advise", "job/ipynb/starve.ipynb")["how"] == "doubled"
    whole(borrower)


def test_what_the_machine_is_already_is_a_plain_run(borrower: Machine) -> None:
    write(borrower.path / "job/ipynb/quick.ipynb", ["1 + 1"])
    done = borrower.orchestrate("run", "job/ipynb/quick.ipynb", "--on", SMALL)
    assert done.returncode == 0, done.stderr
    assert "a plain run" in done.stderr
    # What was measured decides where it is to run.
    done = borrower.orchestrate("run", "job/ipynb/quick.ipynb", "--on", "auto")
    assert done.returncode == 0, done.stderr
    assert "a plain run" in done.stderr
    own = borrower.answer("advise", "job/ipynb/own.ipynb")
    assert (own["how"], own["fits"], own["take"]["memory_mib"]) == ("measured", False, 2048)
    assert f"run job/ipynb/own.ipynb --on {own['take']['type']}" in own["commands"][1]
    whole(borrower)
