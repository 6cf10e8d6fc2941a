#!/usr/bin/python
"""Everything that EC2 has to say of a resize, asked before anything is stopped."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_resize_plan
short_description: Check a change of an instance's type, and say what it takes
description:
  - Changes nothing. Asks EC2 for the instance, the types, their zones, the attributes that forbid it, the quota of virtual CPUs and, by
    DryRun, for the permission of every later call.
  - What is left of a resize that was interrupted is read from the instance's tags.
  - Fails with C(exit_code) 2 where another type would do, 3 where the instance or the account has to be changed first.
options:
  instance_id: {type: str, required: true, description: The instance.}
  type: {type: str, default: "", description: The wanted type.}
  fallback: {type: list, elements: str, default: [], description: 'Types to be tried after it, in order.'}
  max_price: {type: float, default: 0, description: USD per hour that a type may cost with disk and address. 0 is no limit.}
  rollback: {type: bool, default: false, description: Whether a resize that was left half-way is undone.}
  snapshot: {type: bool, default: false, description: Whether a snapshot will be made.}
  prices: {type: dict, default: {}, description: What files/prices.json has, by region.}
extends_documentation_fragment: [amazon.aws.common.modules, amazon.aws.region.modules, amazon.aws.boto3]
"""

RETURN = r"""
needed: {type: bool, returned: always, description: Whether there is anything to do.}
halfway: {type: bool, returned: always, description: Whether a resize was begun and not finished.}
origin: {type: str, returned: always, description: The type before the resize.}
goal: {type: str, returned: always, description: The type that the resize was begun for.}
type: {type: str, returned: always, description: The instance's type now.}
state: {type: str, returned: always, description: The instance's state now.}
public_ip: {type: str, returned: always, description: The instance's public address now; none where it has none.}
elastic_ip: {type: bool, returned: always, description: 'Whether that is an Elastic IP, which stays.'}
candidates: {type: list, returned: always, description: 'Types to be tried, in order, without the old one.'}
least_memory_mib: {type: int, returned: always, description: Memory of the smallest of them.}
memory_mib: {type: dict, returned: always, description: 'Memory by type, the old one among them.'}
price_per_hour: {type: dict, returned: always, description: 'USD by type with disk and address; none where not known.'}
nvme: {type: str, returned: always, description: 'The first candidate with NVMe disks, where the type of today has none; else empty.'}
fingerprints: {type: dict, returned: always, description: Those that the tags have, by store.}
since: {type: str, returned: always, description: When the resize was begun, in ISO 8601.}
burst: {type: bool, returned: always, description: Whether the tags tell of a type that is borrowed.}
caveats: {type: list, returned: always, description: What the change brings that nobody asked for.}
unknown: {type: list, returned: always, description: Checks that could not be made, for want of a permission.}
"""

import difflib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from ansible.module_utils import ec2_resize_facts as facts
from ansible.module_utils.ec2_resize_rules import (
    BAD_INPUT,
    BURST,
    FROM,
    SINCE,
    STANDARD_QUOTA,
    STOP,
    TO,
    WrongError,
    caveats,
    check_free_plan,
    check_instance,
    check_quota,
    check_type,
    check_unseen,
    fallbacks,
    known_fingerprints,
    needs_nvme,
    price,
    within,
)
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

with suppress(ImportError):  # AnsibleAWSModule says what is missing.
    from botocore.exceptions import BotoCoreError, ClientError


