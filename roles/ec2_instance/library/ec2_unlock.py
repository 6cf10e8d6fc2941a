#!/usr/bin/python
"""End the lock of a machine that a command has left."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_unlock
short_description: Remove the lock of a machine, whichever command has it
description:
  - Removes the security group that is the lock (module_utils/ec2_lock.py). In check mode it only looks.
  - Fails with C(exit_code) 3 if it may not remove it, naming the permission, or if something uses the group.
options:
  name: {type: str, required: true, description: The machine's name.}
  id: {type: str, default: '', description: Remove it only if this command has it. Empty removes any.}
extends_documentation_fragment: [amazon.aws.common.modules, amazon.aws.region.modules, amazon.aws.boto3]
"""

RETURN = r"""
holder: {type: dict, returned: always, description: 'Which command had it: C(id), C(computer), C(command), C(since); none if none had.'}
"""

import contextlib
from dataclasses import asdict

from ansible.module_utils import ec2_lock, ec2_once
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

with contextlib.suppress(ImportError):  # AnsibleAWSModule says what is missing.
    from botocore.exceptions import BotoCoreError, ClientError


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={"name": {"type": "str", "required": True}, "id": {"type": "str", "default": ""}}, supports_check_mode=True
    )
    client = module.client("ec2", retry_decorator=AWSRetry.jittered_backoff(retries=6, delay=2, max_delay=20))
    wanted = module.params["id"]
    try:
        group = ec2_lock.find(client, module.params["name"])
        holder = ec2_lock.holder_of(group)
        changed = group is not None and wanted in ("", holder.id)
        if changed and not module.check_mode:
            changed = ec2_lock.end(client, group)
    except (BotoCoreError, ClientError) as failure:
        if isinstance(failure, ClientError) and (why := ec2_once.stuck(module.params["name"], ec2_lock.code(failure), str(failure))):
            module.fail_json(msg=why, exit_code=3)
        module.fail_json_aws(failure, msg="The lock could not be looked at", exit_code=4)
    told = {key: value for key, value in asdict(holder).items() if key in ("id", "computer", "command", "since")}
    module.exit_json(changed=changed, holder=told if group else None)


if __name__ == "__main__":
    main()
