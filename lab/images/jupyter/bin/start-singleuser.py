#!/usr/bin/env python3
"""Becomes JupyterHub's single-user server, with NOTEBOOK_ARGS and every argument passed on to it.

JupyterHub is not in this image: install the version of the hub, `pip install jupyterhub==...`.
"""

import os
import shlex
import shutil
import sys

if shutil.which("jupyterhub-singleuser") is None:
    sys.exit("jupyterhub-singleuser is missing: pip install the hub's version of jupyterhub into this image")

command = ["jupyterhub-singleuser", *shlex.split(os.environ.get("NOTEBOOK_ARGS", "")), *sys.argv[1:]]
os.execvp(command[0], command)  # noqa: S606 (the server takes this process's place, and so its signals)
