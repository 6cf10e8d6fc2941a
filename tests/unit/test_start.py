"""When only a start of the machine helps, and what is compared after it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway import pause
from tests.conftest import PROJECT
from tests.modules import read

back: Any = read("roles", "stack", "library", "stack_back.py")


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
def test_only_a_machine_that_is_down_or_half_way_needs_a_start(published: dict[str, Any], down: bool) -> None:
    assert pause.is_down(published) is down


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
def test_a_containers_health_is_read_from_the_list_of_containers(status: str, health: str) -> None:
    assert back._health({"Status": status}) == health


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
