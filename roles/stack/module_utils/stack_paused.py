"""What ran before the machine was stopped, written down in each stack's folder: that alone is started again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

#: The file in a stack's folder: its `name`, the `prefix` of its stores' names in fingerprints, the services that ran, and those of them
#: that may start before the stores are compared (`early`).
PAUSED = "paused.json"


def folders(directory: str, home: Path) -> list[Path]:
    """The folders that a machine's stacks lie in: the base stack's, and the projects'."""
    return list(dict.fromkeys([home / directory, home / "slipway", *sorted(home.glob("projects/*"))]))


def found(directories: Iterable[Path]) -> list[dict[str, Any]]:
    """What is written down in these folders, each with its `directory`. A file that holds something else counts as none."""
    stacks = []
    for directory in directories:
        try:
            said = json.loads((directory / PAUSED).read_text())
            ran, early = ([str(name) for name in said[key]] for key in ("ran", "early"))
            stacks.append(
                {"directory": str(directory), "name": str(said["name"]), "prefix": str(said["prefix"]), "ran": ran, "early": early}
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return stacks


def written(stack: Mapping[str, Any], running: Iterable[str]) -> list[str]:
    """Write down that these ran, beside what a command has written that was ended since; all of them."""
    directory = Path(stack["directory"])
    before = next((each["ran"] for each in found([directory])), [])
    ran = sorted({*before, *running})
    said = {"name": stack["name"], "prefix": stack["prefix"], "early": [name for name in stack["early"] if name in ran], "ran": ran}
    whole, part = directory / PAUSED, directory / f"{PAUSED}.part"
    part.write_text(json.dumps(said))
    part.replace(whole)
    return ran


def forgotten(directory: str) -> None:
    """What ran runs again, or something else was asked for since."""
    Path(directory, PAUSED).unlink(missing_ok=True)
