#!/usr/bin/python
"""A project's settings, checked, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_read
short_description: Read a project folder's slipway.yml and what lies beside it
description:
  - Changes nothing. Fails with everything that is wrong, a line each.
options:
  path: {type: str, required: true, description: The project folder.}
"""

RETURN = r"""
folder: {type: str, returned: always, description: "The folder's absolute path, every link resolved."}
settings: {type: dict, returned: always, description: 'Every key of slipway.yml, with defaults; memory_mib is 0 where none is set.'}
notebooks: {type: list, returned: always, description: "Notebooks, by their path from the folder."}
init_scripts: {type: list, returned: always, description: "Files of docker/postgres that an empty PostgreSQL runs, in order."}
seed_digest: {type: str, returned: always, description: "Digest of docker/postgres and the seeds; empty where there is neither."}
image_digest:
  type: str
  returned: always
  description: "Digest of docker/jupyter and the packages; empty where they add nothing to the image."
"""

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.project_dockerfile import adds_nothing
from ansible.module_utils.project_ignored import IgnoreError, always, ignored
from ansible.module_utils.project_seeds import look as look_at_seeds
from ansible.module_utils.project_settings import SettingsError, notebooks, read
from ansible.module_utils.project_text import decoded
from ansible.module_utils.project_tree import Tree, digest, names, unreadable, unusable
from ansible.module_utils.project_tree import read as read_files


def below(tree: Tree, folder: str) -> list[str]:
    """The folder's files."""
    return [path for path in tree.files if path.startswith(f"{folder}/")]


def image_digest(project: Path, tree: Tree, packages: dict[str, list[str]]) -> str:
    """What makes this project's image another one than the base."""
    dockerfile = project / "docker" / "jupyter" / "Dockerfile"
    plain = not dockerfile.exists() or adds_nothing(decoded(dockerfile.read_bytes()))
    return "" if plain and not any(packages.values()) else digest(tree.files, below(tree, "docker/jupyter"), json.dumps(packages))


def look(project: Path) -> dict[str, Any]:
    """Read it all. Raises SettingsError."""
    try:
        settings, wrong = read(project), []
    except SettingsError as flaws:
        if not project.is_dir():
            raise
        settings, wrong = {}, list(flaws.lines)
    root, listed = str(project), names(str(project))
    stays = ignored(root, listed, always=always(root) if settings else ["docker/"])
    sent = [path for path in listed.paths if path not in stays]
    # All else is read once, by the sync.
    tree = read_files(root, listed, [path for path in sent if path.startswith("docker/") or path in settings.get("seeds", [])])
    wrong += [
        f"{name} cannot be synced: its name has a line break, another control character or no UTF-8. Rename it." for name in unusable(sent)
    ]
    wrong += [f"{path} {reason}. Mend that, or remove it." for path, reason in unreadable(root, listed, sent).items()]
    for seed in settings.get("seeds", []):
        if seed not in tree.files or seed in tree.left_out:
            why = tree.left_out.get(seed, "is in a folder, or of a name, that never is")
            wrong.append(f"slipway.yml: seeds: {json.dumps(seed)} cannot be used. Allowed: a file that is synced; this one {why}.")
    if wrong:
        raise SettingsError(wrong)
    seeds, scripts = [*below(tree, "docker/postgres"), *settings["seeds"]], look_at_seeds(project)
    return {
        "settings": settings,
        "notebooks": notebooks(project),
        "init_scripts": list(scripts.run),
        "not_run": list(scripts.not_run),
        "seed_digest": digest(tree.files, seeds) if seeds else "",
        "image_digest": image_digest(project, tree, settings["packages"]),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule({"path": {"type": "str", "required": True}}, supports_check_mode=True)
    if not module.params["path"]:
        module.fail_json(msg='project_path: "" cannot be used. Allowed: a project folder.')
    # Whatever the folder is called by.
    project = Path(module.params["path"]).resolve()
    try:
        module.exit_json(folder=str(project), **look(project))
    except SettingsError as wrong:
        module.fail_json(msg=str(wrong), wrong=list(wrong.lines))
    except IgnoreError as refusal:
        module.fail_json(msg=str(refusal))
    except OSError as refusal:
        module.fail_json(msg=f"{refusal.filename or project} cannot be read: {refusal.strerror}. Allowed: a folder that you may read.")


if __name__ == "__main__":
    main()