class Plan:
    """The questions and what follows from their answers."""

    def __init__(self, module: AnsibleAWSModule) -> None:
        self.module = module
        self.asked: dict[str, Any] = module.params
        self.client = module.client("ec2", retry_decorator=AWSRetry.jittered_backoff(retries=6, delay=2, max_delay=20))
        self.unknown: list[str] = []
        self.instance = facts.described(self.client, self.asked["instance_id"])
        self.tags = facts.tags(self.instance)
        self.current: str = self.instance["InstanceType"]
        self.halfway = FROM in self.tags
        self.origin: str = self.tags.get(FROM, self.current)

    def make(self) -> dict[str, Any]:
        """Check everything and return the plan. Raises WrongError."""
        wanted, state = self._wanted(), self.instance["State"]["Name"]
        names = list(dict.fromkeys([wanted, *self.asked["fallback"], self.current, self.origin]))
        types = {name: self._type(name, "ec2_resize_type" if name == wanted else "ec2_resize_fallback") for name in names}
        disks_gib = facts.disks_gib(self.client, self.instance)
        prices = {name: price(self.asked["prices"].get(self.module.region, {}), name, disks_gib) for name in names}
        if not within(wanted, prices[wanted], self.asked["max_price"], "ec2_resize_type"):
            most = f"ec2_resize_max_price: {self.asked['max_price']:g}"
            raise WrongError(
                f"ec2_resize_type: {wanted!r} costs {prices[wanted]} USD/h, more than {most}. Allowed: a cheaper type.", BAD_INPUT
            )
        tried = [wanted, *fallbacks(self.asked["fallback"], wanted, self.origin, prices, self.asked["max_price"])]
        needed = self.halfway or wanted != self.current
        if needed:
            self._check(tried, types, state)
        known, of_before = known_fingerprints(self.tags)
        self.unknown += [f"{store}: its fingerprint was taken by an earlier version, and cannot be compared" for store in of_before]
        return {
            "needed": needed,
            "halfway": self.halfway,
            "origin": self.origin,
            "goal": self.tags.get(TO, wanted),
            "type": self.current,
            "state": state,
            "public_ip": self.instance.get("PublicIpAddress"),
            "elastic_ip": facts.elastic_ips(self.instance) > 0,
            "candidates": tried,
            "least_memory_mib": min(types[name]["MemoryInfo"]["SizeInMiB"] for name in tried),
            "memory_mib": {name: each["MemoryInfo"]["SizeInMiB"] for name, each in types.items()},
            "price_per_hour": prices,
            "nvme": "" if needs_nvme(types[self.current]) else next((name for name in tried if needs_nvme(types[name])), ""),
            "fingerprints": known,
            "since": self.tags.get(SINCE, ""),
            "burst": any(key.startswith(BURST) for key in self.tags),
            "caveats": list(caveats(types[self.origin], types[wanted])) if needed else [],
            "unknown": self.unknown,
        }

    def _wanted(self) -> str:
        if self.asked["rollback"]:
            if not self.halfway:
                raise WrongError(f"There is nothing to roll back: no resize of {self.asked['instance_id']} was left half-way.")
            if self.asked["type"] not in ("", self.origin) or self.asked["fallback"]:
                raise WrongError(
                    f"ec2_resize_type: {self.asked['type']!r}, ec2_resize_fallback: {self.asked['fallback']} cannot be used with "
                    "ec2_resize_rollback, which knows the type. Allowed: leave them out.",
                    BAD_INPUT,
                )
            return self.origin
        wanted = str(self.asked["type"])
        if not wanted:
            raise WrongError("ec2_resize_type: '' cannot be used. Allowed: an instance type, t2.medium for one.", BAD_INPUT)
        if self.halfway and wanted != self.tags.get(TO):
            raise WrongError(
                f"A resize from {self.origin} to {self.tags.get(TO)} was left half-way. Finish it first (resize {self.tags.get(TO)}), "
                "or undo it (resize --rollback)."
            )
        return wanted

    def _type(self, name: str, field: str) -> dict[str, Any]:
        try:
            return dict(self.client.describe_instance_types(InstanceTypes=[name], aws_retry=True)["InstanceTypes"][0])
        except ClientError as refusal:
            if refusal.response["Error"]["Code"] not in ("InvalidInstanceType", "InvalidParameterValue"):
                raise
        pages = self.client.get_paginator("describe_instance_type_offerings").paginate()
        offered = sorted(item["InstanceType"] for page in pages for item in page["InstanceTypeOfferings"])
        near = [each for each in offered if each == name.strip().lower()] or difflib.get_close_matches(name.lower(), offered, n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Allowed: the {len(offered)} types of this region, t2.medium for one."
        raise WrongError(f"{field}: {name!r} cannot be used. {hint}", BAD_INPUT)

    def _check(self, tried: list[str], types: Mapping[str, Mapping[str, Any]], state: str) -> None:
        if STOP in self.tags and state == "running":
            raise WrongError(
                f"{self.asked['instance_id']} was brought down by `stop`, and what ran on it was not brought back yet. Nothing was "
                "changed. Bring it back first (start)."
            )
        if not self.halfway and state != "running":
            raise WrongError(
                f"{self.asked['instance_id']} is {state}. A resize compares the data before with those after, so start it first (up)."
            )
        names = ("disableApiStop", "instanceInitiatedShutdownBehavior")
        check_instance(self.instance, {name: facts.attribute(self.client, self.asked["instance_id"], name) for name in names})
        plan, quota, others = self._free_plan(), self._quota(), self._others()
        for name in tried:
            field = "ec2_resize_type" if name == tried[0] else "ec2_resize_fallback"
            if name != self.origin:
                check_type(self.instance, types[self.origin], types[name], field)
                self._check_zone(name, field)
                check_free_plan(plan, types[name])
            if self.halfway and state != "running":
                check_unseen([types[self.origin], types[tried[0]]], types[name])
            if quota is not None:
                check_quota(others, self.asked["instance_id"], types[name], quota)
        self._check_permissions(tried[0])

    def _check_zone(self, name: str, field: str) -> None:
        zone = self.instance["Placement"]["AvailabilityZone"]
        filters = [{"Name": "instance-type", "Values": [name]}]
        offers = self.client.describe_instance_type_offerings(LocationType="availability-zone", Filters=filters, aws_retry=True)
        zones = sorted(item["Location"] for item in offers["InstanceTypeOfferings"])
        if zone not in zones:
            where = f"It is offered in {', '.join(zones)} only" if zones else "It is offered in no zone of this region"
            raise WrongError(
                f"{field}: {name!r} cannot be used. {where}, and the instance is in {zone}. Allowed: a type of {zone}.", BAD_INPUT
            )

    def _others(self) -> list[dict[str, Any]]:
        pages = self.client.get_paginator("describe_instances").paginate(
            Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        )
        return [item for page in pages for reservation in page["Reservations"] for item in reservation["Instances"]]

    def _quota(self) -> float | None:
        return self._perhaps(
            "the quota of virtual CPUs (servicequotas:GetServiceQuota)",
            lambda: self.module.client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode=STANDARD_QUOTA)["Quota"]["Value"],
        )

    def _free_plan(self) -> str | None:
        return self._perhaps(
            "the account's plan (freetier:GetAccountPlanState)",
            lambda: self.module.client("freetier").get_account_plan_state().get("accountPlanType"),
        )

    def _perhaps(self, what: str, ask: Callable[[], Any]) -> Any:
        """An answer that may be withheld: then the start itself will tell, and the old type comes back."""
        try:
            return ask()
        except (BotoCoreError, ClientError):
            self.unknown.append(what)
            return None

    def _check_permissions(self, wanted: str) -> None:
        mine: dict[str, Any] = {"InstanceIds": [self.asked["instance_id"]]}
        tag: dict[str, Any] = {"Resources": [self.asked["instance_id"]], "Tags": [{"Key": TO, "Value": wanted}]}
        one = {"InstanceId": self.asked["instance_id"]}
        calls: dict[str, dict[str, Any]] = {
            "create_tags": tag,
            "stop_instances": mine,
            "modify_instance_attribute": one | {"InstanceType": {"Value": wanted}},
            "start_instances": mine,
            "delete_tags": tag,
            "describe_instance_status": mine,
            "describe_tags": {},
        }
        if self.asked["snapshot"]:
            tagged = {"ResourceType": "snapshot", "Tags": tag["Tags"]}
            calls["create_snapshots"] = {"InstanceSpecification": one, "TagSpecifications": [tagged]}
            calls["describe_snapshots"] = {"OwnerIds": ["self"]}
        if missing := facts.forbidden(self.client, calls):
            names = ", ".join(missing)
            raise WrongError(f"These credentials may not call {names}, which a resize needs. Nothing was changed. Ask for the permission.")


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "instance_id": {"type": "str", "required": True},
            "type": {"type": "str", "default": ""},
            "fallback": {"type": "list", "elements": "str", "default": []},
            "max_price": {"type": "float", "default": 0},
            "rollback": {"type": "bool", "default": False},
            "snapshot": {"type": "bool", "default": False},
            "prices": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**Plan(module).make())
    except WrongError as wrong:
        module.fail_json(msg=str(wrong), exit_code=wrong.code)
    except (BotoCoreError, ClientError) as failure:
        module.fail_json_aws(failure, msg="EC2 could not be asked", exit_code=4)


if __name__ == "__main__":
    main()
