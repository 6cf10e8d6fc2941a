"""The machine is made larger and smaller, on a lab of its own: what it holds, its address, its memory, and Jupyter's URL."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import docker
import pytest

from tests.conftest import Checkout, own_lab
from tests.e2e.faults.resize import ROWS, Row, meet, unit
from tests.e2e.faults.stack import redis
from tests.e2e.support import holdings
from tests.e2e.support.exposure import PUBLIC, fingerprint, get
from tests.e2e.support.interruptions import begin, end, request, started, task
from tests.e2e.support.machines import described, instance, kind, marks, other
from tests.e2e.support.refusals import changes
from tests.e2e.support.resize_points import DOWN, POINTS, UP

pytestmark = pytest.mark.xdist_group("resize")

STORES = {"postgres", "mongo", "redis", "notebooks", "home"}
#: Chapter 9 of the book: 100,000 rows of 1,000 columns are 763 MiB, and twice that while they are shuffled.
CLASSIFY = (
    "docker exec slipway-jupyter-1 python -c "
    "'from sklearn.datasets import make_classification; print(make_classification(100000, 1000)[0].shape)' 2>&1; echo $?"
)
#: 80 MB of keys.
WASTE = 'for i = 1, 80 do redis.call("set", "waste" .. i, string.rep("x", 1000000)) end'
#: What only Jupyter's container holds: a package as pip leaves it, files of a user's, and what is not meant to stay.
ODD = '/opt/conda/mine/{{ 1+1 }} "é'
BY_HAND = """
import pathlib, site
folder, mine = pathlib.Path(site.getsitepackages()[0]), pathlib.Path(ODD)
info = folder / "by_hand-1.0.dist-info"
info.mkdir()
for name, text in (("METADATA", "Metadata-Version: 2.1\\nName: by-hand\\nVersion: 1.0"), ("REQUESTED", ""), ("INSTALLER", "pip")):
    (info / name).write_text(text)
(folder / "by_hand.py").write_text("")
names = ["by_hand.py", *(f"{info.name}/{each.name}" for each in info.iterdir()), f"{info.name}/RECORD"]
(info / "RECORD").write_text("".join(f"{name},,\\n" for name in names))
mine.parent.mkdir()
for path in (mine, *(mine.with_name(str(number)) for number in range(2000)), pathlib.Path("/tmp/passing")):
    path.write_text("mine")
"""


@dataclass(frozen=True)
class Machine(Checkout):
    """The checkout of a machine, with the URL that it has for good."""

    url: str


@pytest.fixture(scope="module")
def resizable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with data, in a lab of its own; made whole by `up`, without an image."""
    with own_lab(tmp_path_factory.mktemp("resizable"), plain=True) as made:
        here = Machine(made.path, made.answer("up")["url"])
        holdings.fill(here)
        assert holdings.read(here) == holdings.WHOLE
        yield here


def limits(here: Checkout) -> tuple[int, float]:
    """Memory in MiB and processors of the host, as its kernel enforces them."""
    host = docker.from_env().containers.get(f"{here.lab.id}-{instance(here)}").attrs["HostConfig"]
    return host["Memory"] // 2**20, host["NanoCpus"] / 1e9


def there(here: Machine, wanted: str, *words: str) -> dict[str, Any]:
    """Resize, and check the receipt against what there is."""
    before = described(here)
    done = here.answer("resize", wanted, *words)
    after = here.answer("status")
    assert (done["from"], done["to"], done["outcome"]) == (before["InstanceType"], wanted, "resized")
    assert done["public_ip"] == {"before": before["PublicIpAddress"], "after": after["instance"]["public_ip"]}
    assert after["instance"]["public_ip"] != before["PublicIpAddress"]
    assert after["instance"]["resize_to"] is None
    assert done["url"] == after["url"] == here.url
    assert set(done["fingerprints"]) == STORES
    assert {found["equal"] for found in done["fingerprints"].values()} == {True}
    assert 0 < done["downtime_s"] < done["seconds"]
    whole(here, wanted)
    return done


def whole(here: Machine, wanted: str) -> None:
    """It serves as this type, with all that it held, by the URL that it always had, and without a mark of a resize."""
    assert (kind(here), marks(here)) == (wanted, {})
    assert holdings.serving(here) == holdings.WHOLE
    with urllib.request.urlopen(here.url, timeout=30) as page:
        assert "JupyterLab" in page.read().decode()


