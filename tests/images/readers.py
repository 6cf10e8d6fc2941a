"""The readers of fingerprints on this computer's engine: they need a container, its password, and a folder."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.conftest import PROJECT
from tests.images.boxes import Box

UTILS = PROJECT / "roles" / "stack" / "module_utils"
NAMES = (
    "stack_engine",
    "stack_store",
    "stack_store_files",
    "stack_store_mongo",
    "stack_store_postgres",
    "stack_store_redis",
    "stack_fingerprints",
)


def _load(name: str) -> ModuleType:
    """A role's module_utils are in no package until Ansible sends them."""
    full = f"ansible.module_utils.{name}"
    spec = importlib.util.spec_from_file_location(full, UTILS / f"{name}.py")
    assert spec
    assert spec.loader
    module = sys.modules[full] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


modules = {name: _load(name) for name in NAMES}
fingerprints = modules["stack_fingerprints"]


def taken(directory: Path, seconds: int = 20, **boxes: Box) -> dict[str, str]:
    """The lines by store."""
    containers: dict[str, Any] = {name: {"Id": box.container.id, "ImageID": box.container.image.id} for name, box in boxes.items()}
    with fingerprints.Readers(containers, str(directory), seconds) as readers:
        return {name: found["said"] for name, found in readers.take().items()}
