#!/usr/bin/python
"""The SSH host keys of an instance, from a source that is not the host itself."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_host_keys
short_description: Write the host keys that an instance's console shows into a known_hosts file
description:
  - cloud-init prints the host's public keys to the console at the first boot, and EC2 gives the console to its owner over TLS.
    So the first SSH connection can be checked, too.
  - A key that the file has already for this instance is never replaced.
options:
  instance_id: {type: str, required: true, description: The instance, under whose id the keys are written.}
  path: {type: path, required: true, description: The known_hosts file. Made with mode 0600.}
  first_key:
    type: bool
    default: false
    description: Whether it was launched with a key for the first connection. Until that is made, the console shows none.
  timeout: {type: int, default: 600, description: Seconds to wait for the console. EC2 shows it some minutes after the first boot.}
extends_documentation_fragment: [amazon.aws.common.modules, amazon.aws.region.modules, amazon.aws.boto3]
"""

RETURN = r"""
keys: {type: list, returned: when changed, description: The keys, each with its type.}
"""

import contextlib
import os
import re
import time
from pathlib import Path
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

with contextlib.suppress(ImportError):  # AnsibleAWSModule says what is missing.
    from botocore.exceptions import BotoCoreError, ClientError

PAUSE_SECONDS = 5
# cloud-init's module keys_to_console.
BLOCK = re.compile(r"-----BEGIN SSH HOST KEY KEYS-----\s*\n(.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL)
KEY = re.compile(r"((?:ssh|ecdsa)-[a-z0-9-]+ [A-Za-z0-9+/=]+)")


def shown(console: str) -> list[str]:
    """The keys in the console's text; every line may begin with what the kernel or syslog puts there."""
    block = BLOCK.search(console)
    return sorted(set(KEY.findall(block[1]))) if block else []


def missing(asked: dict[str, Any]) -> str:
    """What to do if the console has shown no key, in words."""
    instance, path = asked["instance_id"], asked["path"]
    there = "If another computer made it, they are shown when its first `up` has ended: type `up` there. Otherwise c"
    return (
        f"The console of {instance} showed no SSH host key within {asked['timeout']} s, and without one it is not known whether it is the "
        f"host that answers. {there if asked['first_key'] else 'C'}ompare its key by other means and add it to {path} under the name "
        f"{instance}."
    )


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "instance_id": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
            "first_key": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    instance, path = module.params["instance_id"], Path(module.params["path"])
    lines = path.read_text().splitlines() if path.exists() else []
    if any(line.split()[:1] == [instance] for line in lines):
        module.exit_json(changed=False)
    client = module.client("ec2", retry_decorator=AWSRetry.jittered_backoff())
    deadline = time.monotonic() + module.params["timeout"]
    while True:
        try:
            keys = shown(client.get_console_output(InstanceId=instance, aws_retry=True).get("Output", ""))
        except (BotoCoreError, ClientError) as failure:
            module.fail_json_aws(failure, msg=f"The console of {instance} could not be read", exit_code=4)
        if keys:
            break
        if time.monotonic() > deadline:
            module.fail_json(msg=missing(module.params), exit_code=5)
        time.sleep(PAUSE_SECONDS)
    scratch = path.with_name(f".{path.name}.new")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.writelines(f"{line}\n" for line in [*lines, *(f"{instance} {key}" for key in keys)])
    scratch.replace(path)
    module.exit_json(changed=True, keys=keys)


if __name__ == "__main__":
    main()
