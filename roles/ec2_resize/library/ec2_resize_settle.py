#!/usr/bin/python
"""The end of a resize: the instance is sound, and nothing is left to do."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_resize_settle
short_description: Wait for an instance's status checks, and take the marks of a resize from its tags
description:
  - EC2 makes two status checks of a started instance, of its host and of itself.
  - Fails with C(exit_code) 4 where one of them is not passed in time; then the marks stay, and the same command again waits on.
options:
  instance_id: {type: str, required: true, description: The instance.}
  only_fingerprints: {type: bool, default: false, description: "Whether to take the fingerprints, and the
    mark of a stop, away alone, and to wait for nothing."}
  burst: {type: bool, default: false, description: Whether the marks of a borrowed type stay.}
  seconds: {type: int, default: 600, description: How long the status checks may take.}
extends_documentation_fragment: [amazon.aws.common.modules, amazon.aws.region.modules, amazon.aws.boto3]
"""

RETURN = r"""
status: {type: dict, returned: always, description: "What the checks say: C(system) and C(instance); nothing with I(only_fingerprints)."}
"""

import time
from contextlib import suppress

from ansible.module_utils.ec2_resize_rules import BURST, FINGERPRINT, FROM, SINCE, STOP, TO
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

with suppress(ImportError):  # AnsibleAWSModule says what is missing.
    from botocore.exceptions import BotoCoreError, ClientError


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "instance_id": {"type": "str", "required": True},
            "only_fingerprints": {"type": "bool", "default": False},
            "burst": {"type": "bool", "default": False},
            "seconds": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True, status={})
    client = module.client("ec2", retry_decorator=AWSRetry.jittered_backoff(retries=6, delay=2, max_delay=20))
    name = module.params["instance_id"]
    end, status = time.monotonic() + module.params["seconds"], {}
    try:
        while not module.params["only_fingerprints"]:
            found = client.describe_instance_status(InstanceIds=[name], IncludeAllInstances=True, aws_retry=True)["InstanceStatuses"]
            status = {key: found[0][f"{key.capitalize()}Status"]["Status"] if found else "unknown" for key in ("system", "instance")}
            if set(status.values()) == {"ok"}:
                break
            if found and found[0]["InstanceState"]["Name"] in ("shutting-down", "terminated"):
                module.fail_json(msg=f"The instance {name} is gone: it was terminated outside of this project.", exit_code=5)
            if time.monotonic() > end:
                module.fail_json(
                    msg=f"The status checks of {name} are not passed after {module.params['seconds']} s (system: {status['system']}, "
                    f"instance: {status['instance']}). Its services run. The same command again waits on; `resize --rollback` goes back.",
                    exit_code=4,
                )
            time.sleep(2)
        tags = client.describe_tags(Filters=[{"Name": "resource-id", "Values": [name]}], aws_retry=True)["Tags"]
        over = (FINGERPRINT, STOP) if module.params["only_fingerprints"] else (FROM, TO, SINCE, FINGERPRINT)
        if not module.params["only_fingerprints"] and not module.params["burst"]:
            over += (BURST,)
        marks = [tag["Key"] for tag in tags if tag["Key"].startswith(over)]
        if marks:
            client.delete_tags(Resources=[name], Tags=[{"Key": key} for key in marks], aws_retry=True)
    except (BotoCoreError, ClientError) as failure:
        module.fail_json_aws(failure, msg="EC2 could not be asked for the end of the resize", exit_code=4)
    module.exit_json(changed=bool(marks), status=status)


if __name__ == "__main__":
    main()