def at_a_terminal(here: Checkout, typed: str, *words: str) -> tuple[int, str]:
    """Exit code and all that a terminal shows, where this is typed when the question stands there."""
    ours, theirs = pty.openpty()
    python = here.path / ".venv" / "bin" / "python"
    process = subprocess.Popen([python, "orchestrate.py", *words], cwd=here.path, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown, asked = b"", False
    # Linux says by an error that nobody has the other end any more.
    with contextlib.suppress(OSError):
        while part := os.read(ours, 4096):
            shown += part
            if not asked and b"Go on?" in shown:
                asked = os.write(ours, f"{typed}\n".encode()) > 0
    os.close(ours)
    assert asked, shown
    return process.wait(timeout=60), shown.decode()


def test_larger_and_smaller_again_with_nothing_lost(resizable: Machine) -> None:
    assert limits(resizable) == (1024, 1.0)
    # Killed (SIGKILL), with no result.
    assert resizable.on_host(CLASSIFY).strip() == "137"
    status = resizable.answer("status")
    assert status["services"]["jupyter"]["out_of_memory"]
    assert {name for name, facts in status["services"].items() if facts["health"] == "healthy"} >= {"redis", "mongo", "postgres"}
    assert holdings.read(resizable) == holdings.WHOLE
    up = there(resizable, "t2.medium", "--snapshot")
    found = resizable.ec2().describe_snapshots(OwnerIds=["self"], Filters=[{"Name": "tag-key", "Values": ["slipway-resize-since"]}])
    (snapshot,) = found["Snapshots"]
    assert up["snapshots"] == [snapshot["SnapshotId"]]
    assert "10000 rows in 1 table " in up["fingerprints"]["postgres"]["before"]
    assert up["price_per_hour"]["after"] > up["price_per_hour"]["before"] > 0
    assert limits(resizable) == (4096, 2.0)
    assert resizable.on_host(CLASSIFY).strip() == "(100000, 1000)\n0"
    # `up` afterwards does not undo it.
    assert resizable.answer("up")["changed"] == 0
    assert kind(resizable) == "t2.medium"
    # More than it may have on the t2.micro: refused, for it would not come up again.
    resizable.on_host(redis("eval", WASTE, "0"))
    refused = resizable.orchestrate("resize", "t2.micro")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "redis uses" in refused.stderr
    assert "fewer keys" in refused.stderr
    resizable.on_host(redis("del", *(f"waste{each}" for each in range(1, 81))))
    # What only the container holds stops it, unless that is accepted.
    assert up["lost"] == []
    resizable.on_host(holdings.PYTHON, stdin=f"ODD = {ODD!r}\n{BY_HAND}")
    asked = len(resizable.requests())
    refused = resizable.orchestrate("resize", "t2.micro")
    assert refused.returncode == 3, refused.stdout + refused.stderr
    assert "  2,001 files in slipway's jupyter: /opt/conda/mine/ (2,001 files)\n" in refused.stderr
    assert "--lose-files" in refused.stderr
    assert changes(resizable.requests()[asked:]) == []
    lost = resizable.answer("resize", "t2.micro", "--dry-run", "--lose-files")["lost"]
    assert [(each["stack"], each["service"], each["files"], each["paths"]) for each in lost] == [
        ("slipway", "jupyter", 2001, [{"path": "/opt/conda/mine/", "files": 2001}])
    ]
    (package,) = lost[0]["packages"]
    assert package.pop("path").endswith("/site-packages/by_hand-1.0.dist-info/RECORD")
    assert package == {"kind": "pip", "name": "by_hand", "version": "1.0", "asked": True}
    down = there(resizable, "t2.micro", "--lose-files")
    assert [(each["files"], [package["name"] for package in each["packages"]]) for each in down["lost"]] == [(2001, ["by_hand"])]
    assert limits(resizable) == (1024, 1.0)
    assert down["fingerprints"]["redis"] == up["fingerprints"]["redis"]


#: A sample of `make chaos`: each command goes on from where the one before was ended.
ENDS = {
    "while they go down": signal.SIGKILL,
    "after the stop": signal.SIGTERM,
    "while they come up": signal.SIGHUP,
    "after the marks were taken away": signal.SIGINT,
}


@pytest.mark.long
def test_ended_anywhere_the_same_command_finishes(resizable: Machine) -> None:
    wanted = other(resizable)
    for point, how in ENDS.items():
        end(resizable, begin(resizable, ["resize", wanted], POINTS[point](resizable)), how)
    done = resizable.answer("resize", wanted)
    assert done["url"] == resizable.url
    # None where they were compared already by a command that was ended then.
    assert {found["equal"] for found in done["fingerprints"].values()} <= {True}
    whole(resizable, wanted)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.fault, marks=[pytest.mark.long] * row.long) for row in ROWS])
def test_fault(resizable: Machine, row: Row) -> None:
    meet(resizable, row, lambda wanted: whole(resizable, wanted))


