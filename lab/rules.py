"""What EC2 refuses and moto 5.2.5 lets through, in EC2's own codes and words.

Source: "Error codes for the Amazon EC2 API" and the pages of the actions, docs.aws.amazon.com/AWSEC2/latest/APIReference.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from moto.ec2.models import EC2Backend
from moto.ec2.models.instance_types import INSTANCE_TYPES

#: A request's parameters as EC2's query protocol names them, such as `Placement.AvailabilityZone`.
Params = Mapping[str, str]


#: What EC2 takes where a request names none.
_DEFAULT_TYPE = "m1.small"


class RefusalError(Exception):
    """An answer of EC2 that is an error: its code, its text and the HTTP status."""

    def __init__(self, code: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code = code
        self.status = status


#: Names that no web page can have (DNS rebinding): localhost, and addresses.
_NO_NAME = re.compile(r"(?:localhost|[0-9]+(?:\.[0-9]+){3}|\[[0-9a-f:]+\])(?::[0-9]+)?", re.IGNORECASE)


def of_a_page(environ: Mapping[str, Any]) -> bool:
    """Whether a web page of another origin asks, through this computer's browser. No program that speaks to EC2 looks like one."""
    host = environ.get("HTTP_HOST", "")
    origin, site = environ.get("HTTP_ORIGIN", f"http://{host}"), environ.get("HTTP_SEC_FETCH_SITE", "none")
    return (
        origin.lower() != f"http://{host}".lower() or site not in ("none", "same-origin") or _NO_NAME.fullmatch(host or "localhost") is None
    )


def check(action: str, params: Params, backend: EC2Backend) -> None:
    """Raise RefusalError where EC2 would refuse this request."""
    if params.get("DryRun") == "true":
        # It tells of permissions only.
        return
    for rule in _RULES.get(action, ()):
        rule(params, backend)


def _run_known_type(params: Params, _: EC2Backend) -> None:
    _known(params.get("InstanceType", _DEFAULT_TYPE))


def _run_same_architecture(params: Params, backend: EC2Backend) -> None:
    image = backend.amis.get(params.get("ImageId", ""))
    if image:
        _same_architecture(params.get("InstanceType", _DEFAULT_TYPE), image.architecture)


def zone(params: Params, backend: EC2Backend) -> str:
    """The zone that a request of RunInstances names, by itself or by a subnet; empty if EC2 is to choose."""
    # Terraform sends the zone empty where none is wanted.
    named = params.get("Placement.AvailabilityZone", "")
    subnet = params.get("SubnetId") or params.get("NetworkInterface.1.SubnetId")
    return str(backend.get_subnet(subnet).availability_zone) if not named and subnet else named


def _run_offered_in_the_zone(params: Params, backend: EC2Backend) -> None:
    if named := zone(params, backend):
        _offered(params.get("InstanceType", _DEFAULT_TYPE), named, backend)


def _run_disk_holds_the_image(params: Params, backend: EC2Backend) -> None:
    image = backend.amis.get(params.get("ImageId", ""))
    if image is None:
        return
    needed = {device["DeviceName"]: device["Ebs"] for device in image.block_device_mappings}
    for number in range(1, 30):
        name = params.get(f"BlockDeviceMapping.{number}.DeviceName")
        size = params.get(f"BlockDeviceMapping.{number}.Ebs.VolumeSize")
        if name in needed and size is not None and int(size) < int(needed[name]["VolumeSize"]):
            snapshot, least = needed[name]["SnapshotId"], needed[name]["VolumeSize"]
            raise RefusalError(
                "InvalidBlockDeviceMapping", f"Volume of size {size}GB is smaller than snapshot '{snapshot}', expect size >= {least}GB"
            )


#: "InstanceMetadataOptionsRequest" in the API's reference.
_METADATA = {"HttpTokens": ("optional", "required"), "HttpEndpoint": ("enabled", "disabled")}


def _metadata_options(params: Params, _: EC2Backend) -> None:
    for key, value in params.items():
        name = key.removeprefix("MetadataOptions.")
        allowed = _METADATA.get(name, (value,))
        hops = name == "HttpPutResponseHopLimit" and not (value.isdecimal() and 1 <= int(value) <= 64)
        if hops or value not in allowed:
            raise RefusalError("InvalidParameterValue", f"Value ({value}) for parameter {name} is invalid.")


