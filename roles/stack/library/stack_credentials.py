#!/usr/bin/python
"""Whether the user's settings for Docker can be used on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_credentials
short_description: Check the settings that Docker's clients read on the controller
description:
  - Credentials that they name are sent with every build and push. Where a helper is gone or the file is broken, these fail with words that
    name neither the file nor the key.
  - Reads the file alone, and starts no helper.
"""

RETURN = r"""
path: {type: str, returned: always, description: The file that counts.}
"""

import os
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_credentials import MEND, fault


def main() -> None:
    """Run the module."""
    module = AnsibleModule({}, supports_check_mode=True)
    folder = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    path = os.path.join(folder, "config.json")
    try:
        with open(path, errors="replace") as file:
            why = fault(path, file.read(), lambda program: shutil.which(program) is not None)
    except FileNotFoundError:
        why = None
    except OSError as failure:
        why = f"{path}: it cannot be read ({failure.strerror}). {MEND}"
    if why:
        module.fail_json(msg=why, exit_code=2)
    module.exit_json(changed=False, path=path)


if __name__ == "__main__":
    main()
