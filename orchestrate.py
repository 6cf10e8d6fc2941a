#!/usr/bin/env python3
"""Slipway's command line. Works from a bare shell: it goes on in the project's own environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
ENVIRONMENT = PROJECT / ".venv"
ENTERED = "SLIPWAY_ENTERED"


def enter_environment() -> None:
    """Start again under .venv's Python and without what would harm of the shell's variables, if this is not so already."""
    if why := environment.wrong(str(PROJECT), os.environ):
        print(why, file=sys.stderr)
        sys.exit(2)
    # Once, whatever this Python's own starter sets (Nix has one, which sets PYTHONNOUSERSITE): the process stays the same.
    entered = os.environ.pop(ENTERED, "") == str(os.getpid())
    ours = environment.clean(os.environ)
    if Path(sys.prefix).resolve() == ENVIRONMENT.resolve() and (entered or ours == dict(os.environ)):
        return
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        print("The project's Python environment is not there yet. Make it with: make .venv", file=sys.stderr)
        sys.exit(3)
    ours[ENTERED] = str(os.getpid())
    os.execve(python, [str(python), str(PROJECT / "orchestrate.py"), *sys.argv[1:]], ours)  # noqa: S606 (to become that Python)


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))
    from slipway import environment

    enter_environment()
    from slipway.cli import main

    sys.exit(main(sys.argv[1:]))
