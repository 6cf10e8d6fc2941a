"""The roles' module_utils: Ansible sends them to the host in a package of its own, in which they are importable here too."""

from __future__ import annotations

import importlib
from types import ModuleType

import ansible.module_utils

from tests.conftest import PROJECT

_FOLDERS = sorted(str(path) for path in (PROJECT / "roles").glob("*/module_utils"))
ansible.module_utils.__path__ += [folder for folder in _FOLDERS if folder not in ansible.module_utils.__path__]


def load(name: str) -> ModuleType:
    """By its name; modules that it imports come along."""
    return importlib.import_module(f"ansible.module_utils.{name}")
