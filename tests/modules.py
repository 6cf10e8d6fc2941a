"""Files of the project that are in no package here: the roles' modules, what they import, and what an image runs."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import ansible.module_utils

from tests.conftest import PROJECT

# Ansible sends the module_utils to the host in a package of its own, in which they are importable here too.
_FOLDERS = sorted(str(path) for path in (PROJECT / "roles").glob("*/module_utils"))
ansible.module_utils.__path__ += [folder for folder in _FOLDERS if folder not in ansible.module_utils.__path__]


def load(name: str) -> ModuleType:
    """One of the module_utils; modules that it imports come along."""
    return importlib.import_module(f"ansible.module_utils.{name}")


def read(*path: str) -> ModuleType:
    """A file, by its path in the project: each time another module."""
    spec = importlib.util.spec_from_file_location(f"{__name__}.{Path(path[-1]).stem}", PROJECT.joinpath(*path))
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    # A dataclass looks its own module up.
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found
