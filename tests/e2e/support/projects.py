"""Projects for tests: by `new`, with settings and a notebook of the test's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import Checkout


def make(here: Checkout, name: str, services: str, cells: list[str] | None = None, **settings: Any) -> Path:
    """A project by `new`, with further settings, and, if cells are given, a notebook."""
    done = here.orchestrate("new", name, "--with", services)
    assert done.returncode == 0, done.stderr
    folder = here.path / name
    path = folder / "slipway.yml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | settings))
    if cells:
        write(folder / "ipynb" / "own.ipynb", cells)
    return folder


def write(path: Path, cells: list[str]) -> None:
    """A notebook of these code cells, the first of which sets its parameters."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    made = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "metadata": {"tags": ["parameters"] * (number == 0)},
            "source": text,
            "outputs": [],
            "execution_count": None,
        }
        for number, text in enumerate(cells)
    ]
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": made}))


def run(here: Checkout, notebook: str, *parameters: str) -> dict[str, Any]:
    """Run a notebook that must succeed, and return it as it was executed."""
    words = [word for each in parameters for word in ("-p", each)]
    done = here.orchestrate("run", notebook, *words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    folder = next(path for path in (here.path / notebook).parents if (path / "slipway.yml").exists())
    return dict(json.loads((folder / answer["executed"]).read_text()))


def python(here: Checkout, project: str, script: str, service: str = "jupyter") -> str:
    """What a script prints in a container of a project's."""
    return here.on_host(f"docker exec --interactive --workdir /home/jovyan/work {project}-{service}-1 python -", stdin=script)
