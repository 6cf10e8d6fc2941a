"""`lab up | down | status | reset`: what starts, shows and ends a lab."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import docker
import yaml
from docker.types import EndpointConfig, IPAMConfig, IPAMPool

from lab import certificates, config, disks, engine, image_sets, images, metadata, networks, process
from lab.config import LABEL, PROJECT, REGISTRY, BadInputError, Lab, LabError
from lab.engine import Report
from lab.hosts import INSTANCE_LABEL, public_network, vpc_network
from lab.networks import Networks, NetworksError

#: What the API of every lab takes; it gives access to this machine's loopback only. No everyday words: Ansible
#: hides a secret's value wherever it stands in its output.
CREDENTIALS = {"access_key": "slipway-lab-key", "secret_key": "slipway-lab-secret"}
REGION = "us-east-1"
#: What a lab's networks say of its API.
_PORT = f"{LABEL}.port"


@dataclass(frozen=True)
class Status:
    """What runs of a lab. `registry`: it runs, at no other port than the known one; `metadata`: the metadata service runs;
    `hosts`: instance -> whether its host runs; `lacking`: why it has no real disks, if it has none."""

    endpoint: str | None
    api: bool
    registry: bool
    metadata: bool
    hosts: dict[str, bool]
    lacking: str


def up(report: Report = print) -> Lab:
    """Start the lab, whatever of it is missing, and return it. Changes nothing where it runs.

    Raises LabError where the engine, an image, a network or the API cannot be had.
    """
    lab = config.load()
    _check_networks(lab)
    image_sets.asked()
    if lab and _is_whole(lab):
        return lab
    with engine.alone(report):
        # Another command may have started it while this one waited; it works with it now.
        lab = config.load()
        if lab and _is_whole(lab):
            return lab
        _need("ssh", "openssh-client")
        _need("rsync", "rsync")
        client = engine.connect(report)
        tags = images.ensure(client, report)
        disks.prepare(client, tags["host"], report)
        lab = lab or _new_lab(client)
        _make_network(client, lab, vpc_network(lab), lab.vpc_cidr)
        _make_network(client, lab, public_network(lab), lab.public_cidr)
        lab = _start_registry(client, lab, tags["registry"])
        metadata.start(client, lab, tags["metadata"])
        # One that answers goes on: commands on other machines may be talking to it. It checks what became of its hosts.
        if not _serves(lab) and not (process.identity(lab) and process.asked(lab, config.HOSTS)):
            report("starting the EC2 API")
            lab = process.start(lab, tags["host"], _ports(client))
        images.introduce(client, tags["common"], client.containers.get(_registry_name(lab)))
        _write_inventory(lab)
    return lab


def down(report: Report = print) -> None:
    """Remove the lab: hosts with their disks, networks, the registry, the API and its state. Images stay."""
    lab = config.load()
    if lab is None and not status().hosts:
        report("there is no lab")
        return
    # Where its records were lost, the id alone, which its folder gives, finds what is left of it.
    lab = lab or Lab(config.default_root())
    process.stop()
    _close_tunnels(lab)
    with engine.alone(report):
        client = engine.connect(report)
    _remove(client, lab)
    disks.clear(lab, report)
    _inventory_file().unlink(missing_ok=True)
    shutil.rmtree(lab.root, ignore_errors=True)
    report("the lab is gone; its images stay, for the next start")


def _remove(client: docker.DockerClient, lab: Lab) -> None:
    mine: dict[str, str | list[str] | bool] = {"label": f"{LABEL}={lab.id}"}
    for container in client.containers.list(all=True, filters=mine, ignore_removed=True):
        container.remove(force=True, v=True)
    for volume in client.volumes.list(filters=mine):
        volume.remove(force=True)
    for network in client.networks.list(filters=mine):
        network.remove()


def status() -> Status:
    """Return what runs of the lab; asks the engine and the API, and starts neither."""
    known = config.load()
    lab = known or Lab(config.default_root())
    try:
        client = engine.client()
        mine = client.containers.list(all=True, filters={"label": [f"{LABEL}={lab.id}"]}, ignore_removed=True)
    except docker.errors.DockerException:
        mine = []
    running = {item.name: item.status == "running" for item in mine}
    # The engine picks the registry's port anew with each start, by whomever.
    ports = {int(port["HostPort"]) for item in mine if item.name == _registry_name(lab) for port in item.ports.get("5000/tcp") or []}
    registry = running.get(_registry_name(lab), False) and ports <= {lab.registry_port}
    hosts = {item.labels[INSTANCE_LABEL]: running[item.name] for item in mine if INSTANCE_LABEL in item.labels}
    endpoint = known.endpoint if known else None
    service = running.get(metadata.name(lab), False)
    return Status(endpoint, bool(known and process.identity(known)), registry, service, hosts, disks.lacking())


def _is_whole(lab: Lab) -> bool:
    """Whether all of it runs, and its inventory is there: an engine may have been restarted, or a start cut off."""
    state = status()
    return state.registry and state.metadata and _inventory_file().exists() and _serves(lab)


def _serves(lab: Lab) -> bool:
    """Whether the API answers, and the engine runs each host that the API says is running."""
    # Two looks: another command may stop a host between the API's answer and the engine's.
    return any(_agrees(lab) for _ in range(2))


def _agrees(lab: Lab) -> bool:
    identity = process.identity(lab)
    if identity is None:
        return False
    hosts = status().hosts
    return all(hosts.get(instance) for instance in identity["running"])


def _new_lab(client: docker.DockerClient) -> Lab:
    """Pick a port and networks that are free on this machine, and keep them for good."""
    left = status().hosts
    if left:
        raise LabError(
            f"Hosts of a lab of this folder, whose records are gone, are still there: {', '.join(sorted(left))}. "
            "They cannot be reached any more. Remove them, with their data, by: python orchestrate.py lab down"
        )
    _remove(client, Lab(config.default_root()))
    lab = Lab(config.default_root(), process.free_port(_ports(client)), *dataclasses.astuple(_networks(client)))
    lab.save()
    return lab


def _ports(client: docker.DockerClient) -> set[int]:
    """The ports of all labs of this computer: an API that is just being started again finds its port, and its clients find it."""
    return {int(network.attrs["Labels"][_PORT]) for network in client.networks.list(filters={"label": _PORT})}


def _networks(client: docker.DockerClient) -> Networks:
    """Those that the user has named, or some that are free."""
    pools = [pool["Subnet"] for network in client.networks.list() for pool in network.attrs["IPAM"]["Config"] or [] if "Subnet" in pool]
    taken = networks.here([network for network in map(ipaddress.ip_network, pools) if isinstance(network, IPv4Network)])
    wanted = os.environ.get(networks.VARIABLE)
    try:
        found = networks.choose(taken) if wanted is None else networks.given(wanted, taken)
    except NetworksError as wrong:
        raise BadInputError(str(wrong)) from wrong
    if found is None:
        raise LabError(
            "No two networks are free for the lab: other labs, or routes of this computer (`ip route`), have them. "
            f"Name two with {networks.VARIABLE}=10.66.0.0/16,198.18.66.0/24, or end a lab: `python orchestrate.py lab down` in its folder."
        )
    return found


def _check_networks(lab: Lab | None) -> None:
    """Refuse networks of the user's that cannot be read, or are others than those that the lab has."""
    wanted = os.environ.get(networks.VARIABLE)
    if wanted is None:
        return
    try:
        named = networks.read(wanted)
    except NetworksError as wrong:
        raise BadInputError(str(wrong)) from wrong
    if lab and (named.private, named.public, named.inside or lab.inside_cidr) != (lab.vpc_cidr, lab.public_cidr, lab.inside_cidr):
        has = ",".join(map(str, filter(None, (lab.vpc_cidr, lab.public_cidr, lab.inside_cidr))))
        raise BadInputError(
            f"{networks.VARIABLE}={wanted}: the lab has {has}, and keeps them. Unset the variable, or make the lab again, which ends its "
            "instances with their data: python orchestrate.py lab reset"
        )


