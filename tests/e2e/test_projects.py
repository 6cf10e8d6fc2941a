"""Projects on machines of a lab of their own: the examples, projects beside each other, workers, seeds, files, batch runs."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.conftest import Checkout, copy_project
from tests.e2e.support.projects import make, write
from tests.e2e.support.refusals import changes

pytestmark = pytest.mark.xdist_group("projects")

EXAMPLES = ("jupyter-redis", "jupyter-mongo", "jupyter-postgres", "adult")
#: A job that says when it began, and then takes so long that it can be killed in between.
SLOW = """
import os, time
from lib.stores import connect_to_redis

def slow(number):
    connect_to_redis().rpush("begun", f"{number} {os.uname().nodename}")
    time.sleep(4)
    return number
"""


#: Another project's store, as its neighbour sees it.
STRANGER = """
import psycopg2
try:
    psycopg2.connect(host="left-postgres-1", connect_timeout=3)
except psycopg2.OperationalError as refusal:
    print(refusal)
"""


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout with a lab of its own; its machine is made by the first deploy."""
    here = copy_project(tmp_path_factory.mktemp("projects") / "slipway")
    yield here
    done = here.orchestrate("lab", "down", "--yes")
    assert done.returncode == 0, done.stderr


def run(here: Checkout, notebook: str, *parameters: str) -> dict[str, Any]:
    """Run a notebook that must succeed, and return it as it was executed."""
    words = [word for each in parameters for word in ("-p", each)]
    done = here.orchestrate("run", notebook, *words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    folder = next(path for path in (here.path / notebook).parents if (path / "slipway.yml").exists())
    return dict(json.loads((folder / answer["executed"]).read_text()))


def python(here: Checkout, project: str, script: str, service: str = "jupyter") -> str:
    """What a script prints in a container of a project's."""
    return here.on_host(f"docker exec --interactive --workdir /home/jovyan/work {project}-{service}-1 python -", stdin=script)


def sql(here: Checkout, project: str, query: str) -> str:
    return here.on_host(f"docker exec --interactive {project}-postgres-1 psql -XAtq -U slipway", stdin=query).strip()


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_passes(projects: Checkout, example: str) -> None:
    answer = projects.answer("deploy", f"examples/{example}")
    assert answer["instance"]["type"] == "t2.micro"
    wanted = yaml.safe_load((projects.path / "examples" / example / "slipway.yml").read_text())["services"]
    assert {name.partition("-")[0] for name in answer["services"]} == set(wanted)
    assert {facts["health"] for facts in answer["services"].values()} == {"healthy"}
    for notebook in sorted((projects.path / "examples" / example / "ipynb").glob("*.ipynb")):
        executed = run(projects, str(notebook.relative_to(projects.path)))
        counts = [cell["execution_count"] for cell in executed["cells"] if cell["cell_type"] == "code"]
        assert counts == list(range(1, len(counts) + 1)), notebook


def test_deploying_again_changes_nothing(projects: Checkout) -> None:
    before = projects.containers()
    answer = projects.answer("deploy", "examples/adult")
    assert answer["changed"] == 0
    assert answer["monitor_url"]
    assert projects.containers() == before


def test_a_killed_worker_loses_no_job(projects: Checkout) -> None:
    (projects.path / "examples/adult/lib/slow.py").write_text(SLOW)
    projects.answer("push", "examples/adult")
    script = "from lib.jobs import enqueue\nfrom lib.slow import slow\nprint(*[enqueue(slow, number).id for number in range(4)])"
    ids = python(projects, "adult", script).split()
    redis = "docker exec adult-redis-1 sh -c 'REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli lrange begun 0 -1'"
    deadline = time.monotonic() + 60
    while len(projects.on_host(redis).split("\n")) < 3:
        assert time.monotonic() < deadline, "no worker has begun"
    # The worker and the process of its job, at once.
    victim = projects.on_host("docker inspect --format '{{.Config.Hostname}}' adult-worker-1").strip()
    projects.on_host("docker kill --signal KILL adult-worker-1")
    wait = f"""
from lib.stores import connect_to_redis
from rq.job import Job
import time
jobs = Job.fetch_many({ids!r}, connect_to_redis())
end = time.monotonic() + 150
while not all(job.get_status() == "finished" for job in jobs) and time.monotonic() < end:
    time.sleep(0.5)
print(*[job.return_value() for job in jobs])
"""
    assert python(projects, "adult", wait).split() == ["0", "1", "2", "3"]
    begun = [line.split() for line in projects.on_host(redis).splitlines()]
    # One of them began in the worker that was killed, and again in the other.
    assert any(host == victim for _, host in begun)
    assert len(begun) > len(ids)
    # The same command brings the worker back.
    assert projects.answer("deploy", "examples/adult")["services"]["worker"]["health"] == "healthy"


def test_push_and_pull(projects: Checkout) -> None:
    here, there = projects.path / "examples/adult", "projects/adult/work"
    projects.on_host(f"echo kept > {there}/data/only-there.txt; echo theirs >> {there}/lib/slow.py")
    (here / "data/only-here.txt").write_text("sent\n")
    sent = projects.answer("push", "examples/adult")
    assert sent["moved"] == ["data/only-here.txt"]
    assert projects.on_host(f"cat {there}/data/only-there.txt {there}/data/only-here.txt").split() == ["kept", "sent"]
    with (here / "lib/slow.py").open("a") as text:
        text.write("ours\n")
    for verb in ("push", "pull"):
        refused = projects.orchestrate(verb, "examples/adult")
        assert refused.returncode == 3, refused.stderr
        assert "lib/slow.py" in refused.stderr
        assert "--overwrite" in refused.stderr
    back = projects.answer("pull", "examples/adult", "--overwrite")
    assert set(back["moved"]) == {"data/only-there.txt", "lib/slow.py"}
    assert (here / "lib/slow.py").read_text() == SLOW + "theirs\n"
    # What was removed here is removed there only when that is asked for.
    (here / "lib/slow.py").unlink()
    assert "push --delete" in projects.orchestrate("push", "examples/adult").stdout
    assert projects.on_host(f"tail -n 1 {there}/lib/slow.py") == "theirs\n"
    assert projects.answer("push", "examples/adult", "--delete")["removed"] == ["lib/slow.py"]
    assert "slow.py" not in projects.on_host(f"ls {there}/lib")


def test_a_run_brings_back_what_it_made_and_tells_how_it_failed(projects: Checkout) -> None:
    folder, own = projects.path / "examples/adult", "ipynb/own [1] é.ipynb"
    write(folder / own, ["size = 1", "open('made.txt', 'w').write('x' * size)\nprint('wrote', size)"])
    done = projects.orchestrate("run", f"examples/adult/{own}", "-p", "size=7")
    assert done.returncode == 0, done.stderr
    assert "wrote 7" in done.stdout
    assert (folder / "ipynb/made.txt").read_text() == "x" * 7
    write(folder / own, ["1 + 1", "def fails():\n    raise ValueError('no such thing')\nfails()", "print('never')"])
    failed = projects.orchestrate("run", f"examples/adult/{own}")
    assert failed.returncode == 4, failed.stdout + failed.stderr
    assert "ValueError: no such thing" in failed.stderr
    assert "never" not in failed.stdout
    write(folder / own, ["hoard = [bytes(range(256)) * 40960 for _ in range(200)]"])
    starved = projects.orchestrate("run", f"examples/adult/{own}", "--json")
    assert starved.returncode == 4, starved.stdout + starved.stderr
    told = json.loads(starved.stdout)
    assert told["out_of_memory"]
    assert "out of memory" in starved.stderr
    (death,) = told["memory"]["out_of_memory"]
    assert (death["who"], death["notebook"], death["cell"]) == ("run", own, "cell 1 of 1")
    assert 0 < death["peak_mib"] <= death["limit_mib"]
    assert [shlex.split(line) for line in told["memory"]["fit"]["commands"]] == [
        shlex.split("python orchestrate.py resize t2.small"),
        ["python", "orchestrate.py", "run", f"{folder}/{own}", "--on", "t2.small"],
    ]
    # Nothing of it is left, and everything else lives.
    assert "-run-" not in projects.on_host("docker ps --all --format '{{.Names}}'")
    status = projects.answer("status", "examples/adult")
    assert {facts["health"] for facts in status["services"].values()} == {"healthy"}
    assert death in status["out_of_memory"]
    assert status["fit"]["commands"] == told["memory"]["fit"]["commands"]
    # One that runs to its end has nothing to tell of an earlier one.
    write(folder / own, ["1 + 1"])
    assert projects.orchestrate("run", f"examples/adult/{own}").returncode == 0
    assert "run" not in [each["who"] for each in projects.answer("status", "examples/adult")["out_of_memory"]]


@pytest.mark.long
def test_packages_installed_by_hand(projects: Checkout) -> None:
    projects.answer("deploy", "examples/adult")
    assert projects.orchestrate("diff", "examples/adult").stdout.strip() == "Nothing was changed by hand."
    projects.on_host("docker exec adult-jupyter-1 pip install --quiet --no-cache-dir tinyhtml==1.2.0 2>&1")
    assert "tinyhtml" in projects.orchestrate("diff", "examples/adult").stdout
    dockerfile = projects.path / "examples/adult/docker/jupyter/Dockerfile"
    before = dockerfile.read_text()
    done = projects.orchestrate("adopt", "examples/adult")
    assert done.returncode == 0, done.stderr
    assert "deploy" in done.stdout
    assert dockerfile.read_text().startswith(before.rstrip("\n"))
    assert "tinyhtml==1.2.0" in dockerfile.read_text()
    kept = projects.orchestrate("adopt", "examples/adult", "--keep", "by-hand")
    assert kept.returncode == 0, kept.stderr
    assert "temporary" in kept.stdout + kept.stderr
    image = "docker run --rm --network none slipway/adult:by-hand python -c 'import tinyhtml'"
    projects.on_host(image)
    dockerfile.write_text(before)


def test_two_projects_do_not_touch_each_other(projects: Checkout) -> None:
    for name in ("left", "right"):
        make(projects, name, "postgres", memory_mib=390)
        answer = projects.answer("deploy", name)
        assert {facts["health"] for facts in answer["services"].values()} == {"healthy"}
        sql(projects, name, f"CREATE TABLE mine AS SELECT '{name}' AS who")
        limits = [facts["memory_limit_mib"] for facts in answer["services"].values()]
        assert sum(limits) <= 390
    # The second one fits beside the first; what was there before them rests.
    left, right = (projects.answer("status", name) for name in ("left", "right"))
    assert left["url"].partition("?")[0] != right["url"].partition("?")[0]
    assert {facts["state"] for facts in (*left["services"].values(), *right["services"].values())} == {"running"}
    assert [sql(projects, name, "SELECT who FROM mine") for name in ("left", "right")] == ["left", "right"]
    passwords = {
        (projects.path / f".slipway/lab/machines/slipway/projects/{name}/secrets/postgres_password").read_text()
        for name in ("left", "right")
    }
    assert len(passwords) == 2
    assert "could not translate host name" in python(projects, "right", STRANGER)
    before = projects.on_host("docker ps --quiet --no-trunc --filter name=right-")
    projects.answer("rest", "left")
    assert projects.on_host("docker ps --quiet --no-trunc --filter name=right-") == before
    assert projects.answer("deploy", "left")["rested"] is None
    assert sql(projects, "left", "SELECT who FROM mine") == "left"


def test_seeds_run_once_and_reseed_asks(projects: Checkout) -> None:
    assert sql(projects, "left", "SELECT count(*) > 0 FROM measurements") == "t"
    script = projects.path / "left/docker/postgres/20-more.sql"
    script.write_text("CREATE TABLE more AS SELECT 42 AS answer;\n")
    told = projects.orchestrate("deploy", "left")
    assert told.returncode == 0, told.stderr
    assert "left_postgres_data was made from other files" in told.stdout
    assert "reseed" in told.stdout
    assert projects.orchestrate("reseed", "left").returncode == 3
    wrong = projects.orchestrate("reseed", "left", "--volume", "right_postgres_data")
    assert wrong.returncode == 2
    assert "left_postgres_data" in wrong.stderr
    assert sql(projects, "left", "SELECT who FROM mine") == "left"
    done = projects.answer("reseed", "left", "--volume", "left_postgres_data")
    assert done["seeds_not_used"] is None
    assert sql(projects, "left", "SELECT answer FROM more") == "42"
    assert sql(projects, "left", "SELECT to_regclass('mine') IS NULL") == "t"
    assert sql(projects, "right", "SELECT who FROM mine") == "right"


def test_an_init_script_that_fails_is_not_healthy(projects: Checkout) -> None:
    script = projects.path / "left/docker/postgres/20-more.sql"
    script.write_text("CREATE TABLE half AS SELECT 1;\nSELECT nonsense;\n")
    with projects.given({"stack_wait_seconds": 40}):
        failed = projects.orchestrate("reseed", "left", "--volume", "left_postgres_data")
    assert failed.returncode == 4, failed.stdout + failed.stderr
    printed = " ".join(failed.stderr.split())
    assert "Not healthy" in printed
    assert "postgres" in printed
    assert 'column "nonsense" does not exist' in printed
    assert "20-more.sql" in printed
    script.write_text("CREATE TABLE whole AS SELECT 1;\n")
    assert projects.answer("reseed", "left", "--volume", "left_postgres_data")["services"]["postgres"]["health"] == "healthy"


def test_removing_a_project_keeps_its_volumes(projects: Checkout) -> None:
    done = projects.answer("remove", "right")
    assert done["volumes"] == ["right_postgres_data"]
    assert "right" not in projects.on_host("docker ps --all --format '{{.Names}}'")
    unknown = projects.orchestrate("remove", "right", "--volume", "left_postgres_data")
    assert unknown.returncode == 2
    assert "right_postgres_data" in unknown.stderr
    assert "right_postgres_data" in projects.on_host("docker volume ls --quiet")
    again = projects.answer("deploy", "right")
    assert again["services"]["postgres"]["health"] == "healthy"
    assert sql(projects, "right", "SELECT who FROM mine") == "right"
    projects.answer("remove", "right", "--volume", "right_postgres_data")
    assert "right_postgres_data" not in projects.on_host("docker volume ls --quiet")
    assert sql(projects, "left", "SELECT count(*) FROM whole") == "1"


def test_a_store_on_a_machine_of_its_own(projects: Checkout) -> None:
    cells = ["from lib.stores import connect_to_redis", "assert connect_to_redis().incr('visits') >= 1"]
    folder = make(projects, "apart", "redis", cells)
    settings = {"services": ["jupyter"], "machines": {"db": {"services": ["redis"], "instance_type": "t2.micro"}}}
    (folder / "slipway.yml").write_text(yaml.safe_dump(settings))
    answer = projects.answer("deploy", "apart")
    assert set(answer["services"]) == {"jupyter"}
    # The notebook that `new` made knows nothing of it.
    [first] = folder.glob("ipynb/*-first.ipynb")
    run(projects, str(first.relative_to(projects.path)))
    assert "redis-1" in projects.on_host("docker ps --format '{{.Names}}'", machine="slipway-db")
    main = answer["instance"]["private_ip"]
    group = projects.ec2().describe_security_groups(Filters=[{"Name": "group-name", "Values": ["slipway-slipway-db"]}])["SecurityGroups"][0]
    opened = {rule["FromPort"]: [network["CidrIp"] for network in rule["IpRanges"]] for rule in group["IpPermissions"]}
    assert opened[6379] == [f"{main}/32"]
    assert set(opened) == {22, 6379}
    assert projects.answer("deploy", "apart")["changed"] == 0


#: Words -> what the refusal says. `here` is a project that is fine.
WRONG: list[tuple[dict[str, Any] | None, list[str], list[str]]] = [
    ({"services": ["jupyter", "redsi"]}, ["deploy", "here"], ["services", '"redsi"', "redis"]),
    ({"servces": ["jupyter"]}, ["deploy", "here"], ["servces", "services"]),
    ({"seeds": ["data/none.csv"], "services": ["jupyter", "postgres"]}, ["deploy", "here"], ["seeds", "data/none.csv"]),
    ({"instance_type": "t2.mega", "services": ["jupyter"]}, ["deploy", "here", "--name", "other"], ["t2.mega", "Did you mean"]),
    ({"memory_mib": 100, "services": ["jupyter"]}, ["deploy", "here"], ["100", "256"]),
    (None, ["deploy", "here", "--scale", "worker=0"], ["--scale", "worker=1"]),
    (None, ["deploy", "nowhere"], ["nowhere"]),
    (None, ["new", "../up"], ["../up", "lower-case"]),
    (None, ["new", "here"], ["here", "exists"]),
    (None, ["run", "orchestrate.py"], ["NOTEBOOK", "orchestrate.py"]),
    (None, ["run", "here/ipynb/../../README.md"], ["NOTEBOOK"]),
    (None, ["run", "here/ipynb/none.ipynb"], ["NOTEBOOK", "none.ipynb"]),
    (None, ["run", "here/ipynb/own.ipynb", "-p", "no value"], ["-p", "NAME=VALUE"]),
    (None, ["rest", "No Stack"], ["No Stack"]),
]


def test_bad_input(projects: Checkout) -> None:
    folder = make(projects, "here", "redis", ["1"])
    outside = folder / "ipynb/outside.ipynb"
    outside.symlink_to(projects.path / "examples/adult/ipynb/20261124-train-a-model.ipynb")
    fine = (folder / "slipway.yml").read_text()
    asked, wrong = len(projects.requests()), []
    containers = projects.containers()
    for settings, words, says in [*WRONG, (None, ["run", "here/ipynb/outside.ipynb"], ["outside"])]:
        (folder / "slipway.yml").write_text(yaml.safe_dump(settings) if settings else fine)
        done = projects.orchestrate(*words)
        missing = [word for word in says if word not in done.stderr]
        if done.returncode != 2 or missing or changes(projects.requests()[asked:]):
            wrong.append(f"{words}: {done.returncode}, without {missing}: {done.stderr}")
    shutil.rmtree(folder / "ipynb")
    (folder / "slipway.yml").write_text(fine)
    done = projects.orchestrate("deploy", "here")
    if done.returncode != 2 or "no notebook" not in done.stderr:
        wrong.append(f"without notebooks: {done.returncode}: {done.stderr}")
    assert not wrong, "\n".join(wrong)
    assert projects.containers() == containers
