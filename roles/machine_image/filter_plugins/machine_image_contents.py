"""The name of what a machine gets before its stack: machines from an image with this name have all of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

#: Of the form of images: another way to make or to clean one gives each contents another name.
FORM = 1


def contents(parts: Mapping[str, Any]) -> str:
    """The name: 16 hexadecimal digits, equal for equal parts in any order. A part that changes in any way changes it."""
    text = json.dumps({"form": FORM, "parts": parts}, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """The filter by its name."""
        return {"machine_image_contents": contents}
