"""How Jupyter is reached: by TLS it is for named networks alone."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Checkout
from tests.e2e.support.exposure import OWN, PUBLIC, filled, fingerprint, get
from tests.e2e.support.ports import open_ports

pytestmark = pytest.mark.xdist_group("machine")

# Jupyter by TLS, on the machine of the other tests, which ends as it was.

COUNT = "import os, redis; print(redis.Redis(host='redis', password=os.environ['REDIS_PASSWORD']).incr('exposure'))"


def in_jupyter(machine: Checkout, program: str) -> str:
    return machine.on_host("cd slipway && docker compose exec -T jupyter python -", stdin=program).strip()


def stores(machine: Checkout) -> list[str]:
    return sorted(machine.on_host("cd slipway && docker compose ps --quiet --no-trunc redis mongo postgres").split())


def reaches(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=3).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def public(machine: Checkout) -> Iterator[tuple[Checkout, dict[str, Any]]]:
    """The machine in the mode `public`, with what `up` said; then back in the mode `tunnel`, with its data, its URL and its doors."""
    before, containers, count = machine.answer("status"), stores(machine), int(in_jupyter(machine, COUNT))
    assert before["exposure"] == "tunnel"
    assert before["certificate_sha256"] is None
    try:
        with machine.given(PUBLIC):
            serving = machine.containers()
            planned = machine.orchestrate("up", "--dry-run")
            assert planned.returncode == 0, planned.stderr
            assert "Make the key of the certificate: would change" in planned.stderr
            assert machine.containers() == serving
            said = machine.answer("up")
        # The tunnel's port is remembered, and nobody listens there. It is held, lest another checkout's tunnel takes it.
        port = json.loads((machine.path / ".slipway" / "lab" / "machines" / "slipway" / "tunnel.json").read_text())["port"]
        assert not reaches("127.0.0.1", port)
        with socket.create_server(("127.0.0.1", port)):
            # From here on no variable tells the mode: `status` and `open` see it.
            yield machine, said
    finally:
        after = machine.answer("up")
        secrets = machine.path / ".slipway" / "lab" / "machines" / "slipway" / "stack" / "secrets"
        for path in [*secrets.glob("*.crt"), *secrets.glob("*.key")]:
            path.unlink()
        machine.on_host("rm --force slipway/secrets/*.crt slipway/secrets/*.key")
    assert (after["url"], after["exposure"]) == (before["url"], "tunnel")
    assert stores(machine) == containers
    assert int(in_jupyter(machine, COUNT)) > count
    assert not reaches(after["instance"]["public_ip"], 443)


def test_jupyter_answers_by_https_with_the_named_certificate_and_the_token_alone(public: tuple[Checkout, dict[str, Any]]) -> None:
    machine, said = public
    address = said["instance"]["public_ip"]
    assert said["exposure"] == "public"
    assert said["url"].startswith(f"https://{address}/lab?token=")
    assert {facts["health"] for facts in said["services"].values()} == {"healthy"}
    assert said["certificate_sha256"] == fingerprint(address)
    certificate = machine.path / ".slipway" / "lab" / "machines" / "slipway" / "stack" / "secrets" / "self_signed.crt"
    assert "JupyterLab" in get(said["url"], certificate)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(f"https://{address}/api/contents", certificate)
    with pytest.raises((urllib.error.URLError, http.client.HTTPException, OSError)):
        get(f"http://{address}:443/api", certificate)


def test_status_and_open_tell_the_url_and_the_fingerprint(public: tuple[Checkout, dict[str, Any]]) -> None:
    machine, said = public
    status = machine.orchestrate("status").stdout
    assert f"Jupyter   {said['url']}" in status
    assert said["certificate_sha256"] in status
    opened = machine.orchestrate("open")
    assert opened.stdout.strip() == said["url"]
    assert said["certificate_sha256"] in opened.stderr
    told = machine.answer("open")
    same = ("target", "exposure", "url", "certificate_sha256")
    assert [told[key] for key in same] == [said[key] for key in same]


def test_the_key_is_in_no_environment_and_no_record(public: tuple[Checkout, dict[str, Any]]) -> None:
    machine, _ = public
    folder = machine.path / ".slipway" / "lab" / "machines" / "slipway" / "stack" / "secrets"
    key = (folder / "self_signed.key").read_text().splitlines()[1]
    assert (folder / "self_signed.key").stat().st_mode & 0o777 == 0o600
    environment = in_jupyter(machine, "import os; print(dict(os.environ))")
    assert "REDIS_PASSWORD" in environment
    seen = environment + machine.on_host("docker inspect $(docker ps --all --quiet); ps -eo args")
    seen += "".join(path.read_text() for path in (machine.path / ".slipway" / "runs").rglob("*") if path.is_file())
    assert key not in seen
    assert "PRIVATE KEY" not in seen


@pytest.mark.parametrize(("network", "address", "ports"), [("public", "public_ip", [22, 443]), ("vpc", "private_ip", [])])
def test_the_named_network_reaches_ssh_and_tls_and_no_other_anything(
    public: tuple[Checkout, dict[str, Any]], network: str, address: str, ports: list[int]
) -> None:
    machine, said = public
    assert open_ports(machine, network, said["instance"][address]) == ports


@pytest.mark.long
def test_a_certificate_of_the_users_own_is_used_for_as_long_as_it_is_given(public: tuple[Checkout, dict[str, Any]], tls: Path) -> None:
    machine, said = public
    with machine.given(filled(PUBLIC | OWN, tls)):
        own = machine.answer("up")
        assert own["certificate_sha256"] == fingerprint(own["instance"]["public_ip"]) != said["certificate_sha256"]
        assert "JupyterLab" in get(own["url"], tls / "own.crt")
        assert machine.answer("up")["changed"] == 0
    with machine.given(PUBLIC):
        # The one that users have compared comes back.
        assert machine.answer("up")["certificate_sha256"] == said["certificate_sha256"]


@pytest.mark.long
def test_the_preset_warns_on_the_terminal_too(machine: Checkout) -> None:
    with machine.given({"ec2_instance_group_preset": "book"}):
        planned = machine.orchestrate("up", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "WARNING: ec2_instance_group_preset: book opens the ports 22, 80, 443, 2376 and 8888" in planned.stderr
    assert planned.stderr.count("WARNING") == 1
