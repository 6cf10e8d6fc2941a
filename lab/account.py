"""What AWS says of an account beside EC2's API: its quota of virtual CPUs and its plan. Tests may ask for others (lab/faults.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

#: Virtual CPUs of standard on-demand instances, and the plan: FREE or PAID.
DEFAULTS: dict[str, Any] = {"vcpus": 32.0, "plan": "PAID"}
_STANDARD = "L-1216C47A"


def answer(target: str, body: bytes, account: Mapping[str, Any]) -> dict[str, Any] | None:
    """The answer to a request of AWS's JSON protocol, named by its header X-Amz-Target; none for any other request."""
    if target == "AWSFreeTierService.GetAccountPlanState":
        return {"accountId": "123456789012", "accountPlanType": account["plan"], "accountPlanStatus": "ACTIVE"}
    if target == "ServiceQuotasV20190624.GetServiceQuota" and json.loads(body).get("QuotaCode") == _STANDARD:
        return {"Quota": {"ServiceCode": "ec2", "QuotaCode": _STANDARD, "Value": account["vcpus"], "Unit": "None"}}
    return None
