"""For every Python of the container: each password of /run/secrets in the environment (redis_password becomes REDIS_PASSWORD),
a place before the Jupyter server where memory runs out, which slipway_kernels takes back for the server itself, and jobs of RQ without
a limit of time, unless one was set. The server imports nothing from the home: what a user has installed there is for kernels, and could
keep the server from starting."""

import os
import site
import sys
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder
from itertools import pairwise
from pathlib import Path
from typing import Any

for _secret in Path("/run/secrets").glob("*_password"):
    if os.access(_secret, os.R_OK):
        os.environ.setdefault(_secret.name.upper(), _secret.read_text().rstrip("\n"))


_SERVERS = ("jupyter-lab", "jupyter-labhub", "jupyter-notebook", "jupyter-server", "jupyterhub-singleuser")
if any(Path(_word).name in _SERVERS for _word in sys.orig_argv[1:3]):
    # In a virtual environment this comes before Python adds the folder, elsewhere after it.
    site.ENABLE_USER_SITE = False
    with suppress(ValueError):
        sys.path.remove(site.getusersitepackages())

_ADJUSTED = Path("/proc/self/oom_score_adj")
# The host's kernel kills the largest process, and adds so many thousandths of the limit to its size (proc_pid_oom_score_adj(5)). The
# server takes some 90 MiB, and the least limit is 256. An idle kernel takes some 52 MiB, and three of them leave no more than that for
# another process, which is then to be killed before them: so a kernel has the smaller value. The kernel of a run has more already.
_KERNEL = ("-m", "ipykernel_launcher") in pairwise(sys.orig_argv)
_SHARE = 400 if _KERNEL else 500
with suppress(OSError):
    if int(_ADJUSTED.read_text()) < _SHARE:
        _ADJUSTED.write_text(str(_SHARE))


class _Unlimited:
    """RQ's queues end each job after 180 seconds if they are not told otherwise. Here they do not; `job_timeout` works as ever."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "rq.queue":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            load = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                load(module)
                module.Queue.DEFAULT_TIMEOUT = -1

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Unlimited)  # type: ignore[arg-type]
