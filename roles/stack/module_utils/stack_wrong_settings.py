"""The user's settings that keep JupyterLab from starting: what the Python of a Jupyter image is told to find them, and how that is said."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from contextlib import suppress

# Run as the server is: by its user, in its container's surroundings. A line of JSON for each of the user's files that the server reads, if
# something in it is wrong: `path`, and `why`. In the end one with `read`: all of these files. A file is loaded in a process of its own, for
# it may end Python, or never end. With the argument `tls` the server is given its certificate by its command line.
WRONG = r"""
import glob, json, os, signal, sys, traceback

home = os.path.expanduser("~")
folder = os.environ.get("JUPYTER_CONFIG_DIR", os.path.join(home, ".jupyter"))
names = ("jupyter_config", "jupyter_server_config", "jupyter_lab_config", "jupyter_notebook_config")

def found():
    if not folder.startswith(home + "/") or not os.path.lexists(folder):
        return
    if not os.path.isdir(folder) or not os.access(folder, os.R_OK | os.X_OK):
        yield folder, True
        return
    for name in names:
        for path in (f"{folder}/{name}.py", f"{folder}/{name}.json", *sorted(glob.glob(f"{glob.escape(folder)}/{name}.d/*.json"))):
            if os.path.lexists(path):
                yield path, False

def unreadable(path, is_folder):
    if not os.path.exists(path):
        return f"it is a link to {os.readlink(path)}, which is not there"
    if is_folder:
        return f"Permission denied ({owner(path)})" if os.path.isdir(path) else "it is a file, not a folder"
    if not os.path.isfile(path):
        return "it is a folder, not a file" if os.path.isdir(path) else "it is not a file"
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except UnicodeDecodeError as wrong:
        return f"it is not UTF-8: the byte {wrong.object[wrong.start]:#04x} at {wrong.start}"
    except OSError as wrong:
        return f"{wrong.strerror} ({owner(path)})"
    if path.endswith(".json"):
        try:
            held = json.loads(text)
        except ValueError as wrong:
            return f"it is not JSON: {wrong}"
        if not isinstance(held, dict):
            return f"it holds a {type(held).__name__}, where JSON of the form {{...}} is read"

def owner(path):
    facts = os.stat(path)
    return f"mode {facts.st_mode & 0o777:04o}, owner {facts.st_uid}, read as {os.getuid()}"

def loaded(path):
    # What is wrong with its lines or its values.
    from traitlets.config import Config, TraitError
    from traitlets.config.loader import JSONFileConfigLoader, PyFileConfigLoader
    kind = PyFileConfigLoader if path.endswith(".py") else JSONFileConfigLoader
    try:
        settings = kind(os.path.basename(path), path=os.path.dirname(path)).load_config()
    except SystemExit as ended:
        return f"{line(path, ended)}it ends Python (exit {ended.code})"
    except SyntaxError as wrong:
        where = f"line {wrong.lineno}: " if wrong.filename == path and wrong.lineno else ""
        return f"{where}{type(wrong).__name__}: {wrong.msg}"
    except Exception as wrong:
        return f"{line(path, wrong)}{type(wrong).__name__}: {wrong}"
    from jupyter_server.serverapp import ServerApp
    from jupyterlab.labapp import LabApp
    for made in (ServerApp, LabApp):
        try:
            made(config=Config(settings))
        except TraitError as wrong:
            return str(wrong)
    return way(settings.get("ServerApp", {}), ServerApp)

def line(path, wrong):
    numbers = [frame.lineno for frame in traceback.extract_tb(wrong.__traceback__) if frame.filename == path]
    return f"line {numbers[-1]}: " if numbers else ""

def way(mine, server):
    # How this machine reaches the server: plain HTTP at port 8888 of every address, below /.
    fits = {"port": [8888], "ip": ["", "*", "0.0.0.0", "::"], "base_url": ["/", ""], "sock": [""], "certfile": [""]}
    needs = {"port": "the port 8888", "ip": "all addresses ('')", "base_url": "'/'", "sock": "no socket", "certfile": "HTTP, not TLS"}
    for name, values in fits.items():
        if name in mine and mine[name] not in values and [name, "tls"] != ["certfile", *sys.argv[1:]]:
            return f"ServerApp.{name} is {mine[name]!r}; the way to Jupyter here needs {needs[name]}"

def said(path):
    got, put = os.pipe()
    child = os.fork()
    if not child:
        os.close(got)
        # What a file prints is no answer.
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        signal.alarm(10)
        why = loaded(path)
        with os.fdopen(put, "w", errors="replace") as answer:
            answer.write(why or "")
        os._exit(0)
    os.close(put)
    with os.fdopen(got, errors="replace") as answer:
        why = answer.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {0: why, -signal.SIGALRM: "it takes more than 10 s"}.get(code, f"it ends Python ({code})")

paths = dict(found())
for path, is_folder in paths.items():
    why = unreadable(path, is_folder) or said(path)
    if why:
        print(json.dumps({"path": path, "why": " ".join(why.split())[:300]}), flush=True)
print(json.dumps({"read": list(paths)}), flush=True)
"""
HOME = "/home/jovyan"
#: For all of them.
SECONDS = 60


def wrong_settings(directory: str, tls: bool, start: str, compose: Sequence[str] = ("docker", "compose")) -> list[str]:
    """What is wrong with the settings of the Jupyter whose Compose files lie there, for people; nothing if that cannot be found out."""
    words = ["run", "--rm", "--no-deps", "--no-TTY", "--entrypoint", "python", "jupyter", "-s", "-", *["tls"] * tls]
    with suppress(subprocess.TimeoutExpired, ValueError):
        command = [*compose, "--progress", "quiet", *words]
        done = subprocess.run(command, cwd=directory, input=WRONG, capture_output=True, text=True, timeout=SECONDS)
        return told(done.stdout, start)
    return []


def told(answer: str, start: str) -> list[str]:
    """The script's answer for people; nothing without settings. `start` is what starts JupyterLab without them."""
    lines = [json.loads(line) for line in answer.splitlines() if line.startswith("{")]
    wrong = [f"  {_short(each['path'])}: {each['why']}" for each in lines if "why" in each]
    read = [_short(path) for each in lines for path in each.get("read", [])]
    if not read:
        return []
    found = ["This is wrong in the user's settings of JupyterLab:", *wrong]
    unknown = [f"It reads these settings of the user's: {_and(read)}."]
    return [*(found if wrong else unknown), f"`{start}` starts it without them, and leaves them as they are."]


def _short(path: str) -> str:
    return f"~{path.removeprefix(HOME)}" if path.startswith(f"{HOME}/") else path


def _and(names: Sequence[str]) -> str:
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])
