"""Jobs: how long they may take, what comes of their results, a worker that is stopped or cannot work, and what the monitor shows."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.conftest import PROJECT
from tests.images.boxes import Box
from tests.images.project import PASSWORD, Project
from tests.modules import load

#: Of each kind of result that the monitor knows nothing of, and of some that it does.
SHAPES = """
import collections, dataclasses, datetime, threading, time
import numpy, pandas

@dataclasses.dataclass
class Fit:
    score: float
    rows: int

class Own(dict):
    def __reduce__(self):
        return exec, ("open('/home/jovyan/read-by-the-monitor', 'w')",)

def fit(): return Fit(0.9, 3)
def vector(): return numpy.arange(3)
def frame(): return pandas.DataFrame({"a": [1, 2]})
def dangerous(): return Own(a=1)
def mixed(): return {1: "a", "b": (2, float("nan"))}
def dates(): return [datetime.date(2026, 5, 1), {1, 2}, b"x"]
def counted(): return collections.Counter("abca")
def number(): return 3
def nothing(): return None
def large(): return bytes(3 << 20)
def too_large(): return bytes(5 << 20)
def lock(): return threading.Lock()
def wordy(): raise ValueError("x" * 1000000)

def stubborn():
    while True:
        try:
            time.sleep(60)
        except Exception:
            pass
"""
WAIT = "import time; from lib.tasks import enqueue, wait; from lib import shapes\n"


@pytest.fixture(scope="module", autouse=True)
def _package(project: Project) -> None:
    """The template's own jobs.py under another name, beside the jobs of these tests."""
    lib = project.folder / "work" / "lib"
    (lib / "tasks.py").write_text((PROJECT / "slipway" / "template" / "lib" / "jobs.py").read_text())
    (lib / "stores.py").write_text((PROJECT / "examples" / "adult" / "lib" / "stores.py").read_text())
    (lib / "shapes.py").write_text(SHAPES)


def told(project: Project, code: str) -> str:
    """What `wait` raises, in one line."""
    return project.python(f"{WAIT}try:\n    print('no error', {code})\nexcept Exception as error:\n    print(type(error).__name__, error)")


def redis(project: Project, *words: str) -> str:
    return project.boxes("redis")[0].out("redis-cli", "--no-auth-warning", "-a", PASSWORD, *words)


def page(project: Project, path: str) -> Any:
    return project.shown(path, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def check(box: Box) -> str:
    """Whether a container is healthy, and what its health check said last."""
    box.container.reload()
    health = box.container.attrs["State"]["Health"]
    return f"{health['Status']}: {health['Log'][-1]['Output'] if health['Log'] else ''}"


def host(project: Project, name: str) -> Box:
    """The worker that has begun this job last."""
    return next(box for box in project.boxes("worker") if box.container.short_id == project.marks(name)[-1][1])


def test_no_job_has_a_limit_that_was_not_given(project: Project) -> None:
    code = f"{WAIT}jobs = [queue.enqueue(shapes.number), enqueue(shapes.number), rq.Queue('b', queue.connection).enqueue(shapes.number)]"
    assert (
        project.python(f"{code}\nprint([job.timeout for job in jobs], queue.enqueue(shapes.number, job_timeout=7).timeout)")
        == "[-1, -1, -1] 7"
    )


def test_a_job_that_takes_longer_than_its_limit_is_called_so(project: Project) -> None:
    assert "took longer than 1 s" in told(project, "wait([enqueue(time.sleep, 60, timeout=1)])")
    # One that does not notice is killed.
    assert "took longer than 1 s" in told(project, "wait([enqueue(shapes.stubborn, timeout=1)])")


def test_a_result_is_kept_for_days_and_an_hour_after_it_was_read(project: Project) -> None:
    code = f"{WAIT}jobs = [enqueue(shapes.number), enqueue(shapes.nothing), enqueue(shapes.fit)]\n"
    code += "until = time.monotonic() + 20\nwhile not all(job.is_finished for job in jobs) and time.monotonic() < until: time.sleep(0.1)\n"
    code += "keys = [key for job in jobs for key in (job.key, 'rq:results:' + job.id)]\n"
    code += (
        "print(min(map(queue.connection.ttl, keys)) > 6 * 86400, wait(jobs), max(map(queue.connection.ttl, keys)) <= 3600, wait(jobs)[0])"
    )
    assert project.python(code) == "True [3, None, Fit(score=0.9, rows=3)] True 3"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("wait([job for job in [enqueue(shapes.number)] if wait([job]) and queue.connection.delete('rq:results:' + job.id)])", "is gone"),
        ("wait([job for job in [enqueue(shapes.number)] if queue.connection.delete(job.key) or True])", "LookupError The result of"),
        ("wait([enqueue(shapes.lock)])", "cannot be sent back: cannot pickle '_thread.lock' object"),
        ("wait([enqueue(shapes.too_large)])", "The job returned 5.0 MiB, and this Redis takes 4.5 MiB. Write it to a file"),
        ("wait([enqueue('lib.shapes.removed')])", "RuntimeError The job lib.shapes.removed() is failed: "),
        ("wait([enqueue(time.sleep, 8)], seconds=1)", "Workers that run: 2. `status` says why"),
    ],
)  # fmt: skip
def test_wait_says_why_there_is_no_result(project: Project, code: str, words: str) -> None:
    assert words in told(project, code)


