"""What a stopped machine costs, what is at work, what ran before, when only a start helps, and the words for each."""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from slipway import pause
from slipway.model import Exit, Failure, Result
from tests.conftest import PROJECT
from tests.modules import load, read

rules: Any = load("ec2_resize_rules")
facts: Any = load("ec2_resize_facts")
at_work: Any = load("stack_at_work")
paused: Any = load("stack_paused")
engine: Any = load("stack_engine")
back: Any = read("roles", "stack", "library", "stack_back.py")
down: Any = read("roles", "stack", "library", "stack_down.py")

PRICES = {"gp3_gib_month": 0.08, "ipv4_hour": 0.005, "types": {"t2.micro": 0.0116}}


@pytest.mark.parametrize(
    ("prices", "wanted", "gib", "addresses", "hourly", "monthly", "stopped", "running_words", "stopped_words"),
    [
        # A month has 730 hours: 20 GiB are 1.60 USD, an address 3.65 USD.
        (
            PRICES,
            "t2.micro",
            20,
            0,
            0.0188,
            13.72,
            1.6,
            "0.0188 USD per hour, 13.72 USD per month, for a t2.micro with 20 GiB",
            "1.60 USD per",
        ),
        (
            PRICES,
            "t2.micro",
            20,
            1,
            0.0188,
            13.72,
            5.25,
            "13.72 USD",
            "5.25 USD per month while it is stopped: 1.60 USD for 20 GiB of disk, 3.65",
        ),
        (PRICES, "t2.micro", 0, 2, 0.0166, 12.12, 7.3, "0 GiB", "7.30 USD for 2 Elastic IPs"),
        # The type is not in the table; what it costs while it is stopped is.
        (
            PRICES,
            "z9.huge",
            100,
            0,
            None,
            None,
            8.0,
            "Price: of a z9.huge with 100 GiB of disk and a public address it is not known",
            "8.00 USD",
        ),
        # The region is not.
        ({}, "t2.micro", 20, 0, None, None, None, "not known here", "20 GiB of disk, at a price that is not known here"),
        ({}, "t2.micro", 20, 1, None, None, None, "not known here", "20 GiB of disk and 1 Elastic IP, at a price that is not known here"),
    ],
)
def test_what_a_machine_costs(
    prices: dict[str, Any],
    wanted: str,
    gib: int,
    addresses: int,
    hourly: float | None,
    monthly: float | None,
    stopped: float | None,
    running_words: str,
    stopped_words: str,
) -> None:
    found = rules.costs(prices, wanted, gib, addresses)
    assert (found["per_hour"], found["per_month"], found["stopped"]["per_month"]) == (hourly, monthly, stopped)
    assert running_words in rules.running_line(found)
    assert stopped_words in rules.stopped_line(found)
    assert ("no public address until it is started" in rules.stopped_line(found)) == (bool(prices) and not addresses)


@pytest.mark.parametrize(
    ("instance", "attributes", "said"),
    [
        ({}, {}, None),
        # Only a change of type forbids these.
        ({"HibernationOptions": {"Configured": True}}, {}, None),
        ({"RootDeviceType": "instance-store"}, {}, "which a stop erases"),
        ({"Tags": [{"Key": "aws:autoscaling:groupName", "Value": "fleet"}]}, {}, "Auto Scaling group fleet"),
        ({}, {"disableApiStop": True}, "stop protection is on"),
    ],
)
def test_what_cannot_be_stopped(instance: dict[str, Any], attributes: dict[str, Any], said: str | None) -> None:
    given = {"InstanceId": "i-1", "RootDeviceType": "ebs", "Tags": [], **instance}, {"disableApiStop": False, **attributes}
    if said is None:
        rules.check_stop(*given)
        return
    with pytest.raises(rules.WrongError, match=said) as wrong:
        rules.check_stop(*given)
    assert wrong.value.code == 3


@pytest.mark.parametrize(
    ("instance", "said"),
    [
        ({}, None),
        ({"InstanceLifecycle": "spot"}, "it is a spot instance"),
        # Its services would be ended while they start.
        ({"State": {"Name": "pending"}, "PublicIpAddress": None}, "is pending"),
        ({"PublicIpAddress": None}, "no public address"),
    ],
)
def test_what_cannot_be_brought_down_in_order(instance: dict[str, Any], said: str | None) -> None:
    given = {"InstanceId": "i-1", "State": {"Name": "running"}, "PublicIpAddress": "198.51.100.1", **instance}
    if said is None:
        rules.check_reached(given)
        return
    with pytest.raises(rules.WrongError, match=said) as wrong:
        rules.check_reached(given)
    assert wrong.value.code == 3


