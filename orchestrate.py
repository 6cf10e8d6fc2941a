#!/usr/bin/env python3
"""Slipway's command line. Works from a bare shell: it goes on in the project's own environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
ENVIRONMENT = PROJECT / ".venv"


def enter_environment() -> None:
    """Start again under .venv's Python, where this is another one."""
    if Path(sys.prefix).resolve() == ENVIRONMENT.resolve():
        return
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        print("The project's Python environment is not there yet. Make it with: make .venv", file=sys.stderr)
        sys.exit(3)
    os.execv(python, [str(python), str(PROJECT / "orchestrate.py"), *sys.argv[1:]])  # noqa: S606 (to become that Python)


if __name__ == "__main__":
    enter_environment()
    sys.path.insert(0, str(PROJECT))
    from slipway.cli import main

    sys.exit(main(sys.argv[1:]))
