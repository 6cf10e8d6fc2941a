"""Notebooks as they are found: almost valid ones, kernels of other names, much output, early ends, and typed parameters."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.images.project import Project

#: What one Python does with many notebooks: it takes two seconds to start.
EACH = """
import sys; sys.stderr = sys.stdout; sys.path.insert(0, "/slipway")
import json, pathlib, run_mended, run_request, nbformat
for path in sorted(pathlib.Path("ipynb/odd").glob("*.ipynb")):
    try:
        notebook, mended = run_mended.read(path)
        nbformat.validate(notebook)
        print(json.dumps([path.stem, [cell.source for cell in notebook.cells], "; ".join(mended)]))
    except Exception as refused:
        print(json.dumps([path.stem, None, str(refused)]))
"""
KERNEL = """
import sys; sys.path.insert(0, "/slipway")
import json, run_request
for asked, metadata in json.load(open("kernels.json")):
    try:
        print(json.dumps(run_request.kernel_of(asked, metadata, {"python3": "python", "ir": "R"}, lambda note: None)))
    except run_request.RefusedError as refused:
        print(json.dumps(str(refused)))
"""
TYPED = """
import sys; sys.path.insert(0, "/slipway")
import json, run_parameters
for source, value in json.load(open("typed.json")):
    print(json.dumps(run_parameters.json_value(run_parameters.typed(value, run_parameters.defaults(source).get("x")))))
