"""`lab aws`: what AWS's own inventory needs to work against the lab, made and started only when it is asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import docker
import yaml
from docker.models.containers import Container
from docker.types import EndpointConfig

from lab import certificates, config, control, engine, images, internet
from lab.config import LABEL, PROJECT, REGISTRY, Lab, LabError
from lab.engine import Report
from lab.hosts import public_network, vpc_network

#: The variables that AWS's own inventory has for images, without the lab's.
_ROLE = PROJECT / "roles" / "stack" / "vars" / "main.yml"
_FINGERPRINT = "/srv/download.docker.com.fingerprint"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def up(report: Report = print) -> Lab:
    """Start the lab and the names that AWS's inventory asks on the internet; write its variables. Changes nothing where they are there."""
    lab = control.up(report)
    with engine.alone(report):
        client = engine.connect(report)
        tag = images.internet(client, report)
        container = _started(client, lab, tag)
        _write(lab, container)
    return lab


@dataclass(frozen=True)
class Given:
    """What a command of AWS's own inventory is given: variables of its environment, and a file of variables."""

    environment: dict[str, str]
    variables: Path


def here() -> Given | None:
    """What this checkout's lab gives such a command, or None if the names do not answer."""
    lab = config.load()
    try:
        if lab is None or not _variables_file(lab).exists() or engine.client().containers.get(_name(lab)).status != "running":
            return None
    except docker.errors.DockerException:
        return None
    keys = {"AWS_ACCESS_KEY_ID": control.CREDENTIALS["access_key"], "AWS_SECRET_ACCESS_KEY": control.CREDENTIALS["secret_key"]}
    way = {"HTTPS_PROXY": lab.endpoint, "SSL_CERT_FILE": str(_authorities(lab))}
    return Given({"AWS_ENDPOINT_URL": lab.endpoint, **keys, **way}, _variables_file(lab))


def _variables_file(lab: Lab) -> Path:
    """The variables that no stand-in can equal: the images' digests, and the fingerprint of the apt repository's key."""
    return lab.root / "lab_aws.yml"


def _name(lab: Lab) -> str:
    return f"{lab.id}-internet"


def _authorities(lab: Lab) -> Path:
    """This computer's authorities, and the lab's."""
    return lab.root / "authorities.pem"


def _found(client: docker.DockerClient, lab: Lab) -> Container | None:
    try:
        return client.containers.get(_name(lab))
    except docker.errors.NotFound:
        return None


def _started(client: docker.DockerClient, lab: Lab, image: str) -> Container:
    tls = certificates.ensure(lab)
    if not (tls / certificates.INTERNET).exists():
        raise LabError("An earlier release made this lab, without Canonical's image. Make it again: python orchestrate.py lab reset")
    container = _found(client, lab)
    # One of another image is of an earlier release, and keeps nothing.
    if container and container.attrs["Config"]["Image"] != image:
        container.remove(force=True)
        container = None
    if container is None:
        network = public_network(lab)
        endpoint = EndpointConfig(client.api.api_version, ipv4_address=internet.address(lab))
        container = client.containers.create(
            image,
            name=_name(lab),
            labels={LABEL: lab.id},
            network=network,
            networking_config={network: endpoint},
            extra_hosts={REGISTRY.partition(":")[0]: lab.registry_ip},
            volumes={str(tls): {"bind": "/tls", "mode": "ro"}},
            mem_limit="64m",
        )
    inner = vpc_network(lab)
    # A start may have been cut off between the two networks.
    if inner not in container.attrs["NetworkSettings"]["Networks"]:
        client.networks.get(inner).connect(container, ipv4_address=lab.internet_ip)
    container.start()
    return container


def _write(lab: Lab, container: Container) -> None:
    mine = images.AUTHORITIES.read_bytes() if images.AUTHORITIES.exists() else b""
    config.write_private(_authorities(lab), mine + (lab.root / "tls" / "ca.crt").read_bytes())
    fingerprint = _said(container, "cat", _FINGERPRINT).strip()
    digests = {name: _digest(container, images.STAND_INS[name]) for name in ("jupyter", "redis", "mongo", "postgres")}
    # The last of all: where it is, all is (`here`).
    head = "# Written by `lab aws`: what of inventory/aws no stand-in can equal.\n"
    text = yaml.safe_dump(variables(fingerprint, digests), sort_keys=False, width=200)
    config.write_private(_variables_file(lab), (head + text).encode())


def variables(fingerprint: str, digests: Mapping[str, str]) -> dict[str, object]:
    """AWS's own images, each with the digest of the lab's, and the fingerprint of the lab's key."""
    own: dict[str, str] = yaml.safe_load(_ROLE.read_text())["__stack_images"]
    pinned = {name: f"{image.partition('@')[0]}@{digests[name]}" for name, image in own.items()}
    return {"stack_images": pinned, "docker_apt_key_fingerprint": fingerprint}


def _digest(container: Container, image: str) -> str:
    """The digest of an image that the lab's registry has, asked as an engine asks; waits until the names answer."""
    name, _, tag = image.partition(":")
    words = ["curl", "--silent", "--fail", "--head", "--retry", "10", "--retry-connrefused", "--retry-delay", "1"]
    words += ["--cacert", "/tls/ca.crt", "--connect-to", "::127.0.0.1:443"]
    words += ["--header", "Authorization: Bearer anonymous", "--header", f"Accept: {_MANIFEST}"]
    said = _said(container, *words, f"https://registry-1.docker.io/v2/{name}/manifests/{tag}")
    found = re.search(r"(?im)^docker-content-digest: *(sha256:[0-9a-f]{64})\s*$", said)
    if not found:
        raise LabError(f"The lab's registry says no digest of {image}: {said.strip()}")
    return found[1]


def _said(container: Container, *words: str) -> str:
    code, output = container.exec_run(list(words))
    said = cast(bytes, output).decode(errors="replace")
    if code:
        end = container.logs(tail=5).decode(errors="replace")
        raise LabError(f"`{' '.join(words)}` failed in the lab's container {container.name}: {said.strip()}\n{end.strip()}")
    return said
