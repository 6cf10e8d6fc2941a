"""How Jupyter is reached: what cannot be used is refused, with exit code 2 and before anything is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Checkout
from tests.e2e.support.exposure import NAMED, OWN, PUBLIC, filled
from tests.e2e.support.refusals import changes, table

DOOR = {"port": 8080, "cidrs": [NAMED]}

#: Variables -> what the refusal must say: the field, the value found and what is allowed. {tls} is a folder of certificates.
ROWS: list[tuple[dict[str, Any], list[str]]] = [
    ({"jupyter_exposure": "open"}, ["jupyter_exposure", "open", "tunnel, public"]),
    ({"jupyter_exposure": "public"}, ["jupyter_public_cidrs: []", "port 443", "Allowed: an IPv4 network"]),
    ({**PUBLIC, "jupyter_public_cidrs": ["10.0.0.300/33"]}, ["jupyter_public_cidrs", "'10.0.0.300/33'", "Allowed: an IPv4 network"]),
    ({**PUBLIC, "jupyter_public_cidrs": ["203.0.113.7/24"]}, ["jupyter_public_cidrs", "'203.0.113.7/24'", "host bits", "Allowed"]),
    ({**PUBLIC, "jupyter_public_cidrs": ["203.0.113.7"]}, ["jupyter_public_cidrs", "'203.0.113.7'", "did you mean 203.0.113.7/32?"]),
    (
        {**PUBLIC, "jupyter_public_cidrs": ["0.0.0.0/0"]},
        ["jupyter_public_cidrs", "'0.0.0.0/0'", "the whole internet", "jupyter_public_open_to_all: true"],
    ),
    ({**PUBLIC, "jupyter_public_cidrs": ["::/0"]}, ["jupyter_public_cidrs", "'::/0'", "IPv4 only"]),
    ({**PUBLIC, "stack_jupyter_public_port": 0}, ["stack_jupyter_public_port", "0", "1 to 65535"]),
    ({**PUBLIC, "stack_jupyter_public_port": 70000}, ["stack_jupyter_public_port", "70000", "1 to 65535"]),
    ({**PUBLIC, "stack_jupyter_public_port": "80a"}, ["stack_jupyter_public_port", "'80a'", "1 to 65535"]),
    ({**PUBLIC, "stack_jupyter_public_port": 22}, ["stack_jupyter_public_port", "22", "SSH", "any other"]),
    ({**PUBLIC, "stack_services": ["redis"]}, ["stack_jupyter_exposure", "public", '["redis"]', "with jupyter"]),
    ({"ec2_instance_open_ports": [DOOR, DOOR]}, ["ec2_instance_open_ports", "8080", "given twice"]),
    ({"ec2_instance_ssh_cidrs": ["10.0.0.300/33"]}, ["ec2_instance_ssh_cidrs", "'10.0.0.300/33'", "Allowed: an IPv4 network"]),
    ({"ec2_instance_ssh_cidrs": ["0.0.0.0/0"]}, ["ec2_instance_ssh_cidrs", "ec2_instance_ssh_open_to_all: true"]),
    ({"ec2_instance_group_preset": "boook"}, ["ec2_instance_group_preset", "boook", "ssh, book, stores"]),
    ({**PUBLIC, "stack_tls_key": "{tls}/own.key"}, ["stack_tls_certificate", '""', "both, or neither"]),
    ({**PUBLIC, **OWN, "stack_tls_certificate": "{tls}/none.crt"}, ["stack_tls_certificate", "none.crt", "is not a file"]),
    ({**PUBLIC, **OWN, "stack_tls_certificate": "own.crt"}, ["stack_tls_certificate", "own.crt", "absolute path"]),
    ({**PUBLIC, **OWN, "stack_tls_certificate": "{tls}/own.key"}, ["stack_tls_certificate", "own.key", "holds no certificate"]),
    ({**PUBLIC, **OWN, "stack_tls_key": "{tls}"}, ["stack_tls_key", "is not a file"]),
    ({**PUBLIC, **OWN, "stack_tls_key": "{tls}/open.key"}, ["stack_tls_key", "open.key", "has the mode 0644", "0600"]),
    ({**PUBLIC, **OWN, "stack_tls_key": "{tls}/locked.key"}, ["stack_tls_key", "locked.key", "without a passphrase"]),
    ({**PUBLIC, **OWN, "stack_tls_key": "{tls}/other.key"}, ["stack_tls_certificate", "own.crt", "does not belong to", "other.key"]),
    ({**PUBLIC, **OWN, "stack_tls_certificate": "{tls}/old.crt"}, ["stack_tls_certificate", "old.crt", "expired at 2020"]),
]


@pytest.mark.parametrize(("variables", "said"), table(ROWS, [f"{number}-{said[0]}" for number, (_, said) in enumerate(ROWS)]))
def test_up_refuses(lab: Checkout, tls: Path, variables: dict[str, Any], said: list[str]) -> None:
    before = len(lab.requests())
    with lab.given(filled(variables, tls)):
        done = lab.orchestrate("up", "--name", "refused")
    assert done.returncode == 2, done.stderr
    answer = " ".join(line for line in done.stderr.splitlines() if not line.startswith("["))
    assert [part for part in said if part not in answer] == [], answer
    assert changes(lab.requests()[before:]) == []
    assert not (lab.path / ".slipway" / "lab" / "machines" / "refused").exists()
