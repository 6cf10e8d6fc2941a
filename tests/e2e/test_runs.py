"""A batch run goes on without its command: killed, told to end, without a connection; its result comes once, and its rows are written once.

On the machine of the projects' tests.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Checkout
from tests.e2e.support.interruptions import Command, kill_all, started, task
from tests.e2e.support.machines import instance
from tests.e2e.support.projects import make, write

pytestmark = pytest.mark.xdist_group("projects")

BOOK = "rows/ipynb/rows.ipynb"
ROWS = """import os, time, redis
store = redis.Redis(os.environ["REDIS_HOST"], password=os.environ["REDIS_PASSWORD"])
for row in range(seconds):
    print("row", row, flush=True)
    store.rpush(name, row)
    time.sleep(1)"""


@dataclass(frozen=True)
class Machine(Checkout):
    """A machine with a project whose notebook writes a row a second."""

    def written(self, name: str) -> int:
        """So many rows has the run of this name written."""
        redis = f"REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli llen {name}"
        return int(self.on_host(f"cd projects/rows && docker compose exec -T redis sh -c '{redis}'"))

    def begin(self, name: str, seconds: int, told: Path) -> Command:
        """The command; what the notebook prints goes to the file."""
        return started(self, words(name, seconds), told)

    def kept(self) -> list[str]:
        """The containers of runs that the machine has."""
        return self.on_host("docker ps --all --filter label=slipway.run.output --format '{{.Names}}'").split()

    def end_of_runs(self) -> None:
        """Wait until no run goes on."""
        until(lambda: not self.on_host("docker ps --quiet --filter label=slipway.run.output"))


def words(name: str, seconds: int) -> list[str]:
    return ["run", BOOK, "-p", f"name={name}", "-p", f"seconds={seconds}", "--json"]


def until(reached: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def printed(told: Path, text: str) -> None:
    until(lambda: text in told.read_text())


@pytest.fixture(scope="module")
def here(projects: Checkout) -> Machine:
    folder = make(projects, "rows", "redis")
    write(folder / "ipynb/rows.ipynb", ["name = ''\nseconds = 1", ROWS, "open(f'{name}.txt', 'w').write(name)"])
    projects.answer("deploy", "rows")
    return Machine(projects.path)


def had(here: Machine, name: str, seconds: int, *said: str) -> None:
    """The same command has the result, which is there once."""
    done = here.orchestrate(*words(name, seconds))
    assert done.returncode == 0, done.stderr
    for each in said:
        assert each in done.stderr
    answer = json.loads(done.stdout)
    assert (answer["state"], answer["exit_code"]) == ("ended", 0)
    told = json.loads((here.path / "rows" / answer["executed"]).read_text())["metadata"]["slipway"]
    assert (told["state"], told["parameters"]) == ("done", {"name": name, "seconds": seconds})
    assert (here.path / f"rows/ipynb/{name}.txt").read_text() == name
    assert here.written(name) == seconds
    assert here.kept() == []


def test_a_run_outlives_its_connection_and_command_and_a_killed_fetch_is_finished(here: Machine, tmp_path: Path) -> None:
    told = tmp_path / "told.txt"
    command = here.begin("once", 25, told)
    printed(told, "row 1")
    # As a computer that wakes: the connection is gone, and comes back.
    subprocess.run(["pkill", "-KILL", "-x", "ssh", "--parent", str(command.process.pid)], check=True)
    printed(told, "The connection to the machine is lost. rows-run-")
    printed(told, "row 4")
    command.process.send_signal(signal.SIGTERM)
    assert command.process.wait(timeout=30) == 4
    assert "The command was ended. rows-run-" in told.read_text()
    assert "orchestrate.py runs` shows it" in told.read_text()
    (run,) = here.answer("runs", "rows")["runs"]
    assert (run["state"], run["options"]) == ("running", ["-p", "name=once", "-p", "seconds=25"])
    command = here.begin("once", 25, told)
    command.until(task("Fetch what a run made"))
    kill_all(command.process)
    assert "this command joins it" in told.read_text()
    assert "row 0" in told.read_text()
    done = here.orchestrate("remove", "rows")
    assert (done.returncode, run["name"] in done.stderr) == (3, True), done.stderr
    had(here, "once", 25, "it is not run again")
    assert here.answer("runs")["runs"] == []


def test_a_detached_run_is_fetched_by_the_next_pull(here: Machine) -> None:
    begun = json.loads(here.orchestrate(*words("left", 2), "--detach").stdout)
    assert (begun["state"], begun["exit_code"], begun["executed"]) == ("running", None, None)
    here.end_of_runs()
    # What makes containers again keeps those of runs.
    here.answer("deploy", "rows")
    text = here.orchestrate("status", "rows").stdout
    assert f"Run       {begun['run']}: ipynb/rows.ipynb -p name=left -p seconds=2" in text
    assert "Its results are not here. Fetch them: python orchestrate.py runs " in text
    pulled = here.answer("pull", "rows")
    assert [run["name"] for run in pulled["runs"]] == [begun["run"]]
    assert pulled["moved"] == ["ipynb/left.txt"]
    assert (here.path / "rows" / pulled["runs"][0]["executed"]).exists()
    assert (here.written("left"), here.kept()) == (2, [])
    # The result was had: the same command is another run.
    assert here.orchestrate(*words("left", 2)).returncode == 0
    assert here.written("left") == 4


def test_a_run_is_stopped_by_its_name(here: Machine) -> None:
    begun = json.loads(here.orchestrate(*words("stopped", 100), "--detach").stdout)
    assert [run["name"] for run in here.answer("status")["runs"]] == [begun["run"]]
    # Neither the project nor its machine changes under it.
    for refused in (["rest", "rows"], ["resize", "t2.small"]):
        done = here.orchestrate(*refused)
        assert (done.returncode, "stop it" in done.stderr) == (3, True), done.stderr
    wrong = here.orchestrate("runs", "--forget", begun["run"])
    assert (wrong.returncode, f"Stop it first: --stop {begun['run']}" in wrong.stderr) == (3, True), wrong.stderr
    (run,) = here.answer("runs", "--stop", begun["run"])["runs"]
    assert (run["state"], run["exit_code"]) == ("ended", 143)
    assert here.orchestrate("runs", "--stop", begun["run"]).returncode == 2
    done = here.orchestrate("runs", "rows", "--pull")
    assert done.returncode == 0, done.stderr
    assert f"{begun['run']} has ended. Stopped in cell 3 of 4: " in done.stderr
    assert (here.kept(), here.written("stopped") < 100) == ([], True)


#: Where a command is killed: its play has begun this task.
TASKS = ["Look at the services", "Send what is new", "Fetch what a run made", "Fetch what is new"]


@pytest.mark.long
@pytest.mark.parametrize("name", TASKS)
def test_a_command_killed_in_a_play_is_finished_by_the_same_again(here: Machine, name: str, tmp_path: Path) -> None:
    # It is new to the machine, so that there is something to send.
    (here.path / "rows/data.txt").write_text(name)
    mark = f"in_{TASKS.index(name)}"
    command = here.begin(mark, 5, tmp_path / "told.txt")
    command.until(task(name))
    kill_all(command.process)
    had(here, mark, 5)


@pytest.mark.long
@pytest.mark.parametrize("seconds", [0, 0.5, 1, 2, 4])
def test_a_command_killed_as_its_run_begins_makes_one_run(here: Machine, seconds: float, tmp_path: Path) -> None:
    mark = f"begin_{seconds}".replace(".", "_")
    command = here.begin(mark, 5, tmp_path / "told.txt")
    # The SSH that begins it is a child of the command, as the play is not.
    until(lambda: _children(command.process.pid))
    time.sleep(seconds)
    kill_all(command.process)
    had(here, mark, 5)


def _children(pid: int) -> list[str]:
    return subprocess.run(["pgrep", "-x", "ssh", "--parent", str(pid)], stdout=subprocess.PIPE, text=True, check=False).stdout.split()


@pytest.mark.long
def test_two_at_once_are_one_run(here: Machine, tmp_path: Path) -> None:
    commands = [here.begin("both", 5, tmp_path / f"{number}.txt") for number in (1, 2)]
    codes = [command.process.wait(timeout=180) for command in commands]
    # One may come while a play of the other works on the machine, and is refused.
    assert 0 in codes
    assert set(codes) <= {0, 3}
    assert (here.written("both"), here.kept()) == (5, [])
    assert (here.path / "rows/ipynb/both.txt").exists()


@pytest.mark.long
def test_a_run_outlives_five_minutes_without_a_network(here: Machine, tmp_path: Path) -> None:
    told = tmp_path / "told.txt"
    command = here.begin("cut", 100, told)
    printed(told, "row 1")
    here.fault(instance=instance(here), does="cut network", seconds=300)
    assert command.process.wait(timeout=280) == 4
    assert "runs on, on the machine" in told.read_text()
    time.sleep(200)
    had(here, "cut", 100, "it is not run again")


@pytest.mark.long
@pytest.mark.parametrize("how", ["reboot", "lose power"])
def test_a_run_that_ends_with_its_machine_has_failed_and_is_fetched(here: Machine, how: str, tmp_path: Path) -> None:
    told, name = tmp_path / "told.txt", how.replace(" ", "_")
    command = here.begin(name, 200, told)
    printed(told, "row 3")
    if how == "reboot":
        here.ec2().reboot_instances(InstanceIds=[instance(here)])
    else:
        here.fault(instance=instance(here), does="lose power")
    # It may find the connection again, and then the end of the run; or it leaves it.
    assert command.process.wait(timeout=300) == 4
    here.answer("deploy", "rows")
    if "runs on, on the machine" in told.read_text():
        done = here.orchestrate(*words(name, 200))
        assert done.returncode == 4, done.stderr
        answer = json.loads(done.stdout)
        assert (answer["joined"], answer["exit_code"], answer["out_of_memory"]) == (True, 143, False)
        assert (here.path / "rows" / answer["executed"]).exists()
    assert here.kept() == []
