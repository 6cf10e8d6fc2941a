"""Measure what one notebook takes of memory, in a container that is made for it alone.

    measure.py baselines              what Jupyter takes without a notebook, with one that runs, and with scikit-learn in it
    measure.py ROWS COLS [MODEL]      an array of this shape in a notebook; where a model is named it is fitted and scored too
    --seconds N                       how long it may take; what takes longer is cut

Each prints one line of JSON a measurement. The notebook is a fresh kernel of a fresh JupyterLab, as `docker stats` of the book saw it.
The array is of float64, its labels are drawn by lot: with nothing to learn from, trees grow whole and every row becomes a support
vector, which is what a model takes at most.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slipway_memory as memory
from jupyter_client import BlockingKernelClient

MODELS = {
    "KNeighborsClassifier": "sklearn.neighbors",
    "DecisionTreeClassifier": "sklearn.tree",
    "LogisticRegression": "sklearn.linear_model",
    "SVC": "sklearn.svm",
}
#: Where memory runs out the kernel goes, and this program stays to tell of it.
FIRST = "open('/proc/self/oom_score_adj', 'w').write('1000')"
ARRAY = "import numpy as np; lot = np.random.default_rng(0); X = lot.random(({rows}, {cols})); y = lot.integers(0, 2, {rows}); y[:2] = 0, 1"
#: scikit-learn, as the book imports it before its first array.
LEARN = "from sklearn.datasets import make_classification"
#: The peak of the notebook's process begins again at what it has now (proc(5), clear_refs).
MARK = """
def _kib(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))
with open("/proc/self/clear_refs", "w") as peak:
    _ = peak.write("5")
_before = _kib("VmRSS:")
"""
#: How far it has grown since, in MiB.
GROWN = "print(max(_kib('VmHWM:') - _before, 0) / 1024)"
#: A server and a kernel take so long at most to start, where the machine has one processor.
START_SECONDS = 120


class OutOfMemoryError(Exception):
    """The kernel of the host has ended the notebook's kernel."""


class Notebook:
    """A fresh kernel of a JupyterLab."""

    def __init__(self, url: str, token: str, runtime: Path, deadline: float) -> None:
        self._kills, self._deadline = memory.kills(), deadline
        made = _ask(f"{url}/api/kernels", token, b"{}")
        self._client = BlockingKernelClient(connection_file=str(runtime / f"kernel-{made['id']}.json"))
        self._client.load_connection_file()
        self._client.start_channels()
        self._wait()
        self.run(FIRST)

    def _wait(self) -> None:
        """Until it answers. On a busy machine the client takes a heartbeat that is late for the kernel's end, a second after its begin."""
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                self._client.wait_for_ready(timeout=START_SECONDS)
                return
            except RuntimeError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def run(self, code: str) -> str:
        """Run the code and return what it prints. Raises OutOfMemoryError, TimeoutError, and RuntimeError with a traceback."""
        sent = self._client.execute(code)
        said = ""
        while True:
            if memory.kills() > self._kills:
                raise OutOfMemoryError
            if time.monotonic() > self._deadline:
                raise TimeoutError
            try:
                message = self._client.get_iopub_msg(timeout=0.2)
            except queue.Empty:
                continue
            kind, content = message["msg_type"], message["content"]
            if message["parent_header"].get("msg_id") != sent:
                continue
            if kind == "stream":
                said += content["text"]
            # Of an error that numpy tells by itself, before the kernel of the host does: the array is larger than any memory.
            elif kind == "error" and content["ename"].endswith("MemoryError"):
                raise OutOfMemoryError
            elif kind == "error":
                raise RuntimeError("\n".join(content["traceback"]))
            elif kind == "status" and content["execution_state"] == "idle":
                return said


@contextmanager
def jupyterlab(runtime: Path) -> Iterator[tuple[str, str]]:
    """Its URL and token."""
    token, home = secrets.token_hex(16), tempfile.mkdtemp()
    environment = {**os.environ, "JUPYTER_TOKEN": token, "JUPYTER_RUNTIME_DIR": str(runtime)}
    words = ["--no-browser", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=8890", f"--ServerApp.root_dir={home}"]
    log = Path(home, "log")
    with log.open("w") as file:
        server = subprocess.Popen(["jupyter", "lab", *words], env=environment, cwd=home, stdout=file, stderr=file)
    url, until = "http://127.0.0.1:8890", time.monotonic() + START_SECONDS
    try:
        while not _answers(url, token):
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"JupyterLab does not start within {START_SECONDS} s: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield url, token
    finally:
        server.kill()
        server.wait()


def _ask(url: str, token: str, data: bytes | None = None) -> Any:
    request = urllib.request.Request(url, data, {"Authorization": f"token {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def _answers(url: str, token: str) -> bool:
    try:
        return bool(_ask(f"{url}/api/status", token))
    except OSError:
        return False


def baselines(seconds: int) -> Iterator[dict[str, Any]]:
    """What Jupyter takes without a notebook, with one, and with scikit-learn in it."""
    runtime = Path(tempfile.mkdtemp())
    with jupyterlab(runtime) as (url, token):
        for name in ("no notebook", "notebook running", "scikit-learn imported"):
            if name == "notebook running":
                notebook = Notebook(url, token, runtime, time.monotonic() + seconds)
            elif name == "scikit-learn imported":
                notebook.run(LEARN)
            # Until what a start leaves to be done is done.
            time.sleep(2)
            yield {"baseline": name, "use_mib": memory.in_use() // memory.MIB, "peak_mib": memory.peak(), "limit_mib": memory.limit()}


def shape(rows: int, cols: int, model: str | None, seconds: int) -> Iterator[dict[str, Any]]:
    """An array of this shape, and a model of it.

    The model is imported before the array is made: what is in use then is what a fit begins with, as in the book.
    """
    found: dict[str, Any] = {"rows": rows, "cols": cols, "model": model, "ended": "done", "use_mib": None, "fit_mib": None, "score": None}
    steps = {"import": f"from {MODELS[model]} import {model}"} if model else {}
    steps["array"] = ARRAY.format(rows=rows, cols=cols)
    if model:
        steps["fit"] = f"model = {model}().fit(X, y)"
        steps["score"] = "print(model.score(X, y))"
    runtime = Path(tempfile.mkdtemp())
    with jupyterlab(runtime) as (url, token):
        begun = time.monotonic()
        notebook = Notebook(url, token, runtime, begun + seconds)
        watch = memory.Watch()
        watch.start()
        try:
            for step, code in steps.items():
                found["step"] = step
                if step == "fit":
                    notebook.run(MARK)
                said = notebook.run(code)
                if step == "array":
                    found["use_mib"] = memory.in_use() // memory.MIB
                if step == "fit":
                    found["fit_mib"] = round(float(notebook.run(GROWN)), 1)
                found["score"] = float(said) if step == "score" else None
        except OutOfMemoryError:
            found["ended"] = "out of memory"
        except TimeoutError:
            found["ended"] = "cut"
        # What was in use is needed, also between two looks.
        found |= {
            "needed_mib": max(watch.end() or 0, found["use_mib"] or 0) or None,
            "peak_mib": memory.peak(),
            "limit_mib": memory.limit(),
        }
        yield found | {"seconds": round(time.monotonic() - begun, 1)}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="+")
    parser.add_argument("--seconds", type=int, default=300)
    given = parser.parse_args(arguments)
    if given.what == ["baselines"]:
        found = baselines(given.seconds)
    else:
        rows, cols, *model = given.what
        found = shape(int(rows), int(cols), model[0] if model else None, given.seconds)
    for each in found:
        print(json.dumps(each), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
