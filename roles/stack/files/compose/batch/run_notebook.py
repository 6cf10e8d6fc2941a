"""Run a notebook from its begin to its end, in a container of its own.

    run_notebook.py NOTEBOOK OUTPUT [NAME=VALUE …] [--text=NAME=VALUE …] [--yaml=YAML …] [--kernel=NAME] [--digest=WORD]

Both paths are relative to the project's folder, and the notebook's own folder is where it runs. OUTPUT is the notebook
with what its cells gave, also where one failed. A value is read as the notebook's default is. Exit codes: 0 every cell ran,
or the notebook ended itself early and well, 1 a cell failed or output was lost, 2 nothing could be run, 137 out of memory,
130 and 143 stopped by a signal.

The output's metadata tell of the run from its begin on, under `slipway`: `notebook`, `parameters`, `kernel` and `digest`
(if they were given), `begun`, `seconds`, `state` (running, or done), `exit_code`, `place` (the cell), `peak_mib` and `limit_mib` of the
container, and in the end `needed_mib`: of the peak, what were no files.

papermill puts the parameters in; nbclient, on which papermill stands too, runs the cells: papermill keeps the kernel's process
and a cell's reply to itself, and by them the way that a kernel ended is told, and who goes first when memory runs out.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import slipway_memory as memory
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from run_output import Stream, write
from run_parameters import json_value
from run_progress import Progress, indented, tell
from run_request import PROJECT, RefusedError, Request, parse, prepare, runnable

#: Seconds between two writes of the output while the notebook runs, at least.
SAVE_SECONDS = 5
#: Seconds that the output of a cell may take to arrive after the cell's end.
OUTPUT_SECONDS = 600
#: In the kernel: how many messages it has sent.
COUNT = "__import__('ipykernel.kernelapp').kernelapp.IPKernelApp.instance().iopub_thread.slipway_count()"
BEGIN = "__import__('runpy').run_path('/slipway/kernel_output.py') and None"


class ExitedError(Exception):
    """A cell has ended the notebook by exit() or quit(); the argument is its status."""


class LostError(Exception):
    """Output was sent and did not arrive; the text says how much."""


class Runner(NotebookClient):  # type: ignore[misc]
    """Runs the cells; shows what they print; knows how its kernel ended."""

    def __init__(self, request: Request, nb: nbformat.NotebookNode, kernel: str, parameters: dict[str, Any]) -> None:
        place = {"metadata": {"path": str(request.notebook.parent)}}
        hooks = {"on_notebook_start": self.prepare_output, "on_cell_executed": self.executed}
        # After a cell's end its output may take a while to arrive; what does not is lost, and the run says so.
        patient = {"timeout": None, "startup_timeout": 120, "iopub_timeout": OUTPUT_SECONDS, "raise_on_iopub_timeout": True}
        super().__init__(nb, kernel_name=kernel, resources=place, **patient, **hooks)
        self.request, self.cells, self.parameters = request, runnable(nb), parameters
        self.stream: Stream | None = None
        #: Messages that arrived, from the moment on at which the kernel had sent `sent`.
        self.arrived, self.sent = 0, 0
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

    async def prepare_output(self, notebook: nbformat.NotebookNode) -> None:
        """Let the kernel's output wait for this program, and count it on both sides. Another language's kernel does neither."""
        if self.km.kernel_spec.language != "python":
            return
        sent = self.kc.execute(BEGIN, silent=True, user_expressions={"sent": COUNT})
        reply = await self.async_wait_for_reply(sent)
        while True:
            message = await self.kc.iopub_channel.get_msg(timeout=OUTPUT_SECONDS)
            if message["parent_header"].get("msg_id") == sent and message["content"].get("execution_state") == "idle":
                break
        # With the word that it is idle.
        self.sent = _counted(reply) + 1
        execute, get = self.kc.execute, self.kc.iopub_channel.get_msg

        async def counting(**options: Any) -> Any:
            message = await get(**options)
            self.arrived += 1
            return message

        self.kc.iopub_channel.get_msg = counting
        self.kc.execute = functools.partial(execute, user_expressions={"sent": COUNT})

    def executed(self, cell: Any, cell_index: int, execute_reply: Any) -> None:
        """Called with the kernel's reply, when the cell's output has arrived: one that says `exit` comes before the kernel ends."""
        content = execute_reply["content"]
        if content["status"] == "ok" and content.get("user_expressions"):
            # And the word that it is idle.
            lost = _counted(execute_reply) + 1 - self.sent - self.arrived
            if lost > 0:
                raise LostError(f"{lost} messages of its output, or of an earlier cell's, did not arrive")
        for payload in content.get("payload", []):
            # exit(3) gives its number in this place; True is IPython's own way to keep the kernel.
            kept = payload.get("keepkernel")
            if payload.get("source") == "ask_exit" and kept is not True and content["status"] == "ok":
                raise ExitedError(kept or 0)

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        if msg["msg_type"] == "stream":
            self.progress.text(msg["content"]["text"])
        return super().process_message(msg, cell, cell_index)

    def output(self, outs: list[Any], msg: Any, display_id: str | None, cell_index: int) -> Any:
        content, stream = msg["content"], self.stream
        hooked = self.output_hook_stack[msg["parent_header"].get("msg_id")] or self.clear_before_next_output
        goes_on = stream and outs and outs[-1] is stream.output and stream.output.name == content.get("name")
        if stream and goes_on and msg["msg_type"] == "stream" and not hooked:
            stream.add(content["text"])
            return stream.output
        made = super().output(outs, msg, display_id, cell_index)
        if made and made.output_type == "stream":
            self.settle()
            self.stream = Stream(made)
        return made

    def settle(self) -> None:
        """Put the text of the last stream together."""
        if self.stream:
            self.stream.settle()

    def traceback(self) -> str:
        """Of the last cell that ran; nbclient's own text repeats the source and all that was printed."""
        return "\n".join(line for output in self.cell.outputs if output.output_type == "error" for line in output.traceback)

    def tell(self, **facts: Any) -> None:
        """Write down in the output how the run goes."""
        told = self.nb.metadata.setdefault("slipway", nbformat.NotebookNode())
        told.update(place=self.progress.place, peak_mib=memory.peak(), limit_mib=memory.limit(), **facts)
        told.seconds = round(time.monotonic() - self.progress.begun, 1)

    def save(self) -> None:
        """Write the output."""
        self.settle()
        write(self.nb, self.request.output)
        self.saved = time.monotonic()


