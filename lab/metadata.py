"""Instance metadata: what each instance may ask at 169.254.169.254, as files that the lab's metadata service reads.

The service (images/metadata) is a container of each lab. It sees this folder read-only, and knows an instance by its private address.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
from docker.types import EndpointConfig

from lab.config import LABEL, Lab, private_dir, write_private
from lab.hosts import vpc_network

if TYPE_CHECKING:
    from lab.instances import LabInstance

_ZONE_IDS = {"a": "use1-az4", "b": "use1-az6", "c": "use1-az1", "d": "use1-az2", "e": "use1-az3", "f": "use1-az5"}


def start(client: docker.DockerClient, lab: Lab, image: str) -> None:
    """Start the lab's metadata service. One of another image is replaced: it keeps nothing but tokens, which are asked for again."""
    container = None
    try:
        container = client.containers.get(name(lab))
        if container.attrs["Config"]["Image"] != image:
            container.remove(force=True)
            container = None
    except docker.errors.NotFound:
        pass
    if container is None:
        network = vpc_network(lab)
        container = client.containers.create(
            image,
            name=name(lab),
            labels={LABEL: lab.id},
            network=network,
            networking_config={network: EndpointConfig(client.api.api_version, ipv4_address=lab.metadata_ip)},
            volumes={str(folder(lab)): {"bind": "/data", "mode": "ro"}},
            cap_add=["NET_ADMIN"],
            mem_limit="128m",
        )
    container.start()


def name(lab: Lab) -> str:
    """Its container."""
    return f"{lab.id}-metadata"


def folder(lab: Lab) -> Path:
    """The files, which root and the lab's user alone can read: user data may hold secrets."""
    return private_dir(lab.root / "metadata")


def tell(lab: Lab, instance: LabInstance, public_key: str) -> None:
    """Write what the instance may know, if that has changed."""
    path, content = _file(lab, instance), json.dumps(document(instance, public_key)).encode()
    if not path.exists() or path.read_bytes() != content:
        write_private(path, content)


def forget(lab: Lab, instance: LabInstance) -> None:
    """Remove what a terminated instance knew: another one may get its address."""
    path = _file(lab, instance)
    if path.exists() and json.loads(path.read_text())["tree"]["meta-data"]["instance-id"] == instance.id:
        path.unlink()


def _file(lab: Lab, instance: LabInstance) -> Path:
    return folder(lab) / f"{instance.private_ip}.json"


def document(instance: LabInstance, public_key: str) -> dict[str, Any]:
    """The instance's options, user data (base64) and tree of metadata: the categories of "Instance metadata categories" that a lab has."""
    options = instance.metadata_options
    return {
        "endpoint": options.http_endpoint,
        "tokens": options.http_tokens,
        "hops": options.http_put_response_hop_limit,
        "user_data": str(instance.user_data) if instance.user_data else None,
        "tree": {
            "meta-data": _meta_data(instance, public_key),
            "dynamic": {"instance-identity": {"document": json.dumps(_identity(instance), indent=2)}},
        },
    }


def _meta_data(instance: LabInstance, public_key: str) -> dict[str, Any]:
    zone = instance._placement.zone or ""
    host = f"ip-{str(instance.private_ip).replace('.', '-')}.ec2.internal"
    groups = "\n".join(group.name for group in instance.security_groups)
    keys = {"public-keys": {f"0={instance.key_name}": {"openssh-key": public_key.strip()}}} if instance.key_name else {}
    [card] = list(instance.nics.values())[:1]
    public = {"public-ipv4": str(instance.public_ip), "public-hostname": str(instance.public_dns_name)} if instance.public_ip else {}
    network = {
        "device-number": "0",
        "interface-id": card.id,
        "local-hostname": host,
        "local-ipv4s": instance.private_ip,
        "mac": card.mac_address,
        "owner-id": instance.owner_id,
        "security-group-ids": "\n".join(group.id for group in instance.security_groups),
        "security-groups": groups,
        "subnet-id": instance.subnet_id,
        "vpc-id": instance.vpc_id,
    }
    if public:
        network |= {"public-ipv4s": public["public-ipv4"], "public-hostname": public["public-hostname"]}
    return {
        "ami-id": instance.image_id,
        "ami-launch-index": str(instance.ami_launch_index),
        "block-device-mapping": {"ami": instance.root_device_name, "root": instance.root_device_name},
        "hostname": host,
        "instance-action": "none",
        "instance-id": instance.id,
        "instance-life-cycle": "on-demand",
        "instance-type": instance.instance_type,
        "local-hostname": host,
        "local-ipv4": instance.private_ip,
        "mac": card.mac_address,
        "network": {"interfaces": {"macs": {card.mac_address: network}}},
        "placement": {"availability-zone": zone, "availability-zone-id": _ZONE_IDS.get(zone[-1:], ""), "region": instance.region_name},
        "profile": "default-hvm",
        "security-groups": groups,
        "services": {"domain": "amazonaws.com", "partition": "aws"},
        **public,
        **keys,
    }


def _identity(instance: LabInstance) -> dict[str, Any]:
    """The instance identity document. A lab does not sign it."""
    return {
        "accountId": instance.owner_id,
        "architecture": instance.architecture,
        "availabilityZone": instance._placement.zone,
        "imageId": instance.image_id,
        "instanceId": instance.id,
        "instanceType": instance.instance_type,
        "pendingTime": str(instance.launch_time),
        "privateIp": instance.private_ip,
        "region": instance.region_name,
        "version": "2017-09-30",
    }
