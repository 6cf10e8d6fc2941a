"""The jupyter stand-in keeps the contract of the Jupyter Docker Stacks."""

import json
import ssl
import urllib.error
import urllib.request

import pytest

HOOKS = {
    "/usr/local/bin/start-notebook.d/10-sourced.sh": ("export FIRST_HOOK=$(id -u); false", 0o644),
    "/usr/local/bin/before-notebook.d/10-sourced.sh": ('export SECOND_HOOK="$FIRST_HOOK-$(id -u)"', 0o644),
    "/usr/local/bin/before-notebook.d/20-program": ('#!/bin/sh\ntouch "$HOME/hook-ran"', 0o755),
}
NOTEBOOK = {
    "cells": [
        {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": None,
         "source": "import pandas, sklearn.linear_model\nprint('sum', pandas.Series([20, 22]).sum())"}
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}  # fmt: skip
# After the libraries' own tests are cut out, everything else must still be importable.
IMPORTS = """
import IPython, ipywidgets, jupyterlab, matplotlib.pyplot, nbconvert, notebook, numpy.testing, pandas.testing, papermill
import psycopg2, pymongo, redis, scipy.optimize, scipy.special, scipy.stats, sklearn.ensemble, sklearn.utils._testing
import sqlalchemy
"""


def get(url, token=None):
    """Returns the status and body of an answer, whatever it is; a self-signed certificate is accepted."""
    request = urllib.request.Request(url, headers={"Authorization": f"token {token}"} if token else {})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(request, timeout=20, context=context) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def server_pid(box):
    """The server is the only child of tini, which is PID 1."""
    return int(box.out("cat", "/proc/1/task/1/children"))


@pytest.fixture(scope="module")
def refitted(start):
    """Started as root; the start overlaps with that of `server`."""
    environment = {"NB_USER": "ada", "NB_UID": "1234", "NB_GID": "500", "CHOWN_HOME": "yes", "GRANT_SUDO": "yes"}
    environment |= {"GEN_CERT": "yes", "JUPYTER_PORT": "9999", "JUPYTER_TOKEN": "t0ken"}
    environment |= {"DOCKER_STACKS_JUPYTER_CMD": "server", "NOTEBOOK_ARGS": "--ServerApp.base_url='/under/'"}
    return start("jupyter", environment=environment, user="root", files=HOOKS, publish=9999)


@pytest.fixture(scope="module")
def server(start, refitted):
    files = HOOKS | {"/run/token": ("t0ken", 0o444), "/home/jovyan/work/a.ipynb": (json.dumps(NOTEBOOK), 0o644)}
    box = start("jupyter", environment={"JUPYTER_TOKEN_FILE": "/run/token"}, files=files, publish=8888)
    return box.wait_healthy()


def test_api_answers_and_the_rest_needs_the_token(server):
    url = f"http://127.0.0.1:{server.port(8888)}"
    assert get(f"{url}/api")[0] == 200
    assert get(f"{url}/api/contents")[0] == 403
    assert get(f"{url}/api/contents", "wrong")[0] == 403
    assert "work" in get(f"{url}/api/contents", "t0ken")[1]
    assert get(f"{url}/lab", "t0ken")[0] == 200


def test_server_runs_as_jovyan_at_home_with_what_hooks_exported(server):
    pid = server_pid(server)
    assert (server.status("Uid", pid)[0], server.status("Gid", pid)[0]) == ("1000", "100")
    assert server.out("readlink", f"/proc/{pid}/cwd") == "/home/jovyan"
    variables = server.out("cat", f"/proc/{pid}/environ").split("\0")
    assert "SECOND_HOOK=1000-1000" in variables and "HOME=/home/jovyan" in variables
    assert server.out("ls", "/home/jovyan/hook-ran")


def test_packages_import_compiled_and_the_user_may_install_more(server):
    assert server.out("python", "-c", "import sys; print(sys.prefix, sys.version_info[:2])") == "/opt/conda (3, 11)"
    server.out("python", "-c", IMPORTS)
    server.out("pip", "check")
    folder = server.out("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    assert server.out("ls", f"{folder}/numpy/__pycache__")
    assert server.out("stat", "-c", "%A %G", folder) == "drwxrwsr-x users"
    server.out("touch", f"{folder}/new.py", "/opt/conda/bin/new")
    assert server.out("sh", "-c", "find /opt/conda ! -type l ! -group users -o -type d ! -perm -g+w") == ""


@pytest.mark.parametrize("command", ["jupyter nbconvert --to notebook --execute --stdout work/a.ipynb", "papermill work/a.ipynb -"])
def test_a_notebook_executes(server, command):
    assert "sum 42" in server.out(*command.split())


def test_started_as_root_it_becomes_the_user_asked_for(refitted):
    pid = server_pid(refitted.wait_healthy())
    assert (refitted.status("Uid", pid)[0], refitted.status("Gid", pid)[0]) == ("1234", "500")
    assert "100" in refitted.status("Groups", pid)
    variables = refitted.out("cat", f"/proc/{pid}/environ", user="1234:500").split("\0")
    assert {"HOME=/home/ada", "USER=ada", "SECOND_HOOK=0-0"} <= set(variables)
    assert refitted.out("readlink", f"/proc/{pid}/cwd", user="1234:500") == "/home/ada"
    assert refitted.out("stat", "-c", "%u:%g", "/home/ada", "/home/ada/work").split() == ["1234:500"] * 2
    assert refitted.out("sudo", "-n", "sh", "-c", "id -u; which pip", user="ada").split() == ["0", "/opt/conda/bin/pip"]


def test_gen_cert_port_and_arguments_are_obeyed(refitted):
    url = f"https://127.0.0.1:{refitted.wait_healthy().port(9999)}/under/api"
    assert get(f"{url}/contents")[0] == 403
    assert get(f"{url}/contents", "t0ken")[0] == 200
    assert refitted.out("stat", "-c", "%a %U", "/home/ada/.local/share/jupyter/notebook.pem") == "600 ada"
    assert refitted.stop() == 0


def test_other_commands_run_after_the_hooks_and_exit_with_their_code(start):
    environment = {"UNSET_ME": "x", "JUPYTER_ENV_VARS_TO_UNSET": "UNSET_ME"}
    box = start("jupyter", "sh", "-c", "echo $SECOND_HOOK$UNSET_ME.; exit 7", files=HOOKS, environment=environment)
    assert box.exit_code() == 7
    assert "1000-1000." in box.logs() and "10-sourced.sh failed, going on" in box.logs()