"""


def cell(**more: Any) -> dict[str, Any]:
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": "1"} | more


def book(*cells: Any, **more: Any) -> dict[str, Any]:
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 4} | more


def without(node: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in node.items() if name not in names}


#: Name -> the notebook, its sources, and what the note says of it.
ODD: dict[str, tuple[Any, list[str] | None, str]] = {
    "id-in-4-4": (book(cell(id="x")), ["1"], ""),
    "no-execution-count": (book(without(cell(), "execution_count")), ["1"], ""),
    "no-outputs": (book(without(cell(), "outputs")), ["1"], ""),
    "stream-without-name": (book(cell(outputs=[{"output_type": "stream", "text": "x"}])), ["1"], ""),
    "output-of-no-kind": (book(cell(outputs=[{"output_type": "pyout", "odd": 1}])), ["1"], ""),
    "outputs-null": (book(cell(outputs=None)), ["1"], ""),
    "kernelspec-name-only": (book(cell(), metadata={"kernelspec": {"name": "python3"}}), ["1"], "no metadata.kernelspec.display_name"),
    "kernelspec-null": (book(cell(), metadata={"kernelspec": None}), ["1"], "metadata.kernelspec is 'None'"),
    "language-info-empty": (book(cell(), metadata={"language_info": {}}), ["1"], "no metadata.language_info.name"),
    "collapsed-null": (book(cell(metadata={"collapsed": None})), ["1"], "metadata.collapsed is 'None'"),
    "unknown-key": (book(cell(attachments={})), ["1"], "unknown attachments"),
    "markdown-with-outputs": (book(cell(cell_type="markdown")), ["1"], "unknown execution_count, outputs"),
    "two-equal-tags": (book(cell(metadata={"tags": ["a", "a"]})), ["1"], "metadata.tags has one entry twice"),
    "two-equal-ids": (book(cell(id="x"), cell(id="x"), nbformat_minor=5), ["1", "1"], "cell 2: its id"),
    "no-cell-metadata": (book(without(cell(), "metadata")), ["1"], "no metadata"),
    "no-metadata": (without(book(cell()), "metadata"), ["1"], "no metadata"),
    "source-a-list": (book(cell(source=["a\n", "b"])), ["a\nb"], ""),
    "no-source": (book(without(cell(), "source")), [""], ""),
    "nan": (book(cell(metadata={"x": float("nan")})), ["1"], ""),
    "later-minor": (book(cell(new=1), nbformat_minor=9), ["1"], "unknown new"),
    "version-3": ({"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": ["a\n", "b"]}]}]}, ["a\nb"], "nbformat 3"),
    "no-cells": ({"nbformat": 4}, None, "no list of cells"),
    "version-7": (book(cell(), nbformat=7), None, "its nbformat is 7"),
    "a-list": ([], None, "no JSON object"),
}


def test_a_notebook_that_is_almost_valid_is_mended_and_named(project: Project) -> None:
    folder = project.folder / "work" / "ipynb" / "odd"
    folder.mkdir()
    for name, (raw, _, _) in ODD.items():
        # With a byte order mark, as some editors leave it.
        (folder / f"{name}.ipynb").write_text(json.dumps(raw), encoding="utf-8-sig" if name == "source-a-list" else "utf-8")
    found = {name: (sources, says) for name, sources, says in map(json.loads, project.shell.out("python", "-c", EACH).splitlines())}
    assert found.keys() == ODD.keys()
    for name, (_, sources, says) in ODD.items():
        assert found[name][0] == sources, (name, found[name])
        assert says in found[name][1] if says else not found[name][1], (name, found[name])


def test_a_kernel_of_another_name_is_found_by_its_language_or_refused(project: Project) -> None:
    refused = "the notebook names the kernel '{}'{}; there are: ir, python3. -k NAME chooses one"
    cases: list[tuple[Any, Any, str]] = [
        (None, {}, "python3"),
        (None, {"kernelspec": {"name": "ir", "language": "R"}}, "ir"),
        (None, {"kernelspec": {"name": "conda-env-churn-py"}}, "python3"),
        (None, {"kernelspec": {"name": ".venv", "language": "python"}}, "python3"),
        (None, {"kernelspec": {"name": "Python3"}}, "python3"),
        (None, {"kernelspec": {"name": "churn"}, "language_info": {"name": "python"}}, "python3"),
        (None, {"kernelspec": {"name": "churn"}}, refused.format("churn", "")),
        (None, {"kernelspec": {"name": "conda-r", "language": "julia"}}, refused.format("conda-r", " of julia")),
        ("ir", {"kernelspec": {"name": "python3"}}, "ir"),
        ("none", {}, "there is no kernel 'none'; there are: ir, python3"),
    ]
    (project.folder / "work" / "kernels.json").write_text(json.dumps([case[:2] for case in cases]))
    found = list(map(json.loads, project.shell.out("python", "-c", KERNEL).splitlines()))
    assert found == [case[2] for case in cases]


def test_a_value_follows_the_default(project: Project) -> None:
    cases: list[tuple[str, str, Any]] = [
        *(("x = ''", word, word) for word in ("007", "1.10", "2026_01", "5e12345", "True", "inf")),
        *(("x: str = name()", word, word) for word in ("007", "1.10")),
        *(("x = 0", word, value) for word, value in (("1e-3", 0.001), ("0.50", 0.5), ("007", 7), ("1000", 1000), ("abc", "abc"))),
        *(("y, x = '', .5", word, value) for word, value in (("inf", "inf"), ("5e12345", "5e12345"), ("-2", -2))),
        *(("x = True", word, value) for word, value in (("false", False), ("True", True), ("0", 0))),
        *(("x = None", word, value) for word, value in (("None", None), ("1.5", 1.5), ("007", "007"))),
        *(("x = []", word, value) for word, value in (("[1, 'a']", [1, "a"]), ("[a, b]", ["a", "b"]), ("7", 7))),
        ("x = {}", "{'a': None}", {"a": None}),
        ("%matplotlib inline\nx = ''", "1", "1"),
        *(("", word, word) for word in ("007", "2026_01", "5e12345", "1e-400", "inf", "nan", "__import__('os')", "[1]", "-", "")),
        *(
            ("x = compute()", word, value)
            for word, value in (("1.5", 1.5), ("-1e-3", -0.001), ("False", False), ("0", 0), ("9" * 20, int("9" * 20)))
        ),
    ]
    (project.folder / "work" / "typed.json").write_text(json.dumps([case[:2] for case in cases]))
    found = list(map(json.loads, project.shell.out("python", "-c", TYPED).splitlines()))
    assert [(*case[:2], value) for case, value in zip(cases, found, strict=True)] == cases


def test_parameters_arrive_unchanged_and_the_result_is_json(project: Project) -> None:
    odd = """ a'b"c\\d {{ x }} $(touch injected) `y` \n é\t€-"""
    cells = ["code, limit = '', 0.5", "print(ascii([code, limit, t, y]))", "from IPython.display import display"]
    cells += ["display({'application/json': {'a': float('nan'), 'b': [float('inf')]}}, raw=True); print('a\\udc80b')"]
    notebook = project.notebook("odd-values", *cells, kernel="conda-env-x", parameters=True)
    code, text = project.tried(notebook, "runs/odd-values.ipynb", f"code={odd}", "limit=inf", "--text=t=007", "--yaml=y: [1, 2026-01-02]")
    assert code == 0, text
    assert ascii([odd, float("inf"), "007", [1, "2026-01-02"]]) in text
    assert "names the kernel 'conda-env-x', which is not here: it runs with python3" in text
    raw = (project.folder / "work" / "runs" / "odd-values.ipynb").read_text()
    made = json.loads(raw, parse_constant=lambda constant: pytest.fail(constant))
    assert made["metadata"]["slipway"]["parameters"] == {"code": odd, "limit": "inf", "t": "007", "y": [1, "2026-01-02"]}
    nbformat.validate(nbformat.reads(raw, as_version=4))


