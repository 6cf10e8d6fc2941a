"""What is to be run: the words of the command and the notebook, read and checked."""

from __future__ import annotations

import argparse
import keyword
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import nbformat
import run_mended
import run_parameters
import yaml
from jupyter_client.kernelspec import KernelSpecManager
from papermill.parameterize import parameterize_notebook

PROJECT = Path("/home/jovyan/work")
#: Of a kernel that this image has not: its name says Python, if the notebook does not say its language.
_PYTHON = re.compile(r"py|conda|env", re.IGNORECASE)


class RefusedError(Exception):
    """Nothing could be run; the text tells why."""


@dataclass(frozen=True)
class Request:
    """What to run. `typed` are the values as typed, by name; the notebook's defaults say what they are."""

    notebook: Path
    output: Path
    typed: Mapping[str, str]
    fixed: Mapping[str, Any]
    kernel: str | None
    digest: str


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RefusedError(f"{message}\n{self.format_usage().strip()}")


def _parser() -> _Parser:
    parser = _Parser("run_notebook.py", allow_abbrev=False)
    parser.add_argument("notebook")
    parser.add_argument("output")
    parser.add_argument("typed", nargs="*", metavar="NAME=VALUE", help="read as the notebook's default is")
    parser.add_argument("--text", action="append", default=[], metavar="NAME=VALUE", help="always text")
    parser.add_argument("--yaml", action="append", default=[], metavar="YAML", help="a mapping of names to values")
    parser.add_argument("--kernel", metavar="NAME", help="instead of the notebook's own")
    parser.add_argument("--digest", default="", help="what the command calls this notebook with these parameters; kept in the output")
    return parser


def parse(arguments: list[str]) -> Request:
    given = _parser().parse_intermixed_args(arguments)
    notebook, output = ((PROJECT / path).resolve() for path in (given.notebook, given.output))
    for path in (notebook, output):
        if not path.is_relative_to(PROJECT):
            raise RefusedError(f"{path} is not in the project's folder")
    typed = [_pair(each) for each in given.typed]
    fixed = [*map(_pair, given.text), *(pair for each in given.yaml for pair in _mapping(each))]
    names = [str(name) for name, _ in (*typed, *fixed)]
    for name in names:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise RefusedError(f"{name!r} is no parameter's name: a name that Python takes is one")
        if names.count(name) > 1:
            raise RefusedError(f"the parameter {name} is given twice")
    return Request(notebook, output, dict(typed), dict(fixed), given.kernel, given.digest)


def _pair(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals:
        raise RefusedError(f"{word!r} is no parameter: NAME=VALUE is one")
    return name, value


def _mapping(text: str) -> Iterator[tuple[str, Any]]:
    try:
        found = run_parameters.from_yaml(text)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as wrong:
        raise RefusedError(f"{text!r} is no YAML that a notebook takes: {wrong}") from wrong
    if not isinstance(found, dict):
        raise RefusedError(f"{text!r} is no mapping of YAML: NAME: VALUE is one")
    yield from found.items()


def read(path: Path) -> nbformat.NotebookNode:
    if not path.is_file():
        raise RefusedError(f"there is no notebook {path.relative_to(PROJECT)}")
    try:
        notebook, mended = run_mended.read(path)
    # Whatever the file holds: the library raises a dozen kinds of errors, KeyError and AttributeError among them.
    except Exception as unread:
        reason = str(unread).strip().splitlines() or [type(unread).__name__]
        raise RefusedError(f"{path.relative_to(PROJECT)} is not a notebook: {reason[0]}") from unread
    if mended:
        more = f" and {len(mended) - 3} more" if len(mended) > 3 else ""
        print(f"note: the notebook is not quite valid, and was mended: {'; '.join(mended[:3])}{more}", flush=True)
    return notebook


def prepare(request: Request) -> tuple[nbformat.NotebookNode, str, dict[str, Any]]:
    """The notebook with its parameters, the name of its kernel, and the parameters."""
    notebook = read(request.notebook)
    languages = {name: spec["spec"].get("language", "") for name, spec in KernelSpecManager().get_all_specs().items()}
    kernel = kernel_of(request.kernel, notebook.metadata, languages, lambda note: print(f"note: {note}", flush=True))
    if not runnable(notebook):
        raise RefusedError(f"{request.notebook.relative_to(PROJECT)} has no code cells to run")
    language = languages[kernel]
    default = known(notebook) if language == "python" else {}
    parameters = {name: run_parameters.typed(value, default.get(name)) for name, value in request.typed.items()} | dict(request.fixed)
    if parameters:
        notebook = parameterized(notebook, parameters, kernel, language, default)
    return notebook, kernel, parameters


def kernel_of(asked: str | None, metadata: Mapping[str, Any], languages: Mapping[str, str], note: Callable[[str], object]) -> str:
    """The kernel to run with: the one that was asked for, the notebook's, or for a Python notebook the image's Python."""
    spec = metadata.get("kernelspec", {})
    name, display = str(spec.get("name") or "python3"), str(spec.get("display_name") or "")
    there = ", ".join(sorted(languages))
    if asked is not None and asked not in languages:
        raise RefusedError(f"there is no kernel {asked!r}; there are: {there}")
    if asked or name in languages:
        return asked or name
    language = str(spec.get("language") or metadata.get("language_info", {}).get("name") or "")
    own = next((each for each in ("python3", *sorted(languages)) if languages.get(each) == "python"), None)
    if own and (language.lower() in ("python", "ipython") if language else _PYTHON.search(f"{name} {display}")):
        note(f"the notebook names the kernel {name!r}, which is not here: it runs with {own}")
        return own
    of = f" of {language}" if language else ""
    raise RefusedError(f"the notebook names the kernel {name!r}{of}; there are: {there}. -k NAME chooses one")


def known(notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """What the cell tagged `parameters` assigns."""
    cells = (cell for cell in notebook.cells if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", []))
    return next((run_parameters.defaults(cell.source) for cell in cells), {})


def runnable(notebook: nbformat.NotebookNode) -> dict[int, str]:
    """The code cells that nbclient runs, by their index."""
    cells = {index: cell.source for index, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()}
    skipped = {index for index, cell in enumerate(notebook.cells) if "skip-execution" in cell.metadata.get("tags", [])}
    return {index: source for index, source in cells.items() if index not in skipped}


def parameterized(
    notebook: nbformat.NotebookNode, parameters: dict[str, Any], kernel: str, language: str, default: Mapping[str, Any]
) -> nbformat.NotebookNode:
    logging.getLogger("papermill").setLevel(logging.ERROR)
    notebook.metadata.setdefault("papermill", nbformat.NotebookNode())
    for cell in notebook.cells:
        cell.metadata.setdefault("tags", [])
    tags = {tag for cell in notebook.cells for tag in cell.metadata.tags}
    if "parameters" in tags:
        for name in sorted(parameters.keys() - default.keys()) if language == "python" else ():
            print(f"note: the cell tagged `parameters` sets no {name}", flush=True)
    elif "injected-parameters" not in tags:
        print("note: no cell is tagged `parameters`: the parameters are set at the top of the notebook", flush=True)
    made = parameterize_notebook(notebook, parameters, kernel_name=kernel, language=language, comment="Parameters")
    made.metadata.papermill["parameters"] = run_parameters.json_value(parameters)
    return made
