"""Where Jupyter's memory runs out: what is killed, and what is told of it."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import product

import pytest

from tests import kernels
from tests.images.boxes import Box
from tests.images.project import Project


@pytest.fixture
def box(project: Project, request: pytest.FixtureRequest) -> Iterator[Box]:
    mib = getattr(request, "param", 384)
    assert project.compose("up", "--detach", "jupyter", env=os.environ | {"JUPYTER_MEMORY": f"{mib}m"}).returncode == 0
    (made,) = project.boxes("jupyter")
    yield made.wait_healthy()
    assert project.compose("rm", "--stop", "--force", "jupyter").returncode == 0


#: Twice the memory by many small processes, as joblib or a terminal starts them, none of which takes what the server does.
MANY = """
import subprocess, sys
command = [sys.executable, "-c", "hoard = bytes(range(256)) * (32 << 12); print(len(hoard), flush=True); import time; time.sleep(60)"]
many = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(14)]
for each in many:
    each.stdout.readline()
print([each.poll() for each in many])
for each in many:
    each.kill()
"""


def test_the_server_outlives_many_small_processes_that_take_all_memory(box: Box) -> None:
    begun = box.container.attrs["State"]["StartedAt"]
    ended = box.out("python", "-c", MANY)
    box.container.reload()
    assert box.container.attrs["State"]["StartedAt"] == begun, box.logs()
    assert "-9" in ended
    assert json.loads(box.out(*kernels.words(("work/ipynb/any.ipynb", "notebook", "1")))) == ["ok"]


def test_of_a_run_its_kernel_goes_first(project: Project) -> None:
    places = "import os\nprint([int(open(f'/proc/{pid}/oom_score_adj').read()) for pid in (os.getpid(), os.getppid())])"
    assert project.tried(project.notebook("places", places), "runs/places.ipynb")[0] == 0
    kernel, program = json.loads(project.printed("runs/places.ipynb"))
    assert kernel > program


#: A kernel that was used: it is larger than what three of them, and the server, leave for another process in 256 MiB.
USED = "held = bytes(range(256)) * (11 << 12)"


@pytest.mark.parametrize("box", [256], indirect=True)
def test_kernels_outlive_another_process_that_is_no_larger_when_all_memory_is_taken(project: Project, box: Box) -> None:
    used = [(f"work/ipynb/{name}.ipynb", "notebook", USED) for name in ("a", "b", "c")]
    assert json.loads(box.out(*kernels.words(*used))) == ["ok"] * 3
    assert box.run("python", "-c", kernels.HOARD)[0] == 137
    assert project.until(lambda: "out of memory: " in box.logs())
    assert "out of memory: a process in the container was killed" in box.logs()
    assert box.logs().count("out of memory: ") == 1
    alive = [(path, kind, "assert len(held) == 11 << 20") for path, kind, _ in used]
    assert json.loads(box.out(*kernels.words(*alive))) == ["ok"] * 3


# The least memory that the budget gives.
@pytest.mark.parametrize("box", [256], indirect=True)
def test_the_server_tells_whose_kernel_was_killed_for_memory_and_of_no_other_end(project: Project, box: Box) -> None:
    greedy, other = "work/ipynb/big data é.ipynb", "work/ipynb/other.ipynb"
    ended = json.loads(
        box.out(
            *kernels.words(
                (other, "notebook", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
                (greedy, "notebook", kernels.HOARD),
                ("console-1", "console", kernels.HOARD),
                (other, "notebook", "1 / 0"),
            )
        )
    )
    assert ended == ["restarting", "restarting", "restarting", "error"]
    # No kernel of the server's.
    assert box.run("python", "-c", kernels.HOARD)[0] == 137
    told = project.until(lambda: box.logs().count("out of memory: ") == 3) and box.logs()
    assert f"out of memory: the kernel of {greedy} was killed; the limit is 256 MiB, the peak was 256 MiB" in told
    assert "out of memory: a kernel without a notebook was killed" in told
    assert "out of memory: a process in the container was killed" in told
    # The file outlives a restart, and nothing of this is in the user's folder.
    assert project.compose("restart", "--timeout", "1", "jupyter").returncode == 0
    records = [json.loads(line) for line in box.wait("true").out("cat", "/var/tmp/slipway-out-of-memory.jsonl").splitlines()]  # noqa: S108 (of the container)
    assert [(each["who"], each["notebook"]) for each in records] == [("kernel", greedy), ("kernel", None), ("process", None)]
    assert {(each["limit_mib"], each["peak_mib"]) for each in records} == {(256, 256)}
    assert box.out("find", "/home/jovyan/work", "-name", "*slipway*") == ""


#: Names of the loopback, and others.
HOSTS = {"127.0.0.1:22000": 200, "localhost": 200, "[::1]:8888": 200, "evil.example:8888": 403, "jupyter:8888": 403}


def test_the_server_answers_under_the_loopbacks_names_alone(box: Box) -> None:
    """A page of another site may have its own name lead to 127.0.0.1: with the token, and for what needs none."""
    for path, (host, status) in product(("/api/contents", "/api"), HOSTS.items()):
        headers = {"Host": host, "Authorization": f"token {'t' * 20}"}
        asked = urllib.request.Request(f"http://127.0.0.1:{box.port(8888)}{path}", headers=headers)
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                found = answer.status
        except urllib.error.HTTPError as refused:
            found = refused.code
        assert found == status, (path, host)
