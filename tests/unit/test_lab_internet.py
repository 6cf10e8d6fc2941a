"""What of the internet the lab answers for: to a command whose proxy it is, and to hosts of Canonical's image."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from cryptography import x509

from lab import aws, certificates, internet
from lab.config import Lab
from tests.conftest import PROJECT


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a lab's proxy, whose names answer nowhere."""
    lab = Lab(tmp_path_factory.mktemp("lab"), public_cidr=IPv4Network("127.0.0.0/24"))

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            internet.relay(self, lab)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("example.com", 443, "403 The lab answers for"),
        ("amazonaws.com", 443, "403 The lab answers for"),
        ("quay.io.example.com", 443, "403 The lab answers for"),
        ("127.0.0.1", 443, "403 The lab answers for"),
        ("169.254.169.254", 80, "403 The lab answers for"),
        ("quay.io", 80, "403 The lab answers for"),
        ("quay.io", 22, "403 The lab answers for"),
        ("quay.io", 443, "502 .* Start it with: python orchestrate.py lab aws"),
        ("Checkip.AmazonAWS.com", 443, "502 .* Start it with: python orchestrate.py lab aws"),
    ],
)
def test_only_the_names_are_led_to(proxy: int, host: str, port: int, said: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy, timeout=10)
    connection.set_tunnel(host, port)
    with pytest.raises(OSError, match=said):
        connection.request("GET", "/")


def made_from(**facts: Any) -> SimpleNamespace:
    return SimpleNamespace(owner_id="123456789012", **facts)


@pytest.mark.parametrize(
    ("image", "seen"),
    [
        (SimpleNamespace(owner_id="099720109477"), True),
        (made_from(), False),
        (made_from(instance=None), False),
        (made_from(instance=SimpleNamespace(sees_internet=True)), True),
        (made_from(instance=SimpleNamespace(sees_internet=False)), False),
        # Of a state that an earlier release has kept.
        (made_from(instance=SimpleNamespace()), False),
    ],
)
def test_canonicals_image_and_those_made_from_it_alone_see_the_stand_ins(image: SimpleNamespace, seen: bool) -> None:
    assert internet.is_seen_from(image) is seen


def test_each_name_has_an_answer_and_a_certificate_of_the_lab(tmp_path: Path) -> None:
    folder = certificates.ensure(Lab(tmp_path))
    served = (PROJECT / "lab" / "images" / "internet" / "nginx.conf").read_text()
    assert [name for name in internet.NAMES if name not in served] == []
    authority, server = (x509.load_pem_x509_certificate((folder / file).read_bytes()) for file in ("ca.crt", certificates.INTERNET))
    server.verify_directly_issued_by(authority)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    assert sorted(names) == sorted(internet.NAMES)
    # What the strict checks of Python 3.13 want of both.
    assert authority.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    server.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    assert not list(folder.glob("ca*.key"))


def test_the_variables_are_awss_own_but_for_the_digests() -> None:
    own = yaml.safe_load((PROJECT / "roles" / "stack" / "vars" / "main.yml").read_text())["__stack_images"]
    found = aws.variables("AB12", {service: f"sha256:{service}" for service in own})
    pinned = {service: f"{image.partition('@')[0]}@sha256:{service}" for service, image in own.items()}
    assert found == {"stack_images": pinned, "docker_apt_key_fingerprint": "AB12"}


def test_each_service_of_a_lab_has_an_address_of_its_own(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    assert len({lab.registry_ip, lab.metadata_ip, lab.internet_ip}) == 3