def outputs(project: Project, output: str) -> list[list[dict[str, Any]]]:
    return [each["outputs"] for each in json.loads(Path(project.folder, "work", output).read_text())["cells"]]


def test_all_output_of_a_chatty_cell_is_kept(project: Project) -> None:
    cells = ["for i in range(8000): print('epoch', i, flush=True)\ndisplay('SHOWN')\nprint('after')\n'VALUE'"]
    cells += ["import sys\nfor i in range(500): print(f'\\r{i}/500', end='', file=sys.stderr, flush=True)\nprint()"]
    code, text = project.tried(project.notebook("chatty", *cells), "runs/chatty.ipynb")
    assert code == 0, text[-2000:]
    first, second = outputs(project, "runs/chatty.ipynb")
    assert [each["output_type"] for each in first] == ["stream", "display_data", "stream", "execute_result"]
    assert "".join(first[0]["text"]) == "".join(f"epoch {i}\n" for i in range(8000))
    assert ["".join(each["text"]) for each in second] == ["499/500", "\n"]


def test_lost_output_is_no_success(project: Project) -> None:
    lose = "from ipykernel.kernelapp import IPKernelApp as A\nsocket = A.instance().iopub_thread.socket\nsend = socket.send_multipart\n"
    lose += (
        "socket.send_multipart = lambda parts, *a, **k: None if b'stream' in parts[0] else send(parts, *a, **k)\nprint('lost', flush=True)"
    )
    code, text = project.tried(project.notebook("loser", lose), "runs/loser.ipynb")
    assert code == 1
    assert "cell 1 of 1: output was lost: 1 messages" in text


@pytest.mark.parametrize("end", ["import sys; sys.exit(0)", "raise SystemExit", "quit()"])
def test_an_early_end_is_no_failure(project: Project, end: str) -> None:
    code, text = project.tried(project.notebook("early", "print('first')", end, "print('never')"), "runs/early.ipynb")
    assert code == 0, text
    assert "the notebook ended early in cell 2 of 3" in text
    assert project.printed("runs/early.ipynb").startswith("first\n")
    assert "never" not in text


@pytest.mark.parametrize("end", ["import sys; sys.exit(3)", "raise SystemExit('no')"])
def test_an_early_end_with_a_status_is_a_failure(project: Project, end: str) -> None:
    code, text = project.tried(project.notebook("late", end, "print('never')"), "runs/late.ipynb")
    assert code == 1
    assert "cell 1 of 2 failed: SystemExit: " in text