def _make_network(client: docker.DockerClient, lab: Lab, name: str, cidr: IPv4Network) -> None:
    if client.networks.list(names=[f"^{name}$"]):
        return
    pool = IPAMPool(subnet=str(cidr), gateway=str(cidr[1]))
    client.networks.create(name, driver="bridge", ipam=IPAMConfig(pool_configs=[pool]), labels={LABEL: lab.id, _PORT: str(lab.port)})


def _registry_name(lab: Lab) -> str:
    return f"{lab.id}-registry"


def _start_registry(client: docker.DockerClient, lab: Lab, image: str) -> Lab:
    """Start the registry; return the lab with the loopback port that it has now."""
    try:
        container = client.containers.get(_registry_name(lab))
    except docker.errors.NotFound:
        folder = "/etc/docker/registry/tls"
        network = vpc_network(lab)
        endpoint = EndpointConfig(client.api.api_version, aliases=[REGISTRY.partition(":")[0]], ipv4_address=lab.registry_ip)
        container = client.containers.create(
            image,
            name=_registry_name(lab),
            labels={LABEL: lab.id},
            network=network,
            networking_config={network: endpoint},
            environment={
                "REGISTRY_HTTP_TLS_CERTIFICATE": f"{folder}/server.crt",
                "REGISTRY_HTTP_TLS_KEY": f"{folder}/server.key",
            },
            volumes={str(certificates.ensure(lab)): {"bind": folder, "mode": "ro"}},
            # An engine takes any registry on its own loopback, whoever signed its certificate.
            ports={"5000/tcp": ("127.0.0.1", 0)},
            mem_limit="256m",
        )
    container.start()
    container.reload()
    [binding] = container.ports["5000/tcp"] or [{"HostPort": "0"}]
    lab = dataclasses.replace(lab, registry_port=int(binding["HostPort"]))
    lab.save()
    return lab


def _close_tunnels(lab: Lab) -> None:
    """End the ssh behind each machine's tunnel, which would hold its port for a minute more."""
    for memory in lab.root.glob("machines/**/tunnel.json"):
        control = json.loads(memory.read_text()).get("control", "")
        if Path(control).exists():
            subprocess.run(["ssh", "-S", control, "-O", "exit", "tunnel"], capture_output=True)


def _inventory_file() -> Path:
    return PROJECT / "inventory" / "lab" / "lab.aws_ec2.yml"


def _write_inventory(lab: Lab) -> None:
    """The lab's own dynamic inventory: it exists while the lab does, so Ansible never asks a lab that is down."""
    shared = yaml.safe_load((PROJECT / "inventory" / "aws" / "aws.aws_ec2.yml").read_text())
    # An empty profile keeps AWS_PROFILE of the shell out.
    plugin = shared | CREDENTIALS | {"profile": ""} | {"endpoint_url": lab.endpoint, "regions": [REGION]}
    header = "# Written by `lab up`, removed by `lab down`: inventory/aws/aws.aws_ec2.yml with the lab's endpoint.\n"
    config.write_private(_inventory_file(), (header + yaml.safe_dump(plugin, sort_keys=False)).encode())


def _need(command: str, package: str) -> None:
    if shutil.which(command):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise LabError(f"`{command}` is missing. Install the package {package}.")
    engine.apt_install(package)
