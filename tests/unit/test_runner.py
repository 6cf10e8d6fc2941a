"""The folder of a run's records, and what a run says of files that it cannot read."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway import runner
from slipway.model import Request


def test_two_plays_of_one_command_have_a_folder_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "STATE", tmp_path)
    request = Request(verb="resize", playbook="playbooks/find.yml", target="lab", variables={})
    # In the same second: the first one ends at once where a variable is misspelt.
    folders = [runner._new_folder(request) for _ in range(3)]
    assert folders == sorted((tmp_path / "runs").iterdir())


@pytest.mark.parametrize(
    ("shell", "said"),
    [
        ({}, "no password was given"),
        ({"ANSIBLE_VAULT_PASSWORD_FILE": "/x"}, "the password of ANSIBLE_VAULT_PASSWORD_FILE=/x does not fit"),
        ({"ANSIBLE_VAULT_IDENTITY_LIST": "a@/y,b@/z"}, "the password of ANSIBLE_VAULT_IDENTITY_LIST=a@/y,b@/z does not fit"),
        (
            {"ANSIBLE_VAULT_PASSWORD_FILE": "/x", "ANSIBLE_VAULT_IDENTITY_LIST": "a@/y"},
            "the password of ANSIBLE_VAULT_PASSWORD_FILE=/x or ANSIBLE_VAULT_IDENTITY_LIST=a@/y does not fit",
        ),
    ],
)
def test_a_vault_password_that_does_not_fit_is_named(shell: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANSIBLE_VAULT_PASSWORD_FILE", "ANSIBLE_VAULT_IDENTITY_LIST"):
        monkeypatch.delenv(name, raising=False)
    for name, value in shell.items():
        monkeypatch.setenv(name, value)
    why = runner._vault_reason("aws")
    assert (
        f"encrypted by Ansible Vault, and {said}. Allowed: ANSIBLE_VAULT_PASSWORD_FILE or ANSIBLE_VAULT_IDENTITY_LIST names a file" in why
    )