@pytest.mark.parametrize(
    ("names", "beside"),
    [
        ([], []),
        (["slipway", "slipway-store", "slipway-bake", "slipwaystore", "other-slipway-store"], ["slipway-bake", "slipway-store"]),
    ],
)
def test_which_machines_go_on_costing_beside_it(names: list[str], beside: list[str]) -> None:
    assert rules.beside("slipway", names) == beside


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ({"InstanceType": "t2.micro", "InstanceStorageSupported": False}, None),
        (
            {"InstanceType": "m5d.large", "InstanceStorageSupported": True, "InstanceStorageInfo": {"TotalSizeInGB": 75}},
            "m5d.large has 75 GB of instance store, and a stop erases it",
        ),
    ],
)
def test_what_a_stop_erases(kind: dict[str, Any], said: str | None) -> None:
    told = list(rules.stop_caveats(kind))
    assert len(told) == bool(said)
    assert not said or said in told[0]


LENT, MINE = {"PublicIp": "198.51.100.1", "IpOwnerId": "amazon"}, {"PublicIp": "198.51.100.2", "IpOwnerId": "123456789012"}


@pytest.mark.parametrize(
    ("cards", "number"),
    [
        ([], 0),
        ([{}], 0),
        ([{"Association": LENT}], 0),
        ([{"Association": MINE}], 1),
        # The first address of a card is told twice.
        ([{"Association": MINE, "PrivateIpAddresses": [{"Association": MINE}, {"Association": MINE | {"PublicIp": "198.51.100.3"}}]}], 2),
        ([{"Association": LENT, "PrivateIpAddresses": [{"Association": LENT}]}, {"Association": MINE}], 1),
    ],
)
def test_which_addresses_cost_while_it_is_stopped(cards: list[dict[str, Any]], number: int) -> None:
    assert facts.elastic_ips({"NetworkInterfaces": cards}) == number


@pytest.mark.parametrize(
    ("published", "down"),
    [
        ({}, False),
        ({"instance": None}, False),
        ({"instance": {"state": "running"}, "paused": False}, False),
        ({"instance": {"state": "stopped"}}, True),
        ({"instance": {"state": "stopping"}}, True),
        ({"instance": {"state": "pending"}}, True),
        # Ended after the services were down, before EC2 was told.
        ({"instance": {"state": "running"}, "paused": True}, True),
        # Started in EC2's console.
        ({"instance": {"state": "running", "stopped_since": "2026-05-01T22:00:00.000Z"}, "paused": False}, True),
    ],
)
def test_when_only_a_start_of_the_machine_helps(published: dict[str, Any], down: bool) -> None:
    assert pause.is_down(published) is down


def kernel(path: str | None, state: str) -> dict[str, Any]:
    return {"path": path, "state": state}


@pytest.mark.parametrize(
    ("said", "busy"),
    [
        ([], []),
        ([kernel("work/a é.ipynb", "busy")], ["the kernel of work/a é.ipynb in survey"]),
        ([kernel(None, "busy")], ["a kernel without a notebook in survey"]),
        ([kernel("a.ipynb", state) for state in ("idle", "starting", "dead", "unknown")], []),
        ([kernel("\033[2Ja.ipynb", "busy"), kernel("b.ipynb", "idle")], ["the kernel of ?[2Ja.ipynb in survey"]),
    ],
)
def test_which_kernels_are_at_work(said: list[dict[str, Any]], busy: list[str]) -> None:
    assert at_work.kernels("survey", said) == busy


STATE = {"Status": "running", "StartedAt": "2026-05-01T12:00:00Z", "ExitCode": 0, "OOMKilled": False}


@pytest.mark.parametrize(
    ("labels", "command", "said"),
    [
        (
            {"slipway.run.output": "runs/x.ipynb", "slipway.run.notebook": "ipynb/train.ipynb"},
            "",
            "the run c-1 of ipynb/train.ipynb in survey",
        ),
        ({}, "python -s /slipway/measure.py array 10 10", "a measurement (c-1) in survey"),
        ({}, "sleep 300", "the container c-1 in survey"),
    ],
)
def test_how_a_run_is_called(labels: dict[str, str], command: str, said: str) -> None:
    item = {"Labels": {"com.docker.compose.project": "survey", **labels}, "Names": ["/c-1"], "Command": command}
    inspected = {"State": STATE, "Config": {"Labels": item["Labels"]}, "Name": "/c-1", "Created": "2026-05-01T12:00:00Z"}
    assert at_work.run(item, inspected) == said


