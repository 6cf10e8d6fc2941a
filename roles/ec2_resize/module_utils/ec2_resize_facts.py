"""What EC2 says of one instance, for the modules that decide on it: nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

with suppress(ImportError):  # AnsibleAWSModule says what is missing.
    from botocore.exceptions import ClientError

#: What a dry run answers where the call is permitted. Any other refusal than a missing permission is of the call's time, not of its right.
FORBIDDEN = ("UnauthorizedOperation", "AccessDenied", "AuthFailure")


def described(client: Any, instance_id: str) -> dict[str, Any]:
    """The instance, in EC2's words."""
    return dict(client.describe_instances(InstanceIds=[instance_id], aws_retry=True)["Reservations"][0]["Instances"][0])


def tags(instance: Mapping[str, Any]) -> dict[str, str]:
    """Its tags, by their names."""
    return {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}


def running(client: Any) -> list[str]:
    """The names of this project's machines that run."""
    filters = [{"Name": "tag-key", "Values": ["slipway"]}, {"Name": "instance-state-name", "Values": ["pending", "running"]}]
    found = client.describe_instances(Filters=filters, aws_retry=True)["Reservations"]
    return [tags(instance)["slipway"] for reservation in found for instance in reservation["Instances"]]


def attribute(client: Any, instance_id: str, name: str) -> Any:
    """An attribute that DescribeInstances has not."""
    answer = client.describe_instance_attribute(InstanceId=instance_id, Attribute=name, aws_retry=True)
    return answer[name[0].upper() + name[1:]].get("Value")


def disks_gib(client: Any, instance: Mapping[str, Any]) -> int:
    """The size of all its volumes."""
    ids = [disk["Ebs"]["VolumeId"] for disk in instance.get("BlockDeviceMappings", []) if "Ebs" in disk]
    found = client.describe_volumes(VolumeIds=ids, aws_retry=True)["Volumes"] if ids else []
    return sum(volume["Size"] for volume in found)


def elastic_ips(instance: Mapping[str, Any]) -> int:
    """How many of its public addresses are Elastic IPs: one that EC2 lends belongs to Amazon."""
    cards = instance.get("NetworkInterfaces", [])
    found = [each.get("Association", {}) for card in cards for each in (card, *card.get("PrivateIpAddresses", []))]
    return len({each.get("PublicIp") for each in found if each.get("IpOwnerId", "amazon") != "amazon"})


def forbidden(client: Any, calls: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Those of the calls (their names and arguments) that these credentials may not make, as IAM calls them."""
    return ["ec2:" + "".join(word.capitalize() for word in name.split("_")) for name in _forbidden(client, calls)]


def _forbidden(client: Any, calls: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    for name, arguments in calls.items():
        try:
            getattr(client, name)(DryRun=True, **arguments, aws_retry=True)
        except ClientError as refusal:
            if refusal.response["Error"]["Code"] in FORBIDDEN:
                yield name
