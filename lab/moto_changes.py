"""What the lab changes in moto: its instances have hosts, its volumes disks, and its addresses are of the lab's networks."""

from __future__ import annotations

import random
from typing import Any, cast

import moto.ec2.models.elastic_network_interfaces as moto_interfaces
import moto.ec2.models.instances as moto_instances
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import InstanceBackend, MetadataOptions
from moto.ec2.models.vpcs import VPC, VPCBackend
from moto.ec2.responses.instances import InstanceResponse

from lab import machine_images
from lab.instances import LabInstance
from lab.machine_images import whole_mapping
from lab.world import World


def install() -> None:
    """Let moto make instances of this module's, in the lab's networks."""
    moto_instances.Instance = LabInstance  # type: ignore[misc]
    machine_images.install()
    _boot_with_volumes()
    moto_interfaces.random_public_ip = _new_public_address  # type: ignore[attr-defined]
    _put_default_vpc_on_the_labs_network()
    _lend_addresses()
    _keep_metadata_options()


def _new_public_address() -> str:
    """A free address of the lab's public range that no host had lately: a start always changes it."""
    used = {interface.public_ip for backend in ec2_backends[DEFAULT_ACCOUNT_ID].values() for interface in backend.enis.values()}
    free = [str(address) for address in World.lab.public_cidr if 10 <= int(address) % 256 < 250]
    choice = random.choice([address for address in free if address not in used and address not in World.recent_addresses])  # noqa: S311 (an address, no secret)
    World.recent_addresses.append(choice)
    return choice


def _boot_with_volumes() -> None:
    """Give a new instance all volumes of its image, and then a host; moto gives those that the request names."""
    run = InstanceBackend.run_instances
    parse = InstanceResponse._parse_block_device_mapping

    def mapping(self: InstanceResponse) -> list[dict[str, Any]]:
        # moto fills in false; EC2 does as the image says.
        asked = {each["DeviceName"]: each.get("Ebs", {}) for each in self._get_param("BlockDeviceMappings", [])}
        found = parse(self)
        for each in found:
            each["Ebs"]["DeleteOnTermination"] = asked[each["DeviceName"]].get("DeleteOnTermination")
        return found

    def run_instances(self: Any, image_id: str, *words: Any, **options: Any) -> Any:
        if not options.get("launch_template"):
            options["block_device_mappings"] = whole_mapping(self, image_id, options.get("block_device_mappings", []))
        reservation = run(self, image_id, *words, **options)
        for instance in cast(list[LabInstance], reservation.instances):
            instance.boot()
        return reservation

    InstanceResponse._parse_block_device_mapping = mapping  # type: ignore[method-assign]
    InstanceBackend.run_instances = run_instances  # type: ignore[method-assign]


def _lend_addresses() -> None:
    """An address that is no Elastic IP is Amazon's; moto says the account's."""
    plain = moto_interfaces.NetworkInterface.association.fget  # type: ignore[attr-defined]

    def association(self: moto_interfaces.NetworkInterface) -> dict[str, Any]:
        found = dict(plain(self))
        if found and not found.get("associationId"):
            found["ipOwnerId"] = "amazon"
        return found

    moto_interfaces.NetworkInterface.association = property(association)  # type: ignore[assignment]


def _keep_metadata_options() -> None:
    """ModifyInstanceMetadataOptions changes what it names; moto 5.2.5 forgets the rest."""
    plain = InstanceBackend.modify_instance_metadata_options

    def modify(self: Any, instance_id: str, *arguments: Any, **options: Any) -> MetadataOptions:
        before = self.get_instance(instance_id).metadata_options
        after = plain(self, instance_id, *arguments, **options)
        vars(after).update({name: value for name, value in vars(before).items() if not getattr(after, name)})
        return after

    InstanceBackend.modify_instance_metadata_options = modify  # type: ignore[method-assign]


def _put_default_vpc_on_the_labs_network() -> None:
    create_vpc = VPCBackend.create_vpc

    def create(self: VPCBackend, cidr_block: str, *arguments: Any, **options: Any) -> VPC:
        cidr = str(World.lab.vpc_cidr) if options.get("is_default") else cidr_block
        return create_vpc(self, cidr, *arguments, **options)

    VPCBackend.create_vpc = create  # type: ignore[method-assign]
