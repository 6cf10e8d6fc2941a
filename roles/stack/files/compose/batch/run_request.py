"""What is to be run: the words of the command and the notebook, read and checked."""

from __future__ import annotations

import keyword
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from papermill.cli import _resolve_type as typed
from papermill.inspection import _infer_parameters as known_parameters
from papermill.parameterize import parameterize_notebook

PROJECT = Path("/home/jovyan/work")


class RefusedError(Exception):
    """Nothing could be run; the text tells why."""


@dataclass(frozen=True)
class Request:
    """What to run."""

    notebook: Path
    output: Path
    parameters: dict[str, Any]


def parse(arguments: list[str]) -> Request:
    if len(arguments) < 2 or arguments[0].startswith("-"):
        raise RefusedError("usage: run_notebook.py NOTEBOOK OUTPUT [NAME=VALUE …]")
    notebook, output = ((PROJECT / path).resolve() for path in arguments[:2])
    for path in (notebook, output):
        if not path.is_relative_to(PROJECT):
            raise RefusedError(f"{path} is not in the project's folder")
    parameters = {}
    for argument in arguments[2:]:
        name, equals, value = argument.partition("=")
        if not equals or not name.isidentifier() or keyword.iskeyword(name):
            raise RefusedError(f"{argument!r} is no parameter: NAME=VALUE is one, with a name that Python takes")
        parameters[name] = typed(value)
    return Request(notebook, output, parameters)


def read(path: Path) -> nbformat.NotebookNode:
    if not path.is_file():
        raise RefusedError(f"there is no notebook {path.relative_to(PROJECT)}")
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    # Whatever the file holds: the library raises a dozen kinds of errors, KeyError and AttributeError among them.
    except Exception as unread:
        reason = str(unread).strip().splitlines() or [type(unread).__name__]
        raise RefusedError(f"{path.relative_to(PROJECT)} is not a notebook: {reason[0]}") from unread
    return notebook


def prepare(request: Request) -> tuple[nbformat.NotebookNode, str]:
    """The notebook with its parameters, and the name of its kernel."""
    notebook = read(request.notebook)
    kernel = notebook.metadata.get("kernelspec", {}).get("name") or "python3"
    kernels = KernelSpecManager()
    try:
        language = kernels.get_kernel_spec(kernel).language
    except NoSuchKernel as unknown:
        there = ", ".join(sorted(kernels.find_kernel_specs()))
        raise RefusedError(f"the notebook names the kernel {kernel!r}; there are: {there}") from unknown
    if not runnable(notebook):
        raise RefusedError(f"{request.notebook.relative_to(PROJECT)} has no code cells to run")
    if request.parameters:
        notebook = parameterized(notebook, request.parameters, kernel, language)
    return notebook, kernel


def runnable(notebook: nbformat.NotebookNode) -> dict[int, str]:
    """The code cells that nbclient runs, by their index."""
    cells = {index: cell.source for index, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()}
    skipped = {index for index, cell in enumerate(notebook.cells) if "skip-execution" in cell.metadata.get("tags", [])}
    return {index: source for index, source in cells.items() if index not in skipped}


def parameterized(notebook: nbformat.NotebookNode, parameters: dict[str, Any], kernel: str, language: str) -> nbformat.NotebookNode:
    logging.getLogger("papermill").setLevel(logging.ERROR)
    notebook.metadata.setdefault("papermill", nbformat.NotebookNode())
    for cell in notebook.cells:
        cell.metadata.setdefault("tags", [])
    tags = {tag for cell in notebook.cells for tag in cell.metadata.tags}
    if "parameters" in tags:
        known = {parameter.name for parameter in known_parameters(notebook, name=kernel, language=language)}
        for name in sorted(parameters.keys() - known):
            print(f"note: the cell tagged `parameters` sets no {name}", flush=True)
    elif "injected-parameters" not in tags:
        print("note: no cell is tagged `parameters`: the parameters are set at the top of the notebook", flush=True)
    return parameterize_notebook(notebook, parameters, kernel_name=kernel, language=language, comment="Parameters")
