"""An extension of the Jupyter server: it reports whose memory ran out, in the server's log and in a file that `status` reads. And it
has JupyterLab open in the project's folder, and the server answer under the loopback's names alone.

The host's kernel counts what it kills in a container, and says no more. Whose it was is seen here, where the kernels of
notebooks are children: one that SIGKILL has ended while the count rose. What remains of the count was another process.
"""

import json
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from subprocess import Popen
from typing import Any

import slipway_memory as memory
from tornado.ioloop import PeriodicCallback

#: In the container's own layer: it outlives a restart, and goes with the container, which a change of its limit makes anew.
TOLD = Path("/var/tmp/slipway-out-of-memory.jsonl")  # noqa: S108 (the container's own)
#: How many lines of it are kept.
MOST = 20
LOOK_SECONDS = 1
#: A process is counted before it has ended: to give back gigabytes takes it a while.
ENDS_SECONDS = 5


class Watch:
    """Looks at the count and at the kernels."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.count = memory.kills()
        #: The id of each kernel, by its process: a kernel that is started again keeps its id.
        self.kernels: dict[Popen[bytes], str] = {}
        #: When each of those was counted of which nobody knows yet what it was.
        self.unknown: list[float] = []

    async def look(self) -> None:
        manager = self.app.kernel_manager
        for kernel in manager.list_kernel_ids():
            provisioner = getattr(manager.get_kernel(kernel), "provisioner", None)
            if process := getattr(provisioner, "process", None):
                self.kernels[process] = kernel
        # Before the count is read: what has ended by then was counted.
        ended = {process: kernel for process, kernel in self.kernels.items() if process.poll() is not None}
        count = memory.kills()
        self.unknown += [time.monotonic()] * (count - self.count)
        self.count = count
        for process, kernel in ended.items():
            del self.kernels[process]
            if process.returncode == -signal.SIGKILL and self.unknown:
                self.unknown.pop(0)
                self.tell("kernel", await self.notebook(kernel))
        while self.unknown and time.monotonic() - self.unknown[0] > ENDS_SECONDS:
            self.unknown.pop(0)
            self.tell("process", None)

    async def notebook(self, kernel: str) -> str | None:
        """The path of its notebook, if it has one; a console has none."""
        sessions = await self.app.session_manager.list_sessions()
        mine = (each["path"] for each in sessions if each["kernel"]["id"] == kernel and each["type"] == "notebook")
        return next(mine, None)

    def tell(self, who: str, notebook: str | None) -> None:
        what = "a process in the container" if who == "process" else "a kernel without a notebook"
        if notebook is not None:
            what = "the kernel of " + "".join(letter if letter.isprintable() else "?" for letter in notebook)
        self.app.log.warning("out of memory: %s was killed; %s", what, memory.used())
        facts = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "who": who, "notebook": notebook}
        told = TOLD.read_text().splitlines()[1 - MOST :] if TOLD.exists() else []
        told.append(json.dumps(facts | {"limit_mib": memory.limit(), "peak_mib": memory.peak()}))
        whole = TOLD.with_suffix(".part")
        whole.write_text("\n".join(told) + "\n")
        whole.replace(TOLD)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "slipway_kernels"}]


def _load_jupyter_server_extension(app: Any) -> None:
    # Its end would be that of all kernels.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("0")
    manager = app.contents_manager
    # Unless the user's settings name another one. Without the library's own check: it leaves another event loop behind as the current one,
    # and so it does for a folder of the user's; hence the server's own loop below.
    if not manager.preferred_dir and Path(getattr(manager, "root_dir", ""), "work").is_dir():
        with manager.cross_validation_lock:
            manager.preferred_dir = "work"
    # At every address of its container it would take any Host for its own: a web page may have a name lead to 127.0.0.1 (DNS rebinding). A
    # server that is public has the setting on its command line.
    if "allow_remote_access" not in app.config.ServerApp:
        app.web_app.settings["allow_remote_access"] = False
    app.io_loop.add_callback(PeriodicCallback(Watch(app).look, LOOK_SECONDS * 1000).start)