def test_what_ran_is_kept_beside_what_a_command_that_was_ended_had_kept(tmp_path: Path) -> None:
    stack = {"name": "survey", "prefix": "survey.", "early": ["jupyter"], "directory": str(tmp_path)}
    assert paused.found([tmp_path]) == []
    assert paused.written(stack, ["redis", "jupyter", "worker-2"]) == ["jupyter", "redis", "worker-2"]
    # By the second command all is down.
    assert paused.written(stack, []) == ["jupyter", "redis", "worker-2"]
    assert paused.found([tmp_path, tmp_path / "none"]) == [
        {"directory": str(tmp_path), "name": "survey", "prefix": "survey.", "early": ["jupyter"], "ran": ["jupyter", "redis", "worker-2"]}
    ]
    paused.forgotten(str(tmp_path))
    assert paused.found([tmp_path]) == []
    paused.forgotten(str(tmp_path))
    # What does not run starts neither early nor late.
    assert paused.written(stack, ["redis"]) == ["redis"]
    assert paused.found([tmp_path])[0]["early"] == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"ran": 1}', '{"name": "a", "prefix": "", "ran": null, "early": []}'])
def test_a_file_that_says_something_else_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / paused.PAUSED).write_text(text)
    assert paused.found([tmp_path]) == []


def test_where_stacks_lie(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / "projects" / name).mkdir(parents=True)
    both = [tmp_path / "projects" / "a", tmp_path / "projects" / "b"]
    assert paused.folders("slipway", tmp_path) == [tmp_path / "slipway", *both]
    assert paused.folders("/srv/other", tmp_path) == [Path("/srv/other"), tmp_path / "slipway", *both]


@pytest.mark.parametrize(
    ("status", "health"),
    [
        ("Up 2 hours", ""),
        ("Up 2 hours (healthy)", ""),
        ("Up 2 seconds (health: starting)", "health: starting"),
        ("Up 2 hours (unhealthy)", "unhealthy"),
        ("Exited (0) 2 hours ago", ""),
    ],
)
def test_what_the_list_of_containers_says_of_health(status: str, health: str) -> None:
    assert back._health({"Status": status}) == health


@pytest.mark.parametrize(
    ("was", "check", "first", "state"),
    [
        ("running", False, "Stopped   slipway (i-1) in 10 s", "stopped"),
        ("running", True, "The machine slipway (i-1) would be stopped. Nothing was changed.", "running"),
        ("stopping", False, "Stopped   slipway (i-1) in 10 s", "stopped"),
        ("stopped", False, "The machine slipway (i-1) is stopped already: nothing was changed.", "stopped"),
        ("stopped", True, "The machine slipway (i-1) is stopped already: nothing was changed.", "stopped"),
    ],
)
def test_what_stop_says(was: str, check: bool, first: str, state: str) -> None:
    found = rules.costs(PRICES, "t2.micro", 20)
    done = {"was": was, "fingerprints": {"survey.redis": "3 keys"}, "unread": ["mongo"], "costs": found, "beside": ["slipway-store"]}
    done["line"] = rules.stopped_line(found)
    result = Result(failure=None, changed=2, seconds=10.4, published={"stop": done, "instance": {"id": "i-1"}}, log=Path("log"))
    document = pause.stop_document("lab", "slipway", result, check)
    assert (document["state"], document["price"]["stopped"]["per_month"]) == (state, 1.6)
    beside = {"slipway-store": "python orchestrate.py stop --name slipway-store"}
    lines = pause.stop_text(document, check, "python orchestrate.py start", beside).splitlines()
    assert lines == [
        first,
        "Price     1.60 USD per month while it is stopped, for 20 GiB of disk; it has no public address until it is started",
        "  survey.redis 3 keys",
        "Not seen  mongo",
        "Runs on   slipway-store, and costs what it did. Stop it: python orchestrate.py stop --name slipway-store",
        "Start it, with all that ran: python orchestrate.py start",
    ]