def _user_data_fits(params: Params, _: EC2Backend) -> None:
    try:
        size = len(base64.b64decode(params.get("UserData", ""), validate=True))
    except ValueError as wrong:
        raise RefusalError("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from wrong
    if size > 16384:
        raise RefusalError("InvalidParameterValue", "User data is limited to 16384 bytes")


def _modify_stopped(params: Params, backend: EC2Backend) -> None:
    wanted = _wanted_type(params)
    instance = instance_of(params.get("InstanceId", ""), backend)
    if wanted is None or instance is None:
        return
    if instance._state.name != "stopped":
        raise RefusalError("IncorrectInstanceState", f"The instance '{instance.id}' is not in the 'stopped' state.")
    _known(wanted)
    _same_architecture(wanted, instance.architecture)


def _in_a_state_to_start(params: Params, backend: EC2Backend) -> None:
    _allowed_states(params, backend, ("stopped", "pending", "running"), "started")


def _in_a_state_to_stop(params: Params, backend: EC2Backend) -> None:
    _allowed_states(params, backend, ("running", "stopping", "stopped", "pending"), "stopped")


def _allowed_states(params: Params, backend: EC2Backend, states: tuple[str, ...], verb: str) -> None:
    for instance_id in _listed(params, "InstanceId"):
        instance = instance_of(instance_id, backend)
        if instance and instance._state.name not in states:
            raise RefusalError("IncorrectInstanceState", f"The instance '{instance_id}' is not in a state from which it can be {verb}.")


def _start_offered_in_the_zone(params: Params, backend: EC2Backend) -> None:
    for instance_id in _listed(params, "InstanceId"):
        instance = instance_of(instance_id, backend)
        if instance:
            _offered(instance.instance_type, instance._placement.zone, backend)


def _ports_in_range(params: Params, _: EC2Backend) -> None:
    for key, value in params.items():
        protocol = params.get(re.sub(r"(From|To)Port$", "IpProtocol", key))
        if re.search(r"(^|\.)(From|To)Port$", key) and protocol in ("tcp", "udp", "6", "17") and not 0 <= int(value) <= 65535:
            raise RefusalError("InvalidParameterValue", f"TCP/UDP port ({value}) out of range")


def _group_in_use(params: Params, backend: EC2Backend) -> None:
    group = backend.get_security_group_by_name_or_id(params.get("GroupId") or params.get("GroupName", ""))
    if group is None:
        return
    if group.name == "default":
        raise RefusalError("CannotDelete", f'the specified group: "{group.id}" name: "default" cannot be deleted by a user')
    living = (instance for instance in backend.all_instances() if instance._state.name != "terminated")
    if any(group.id in {used.id for used in instance.security_groups} for instance in living):
        raise RefusalError("DependencyViolation", f"resource {group.id} has a dependent object")


_RULES: Mapping[str, tuple[Callable[[Params, EC2Backend], None], ...]] = {
    "RunInstances": (
        _run_known_type,
        _run_same_architecture,
        _run_offered_in_the_zone,
        _run_disk_holds_the_image,
        _metadata_options,
        _user_data_fits,
    ),
    "ModifyInstanceMetadataOptions": (_metadata_options,),
    "ModifyInstanceAttribute": (_modify_stopped,),
    "StartInstances": (_in_a_state_to_start, _start_offered_in_the_zone),
    "StopInstances": (_in_a_state_to_stop,),
    "AuthorizeSecurityGroupIngress": (_ports_in_range,),
    "AuthorizeSecurityGroupEgress": (_ports_in_range,),
    "DeleteSecurityGroup": (_group_in_use,),
}


def _known(wanted: str) -> None:
    if wanted not in INSTANCE_TYPES:
        raise RefusalError("InvalidParameterValue", f"Invalid value '{wanted}' for InstanceType.")


def _same_architecture(wanted: str, image: str | None) -> None:
    supported = INSTANCE_TYPES[wanted]["ProcessorInfo"]["SupportedArchitectures"]
    if image not in supported:
        raise RefusalError(
            "InvalidParameterValue",
            f"The architecture '{','.join(supported)}' of the specified instance type does not match the architecture '{image}' of the "
            "specified AMI. Specify an instance type and an AMI that have matching architectures, and try again.",
        )


def _offered(wanted: str, zone: str, backend: EC2Backend) -> None:
    offers = backend.describe_instance_type_offerings("availability-zone", {"instance-type": [wanted]})
    zones = sorted(offer["Location"] for offer in offers)
    if zone not in zones:
        raise RefusalError(
            "Unsupported",
            f"Your requested instance type ({wanted}) is not supported in your requested Availability Zone ({zone}). Please retry your "
            f"request by not specifying an Availability Zone or choosing {', '.join(zones)}.",
        )


def _wanted_type(params: Params) -> str | None:
    """The type of ModifyInstanceAttribute, in either of its spellings."""
    if params.get("Attribute") == "instanceType":
        return params.get("Value")
    return params.get("InstanceType.Value")


def instance_of(instance_id: str, backend: EC2Backend) -> Any:
    """An instance by its id, or None."""
    return next((item for item in backend.all_instances() if item.id == instance_id), None)


def _listed(params: Params, name: str) -> Iterator[str]:
    return (value for key, value in params.items() if re.fullmatch(rf"{name}\.\d+", key))
