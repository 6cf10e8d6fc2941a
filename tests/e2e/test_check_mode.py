"""`--check --diff` of every playbook: it changes nothing and fails nowhere, with a machine and without one."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Checkout
from tests.e2e.support.checking import check

pytestmark = pytest.mark.xdist_group("machine")

FILES = "cd slipway && find . -path ./work -prune -o -type f -print0 | sort -z | xargs -0 sha256sum; stat --format '%n %a %Y' .env secrets"


def folder(path: Path) -> dict[str, tuple[int, float, str]]:
    """Mode, time and content of each file; none where there is no folder."""
    files = [item for item in path.rglob("*") if item.is_file()]
    return {
        str(item.relative_to(path)): (item.stat().st_mode, item.stat().st_mtime, hashlib.sha256(item.read_bytes()).hexdigest())
        for item in files
    }


def recap(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, int]]:
    """The numbers of the last lines: by host, by word."""
    lines = [line.partition(":") for line in done.stdout.partition("PLAY RECAP")[2].splitlines()[1:] if ":" in line]
    return {host.strip(): {word: int(number) for word, number in (item.split("=") for item in rest.split())} for host, _, rest in lines}


def test_a_dry_run_of_site_before_there_is_a_machine_makes_nothing(lab: Checkout) -> None:
    machines = lab.path / ".slipway" / "lab" / "machines"
    done = check(lab, "site.yml", "--extra-vars", "slipway_name=imagined")
    assert recap(done)["localhost"]["changed"] > 0
    assert recap(done)["localhost"]["failed"] == 0
    assert not (machines / "imagined").exists()


@pytest.mark.long
@pytest.mark.parametrize("playbook", ["status", "open", "start", "destroy"])
def test_a_dry_run_of_other_playbooks_before_there_is_a_machine_has_nothing_to_change(lab: Checkout, playbook: str) -> None:
    confirm = ["--extra-vars", "ec2_instance_destroy_confirm=imagined"] if playbook == "destroy" else []
    done = check(lab, f"playbooks/{playbook}.yml", "--extra-vars", "slipway_name=imagined", *confirm)
    assert recap(done)["localhost"]["changed"] == 0


def test_a_dry_run_of_a_machine_that_is_up_has_nothing_to_change(machine: Checkout) -> None:
    here = machine.path / ".slipway" / "lab" / "machines" / "slipway"
    before = folder(here), machine.on_host("docker ps --all --quiet --no-trunc | sort"), machine.on_host(FILES)
    assert before[0] and before[1] and before[2]
    done = check(machine, "site.yml")
    assert {host: (said["changed"], said["failed"]) for host, said in recap(done).items()} == dict.fromkeys(recap(done), (0, 0))
    assert len(recap(done)) == 2
    assert "WARNING" not in done.stderr + done.stdout
    assert (folder(here), machine.on_host("docker ps --all --quiet --no-trunc | sort"), machine.on_host(FILES)) == before


@pytest.mark.long
def test_what_would_change_is_told_and_not_done(machine: Checkout) -> None:
    here = machine.path / ".slipway" / "lab" / "machines" / "slipway"
    before = folder(here), machine.on_host("docker ps --all --quiet --no-trunc | sort"), machine.on_host(FILES)
    more = ["--extra-vars", '{"docker_log_max_size": "5m", "stack_services": ["jupyter", "redis"], "stack_jupyter_port": 9999}']
    done = check(machine, "site.yml", *more)
    assert '"max-size": "5m"' in done.stdout
    assert "9999" in done.stdout
    assert sum(said["changed"] for said in recap(done).values()) > 0
    assert (folder(here), machine.on_host("docker ps --all --quiet --no-trunc | sort"), machine.on_host(FILES)) == before


@pytest.mark.long
def test_a_dry_run_of_destroy_tells_it_and_removes_nothing(machine: Checkout) -> None:
    here = machine.path / ".slipway" / "lab" / "machines" / "slipway"
    before = folder(here), machine.on_host("docker ps --all --quiet --no-trunc | sort")
    done = check(machine, "playbooks/destroy.yml", "--extra-vars", "ec2_instance_destroy_confirm=slipway")
    assert recap(done)["localhost"]["changed"] > 0
    assert (folder(here), machine.on_host("docker ps --all --quiet --no-trunc | sort")) == before
