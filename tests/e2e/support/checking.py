"""Check mode: a playbook that must succeed and change nothing in EC2."""

from __future__ import annotations

import subprocess

from tests.conftest import Checkout

#: What reads. Anything else in EC2's API changes something, or could.
READING = ("Describe", "Get")


def check(machine: Checkout, playbook: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook in check mode; it must succeed, and ask EC2 for nothing but what is there."""
    before = len(machine.requests())
    done = machine.run("ansible-playbook", playbook, "--check", "--diff", *more)
    assert done.returncode == 0, done.stdout + done.stderr
    asked = [request["action"] for request in machine.requests()[before:]]
    assert asked, "the lab's log shows no request"
    assert [action for action in asked if not action.startswith(READING)] == []
    return done
