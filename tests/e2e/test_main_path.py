"""The main job, on a real host with real stores: from nothing to Jupyter, again, after a stop, and away."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.conftest import Checkout
from tests.e2e.support.checking import check
from tests.e2e.support.machines import described

pytestmark = pytest.mark.xdist_group("machine")

SERVICES = {"jupyter", "redis", "mongo", "postgres"}
NOTEBOOK = Path(__file__).parent / "support" / "stores.ipynb"


def run_notebook(machine: Checkout) -> dict[str, Any]:
    """Execute the notebook in the Jupyter container and return what it found."""
    machine.on_host("cat > slipway/work/stores.ipynb", stdin=NOTEBOOK.read_text())
    machine.on_host("cd slipway && docker compose exec -T jupyter jupyter nbconvert --to notebook --execute --inplace work/stores.ipynb")
    return dict(json.loads(machine.on_host("cat slipway/work/stores.json")))


def counts(machine: Checkout) -> dict[str, int]:
    """Write to every store what the notebook writes, and return how often that was done; without a kernel, which takes its time."""
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    code = "\n".join("".join(cell["source"]) for cell in cells) + "\nprint(json.dumps(counts))\n"
    there = "docker exec --interactive --workdir /home/jovyan/work slipway-jupyter-1 python -"
    return dict(json.loads(machine.on_host(there, stdin=code)))


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


@pytest.fixture(scope="module")
def status(machine: Checkout) -> dict[str, Any]:
    """What `status` says of the machine, before these tests do anything with it."""
    return machine.answer("status")


def test_up_ends_with_jupyterlab(status: dict[str, Any]) -> None:
    assert status["target"] == "lab"
    assert status["instance"]["type"] == "t2.micro"
    assert status["instance"]["state"] == "running"
    assert set(status["services"]) == SERVICES
    assert {facts["health"] for facts in status["services"].values()} == {"healthy"}
    limits = [facts["memory_limit_mib"] for facts in status["services"].values()]
    assert all(limits)
    assert sum(limits) <= 1024
    assert "JupyterLab" in get(status["url"])


def test_up_refuses_a_type_that_is_none_also_where_it_would_change_nothing(machine: Checkout) -> None:
    done = machine.orchestrate("up", "--type", "T2.MEDIUM")
    assert done.returncode == 2, done.stderr
    assert "Did you mean t2.medium?" in done.stderr


def test_jupyter_refuses_without_its_token(status: dict[str, Any]) -> None:
    url = status["url"].partition("/lab?")[0]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(f"{url}/api/contents")


def test_a_notebook_uses_every_store_with_the_passwords_of_its_environment(machine: Checkout) -> None:
    found = run_notebook(machine)
    assert found["results"] == {"redis": True, "mongo": True, "postgres": True}
    # Each refused, in its own words, the client that had no password or a wrong one.
    assert "authenticate" in found["refused"]["redis"]
    assert "requires authentication" in found["refused"]["mongo"]
    assert "password authentication failed" in found["refused"]["postgres"]


def test_the_memory_limit_is_the_instance_types(machine: Checkout) -> None:
    limit = machine.on_host("cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; exit 0").split()[0]
    assert int(limit) == 1024 * 1024 * 1024


def test_up_again_changes_nothing(machine: Checkout) -> None:
    before = machine.containers(), counts(machine)
    again = machine.answer("up")
    assert again["changed"] == 0
    after = machine.containers(), counts(machine)
    assert after[0] == before[0]
    assert after[1] == {store: count + 1 for store, count in before[1].items()}


def test_the_secrets_of_another_computer_are_not_replaced(machine: Checkout) -> None:
    """As a computer has it that made a token of its own; no volume is under it."""
    token = machine.ssh_config().parent / "stack" / "secrets" / "jupyter_token"
    mine, theirs = token.read_text(), machine.on_host("cat slipway/secrets/jupyter_token")
    try:
        for here in (None, "another-token-of-32-characters-0"):
            token.unlink()
            if here:
                token.write_text(here)
            refused = machine.orchestrate("up")
            assert refused.returncode == 3, refused.stderr
            assert f"copy this folder from there: {token.parents[1]}" in refused.stderr
            token.touch()
    finally:
        token.unlink(missing_ok=True)
        token.write_text(mine)
        token.chmod(0o444)
    assert machine.on_host("cat slipway/secrets/jupyter_token") == theirs


def test_ansible_playbook_alone_changes_nothing_either(machine: Checkout) -> None:
    """In check mode: test_check_mode.py."""
    done = machine.run("ansible-playbook", "site.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    recap = done.stdout.partition("PLAY RECAP")[2]
    assert recap.count("changed=0") == 2, done.stdout
    assert "WARNING" not in done.stderr + done.stdout


def test_the_dynamic_inventory_reaches_the_machine(machine: Checkout) -> None:
    done = machine.run("ansible", "slipway", "-m", "ansible.builtin.command", "-a", "id -un")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ubuntu" in done.stdout


def test_ssh_reaches_the_machine_and_logs_shows_a_services_lines(machine: Checkout) -> None:
    assert machine.orchestrate("ssh", "id", "-un").stdout.strip() == "ubuntu"
    assert "ready to accept connections" in machine.orchestrate("logs", "postgres", "--tail", "200").stdout


def test_the_same_url_at_a_new_address_after_a_stop(machine: Checkout, status: dict[str, Any]) -> None:
    before, written = described(machine), counts(machine)
    instance = [before["InstanceId"]]
    ec2 = machine.ec2()
    ec2.stop_instances(InstanceIds=instance)
    ec2.get_waiter("instance_stopped").wait(InstanceIds=instance, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    stopped = machine.answer("status")
    assert (stopped["instance"]["state"], stopped["instance"]["stopped_since"]) == ("stopped", None)
    opened = machine.answer("open")
    # Not by `stop`: there is nothing to compare.
    assert (opened["price"]["per_hour"], opened["fingerprints"]) == (0.0188, {})
    after = machine.answer("status")
    assert opened["url"] == after["url"] == status["url"]
    assert after["instance"]["public_ip"] != before["PublicIpAddress"]
    assert after["instance"]["private_ip"] == before["PrivateIpAddress"]
    assert "JupyterLab" in get(after["url"])
    assert counts(machine) == {store: count + 1 for store, count in written.items()}


@pytest.mark.long
def test_up_starts_a_stopped_instance(machine: Checkout) -> None:
    before = machine.answer("status")
    ec2 = machine.ec2()
    ec2.stop_instances(InstanceIds=[before["instance"]["id"]])
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[before["instance"]["id"]], WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    check(machine, "site.yml")
    assert machine.answer("status")["instance"]["state"] == "stopped"
    after = machine.answer("up")
    assert after["instance"]["id"] == before["instance"]["id"]
    assert after["url"] == before["url"]
    assert {facts["health"] for facts in after["services"].values()} == {"healthy"}


def test_up_never_changes_the_type(machine: Checkout) -> None:
    done = machine.orchestrate("up", "--type", "t2.medium", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["instance"]["type"] == "t2.micro"
    assert answer["changed"] == 0
    assert "keeps its type t2.micro" in done.stderr


def test_a_service_left_out_stops_and_keeps_its_data(machine: Checkout) -> None:
    written = counts(machine)
    fewer = machine.answer("up", "--services", "jupyter,redis,mongo")
    assert set(fewer["services"]) == SERVICES - {"postgres"}
    assert "slipway_postgres_data" in machine.on_host("docker volume ls --quiet")
    assert set(machine.answer("up")["services"]) == SERVICES
    assert counts(machine) == {store: count + 1 for store, count in written.items()}


@pytest.mark.last
def test_destroy_and_lab_down_leave_nothing(machine: Checkout) -> None:
    from lab import config

    here = config.load(machine.path / ".slipway" / "lab")
    assert here is not None
    refused = machine.orchestrate("destroy")
    assert refused.returncode == 3
    assert "python orchestrate.py destroy slipway" in refused.stderr
    hosts = machine.orchestrate("lab", "down")
    assert hosts.returncode == 3
    removed = machine.orchestrate("destroy", "slipway")
    assert removed.returncode == 0, removed.stderr
    ec2 = machine.ec2()
    living = [
        instance["InstanceId"]
        for reservation in ec2.describe_instances()["Reservations"]
        for instance in reservation["Instances"]
        if instance["State"]["Name"] != "terminated"
    ]
    assert living == []
    assert [group["GroupName"] for group in ec2.describe_security_groups()["SecurityGroups"]] == ["default"]
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    assert ec2.describe_volumes()["Volumes"] == []
    assert machine.answer("status")["instance"] is None
    down = machine.orchestrate("lab", "down")
    assert down.returncode == 0, down.stderr
    engine = docker.from_env()
    mine = {"label": f"slipway.lab={here.id}"}
    assert engine.containers.list(all=True, filters=mine, ignore_removed=True) == []
    assert engine.volumes.list(filters=mine) == []
    assert engine.networks.list(filters=mine) == []
    assert not (machine.path / ".slipway" / "lab" / "lab.json").exists()
    # For the tests that come after these, of other machines.
    again = machine.orchestrate("lab", "up")
    assert again.returncode == 0, again.stderr
