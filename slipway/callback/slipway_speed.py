"""Saves each run of Ansible work that an earlier run did, or that has no use."""

from __future__ import annotations

DOCUMENTATION = r"""
name: slipway_speed
type: aggregate
short_description: Collect garbage less often, and pack each module once
description:
  - Ansible makes many objects and drops few, and a tenth of a run's processor time was looking for garbage. What is loaded when a run
    begins stays to its end, and is not looked at again, neither here nor in the process of each task.
  - Ansible packs each module with all that it imports, 0.2 s of a processor for each, and keeps the package for one run only
    (C(ansiballz_cache) in ansible/executor/module_common.py, core 2.19). Here it stays in C(.ansible/modules), as long as no file has
    changed that could be in it. Arguments are in no package.
"""

import gc
import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from ansible import constants, release
from ansible.plugins.callback import CallbackBase

PROJECT = Path(__file__).resolve().parents[2]
#: Objects that were made and not dropped between two looks; Python's own figure is 700.
OBJECTS = 50_000
#: What is in a module's package beside Ansible's own code: the roles' code, and that of the collections that roles use.
SOURCES = ("roles/*/library/*.py", "roles/*/module_utils/*.py")
COLLECTIONS = ("amazon/aws", "ansible/posix", "community/crypto", "community/docker", "community/library_inventory_filtering_v1")
#: How many states of the sources have packages: a run that began before a change of a file has its own to the end.
STATES = 3


def packages() -> Path:
    """The folder of the modules' packages, for the sources as they are now."""
    state = hashlib.sha256(f"{release.__version__} {sys.version}".encode())
    sources = [path for pattern in SOURCES for path in PROJECT.glob(pattern)]
    # Those that came with Ansible, and those that ansible-galaxy has installed. The manifest has the hash of the list of all files.
    places = [Path(place, "ansible_collections") for place in (*sys.path, *constants.COLLECTIONS_PATHS)]
    manifests = [place / name / "MANIFEST.json" for place in places for name in COLLECTIONS]
    for path in sorted({*sources, *filter(Path.exists, manifests)}):
        state.update(f"\0{path}\0".encode() + path.read_bytes())
    return PROJECT / ".ansible" / "modules" / state.hexdigest()[:16]


def keep_packages(here: Path) -> None:
    """Let this run take its packages from there, and leave there what it packs. Ansible locks each while it is made."""
    if not here.exists():
        here.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in sorted(here.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-STATES]:
            shutil.rmtree(old, ignore_errors=True)
    # Used just now: it is removed after those that are not.
    os.utime(here)
    os.symlink(here, Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache"))


class CallbackModule(CallbackBase):
    """Does it where a run begins; it has nothing to tell."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "slipway_speed"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        gc.freeze()
        gc.set_threshold(OBJECTS)

    def v2_playbook_on_start(self, playbook: Any) -> None:
        # A folder that cannot be written to, or a file that is there already: it works without.
        try:
            keep_packages(packages())
        except OSError as reason:
            self._display.vv(f"modules are packed for this run only: {reason}")
