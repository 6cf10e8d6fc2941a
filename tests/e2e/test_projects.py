"""Projects beside each other: their seeds, their volumes, a store on a machine of its own, and bad input."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway import lock
from tests.conftest import Checkout
from tests.e2e.support import isolation
from tests.e2e.support.interruptions import started
from tests.e2e.support.projects import make, python, run
from tests.e2e.support.refusals import changes

pytestmark = pytest.mark.xdist_group("projects")

#: Another project's store, as its neighbour sees it.
STRANGER = """
import psycopg2
try:
    psycopg2.connect(host="left-postgres-1", connect_timeout=3)
except psycopg2.OperationalError as refusal:
    print(refusal)
"""


def sql(here: Checkout, project: str, query: str) -> str:
    return here.on_host(f"docker exec --interactive {project}-postgres-1 psql -XAtq -U slipway", stdin=query).strip()


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
    assert not isolation.users(projects, "left") & (isolation.users(projects, "right") | {"0", "999", "1000"})
    for name, beyond in (("left", "right"), ("right", "left")):
        isolation.closed(projects, name, isolation.other(projects, beyond))
    before = projects.on_host("docker ps --quiet --no-trunc --filter name=right-")
    projects.answer("rest", "left")
    resting = projects.answer("status", "left")
    assert (resting["stack_state"], resting["url"]) == ("at rest", None)
    text = projects.orchestrate("status", "left").stdout
    assert "Bring it up with: python orchestrate.py deploy" in text
    assert "tunnel is closed" not in text
    # There is no base stack here.
    at_rest = "left is at rest: it keeps its data, and its memory is free. Bring it up with: python orchestrate.py deploy"
    for words, said in ((["left"], at_rest), ([], "slipway has no Jupyter here. Start it with: python orchestrate.py up")):
        refused = projects.orchestrate("open", *words)
        assert refused.returncode == 3, refused.stdout + refused.stderr
        assert said in refused.stderr
    assert projects.answer("status", "right")["stacks"]["left"] == {"running": False, "at_rest": True, "memory_limit_mib": 0}
    # After a night the one that ran runs again, at its URL, and the other one still rests.
    stopped, opened = projects.answer("stop"), projects.answer("open", "right")
    assert opened["url"] == right["url"]
    assert set(stopped["fingerprints"]) == {"right.postgres", "right.notebooks", "right.home"}
    assert {name: found["after"] for name, found in opened["fingerprints"].items()} == stopped["fingerprints"]
    assert projects.answer("status", "left")["stack_state"] == "at rest"
    assert projects.on_host("docker ps --quiet --no-trunc --filter name=right-") == before
    assert projects.answer("deploy", "left")["rested"] is None
    assert sql(projects, "left", "SELECT who FROM mine") == "left"


def test_seeds_run_once_and_reseed_asks(projects: Checkout) -> None:
    assert sql(projects, "left", "SELECT count(*) > 0 FROM measurements") == "t"
    script = projects.path / "left/docker/postgres/20-more.sql"
    # It takes longer than all services together may.
    busy = "DO $$ DECLARE t timestamptz := clock_timestamp(); BEGIN WHILE clock_timestamp() < t + interval '25 s' LOOP END LOOP; END $$;"
    script.write_text(f"{busy}\nCREATE TABLE more AS SELECT 42 AS answer;\n")
    told = projects.orchestrate("deploy", "left")
    assert told.returncode == 0, told.stderr
    assert "left_postgres_data was made from other files" in told.stdout
    assert "reseed" in told.stdout
    assert projects.orchestrate("reseed", "left").returncode == 3
    wrong = projects.orchestrate("reseed", "left", "--volume", "right_postgres_data")
    assert wrong.returncode == 2
    assert "left_postgres_data" in wrong.stderr
    assert sql(projects, "left", "SELECT who FROM mine") == "left"
    with projects.given({"stack_wait_seconds": 12}):
        waited = projects.orchestrate("reseed", "left", "--volume", "left_postgres_data", "--json")
    assert waited.returncode == 0, waited.stderr
    assert "The first start runs docker/postgres/20-more.sql" in waited.stderr
    assert json.loads(waited.stdout)["seeds_not_used"] is None
    assert sql(projects, "left", "SELECT answer FROM more") == "42"
    assert sql(projects, "left", "SELECT to_regclass('mine') IS NULL") == "t"
    assert sql(projects, "right", "SELECT who FROM mine") == "right"


def test_no_mount_of_postgres_leads_through_work(projects: Checkout) -> None:
    """As a notebook does it: its own folders' names lead to the host's /, and the server starts again. A FIFO is not waited for."""
    work, container = "projects/left/work", "left-postgres-1"
    projects.on_host(f"cd {work} && mv data data.kept && ln -s / data && mv docker docker.kept && ln -s / docker")
    projects.on_host(f"docker restart {container}")
    seen = projects.on_host(f"docker exec {container} ls /data /project").split()
    mounts = projects.on_host(f"docker inspect --format '{{{{json .Mounts}}}}' {container}")
    projects.on_host(f"cd {work} && rm data docker && mv data.kept data && mv docker.kept docker && mkfifo data/pipe")
    assert "measurements.csv" in seen
    assert not {"home", "etc", "proc"} & set(seen)
    assert f"/{work}" not in mounts
    refused = projects.orchestrate("reseed", "left", "--volume", "left_postgres_data")
    projects.on_host(f"rm {work}/data/pipe")
    assert refused.returncode == 2, refused.stderr
    assert "data/pipe is neither a file nor a folder" in refused.stderr
    assert sql(projects, "left", "SELECT answer FROM more") == "42"


def test_a_dry_run_tells_of_the_first_packages(projects: Checkout) -> None:
    settings = projects.path / "left/slipway.yml"
    before, containers = settings.read_text(), projects.containers()
    settings.write_text(yaml.safe_dump(yaml.safe_load(before) | {"packages": {"pip": ["humanize==4.13.0"]}}))
    told = projects.orchestrate("deploy", "left", "--dry-run")
    settings.write_text(before)
    assert told.returncode == 0, told.stderr
    assert "changes would be made" in told.stdout
    assert not told.stdout.startswith("0 ")
    assert projects.containers() == containers


def test_syncs_of_one_folder_with_two_machines_take_turns(projects: Checkout, tmp_path: Path) -> None:
    folder, told = projects.path / "left", tmp_path / "told"
    with lock.alone(lock.of_folder(projects.path / ".slipway", folder)):
        waits = started(projects, ["pull", "left"], told).process
        while "Waiting: another command is syncing the folder" not in told.read_text():
            assert waits.poll() is None
            time.sleep(0.1)
        assert projects.plays() == []
        # A check changes nothing, and does not wait.
        assert projects.orchestrate("pull", "left", "--dry-run").returncode == 0
    assert waits.wait(timeout=120) == 0


def test_an_init_script_that_fails_is_not_healthy(projects: Checkout) -> None:
    script = projects.path / "left/docker/postgres/20-more.sql"
    script.write_text("CREATE TABLE half AS SELECT 1;\nSELECT nonsense;\n")
    with projects.given({"stack_wait_seconds": 40}):
        failed = projects.orchestrate("reseed", "left", "--volume", "left_postgres_data")
    assert failed.returncode == 4, failed.stdout + failed.stderr
    printed = " ".join(failed.stderr.split())
    # Only the one that failed is blamed, after the seconds that were really waited.
    waited = re.search(r"Not healthy after (\d+) s: postgres\.", printed)
    assert waited, printed
    assert int(waited[1]) < 40
    assert 'psql:docker/postgres/20-more.sql:2: ERROR: column "nonsense" does not exist' in printed
    # Over the half-made volume the same `deploy` would fail again.
    again = projects.orchestrate("deploy", "left")
    assert again.returncode == 4
    assert "run this: python orchestrate.py reseed" in again.stderr
    # What could never be run is refused before anything is looked at; the rest is named.
    (script.parent / "30-MORE.SQL").write_text("SELECT 1;\n")
    refused = projects.orchestrate("deploy", "left")
    assert refused.returncode == 2
    assert "docker/postgres/30-MORE.SQL would not be run: its ending is in capitals. Allowed: 30-MORE.sql" in refused.stderr
    (script.parent / "30-MORE.SQL").rename(script.parent / "README.md")
    script.write_text("CREATE TABLE whole AS SELECT 1;\n")
    done = projects.answer("reseed", "left", "--volume", "left_postgres_data")
    assert done["services"]["postgres"]["health"] == "healthy"
    assert done["seeds_not_run"] == ["docker/postgres/README.md"]


def test_removing_a_project_keeps_its_volumes(projects: Checkout) -> None:
    projects.on_host("docker exec right-jupyter-1 sh -c 'echo mine > ~/made-where-it-opens.ipynb'")
    done = projects.answer("remove", "right")
    assert done["volumes"] == ["right_jupyter_home", "right_postgres_data"]
    assert "right" not in projects.on_host("docker ps --all --format '{{.Names}}'")
    unknown = projects.orchestrate("remove", "right", "--volume", "left_postgres_data")
    assert unknown.returncode == 2
    assert "right_postgres_data" in unknown.stderr
    assert "right_postgres_data" in projects.on_host("docker volume ls --quiet")
    again = projects.answer("deploy", "right")
    assert again["services"]["postgres"]["health"] == "healthy"
    assert sql(projects, "right", "SELECT who FROM mine") == "right"
    assert projects.on_host("docker exec right-jupyter-1 sh -c 'cat ~/made-where-it-opens.ipynb'") == "mine\n"
    projects.answer("remove", "right", "--volume", "right_postgres_data", "--volume", "right_jupyter_home")
    assert "right_" not in projects.on_host("docker volume ls --quiet")
    # What is done already may be asked for again, also of a volume that its services could have had.
    for volume in ("right_postgres_data", "right_mongo_data"):
        assert projects.answer("remove", "right", "--volume", volume) == {"stack": "right", "changed": 0, "volumes": []}
    assert sql(projects, "left", "SELECT count(*) FROM whole") == "1"


@pytest.mark.long
def test_a_notebook_uses_a_store_on_a_machine_of_its_own(projects: Checkout) -> None:
    cells = ["from lib.stores import connect_to_redis", "assert connect_to_redis().incr('visits') >= 1"]
    folder = make(projects, "apart", "redis,mongo", cells)
    settings = {"services": ["jupyter"], "machines": {"db": {"services": ["redis", "mongo"], "instance_type": "t2.micro"}}}
    (folder / "slipway.yml").write_text(yaml.safe_dump(settings))
    answer = projects.answer("deploy", "apart")
    assert set(answer["services"]) == {"jupyter"}
    # The notebook that `new` made knows nothing of it. MongoDB's replica set calls its member mongo, which every container finds.
    [first] = folder.glob("ipynb/*-first.ipynb")
    run(projects, str(first.relative_to(projects.path)))
    assert "redis-1" in projects.on_host("docker ps --format '{{.Names}}'", machine="slipway-db")
    main = answer["instance"]["private_ip"]
    group = projects.ec2().describe_security_groups(Filters=[{"Name": "group-name", "Values": ["slipway-slipway-db"]}])["SecurityGroups"][0]
    opened = {rule["FromPort"]: [network["CidrIp"] for network in rule["IpRanges"]] for rule in group["IpPermissions"]}
    assert opened[6379] == opened[27017] == [f"{main}/32"]
    assert set(opened) == {22, 6379, 27017}
    assert projects.answer("deploy", "apart")["changed"] == 0


#: Words -> what the refusal says. `here` is a project that is fine.
WRONG: list[tuple[dict[str, Any] | None, list[str], list[str]]] = [
    ({"services": ["jupyter", "redsi"]}, ["deploy", "here"], ["services", '"redsi"', "redis"]),
    ({"servces": ["jupyter"]}, ["deploy", "here"], ["servces", "services"]),
    ({"seeds": ["data/none.csv"], "services": ["jupyter", "postgres"]}, ["deploy", "here"], ["seeds", "data/none.csv"]),
    ({"instance_type": "t2.mega", "services": ["jupyter"]}, ["deploy", "here", "--name", "other"], ["t2.mega", "Did you mean"]),
    ({"memory_mib": 100, "services": ["jupyter"]}, ["deploy", "here"], ["100", "256"]),
    (None, ["deploy", "here", "--scale", "worker=0"], ["--scale", "worker=1"]),
    (None, ["deploy", "here", "--scale", "worker=2"], ["--scale", "worker among its services; it has jupyter, redis"]),
    (None, ["reseed", "here", "--volume", "here_postgres_data"], ["here has no postgres", "it has jupyter, redis"]),
    (None, ["logs", "--project", "nowhere"], ["'nowhere'", "left"]),
    (None, ["logs", "--project", "../.."], ["'../..'", "its name on the machine"]),
    (None, ["logs", "--project", "left", "redsi", "--follow"], ["'redsi'", "jupyter, postgres"]),
    (None, ["rest", "nowhere"], ['"nowhere"', "left"]),
    (None, ["remove", "left", "--volume", "left_elsewhere"], ["left_elsewhere", "left_postgres_data"]),
    (None, ["deploy", "nowhere"], ["nowhere"]),
    (None, ["new", "../up"], ["../up", "lower-case"]),
    (None, ["new", "here"], ["here", "exists"]),
    (None, ["run", "orchestrate.py"], ["NOTEBOOK", "orchestrate.py"]),
    (None, ["run", "here/ipynb/../../README.md"], ["NOTEBOOK"]),
    (None, ["run", "here/ipynb/none.ipynb"], ["NOTEBOOK", "none.ipynb"]),
    (None, ["run", "here/ipynb/own.ipynb", "-p", "no value"], ["-p", "NAME=VALUE"]),
    (None, ["rest", "No Stack"], ["No Stack"]),
]


def test_bad_input_is_refused_and_changes_nothing(projects: Checkout) -> None:
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
