"""What the batch runner keeps of a notebook's output."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

from tests.modules import read


@pytest.fixture
def output() -> ModuleType:
    return read("roles", "stack", "files", "compose", "batch", "run_output.py")


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        (["a\n", "b\n"], "a\nb\n"),
        (["a", "b", "\n", "c"], "ab\nc"),
        (["\r1/3", "\r2/3", "\r3/3", "\n"], "3/3\n"),
        (["1/2\r", "2/2\r", "\nnext"], "2/2\nnext"),
        (["a\r", "b\r\n", "c"], "b\nc"),
        (["x\x08y"], "y"),
    ],
)
def test_consecutive_prints_are_one_output(output: ModuleType, pieces: list[str], kept: str) -> None:
    made = nbformat.from_dict({"output_type": "stream", "name": "stdout", "text": pieces[0]})
    stream = output.Stream(made)
    for piece in pieces[1:]:
        stream.add(piece)
    stream.settle()
    assert made.text == kept


def test_the_file_is_json_whatever_the_notebook_holds(output: ModuleType, tmp_path: Path) -> None:
    # 248 bytes: the file that is written first has a shorter name.
    path = tmp_path / "runs" / ("分" * 81 + ".ipynb")
    output.write(nbformat.v4.new_notebook(metadata={"x": [float("nan"), float("-inf"), 1.5], "half": "a\udc80"}), path)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    kept = json.loads(path.read_text(), parse_constant=pytest.fail)["metadata"]
    assert kept == {"x": [None, None, 1.5], "half": "a\udc80"}
