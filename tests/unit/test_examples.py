"""The examples are what their texts say: data that can be made again, notebooks without outputs, the same connections in each."""

import ast
import gzip
import re
import runpy
import shutil

import nbformat
import pytest
import yaml

from lab.images import FOLDER

EXAMPLES = FOLDER.parents[1] / "examples"
NAMES = ["adult", "jupyter-mongo", "jupyter-postgres", "jupyter-redis"]
DATA = {"adult": "adult.data.gz", "jupyter-mongo": "tweets.jsonl", "jupyter-postgres": "breast_cancer.csv"}
NOTEBOOKS = sorted(EXAMPLES.glob("*/ipynb/*.ipynb"))


def content(path):
    """What a file holds. Releases of zlib compress to different bytes."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def connections(path):
    """The source of each function of a module, by its name."""
    return {node.name: ast.unparse(node) for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_the_examples_are_four():
    assert sorted(path.parent.name for path in EXAMPLES.glob("*/slipway.yml")) == NAMES


@pytest.mark.parametrize(("name", "file"), DATA.items())
def test_data_can_be_made_again(name, file, tmp_path):
    shutil.copy(EXAMPLES / name / "data/generate.py", tmp_path)
    runpy.run_path(str(tmp_path / "generate.py"), run_name="__main__")
    assert content(tmp_path / file) == content(EXAMPLES / name / "data" / file)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_has_what_a_project_has(name):
    folder = EXAMPLES / name
    settings = yaml.safe_load((folder / "slipway.yml").read_text())
    assert all((folder / part).is_file() for part in ["README.md", ".gitignore", "lib/__init__.py", "lib/stores.py"])
    assert re.search(r"^ARG BASE\nFROM \$\{BASE\}$", (folder / "docker/jupyter/Dockerfile").read_text(), re.MULTILINE)
    assert all((folder / seed).is_file() for seed in settings.get("seeds", []))
    assert ("postgres" in settings["services"]) == bool(list(folder.glob("docker/postgres/*.sql")))
    assert ("worker" in settings["services"]) == (folder / "lib/jobs.py").is_file()
    for notebook in folder.glob("ipynb/*.ipynb"):
        assert f"orchestrate.py run examples/{name}/ipynb/{notebook.name}\n" in (folder / "README.md").read_text()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_dated_and_without_outputs(path):
    assert re.fullmatch(r"20\d{6}(-[a-z0-9]+)+", path.stem)
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert any("assert " in cell.source for cell in code)


def test_the_queue_is_the_same_as_in_a_new_project():
    new = connections(EXAMPLES.parent / "slipway/template/lib/jobs.py")
    example = connections(EXAMPLES / "adult/lib/jobs.py")
    assert {**new, **example} == {**example, **new}


def test_a_connection_is_made_in_the_same_way_everywhere():
    known = {}
    for name in NAMES:
        for function, source in connections(EXAMPLES / name / "lib/stores.py").items():
            assert known.setdefault(function, source) == source, f"{name}: {function}"
    assert set(known) == {"_setting", "connect_to_redis", "connect_to_mongo", "connect_to_postgres"}
