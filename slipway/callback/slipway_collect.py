"""Has Python look for garbage less often: Ansible makes many objects and drops few, and a tenth of a run's processor time was looking."""

from __future__ import annotations

DOCUMENTATION = r"""
name: slipway_collect
type: aggregate
short_description: Collect garbage less often
description:
  - What is loaded when a run begins stays to its end, and is not looked at again, neither here nor in the process of each task.
"""

import gc
from typing import Any

from ansible.plugins.callback import CallbackBase

#: Objects that were made and not dropped between two looks; Python's own figure is 700.
OBJECTS = 50_000


class CallbackModule(CallbackBase):
    """Does it where a run begins; it has nothing to tell."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "slipway_collect"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        gc.freeze()
        gc.set_threshold(OBJECTS)
