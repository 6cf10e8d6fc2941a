"""What a project adds to the stack: workers, the monitor and batch runs, by the role's own Compose files and image."""

import json
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from tests.images.boxes import Box
from tests.images.project import PASSWORD, TOKEN, Project


def test_a_job_of_the_projects_package_runs_in_its_folder_and_is_shared_by_two_workers(project: Project) -> None:
    calls = "print([queue.enqueue(lib.jobs.mark, 'shared', 0.5).id for _ in range(6)][-1])"
    last = project.python(calls)
    project.until(lambda: len(project.marks("shared")) == 12)
    project.until(lambda: project.job(last)[0] == "finished")
    assert project.job(last) == ("finished", "/home/jovyan/work")
    ends = [host for what, host in project.marks("shared") if what == "end"]
    assert len(ends) == 6
    assert len(set(ends)) == 2


def test_the_monitor_shows_queues_and_workers_on_the_loopback_only(project: Project) -> None:
    def finished() -> int:
        return sum(queue["finished_job_registry_count"] for queue in project.shown("queues")["queues"] if queue["name"] == "default")

    before = finished()
    project.python("queue.enqueue(lib.jobs.mark, 'shown')")
    project.until(lambda: finished() == before + 1)
    workers = project.shown("workers")["workers"]
    # A worker is named after its container.
    assert {worker["name"].partition(".")[0] for worker in workers} == {box.container.short_id for box in project.boxes("worker")}
    published = project.boxes("monitor")[0].container.attrs["NetworkSettings"]["Ports"]
    assert [binding["HostIp"] for binding in published["9181/tcp"]] == ["127.0.0.1"]


