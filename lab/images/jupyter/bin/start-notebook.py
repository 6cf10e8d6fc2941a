#!/usr/bin/env python3
"""Becomes the Jupyter server; every argument is passed on to it.

DOCKER_STACKS_JUPYTER_CMD names the frontend (default: lab), NOTEBOOK_ARGS holds more arguments, and RESTARTABLE=yes
starts the server again whenever it ends.
https://jupyter-docker-stacks.readthedocs.io/en/latest/using/common.html
"""

import os
import shlex
import subprocess
import sys
import time

if "JUPYTERHUB_API_TOKEN" in os.environ:
    command = ["start-singleuser.py"]
else:
    command = ["jupyter", os.environ.get("DOCKER_STACKS_JUPYTER_CMD", "lab")]
    command += shlex.split(os.environ.get("NOTEBOOK_ARGS", ""))

command += sys.argv[1:]
while os.environ.get("RESTARTABLE") == "yes":
    subprocess.run(command, check=False)
    time.sleep(1)  # a server that cannot start must not take the machine's only CPU
os.execvp(command[0], command)  # noqa: S606 (the server takes this process's place, and so its signals)