def test_others_wait_while_it_runs_and_a_cut_network_is_mended_by_the_same_command(resizable: Machine) -> None:
    wanted = other(resizable)
    resizable.on_host(
        holdings.PYTHON, stdin=f"open({(odd := '/opt/conda/{{ 1+1 }} é')!r}, 'w').close(); open('/opt/conda/b', 'w').write('b')"
    )
    command = started(resizable, ["resize", wanted, "--lose-files"])
    command.until(task(DOWN))
    for words in (["up"], ["open"], ["destroy", "slipway"], ["resize", "t2.large"], ["lab", "down", "--yes"]):
        second = resizable.orchestrate(*words)
        assert second.returncode == 3, second.stderr
        assert "orchestrate.py resize (process" in second.stderr
    command.until(task(UP))
    resizable.fault(instance=instance(resizable), does="cut network", seconds=90)
    assert command.process.wait(timeout=300) == 4
    for words in (["up"], ["open"], ["resize", "t2.large"]):
        refused = resizable.orchestrate(*words)
        assert refused.returncode == 3, refused.stderr
        assert "was left half-way" in refused.stderr
    # What was accepted once is not asked for again, and not forgotten.
    done = resizable.answer("resize", wanted)
    assert done["outcome"] == "resized"
    assert [each["paths"] for each in done["lost"]] == [[{"path": path, "files": 1} for path in ("/opt/conda/b", odd)]]
    whole(resizable, wanted)


@pytest.mark.long
def test_undone_when_the_new_type_runs_already(resizable: Machine) -> None:
    here = kind(resizable)
    process = begin(resizable, ["resize", other(resizable)], request("StartInstances"))
    end(resizable, process, signal.SIGKILL)
    plan = resizable.answer("resize", "--rollback", "--dry-run")
    assert (plan["halfway"], plan["candidates"]) == (True, [here])
    code, shown = at_a_terminal(resizable, "y", "resize", "--rollback")
    assert code == 0, shown
    assert "Half-way" in shown
    assert "(rolled back)" in shown
    whole(resizable, here)


def test_a_store_that_holds_something_else_is_named_and_jupyter_stays_closed(resizable: Machine) -> None:
    wanted = other(resizable)
    # Written while nobody may, as by a disk that another machine had.
    stranger = "/home/ubuntu/slipway/work/stranger.ipynb"
    with unit(resizable, "ssh", f"ExecStartPre=/bin/touch {stranger}"):
        done = resizable.orchestrate("resize", wanted)
    assert done.returncode == 5, done.stderr
    assert "notebooks: before 20 files" in done.stderr
    assert "after 21 files" in done.stderr
    names = resizable.on_host("docker ps --format '{{.Names}}'").split()
    assert sorted(names) == ["slipway-mongo-1", "slipway-postgres-1", "slipway-redis-1"]
    resizable.on_host(f"sudo rm {stranger}")
    resizable.answer("up")
    whole(resizable, wanted)


def test_at_a_terminal_the_plan_is_shown_and_a_question_asked(resizable: Machine) -> None:
    here, asked = kind(resizable), len(resizable.requests())
    code, shown = at_a_terminal(resizable, "n", "resize", "t2.small", "--snapshot")
    assert code == 3
    assert f"from {here} (" in shown
    assert "per hour, with disk and address" in shown
    assert "Nothing was changed." in shown
    assert changes(resizable.requests()[asked:]) == []


@pytest.mark.long
def test_the_playbook_alone_resizes_and_refuses_a_wrong_type(resizable: Machine) -> None:
    wanted = other(resizable)
    done = resizable.run("ansible-playbook", "playbooks/resize.yml", "-e", f"ec2_resize_type={wanted}")
    assert done.returncode == 0, done.stdout + done.stderr
    whole(resizable, wanted)
    wrong = resizable.run("ansible-playbook", "playbooks/resize.yml", "-e", "ec2_resize_type=T2.MEDIUM")
    assert wrong.returncode != 0
    assert "Did you mean t2.medium?" in wrong.stdout


@pytest.mark.long
def test_a_public_jupyter_keeps_its_certificate(resizable: Machine) -> None:
    wanted = other(resizable)
    certificate = resizable.path / ".slipway" / "lab" / "machines" / "slipway" / "stack" / "secrets" / "self_signed.crt"
    with resizable.given(PUBLIC):
        said = resizable.answer("up")
        done = resizable.answer("resize", wanted)
        status = resizable.answer("status")
    assert {found["equal"] for found in done["fingerprints"].values()} == {True}
    assert done["public_ip"]["before"] == said["instance"]["public_ip"] != done["public_ip"]["after"]
    # Its URL has the address, which is another one; what its users have compared is not.
    assert done["url"] == status["url"] == said["url"].replace(done["public_ip"]["before"], done["public_ip"]["after"])
    assert status["certificate_sha256"] == said["certificate_sha256"] == fingerprint(done["public_ip"]["after"])
    assert "JupyterLab" in get(done["url"], certificate)
    resizable.answer("up")
    whole(resizable, wanted)


@pytest.mark.long
def test_whatever_a_store_can_hold_comes_along(resizable: Machine) -> None:
    holdings.odd(resizable)
    for wanted in ("t2.small", "t2.micro"):
        there(resizable, wanted)
        redis_state = "docker inspect --format '{{.RestartCount}} {{.State.OOMKilled}}' slipway-redis-1"
        assert resizable.on_host(redis_state).split() == ["0", "false"]
