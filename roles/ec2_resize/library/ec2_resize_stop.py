#!/usr/bin/python
"""Stop an instance whose services are down, with their fingerprints in its tags."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_resize_stop
short_description: Write fingerprints into an instance's tags, and stop the instance
description:
  - May be repeated, also after it was killed at any point, and goes on from the state that it finds. Of an instance that is stopped already
    the tags stay as they are.
  - Fails with C(exit_code) 4 if the instance does not stop in time, 5 if it is gone.
options:
  instance_id: {type: str, required: true, description: The instance.}
  fingerprints: {type: dict, default: {}, description: "What the stores hold, a line each, for the tags."}
  since: {type: str, required: true, description: 'When the services went down, in ISO 8601.'}
  seconds: {type: int, default: 600, description: How long the stop may take.}
extends_documentation_fragment: [amazon.aws.common.modules, amazon.aws.region.modules, amazon.aws.boto3]
"""

RETURN = r"""
state: {type: str, returned: always, description: The state before.}
"""

from contextlib import suppress

from ansible.module_utils.ec2_resize_rules import STOP, packed
from ansible.module_utils.ec2_resize_steps import GoneError, Steps
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

with suppress(ImportError):  # AnsibleAWSModule says what is missing.
    from botocore.exceptions import BotoCoreError, ClientError


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "instance_id": {"type": "str", "required": True},
            "fingerprints": {"type": "dict", "default": {}},
            "since": {"type": "str", "required": True},
            "seconds": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    name, asked = module.params["instance_id"], module.params
    steps = Steps(module.client("ec2", retry_decorator=AWSRetry.jittered_backoff(retries=6, delay=2, max_delay=20)), name)
    try:
        state = steps.look()["State"]["Name"]
        if state == "stopped" or module.check_mode:
            module.exit_json(changed=state != "stopped", state=state)
        if state != "stopping":
            steps.mark({STOP: asked["since"]} | packed(asked["fingerprints"]))
        steps.stop(asked["seconds"])
    except GoneError:
        module.fail_json(
            msg=f"The instance {name} is gone: it was terminated outside of this project, and its disk with all data went with it.",
            exit_code=5,
        )
    except TimeoutError:
        module.fail_json(
            msg=f"{name} does not stop: it is `stopping` for {asked['seconds']} s by now. Its services are down. The same command again "
            "goes on; `aws ec2 stop-instances --force` ends what hangs.",
            exit_code=4,
        )
    except (BotoCoreError, ClientError) as failure:
        module.fail_json_aws(failure, msg="EC2 refused a step of the stop. The services are down; `start` brings them back", exit_code=4)
    module.exit_json(changed=True, state=state)


if __name__ == "__main__":
    main()
