"""The readers of fingerprints on this computer's engine: they need a container, its password, and a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.images.boxes import Box
from tests.modules import load

fingerprints = load("stack_fingerprints")


def taken(directory: Path, seconds: int = 20, **boxes: Box) -> dict[str, str]:
    """The lines by store."""
    containers: dict[str, Any] = {name: {"Id": box.container.id, "ImageID": box.container.image.id} for name, box in boxes.items()}
    with fingerprints.Readers(containers, str(directory), seconds) as readers:
        return {name: found["said"] for name, found in readers.take().items()}
