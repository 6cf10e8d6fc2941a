#!/usr/bin/python
"""Which kernels and batch runs of a host's stacks are at work now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_at_work
short_description: List the kernels that execute a cell, and the batch runs and measurements that go on
description:
  - Changes nothing. Each Jupyter that runs is asked in its own container.
  - A kernel that is idle is not at work, nor is one that was never asked for anything.
options:
  stacks: {type: list, elements: str, required: true, description: Names of the Compose projects.}
"""

RETURN = r"""
busy: {type: list, returned: always, description: "What is at work, each in words with its stack."}
unseen: {type: list, returned: always, description: Stacks whose Jupyter runs and does not answer.}
"""

import http.client

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_at_work import look


def main() -> None:
    """Run the module."""
    module = AnsibleModule({"stacks": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **look(module.params["stacks"]))
    except (OSError, http.client.HTTPException) as failure:
        module.fail_json(msg=f"The engine does not say what is at work: {failure}.")


if __name__ == "__main__":
    main()
