"""The examples' pictures: there, readable in a browser window, and shown by the README."""

from __future__ import annotations

import importlib.util
import struct
import sys
from importlib.machinery import SourceFileLoader

import pytest

from tests.conftest import PROJECT

LOADER = SourceFileLoader("pictures", str(PROJECT / "tools" / "pictures"))
SPEC = importlib.util.spec_from_loader("pictures", LOADER)
assert SPEC is not None
pictures = importlib.util.module_from_spec(SPEC)
# A dataclass looks itself up there.
sys.modules["pictures"] = pictures
LOADER.exec_module(pictures)

EXAMPLES = sorted(path.name for path in (PROJECT / "examples").iterdir() if path.is_dir())


def test_every_example_has_a_picture() -> None:
    assert sorted(pictures.EXAMPLES) == EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_picture_is_a_small_png(name: str) -> None:
    path = f"docs/pictures/{name}.png"
    image = (PROJECT / path).read_bytes()
    # https://www.w3.org/TR/png/#11IHDR
    width, height = struct.unpack(">II", image[16:24])
    assert image.startswith(b"\x89PNG")
    assert width <= 1280
    assert height <= 1400
    assert len(image) <= pictures.MOST_BYTES
    assert f"]({path})" in (PROJECT / "README.md").read_text()


@pytest.mark.parametrize("name", EXAMPLES)
def test_its_notebook_is_one_of_the_example(name: str) -> None:
    wanted = pictures.EXAMPLES[name].notebook
    assert [path for path in (PROJECT / "examples" / name / "ipynb").glob("*.ipynb") if wanted in path.stem]


def test_an_unknown_example_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert pictures.main(["nothing"]) == 2
    assert "EXAMPLE: nothing cannot be used. Allowed: jupyter-redis" in capsys.readouterr().err