def _counted(reply: Any) -> int:
    """The kernel's answer to COUNT. Raises LostError if it has none."""
    answer = reply["content"].get("user_expressions", {}).get("sent", {})
    if answer.get("status") != "ok":
        raise LostError(f"the kernel cannot count its output: {answer.get('evalue') or reply['content'].get('evalue')}")
    return int(answer["data"]["text/plain"])


def run(runner: Runner) -> int:
    """Run every cell, tell what went wrong, and return the exit code."""
    request = runner.request
    notebook = str(request.notebook.relative_to(PROJECT))
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    runner.nb.metadata.pop("slipway", None)
    parameters = json_value(runner.parameters)
    asked = {"notebook": notebook, "parameters": parameters, "kernel": request.kernel, "digest": request.digest}
    runner.tell(**asked, begun=begun, state="running", exit_code=None)
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
    problem, early = "", ""
    try:
        asyncio.run(runner.async_execute())
    except CellExecutionError as failed:
        # As papermill: these are the ways to say that there is nothing more to do.
        if failed.ename == "SystemExit" and failed.evalue in ("", "0", "None", "False"):
            early = "SystemExit"
        problem = f"{progress.place} failed: {failed.ename}: {failed.evalue}\n\n{indented(progress.source)}\n\n{runner.traceback()}"
    except ExitedError as exited:
        early = "" if exited.args[0] else "exit()"
        problem = f"{progress.place} failed: exit({exited.args[0]!r})\n\n{indented(progress.source)}"
    except (LostError, CellTimeoutError) as lost:
        problem = f"{progress.place}: output was lost: {lost}\n\n{indented(progress.source)}"
    except DeadKernelError:
        problem = f"{progress.place}: the kernel ended, {ending(runner)}\n\n{indented(progress.source)}"
    except asyncio.CancelledError:
        problem = "stopped"
    except RuntimeError as unready:
        problem = f"the kernel does not start: {unready}, {ending(runner)}"
    if runner.stopped:
        tell(progress, f"stopped by {runner.stopped.name} in {progress.place}")
        return 128 + runner.stopped
    if early:
        progress.line(f"the notebook ended early in {progress.place}, by {early}: no later cell was run; {memory.used()}")
        return 0
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