class _Failing(BaseHTTPRequestHandler):
    """An engine with one container, which it cannot stop."""

    def do_GET(self) -> None:
        labels = {"com.docker.compose.project": "survey", "com.docker.compose.service": "jupyter"}
        item = {
            "Id": "c1",
            "State": "running",
            "Status": "Up 2 hours (healthy)",
            "Labels": labels,
            "Names": ["/c1"],
            "Mounts": [],
            "Ports": [],
        }
        self._answer(200, json.dumps([item]).encode())

    def do_POST(self) -> None:
        words = self.path.partition("?")[0].split("/")
        self.server.told.append(words[-1])  # type: ignore[attr-defined]
        self._answer(500 if words[-1] == "stop" else 204, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "here"

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the engine was told to do."""
    monkeypatch.setattr(engine, "SOCKET", str(tmp_path / "engine"))
    with socketserver.ThreadingUnixStreamServer(engine.SOCKET, _Failing) as server:
        server.told = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.told  # type: ignore[attr-defined]
        server.shutdown()


@pytest.mark.parametrize(("fingerprints", "pause", "after"), [(False, True, ["stop"]), (False, False, ["stop", "start"])])
def test_a_stop_that_fails_again_brings_nothing_back_that_would_write_after_its_fingerprints(
    tmp_path: Path, told: list[str], fingerprints: bool, pause: bool, after: list[str]
) -> None:
    stack = {"name": "survey", "prefix": "survey.", "early": [], "directory": str(tmp_path)}
    asked = {"fingerprints": fingerprints, "pause": pause, "rest": False, "wait_seconds": 1}
    with pytest.raises(OSError, match="500"):
        down.down(asked, [stack])
    assert told == after
    # What ran is still known.
    assert paused.found([tmp_path]) == ([{**stack, "ran": ["jupyter"]}] if pause else [])


def test_stores_of_which_it_is_not_known_that_they_rested_since_are_not_compared() -> None:
    said = back.stores([], {"redis": "3 keys"}, 1)
    assert (said["different"], said["known"], said["changed"]) == ([], False, False)


def compared(tmp_path: Path, *words: str, **given: Any) -> str:
    """What the role says of a machine that was started, without an AWS that it could ask."""
    given = {"ec2_resize_instance_id": "i-1", "ansible_python_interpreter": sys.executable, **given}
    role = {"ansible.builtin.include_role": {"name": "ec2_resize", "tasks_from": "started"}, "vars": given}
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [role]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    words = ("-i", "localhost,", "-c", "local", str(tmp_path / "play.yml"), *words)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"ANSIBLE_SHOW_CUSTOM_STATS": "1", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    command = [str(Path(sys.executable).parent / "ansible-playbook"), *words]
    return subprocess.run(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


@pytest.mark.parametrize(
    ("after", "comparable", "said"),
    [
        ({"redis": "3 keys"}, True, ""),
        ({"redis": "4 keys"}, True, "redis: before 3 keys, after 4 keys"),
        ({}, True, "redis: before 3 keys, after nothing could be read"),
        # Nothing is known of what ran before.
        ({}, False, ""),
    ],
)
def test_a_difference_is_told_before_the_marks_go(tmp_path: Path, after: dict[str, str], comparable: bool, said: str) -> None:
    known = {"ec2_resize_known_fingerprints": {"redis": "3 keys"}, "ec2_resize_fingerprints_after": after}
    shown = compared(tmp_path, **known, ec2_resize_comparable=comparable)
    # No region: the marks stay.
    assert "TASK [ec2_resize : Take the fingerprints" in shown
    assert "failed=1" in shown
    before, _, _ = shown.partition("TASK [ec2_resize : Take the fingerprints")
    assert ("These hold something else" in before) == bool(said)
    assert said in before


def test_a_rehearsal_of_a_start_has_compared_nothing(tmp_path: Path) -> None:
    shown = compared(tmp_path, "--check", ec2_resize_known_fingerprints={"redis": "3 keys"})
    assert "failed=0" in shown
    assert "compared" not in shown


RUNNING = {"id": "i-1", "state": "running"}


@pytest.mark.parametrize(
    ("host", "task", "instance", "region", "said"),
    [
        # The engine does not start, or the disk is full.
        ("i-1", "docker : Start the engine", RUNNING, None, "aws ec2 stop-instances --instance-ids i-1. "),
        ("i-1", "Take the fingerprints", RUNNING, "eu-west-1", "aws ec2 stop-instances --region eu-west-1 --instance-ids i-1. "),
        ("i-1", f"stack : {pause.AT_WORK}", RUNNING, None, None),
        ("localhost", "Check that no burst was left unfinished", RUNNING, None, None),
        ("i-1", "Take the fingerprints", RUNNING | {"state": "stopped"}, None, None),
        ("", "", None, None, None),
    ],
)
def test_what_stops_a_machine_of_which_nothing_can_be_brought_down(
    host: str, task: str, instance: dict[str, Any] | None, region: str | None, said: str | None
) -> None:
    text = pause.way_out(Failure(task=task, host=host, reason="", code=Exit.REFUSED), instance, region)
    assert (said in text and "compares nothing" in text) if said else text == ""


def test_the_refusal_of_what_is_at_work_has_its_name() -> None:
    names = [task["name"] for task in yaml.safe_load((PROJECT / "roles/stack/tasks/at_work_refusal.yml").read_text())]
    assert pause.AT_WORK in names


@pytest.mark.parametrize(
    ("machines", "asked"),
    # One that is stopped changes nothing, whatever was left on it.
    [([], ["stop_preflight"]), (["i-1"], ["burst_refusal", "halfway_refusal", "stop_preflight", "wait"])],
)
def test_what_is_asked_before_a_stop(machines: list[str], asked: list[str]) -> None:
    play = yaml.safe_load((PROJECT / "playbooks/stop.yml").read_text())[1]
    task = play["tasks"][0]
    wanted = jinja2.Environment().compile_expression(task["when"])  # noqa: S701
    assert [step["tasks"] for step in task["loop"] if wanted(step=step, groups={"machine": machines})] == asked
