#!/usr/bin/python
"""The types that an instance could have, by price."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_resize_types
short_description: List the types with so much memory that an instance could be given, the cheapest first
description:
  - Changes nothing. Asks EC2 for the instance, its disks, and the types of its zone.
  - Types whose price is not known come last, the smallest first; EC2 is asked for them only where the others are too few.
options:
  instance_id: {type: str, required: true, description: The instance.}
  memory_mib: {type: int, required: true, description: MiB that the type must have.}
  any_architecture: {type: bool, default: false, description: 'Whether those of another architecture count.'}
  count: {type: int, default: 5, description: How many are listed at most.}
  prices: {type: dict, default: {}, description: What files/prices.json has, by region.}
extends_documentation_fragment: [amazon.aws.common.modules, amazon.aws.region.modules, amazon.aws.boto3]
"""

RETURN = r"""
types: {type: list, returned: always, description: "Of each its C(type), C(memory_mib), C(architectures), C(price_per_hour) in USD with
  disk and address (none where not known), and C(changes), whether this instance can be given it."}
current: {type: dict, returned: always, description: The same of the type that it has.}
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ansible.module_utils.ec2_resize_rules import WrongError, check_type, price
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

with suppress(ImportError):  # AnsibleAWSModule says what is missing.
    from botocore.exceptions import BotoCoreError, ClientError


class Types:
    """The questions and their answers."""

    def __init__(self, module: AnsibleAWSModule) -> None:
        self.asked: dict[str, Any] = module.params
        self.client = module.client("ec2", retry_decorator=AWSRetry.jittered_backoff(retries=6, delay=2, max_delay=20))
        self.prices: Mapping[str, Any] = module.params["prices"].get(module.region, {})
        answer = self.client.describe_instances(InstanceIds=[self.asked["instance_id"]], aws_retry=True)
        self.instance: dict[str, Any] = answer["Reservations"][0]["Instances"][0]
        ids = [disk["Ebs"]["VolumeId"] for disk in self.instance.get("BlockDeviceMappings", []) if "Ebs" in disk]
        found = self.client.describe_volumes(VolumeIds=ids, aws_retry=True)["Volumes"] if ids else []
        self.disks_gib = sum(volume["Size"] for volume in found)

    def listed(self) -> dict[str, Any]:
        """The cheapest that are offered in its zone and have the memory."""
        offered, own = self._offered(), self.instance["InstanceType"]
        # EC2 has more than a thousand types, and takes seconds to tell them all.
        facts = self._types(own, *self.prices.get("types", {}))
        current = next(item for item in facts if item["InstanceType"] == own)
        fitting = self._fitting(facts, offered, current)
        if len(fitting) < self.asked["count"]:
            fitting = self._fitting(self._types(), offered, current)
        return {"types": fitting[: self.asked["count"]], "current": self._told(current, current)}

    def _fitting(self, facts: Sequence[Mapping[str, Any]], offered: set[str], current: Mapping[str, Any]) -> list[dict[str, Any]]:
        found = [
            self._told(item, current)
            for item in facts
            if item["InstanceType"] in offered and item["MemoryInfo"]["SizeInMiB"] >= self.asked["memory_mib"]
        ]
        fitting = [item for item in found if item["changes"] or self._foreign(item)]
        return sorted(fitting, key=lambda item: (item["price_per_hour"] or float("inf"), item["memory_mib"], item["type"]))

    def _types(self, *names: str) -> list[dict[str, Any]]:
        """Those of these names; all, where none is named."""
        wanted = [{"Name": "instance-type", "Values": list(names)}] if names else []
        pages = self.client.get_paginator("describe_instance_types").paginate(Filters=wanted)
        return [item for page in pages for item in page["InstanceTypes"]]

    def _offered(self) -> set[str]:
        zone = [{"Name": "location", "Values": [self.instance["Placement"]["AvailabilityZone"]]}]
        pages = self.client.get_paginator("describe_instance_type_offerings").paginate(LocationType="availability-zone", Filters=zone)
        return {item["InstanceType"] for page in pages for item in page["InstanceTypeOfferings"]}

    def _told(self, item: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "type": item["InstanceType"],
            "memory_mib": item["MemoryInfo"]["SizeInMiB"],
            "architectures": item["ProcessorInfo"]["SupportedArchitectures"],
            "price_per_hour": price(self.prices, item["InstanceType"], self.disks_gib),
            "changes": self._may_have(item, current),
        }

    def _may_have(self, item: Mapping[str, Any], current: Mapping[str, Any]) -> bool:
        try:
            check_type(self.instance, current, item, "")
        except WrongError:
            return False
        return True

    def _foreign(self, told: Mapping[str, Any]) -> bool:
        return bool(self.asked["any_architecture"] and self.instance["Architecture"] not in told["architectures"])


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "instance_id": {"type": "str", "required": True},
            "memory_mib": {"type": "int", "required": True},
            "any_architecture": {"type": "bool", "default": False},
            "count": {"type": "int", "default": 5},
            "prices": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**Types(module).listed())
    except (BotoCoreError, ClientError) as failure:
        module.fail_json_aws(failure, msg="EC2 could not be asked", exit_code=4)


if __name__ == "__main__":
    main()
