#!/usr/bin/python
"""One look at a project folder on its host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_look
short_description: Read the files of a project folder on the host, by fingerprint
description:
  - Changes nothing, and follows no link. A folder that is not there is empty.
options:
  directory:
    type: str
    required: true
    description: Folder of the project's stack, absolute or relative to the user's home. The files are in its subfolder work/.
"""

RETURN = r"""
work: {type: str, returned: always, description: Absolute path of the synced folder.}
files: {type: str, returned: always, description: 'Fingerprint, size and path of each, as project_plan takes them.'}
left_out: {type: dict, returned: always, description: 'Why a file cannot be synced, by path.'}
links: {type: dict, returned: always, description: 'Targets of links that lead out of the folder, or lie in what is never synced, by path.'}
rsync: {type: bool, returned: always, description: Whether rsync is there.}
"""

import os
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.project_tree import as_text, names, read, usable


def main() -> None:
    """Run the module."""
    module = AnsibleModule({"directory": {"type": "str", "required": True}}, supports_check_mode=True)
    work = os.path.join(os.path.expanduser("~"), module.params["directory"], "work")
    if os.path.islink(work):
        module.fail_json(
            msg=f"{work} on the machine is a link to {os.readlink(work)}, and no sync follows it. "
            "Nothing was changed. Put the folder in its place.",
            exit_code=3,
        )
    try:
        listed = names(work, links=True)
        tree = read(work, listed)
    except OSError as refusal:
        module.fail_json(msg=f"{refusal.filename or work} cannot be read on the machine: {refusal.strerror}. Mend its owner or mode there.")
    unusable = dict.fromkeys(tree.unusable, "has a name that cannot be synced")
    # What cannot be named cannot be led to either.
    links = {path: target for path, target in {**listed.links, **tree.links}.items() if usable(path)}
    left_out = {**tree.left_out, **unusable}
    module.exit_json(work=work, files=as_text(tree), left_out=left_out, links=links, rsync=shutil.which("rsync") is not None)


if __name__ == "__main__":
    main()
