"""Run a notebook from its begin to its end, in a container of its own.

    run_notebook.py NOTEBOOK OUTPUT [NAME=VALUE …]

Both paths are relative to the project's folder, and the notebook's own folder is where it runs. OUTPUT is the notebook
with what its cells gave, also where one failed. Values are typed as papermill's `-p` does. Exit codes: 0 every cell ran,
1 one failed, 2 nothing could be run, 137 out of memory, 130 and 143 stopped by a signal.

The output's metadata tell of the run from its begin on, under `slipway`: `notebook` and `parameters`, `begun`, `seconds`,
`state` (running, or done), `exit_code`, `place` (the cell), `peak_mib` and `limit_mib` of the container, and in the end
`needed_mib`: of the peak, what were no files.

papermill puts the parameters in; nbclient, on which papermill stands too, runs the cells: papermill keeps the kernel's process
and a cell's reply to itself, and by them the way that a kernel ended is told, and who goes first when memory runs out.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import slipway_memory as memory
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from run_request import PROJECT, RefusedError, Request, parse, prepare, runnable

#: Seconds between two writes of the output while the notebook runs, at least.
SAVE_SECONDS = 5
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class KernelExitedError(Exception):
    """A cell has asked its own kernel to end."""


@dataclass
class Progress:
    """Which of the code cells runs, and since when the notebook does."""

    total: int
    number: int = 0
    source: str = ""
    begun: float = field(default_factory=time.monotonic)
    #: From its begin to the end of the last cell that ended.
    seconds: float = 0
    #: Whether the terminal is at the begin of a line.
    fresh: bool = True

    @property
    def place(self) -> str:
        return f"cell {self.number} of {self.total}"

    def next(self, source: str) -> None:
        self.number, self.source = self.number + 1, source
        first = source.strip().splitlines()[0]
        self.line(f"[{self.number}/{self.total}] In [{self.number}]: {first}  ({time.monotonic() - self.begun:.1f} s)")

    def line(self, text: str) -> None:
        self.text(("" if self.fresh else "\n") + text + "\n")

    def text(self, text: str) -> None:
        print(text, end="", flush=True)
        self.fresh = text.endswith("\n")


class Runner(NotebookClient):  # type: ignore[misc]
    """Runs the cells; shows what they print; knows how its kernel ended."""

    def __init__(self, request: Request, nb: nbformat.NotebookNode, kernel: str) -> None:
        place = {"metadata": {"path": str(request.notebook.parent)}}
        super().__init__(nb, kernel_name=kernel, timeout=None, startup_timeout=120, resources=place, on_cell_executed=self.executed)
        self.request, self.cells = request, runnable(nb)
        self.progress = Progress(len(self.cells))
        self.process: subprocess.Popen[bytes] | None = None
        self.cell = nbformat.NotebookNode(outputs=[])
        self.stopped: signal.Signals | None = None
        self.saved = time.monotonic()

    def create_kernel_manager(self) -> Any:
        manager = super().create_kernel_manager()
        # By sockets of the file system: the kernel warns of TCP, which other containers reach. The kernel's folder is another.
        manager.transport, manager.ip = "ipc", f"{tempfile.mkdtemp()}/kernel"
        return manager

    async def async_start_new_kernel(self, **options: Any) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        # In the place of nbclient's own, which leave the notebook waiting for a kernel that they ended.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop, number, task)
        await super().async_start_new_kernel(**options)
        self.process = self.km.provisioner.process
        # Where memory runs out the kernel goes, and this program stays to tell of it.
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.process.pid}/oom_score_adj").write_text("1000")

    def stop(self, number: signal.Signals, task: asyncio.Task[Any]) -> None:
        self.stopped = signal.Signals(number)
        self.shutdown_kernel = "immediate"
        task.cancel()

    async def async_execute_cell(self, cell: Any, cell_index: int, *args: Any, **options: Any) -> Any:
        if cell_index in self.cells:
            self.cell = cell
            self.progress.next(self.cells[cell_index])
        done = await super().async_execute_cell(cell, cell_index, *args, **options)
        self.progress.seconds = time.monotonic() - self.progress.begun
        if time.monotonic() - self.saved >= SAVE_SECONDS:
            self.tell()
            self.save()
        return done

    def executed(self, cell: Any, cell_index: int, execute_reply: Any) -> None:
        """Called with the kernel's reply: one that says `exit` comes before the kernel ends."""
        for payload in execute_reply["content"].get("payload", []):
            if payload.get("source") == "ask_exit" and not payload.get("keepkernel"):
                raise KernelExitedError

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        if msg["msg_type"] == "stream":
            self.progress.text(msg["content"]["text"])
        return super().process_message(msg, cell, cell_index)

    def traceback(self) -> str:
        """Of the last cell that ran; nbclient's own text repeats the source and all that was printed."""
        return "\n".join(line for output in self.cell.outputs if output.output_type == "error" for line in output.traceback)

    def tell(self, **facts: Any) -> None:
        """Write down in the output how the run goes."""
        told = self.nb.metadata.setdefault("slipway", nbformat.NotebookNode())
        told.update(place=self.progress.place, peak_mib=memory.peak(), limit_mib=memory.limit(), **facts)
        told.seconds = round(time.monotonic() - self.progress.begun, 1)

    def save(self) -> None:
        """Write the output; whoever reads it meanwhile finds the last one whole."""
        self.request.output.parent.mkdir(parents=True, exist_ok=True)
        whole = self.request.output.with_name(f".{self.request.output.name}.part")
        nbformat.write(self.nb, whole)
        whole.replace(self.request.output)
        self.saved = time.monotonic()