def test_the_monitor_shows_every_job(project: Project) -> None:
    names = ["fit", "vector", "frame", "dangerous", "mixed", "dates", "counted", "number", "nothing", "large", "wordy", "lock"]
    code = f"{WAIT}jobs = {{name: enqueue(getattr(shapes, name)) for name in {names}}}\n"
    code += "jobs['after'] = queue.enqueue(shapes.number, depends_on=jobs['fit'])\n"
    code += "jobs['meta'] = queue.enqueue(shapes.number, meta={'a': shapes.fit()})\n"
    code += "jobs['arguments'] = queue.enqueue(print, shapes.fit(), 'a' * (24 << 20))\n"
    ids = json.loads(project.python(code + "print(json.dumps({name: job.id for name, job in jobs.items()}))"))
    project.until(lambda: {state(project, job) for job in ids.values()} <= {"finished", "failed"})
    shown = {job["id"] for registry in ("finished", "failed") for job in page(project, f"jobs/default/{registry}/1000/asc/1")["jobs"]}
    assert set(ids.values()) <= shown
    results = {name: page(project, f"job/{job}")["result"] for name, job in ids.items()}
    assert results["fit"] == "lib.shapes.Fit"
    assert results["vector"] == "numpy.ndarray"
    assert "DataFrame" in results["frame"]
    assert results["dangerous"] == "builtins.exec"
    assert results["mixed"] == "{1: 'a', 'b': (2, nan)}"
    assert "datetime.date(2026, 5, 1)" in results["dates"]
    assert (results["number"], results["nothing"]) == (3, None)
    assert "MiB" in results["large"]
    assert page(project, f"job/{ids['after']}")["depends_on"] == [ids["fit"]]
    assert page(project, "workers")["workers"]
    monitor = project.boxes("monitor")[0]
    project.until(lambda: check(monitor).startswith("healthy"))
    assert monitor.container.attrs["RestartCount"] == 0
    assert monitor.run("ls", "/home/jovyan/read-by-the-monitor")[0] != 0


def begin(project: Project, name: str, seconds: int) -> str:
    """Enqueue a job that takes so long, and wait until it has begun."""
    job = project.python(f"print(queue.enqueue(lib.jobs.mark, {name!r}, {seconds}).id)")
    project.until(lambda: project.marks(name))
    return job


def state(project: Project, job: str) -> str:
    """Without a Python, which takes the processor for a second."""
    return redis(project, "hget", f"rq:job:{job}", "status")


def test_a_worker_that_is_stopped_hands_its_job_back_and_that_is_no_loss(project: Project) -> None:
    job = begin(project, "handed", 12)
    assert project.compose("stop", "worker").returncode == 0
    assert {box.exit_code() for box in project.boxes("worker")} == {0}
    assert state(project, job) == "queued"
    assert redis(project, "get", f"slipway:losses:{job}") == "0"
    assert page(project, "workers")["workers"] == []
    assert project.compose("up", "--detach", "worker").returncode == 0
    project.until(lambda: state(project, job) == "finished", seconds=40)
    assert [what for what, _ in project.marks("handed")] == ["begin", "begin", "end"]


def test_a_worker_without_redis_goes_on_with_its_job_and_says_why(project: Project) -> None:
    job = begin(project, "gone", 5)
    box = host(project, "gone")
    assert project.compose("stop", "redis").returncode == 0
    project.until(lambda: "Redis does not answer at redis:6379" in check(box), seconds=40)
    assert project.compose("start", "redis").returncode == 0
    project.boxes("redis")[0].wait_healthy()
    project.until(lambda: state(project, job) == "finished", seconds=60)
    time.sleep(17)
    # The other has not taken it for lost.
    assert [what for what, _ in project.marks("gone")] == ["begin", "end"]
    project.until(lambda: check(box).startswith("healthy"), seconds=40)


