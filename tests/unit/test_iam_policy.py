"""The README's IAM policy has the calls of the roles' own modules; what runs ask for is in tests/e2e/test_aws_inventory.py."""

from __future__ import annotations

import json
import re

from tests.conftest import PROJECT

#: A client's method, or the name of one that is paged.
CALL = re.compile(r"client(?:\(\"[\w-]+\"\))?\.(?:get_paginator\(\"(?P<paged>\w+)\"\)|(?P<method>\w+)\()")
#: Of boto3, no call.
LOCAL = {"get_paginator", "can_paginate", "get_waiter"}
#: IAM's name of a service that boto3 calls otherwise.
SERVICES = {"service-quotas": "servicequotas"}
#: What else the policy has: of amazon.aws's modules, by the one that asks for it.
MODULES = {
    "ec2:AuthorizeSecurityGroupIngress": "ec2_security_group",
    "ec2:DeleteKeyPair": "ec2_key",
    "ec2:DescribeKeyPairs": "ec2_key",
    "ec2:ImportKeyPair": "ec2_key",
    "ec2:RevokeSecurityGroupIngress": "ec2_security_group",
    "ec2:UpdateSecurityGroupRuleDescriptionsIngress": "ec2_security_group",
}


def actions() -> set[str]:
    _, _, after = (PROJECT / "README.md").read_text().partition("need these IAM actions:")
    document = json.loads(re.findall(r"```json\n(.*?)```", after, re.DOTALL)[0])
    return {action for statement in document["Statement"] for action in statement["Action"]}


def written() -> set[str]:
    """The actions of the calls in the roles' modules that talk to AWS, and in the keeper."""
    found = set()
    for path in [
        *PROJECT.glob("roles/ec2_*/library/*.py"),
        *PROJECT.glob("roles/ec2_*/module_utils/*.py"),
        *PROJECT.glob("roles/machine_image/*/*.py"),
        PROJECT / "slipway" / "keeper.py",
    ]:
        for call in CALL.finditer(path.read_text()):
            name = call["paged"] or call["method"]
            if name not in LOCAL:
                service = re.match(r"client\(\"([\w-]+)\"\)", call[0])
                prefix = SERVICES.get(service[1], service[1]) if service else "ec2"
                found.add(f"{prefix}:{''.join(map(str.capitalize, name.split('_')))}")
    return found


def test_every_call_of_the_roles_is_in_the_policy() -> None:
    calls = written()
    assert {"ec2:RunInstances", "ec2:DescribeInstanceTypes", "freetier:GetAccountPlanState", "servicequotas:GetServiceQuota"} <= calls
    assert calls - actions() == set()


def test_every_action_of_the_policy_is_called() -> None:
    # Who calls them was seen in tests/e2e/test_aws_inventory.py.
    assert actions() - written() == MODULES.keys()


def test_no_action_stands_twice_in_a_statement_and_none_is_a_pattern() -> None:
    _, _, after = (PROJECT / "README.md").read_text().partition("need these IAM actions:")
    for statement in json.loads(re.findall(r"```json\n(.*?)```", after, re.DOTALL)[0])["Statement"]:
        assert len(statement["Action"]) == len(set(statement["Action"])), statement["Sid"]
        assert not any("*" in action for action in statement["Action"]), statement["Sid"]