def run(runner: Runner) -> int:
    """Run every cell, tell what went wrong, and return the exit code."""
    request = runner.request
    notebook = str(request.notebook.relative_to(PROJECT))
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    runner.nb.metadata.pop("slipway", None)
    runner.tell(notebook=notebook, parameters=request.parameters, begun=begun, state="running", exit_code=None)
    # Whoever finds it so, and no container, knows that the run was ended from outside.
    runner.save()
    code, watch = 1, memory.Watch()
    watch.start()
    try:
        code = executed(runner)
    finally:
        # What nbclient has registered fails where there is no kernel.
        atexit.unregister(runner._cleanup_kernel)
        runner.tell(state="done", exit_code=code, needed_mib=watch.end())
        runner.save()
    return code


def executed(runner: Runner) -> int:
    """Run every cell and tell what went wrong. Returns the exit code."""
    progress, before = runner.progress, memory.kills()
    problem = ""
    try:
        asyncio.run(runner.async_execute())
    except CellExecutionError as failed:
        problem = f"{progress.place} failed: {failed.ename}: {failed.evalue}\n\n{indented(progress.source)}\n\n{runner.traceback()}"
    except KernelExitedError:
        problem = f"{progress.place} has ended its own kernel, as exit() does\n\n{indented(progress.source)}"
    except DeadKernelError:
        problem = f"{progress.place}: the kernel ended, {ending(runner)}\n\n{indented(progress.source)}"
    except asyncio.CancelledError:
        problem = "stopped"
    except RuntimeError as unready:
        problem = f"the kernel does not start: {unready}, {ending(runner)}"
    if runner.stopped:
        tell(progress, f"stopped by {runner.stopped.name} in {progress.place}")
        return 128 + runner.stopped
    if not problem:
        progress.line(f"{progress.number} of {progress.total} cells ran in {progress.seconds:.1f} s; {memory.used()}")
        return 0
    tell(progress, problem + memory.shared(problem))
    if memory.kills() > before:
        tell(progress, f"out of memory in {progress.place}: {memory.used()}")
        return 137
    return 1


def ending(runner: Runner) -> str:
    code = runner.process.poll() if runner.process else None
    if code is None:
        return "and left no status"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"


def indented(source: str) -> str:
    return "\n".join(f"    {line}" for line in source.splitlines())


def tell(progress: Progress, text: str) -> None:
    """On standard error, in colours only where somebody sees them."""
    if not progress.fresh:
        progress.text("\n")
    print(text if sys.stderr.isatty() else COLOURS.sub("", text), file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    try:
        request = parse(arguments)
        runner = Runner(request, *prepare(request))
    except RefusedError as refused:
        print(refused, file=sys.stderr)
        return 2
    return run(runner)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