def test_a_result_waits_until_a_full_redis_has_room(project: Project) -> None:
    job = begin(project, "full", 3)
    box = host(project, "full")
    fill = ("eval", "return redis.call('set', KEYS[1], string.rep('x', 1000000))", "1")
    fillers = [f"filler:{number}" for number in range(48)]
    try:
        # Its 36 MB: what has no room is refused.
        assert "OOM" in "".join(redis(project, *fill, name) for name in fillers)
        project.until(lambda: "Redis is full" in check(box), seconds=60)
        project.until(lambda: check(box).startswith("unhealthy"), seconds=60)
        assert box.container.attrs["RestartCount"] == 0
    finally:
        redis(project, "unlink", *fillers)
    project.until(lambda: state(project, job) == "finished", seconds=40)
    assert [what for what, _ in project.marks("full")] == ["begin", "end"]
    project.until(lambda: check(box).startswith("healthy"), seconds=40)


TROUBLE = "/tmp/slipway-worker/trouble"  # noqa: S108 (of the container)
#: What keeps a worker from starting, in the home's packages: by file, its text; and what is said of it.
AT_FAULT = {
    "a package of another version": (
        {
            "redis/__init__.py": "raise SyntaxError('Missing parentheses in call to print')",
            "redis-2.10.6.dist-info/METADATA": "Metadata-Version: 2.1\nName: redis\nVersion: 2.10.6\n",
            "redis-2.10.6.dist-info/RECORD": "redis/__init__.py,,\n",
        },
        ["SyntaxError", "It comes from redis 2.10.6 in ~/.local/lib/python3", "`pip uninstall redis` removes it"],
    ),
    "an older one, which lacks a name": (
        {
            "rq/__init__.py": "",
            "rq-0.5.dist-info/METADATA": "Metadata-Version: 2.1\nName: rq\nVersion: 0.5\n",
            "rq-0.5.dist-info/RECORD": "rq/__init__.py,,\n",
        },
        ["No module named 'rq.", "It comes from rq 0.5 in ~/.local/lib/python3", "`pip uninstall rq` removes it"],
    ),
    "a file of that name": (
        {"psycopg2.py": ""},
        ["'psycopg2' is not a package", "It comes from psycopg2 in", "/site-packages/psycopg2.py` removes it"],
    ),
}


@pytest.mark.parametrize("case", AT_FAULT)
def test_a_worker_that_a_package_of_the_home_keeps_from_starting_names_it(project: Project, case: str) -> None:
    files, words = AT_FAULT[case]
    place = project.shell.out("python", "-c", "import site; print(site.getusersitepackages())")
    begin = "import sys, slipway_begin as begin; begin.PAUSE = 1; sys.argv = ['', 'slipway_worker']; begin.main()"
    write = f"from pathlib import Path\nfor name, text in {files!r}.items():\n    path = Path({place!r}, name)\n"
    write += "    path.parent.mkdir(parents=True, exist_ok=True)\n    path.write_text(text)"
    try:
        project.shell.out("python", "-S", "-c", write)
        # The official image's Python looks there before its own packages; that of the stand-in, a virtual environment, after them.
        first = {"PYTHONPATH": place}
        command = ["bash", "-c", f'echo $$ > /tmp/begin.pid; exec python -P -c "{begin}"']
        project.shell.container.exec_run(command, detach=True, environment=first)
        project.until(lambda: project.shell.run("test", "-s", TROUBLE)[0] == 0)
        said = project.shell.out("cat", TROUBLE)
        assert all(each in said for each in words), said
        # The health check's answer is not cut.
        assert len(said) < load("stack_engine").MOST_REASON
        # It is removed, and the worker starts.
        project.shell.out("rm", "-r", place)
        project.until(lambda: project.shell.run("test", "-e", TROUBLE.replace("trouble", "alive"))[0] == 0)
        assert project.shell.run("test", "-e", TROUBLE)[0] == 1
    finally:
        project.shell.run("bash", "-c", f"kill $(cat /tmp/begin.pid); rm -rf {place} {TROUBLE} {TROUBLE.replace('trouble', 'alive')}")


def test_a_worker_with_a_wrong_password_says_so_and_takes_the_right_one(project: Project) -> None:
    box, file = project.boxes("worker")[0], project.folder / "secrets" / "redis_password"
    file.write_text("another password")
    try:
        box.container.restart(timeout=20)
        project.until(lambda: "Redis refuses the password" in check(box), seconds=40)
    finally:
        file.write_text(PASSWORD)
    project.until(lambda: check(box).startswith("healthy"), seconds=40)
    assert box.container.attrs["RestartCount"] == 0