#: The headers of a browser's own request, from the monitor's page.
SAME = {"Origin": "http://127.0.0.1:{port}", "Referer": "http://127.0.0.1:{port}/0/view/jobs", "Sec_Fetch_Site": "same-origin"}
#: What a page of another site, of a port beside, or under a name of its own (DNS rebinding) sends.
FOREIGN: list[dict[str, str]] = [
    {"Origin": "http://evil.example", "Sec_Fetch_Site": "cross-site"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Referer": "http://evil.example/page"},
    {"Sec_Fetch_Site": "cross-site"},
    {"Origin": "http://127.0.0.1:8888", "Sec_Fetch_Site": "same-site"},
    {"Host": "evil.example:9181", "Origin": "http://evil.example:9181", "Sec_Fetch_Site": "same-origin"},
    {"Host": "monitor:9181"},
]
CHANGES = ("/queue/failed/failed/empty", "/queue/default/queued/empty", "/queue/default/compact", "/requeue/default", "/job/none/delete")
READS = ("/", "/0/view/jobs", "/0/data/queues.json", "/0/data/workers.json", "/static/js/jquery-3.5.1.min.js", "/favicon.ico", "/none")


def test_the_monitor_lets_in_its_own_pages_alone(project: Project) -> None:
    """The jobs wait in a queue without a worker, and stay there whatever others ask for."""
    address = f"/0/view/queues?{urllib.parse.urlencode({'token': TOKEN})}"
    status, headers, text = project.monitor(address, Sec_Fetch_Site="none")
    assert (status, headers["Location"], text) == (302, "/0/view/queues", "")
    cookie = {"Cookie": headers["Set-Cookie"].partition(";")[0]}
    project.python("other = rq.Queue('other', connection=queue.connection)\nfor _ in range(3): other.enqueue(lib.jobs.mark, 'never')")

    def waiting() -> int:
        return sum(each["count"] for each in project.shown("queues")["queues"] if each["name"] == "other")

    for known in ({}, {"Cookie": "slipway-monitor-{port}=" + "0" * 64}, {"Authorization": "token wrong"}):
        for method, paths in (("GET", (*READS, *CHANGES)), ("POST", CHANGES), ("OPTIONS", CHANGES), ("DELETE", CHANGES)):
            for path in (*paths, "/queue/other/queued/empty"):
                assert project.monitor(path, method, **SAME, **known)[0] == 403, (method, path)
    for foreign in FOREIGN:
        for method, path in (("GET", "/"), ("GET", "/0/data/queues.json"), ("GET", address), ("POST", "/queue/other/queued/empty")):
            status, headers, _ = project.monitor(path, method, **cookie, **foreign)
            assert (status, "Set-Cookie" in headers) == (403, False), (method, path, foreign)
            assert not [name for name in headers if name.startswith("Access-Control")]
    # By GET nothing changes, by a POST without a word of where it comes from neither.
    for path in ("/requeue/other", *CHANGES, "/queue/other/queued/empty"):
        for method in ("GET", "HEAD"):
            assert project.monitor(path, method, **cookie, **SAME)[0] == 405, path
        assert project.monitor(path, "POST", **cookie)[0] == 403, path
    assert waiting() == 3
    # Its own pages go on: what they show, what they load, and what their buttons do.
    for path in READS[:-1]:
        assert project.monitor(path, **cookie, Sec_Fetch_Site="same-origin")[0] == 200, path
    assert project.monitor("/none", **cookie)[0] == 404
    assert project.monitor("/queue/other/queued/empty", "POST", **cookie, **SAME)[0] == 200
    assert waiting() == 0


def test_a_failed_job_is_tried_again_and_removed_by_the_pages_of_the_monitor(project: Project) -> None:
    headers = project.monitor(f"/?{urllib.parse.urlencode({'token': TOKEN})}")[1]
    asks = {"Cookie": headers["Set-Cookie"].partition(";")[0], **SAME}
    job = project.python("print(queue.enqueue(lib.jobs.mark, 'no/folder').id)")
    project.until(lambda: project.job(job)[0] == "failed")
    begun = [project.shown(f"job/{job}")["started_at"]]
    for path in (f"/job/{job}/requeue", "/requeue/default"):
        assert json.loads(project.monitor(path, "POST", **asks)[2])["status"] == "OK"
        project.until(lambda: (now := project.shown(f"job/{job}"))["started_at"] not in begun and now["status"] == "failed")
        begun.append(project.shown(f"job/{job}")["started_at"])
    assert job in project.monitor(f"/0/view/job/{job}", **asks)[2]
    assert json.loads(project.monitor(f"/job/{job}/delete", "POST", **asks)[2])["status"] == "OK"
    assert job not in {each["id"] for each in project.shown("jobs/default/failed/1000/asc/1")["jobs"]}


def test_the_monitor_is_healthy_by_redis_and_has_its_own_secrets_alone(project: Project) -> None:
    monitor = project.boxes("monitor")[0]
    assert monitor.out("ls", "/run/secrets", "/run/slipway").split() == [
        "/run/secrets:",
        "redis_password",
        "/run/slipway:",
        "monitor_token",
    ]
    assert project.shell.run("sh", "-c", "ls /run/slipway /run/secrets/monitor_token")[0] != 0
    health = monitor.container.attrs["Config"]["Healthcheck"]["Test"][1:]
    assert monitor.run(*health)[0] == 0
    assert project.compose("pause", "redis").returncode == 0
    try:
        assert monitor.run("timeout", "3", *health)[0] != 0
    finally:
        assert project.compose("unpause", "redis").returncode == 0
    assert monitor.run(*health)[0] == 0


def test_no_log_no_command_line_and_no_inspection_shows_the_password(project: Project) -> None:
    boxes = [*project.boxes("worker"), *project.boxes("monitor"), project.shell]
    assert len(boxes) == 4
    for box in boxes:
        box.container.reload()
        lines = box.out("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; tr '\\0' '\\n' < /proc/1/environ")
        assert "python" in lines or "sleep" in lines
        for text in (box.logs(), json.dumps(box.container.attrs), lines):
            for secret in (PASSWORD, TOKEN):
                assert secret not in text
                assert json.dumps(secret)[1:-1] not in text
                assert urllib.parse.quote(secret, safe="") not in text


def test_a_job_that_takes_too_much_memory_fails_with_words_and_its_worker_stays(project: Project) -> None:
    begun = {box.container.id: box.container.attrs["State"]["StartedAt"] for box in project.boxes("worker")}
    job = project.enqueue("eat")
    project.until(lambda: project.job(job)[0] == "failed")
    assert "out of memory: the limit is 112 MiB, the peak was 11" in str(project.job(job)[1])
    assert {box.container.id: box.container.attrs["State"]["StartedAt"] for box in project.boxes("worker")} == begun


def test_the_job_of_a_killed_worker_is_run_by_another(project: Project) -> None:
    """Without a Retry, and with the work horse killed too."""
    project.python("queue.enqueue(lib.jobs.mark, 'killed', 2.5)")
    project.until(lambda: project.marks("killed"))
    first = project.marks("killed")[0][1]
    box = next(box for box in project.boxes("worker") if box.container.short_id == first)
    box.container.kill()
    seconds = project.until(lambda: len(project.marks("killed")) == 3, seconds=40)
    print(f"the job of a killed worker ran and ended elsewhere {seconds:.1f} s after the kill")
    second = project.marks("killed")[1][1]
    assert second != first
    assert project.marks("killed") == [["begin", first], ["begin", second], ["end", second]]
    assert len(project.shown("workers")["workers"]) == 1
    assert project.compose("up", "--detach", "worker").returncode == 0
    box.wait_healthy()


def test_a_worker_that_is_stopped_ends_its_job_first(project: Project) -> None:
    project.python("queue.enqueue(lib.jobs.mark, 'stopped', 2.5)")
    project.until(lambda: project.marks("stopped"))
    host = project.marks("stopped")[0][1]
    box = next(box for box in project.boxes("worker") if box.container.short_id == host)
    assert project.compose("stop", "worker").returncode == 0
    assert project.marks("stopped") == [["begin", host], ["end", host]]
    assert box.exit_code() == 0
    assert project.shown("workers")["workers"] == []
    assert project.compose("up", "--detach", "worker").returncode == 0


def test_a_job_that_takes_its_workers_down_is_run_again_and_fails_the_third_time(project: Project) -> None:
    job = project.enqueue("take_the_worker_down")
    project.until(lambda: project.job(job)[0] == "failed", seconds=60)
    assert len(project.marks("downs")) == 2 * 3
    assert "lost 3 times" in str(project.job(job)[1])


def test_a_notebook_runs_in_its_folder_with_its_parameters(project: Project) -> None:
    cells = ["rows, name, share = 1, '', 0", "import lib.jobs\nfrom pathlib import Path", "print(rows * 2, name + '!', share, Path.cwd())"]
    notebook = project.notebook("good", *cells, "Path('../written.txt').write_text('by the notebook')", parameters=True)
    done = project.batch(notebook, "runs/good.ipynb", "rows=21", "name=ada", "share=0.5", "rwos=1")
    assert done.returncode == 0, done.stderr
    assert "42 ada! 0.5 /home/jovyan/work/ipynb\n" in done.stdout
    assert "sets no rwos" in done.stdout
    # The parameters are a cell too.
    assert "[5/5] In [5]: Path('../written.txt')" in done.stdout
    assert "5 of 5 cells ran in " in done.stdout
    assert (project.folder / "work" / "written.txt").read_text() == "by the notebook"
    assert "42 ada! 0.5" in project.printed("runs/good.ipynb")
    left = project.client.containers.list(all=True, filters={"name": f"{project.name}-batch"})
    assert left == []


def test_a_failing_cell_is_told_with_its_source_and_traceback(project: Project) -> None:
    notebook = project.notebook("bad", "print('first')", "def divide():\n    return 1 / 0\ndivide()", "print('never')")
    code, text = project.tried(notebook, "runs/bad.ipynb", "rows=1")
    assert code == 1
    assert "at the top of the notebook" in text
    assert "cell 3 of 4 failed: ZeroDivisionError: division by zero" in text
    assert "    def divide():\n        return 1 / 0\n    divide()" in text
    assert "----> 2     return 1 / 0" in text
    assert "\x1b" not in text
    assert "never" not in text
    assert project.printed("runs/bad.ipynb") == "first\n"


def test_out_of_memory_is_told_and_exits_137(project: Project) -> None:
    notebook = project.notebook("greedy", "print('begins')", "eaten = []\nwhile True:\n    eaten.append(bytearray(8 << 20))")
    done = project.batch(notebook, "runs/greedy.ipynb")
    assert done.returncode == 137, done.stderr
    assert "out of memory in cell 2 of 2: the limit is 256 MiB, the peak was 25" in done.stderr
    assert project.printed("runs/greedy.ipynb") == "begins\n"


def test_shared_memory_is_as_large_as_the_limit(project: Project) -> None:
    size = "import os\nfacts = os.statvfs('/dev/shm')\nassert facts.f_blocks * facts.f_frsize == 256 << 20"
    block = "from multiprocessing import shared_memory\nroom = shared_memory.SharedMemory(create=True, size=100 << 20)\n"
    block += "room.buf[:] = bytes(100 << 20)\nroom.close(); room.unlink()"
    file = "open('/dev/shm/x', 'wb').write(bytes(70 << 20))\nos.remove('/dev/shm/x')"
    code, text = project.tried(project.notebook("shared", size, block, file), "runs/shared.ipynb")
    assert code == 0, text
    for box in project.boxes("worker"):
        assert box.container.attrs["HostConfig"]["ShmSize"] == 112 << 20


def test_more_shared_memory_than_the_limit_is_out_of_memory(project: Project) -> None:
    cell = "file = open('/dev/shm/x', 'wb')\nwhile True:\n    file.write(bytes(8 << 20))"
    done = project.batch(project.notebook("hoarder", cell), "runs/hoarder.ipynb")
    assert (done.returncode, "out of memory in cell 1 of 1: the limit is 256 MiB" in done.stderr) == (137, True), done.stderr


def test_a_kernel_that_a_signal_ends_leaves_no_core_and_of_shared_memory_it_is_said(project: Project) -> None:
    cases = {"SIGSEGV": "killed by SIGSEGV", "SIGBUS": "Its shared memory, /dev/shm, has 256 MiB, of which 0 are in use now"}
    for name, words in cases.items():
        notebook = project.notebook(name, f"import os, signal\nos.kill(os.getpid(), signal.{name})")
        code, text = project.tried(notebook, f"runs/{name}.ipynb")
        assert code == 1
        assert words in text
        assert ("shared memory" in text) == (name == "SIGBUS")
    assert not list((project.folder / "work" / "ipynb").glob("core*"))


def test_a_notebook_that_ends_its_own_kernel_has_failed(project: Project) -> None:
    # In its last cell: every cell was begun.
    cases = {"exit(3)": "failed: exit(3)", "import os; os._exit(3)": "with exit status 3"}
    notebooks = [project.notebook(f"ender{number}", "print('first')", cell) for number, cell in enumerate(cases)]
    outputs = [f"runs/ender{number}.ipynb" for number in range(len(cases))]
    with ThreadPoolExecutor() as pool:
        for (code, text), words, output in zip(pool.map(project.tried, notebooks, outputs), cases.values(), outputs, strict=True):
            assert code == 1
            assert "cell 2 of 2" in text
            assert words in text
            assert "out of memory" not in text
            assert project.printed(output) == "first\n"


def test_what_cannot_be_run_is_refused_and_writes_nothing(project: Project) -> None:
    (project.folder / "work" / "ipynb" / "words.ipynb").write_text("no notebook")
    unknown, empty = project.notebook("unknown", "1", kernel="julia-9"), project.notebook("empty", " ")
    good = project.notebook("one", "1")
    cases = {
        (unknown, "runs/no.ipynb"): "the notebook names the kernel 'julia-9'; there are: python3. -k NAME chooses one",
        (good, "runs/no.ipynb", "--kernel=ir"): "there is no kernel 'ir'; there are: python3",
        (good, "runs/no.ipynb", "a=1", "--text=a=2"): "the parameter a is given twice",
        (good, "runs/no.ipynb", "--yaml=- 1"): "is no mapping of YAML",
        (empty, "runs/no.ipynb"): "has no code cells",
        ("ipynb/words.ipynb", "runs/no.ipynb"): "ipynb/words.ipynb is not a notebook",
        ("ipynb/missing.ipynb", "runs/no.ipynb"): "there is no notebook ipynb/missing.ipynb",
        (good, "../no.ipynb"): "is not in the project's folder",
        (good, "runs/no.ipynb", "2=3"): "'2' is no parameter's name",
    }
    # One Python for all: it takes two seconds to start.
    code = "import sys; sys.stderr = sys.stdout; sys.path.insert(0, '/slipway'); import run_notebook\n"
    code += "".join(f"print(run_notebook.main({list(arguments)}), flush=True)\n" for arguments in cases)
    lines = project.shell.out("python", "-uc", code).splitlines()
    assert lines[1::2] == ["2"] * len(cases)
    for line, words in zip(lines[::2], cases.values(), strict=True):
        assert words in line
    assert not (project.folder / "work" / "runs" / "no.ipynb").exists()


def test_a_stopped_run_ends_at_once_and_writes_its_output(project: Project) -> None:
    notebook = project.notebook("endless", "import time\nprint('begins', flush=True)", "while True:\n    time.sleep(1)")
    name = f"{project.name}-endless"
    run = ["run", "--detach", "--name", name, "batch", "python", "/slipway/run_notebook.py", notebook, "runs/endless.ipynb"]
    assert project.compose(*run).returncode == 0
    box = Box(project.client.containers.get(name))
    try:
        project.until(lambda: "[2/2]" in box.logs())
        begun = time.monotonic()
        box.container.stop(timeout=25)
        assert time.monotonic() - begun < 10
        assert box.exit_code() == 128 + 15
        assert "stopped by SIGTERM in cell 2 of 2" in box.logs()
        assert project.printed("runs/endless.ipynb") == "begins\n"
    finally:
        box.container.remove(force=True)
