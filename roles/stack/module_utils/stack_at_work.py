"""Which kernels and batch runs are at work: a machine that is stopped would end them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from ansible.module_utils.stack_docker import DockerError, inside
from ansible.module_utils.stack_engine import RUNNING, Engine, of_project, one_off
from ansible.module_utils.stack_runs import facts, is_run

#: Asks the Jupyter server of its own container, at the port, the path and with the token that it has written down, for its kernels and the
#: notebooks that have them. One that does not answer within seconds is of no help.
LOOK = r"""
import glob, json, os, ssl, urllib.request

def ask(said, path):
    url = f"{'https' if said['secure'] else 'http'}://127.0.0.1:{said['port']}{said['base_url']}api/{path}"
    request = urllib.request.Request(url, headers={"Authorization": f"token {said['token']}"})
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
    with opener.open(request, timeout=10) as answer:
        return json.loads(answer.read())

folder = os.environ.get("JUPYTER_RUNTIME_DIR", "/tmp/jupyter-runtime")
files = sorted(glob.glob(f"{folder}/jpserver-*.json"), key=os.path.getmtime)
with open(files[-1]) as file:
    said = json.load(file)
paths = {each["kernel"]["id"]: each["path"] for each in ask(said, "sessions") if each.get("kernel")}
print(json.dumps([{"path": paths.get(each["id"]), "state": each["execution_state"]} for each in ask(said, "kernels")]))
"""
#: A measurement is such a container too.
_MEASURE = "/slipway/measure"


def look(names: Iterable[str]) -> dict[str, Any]:
    """What is `busy` in these stacks, in words, and the stacks whose Jupyter does not answer (`unseen`). Raises OSError."""
    busy, unseen = [], []
    containers = Engine().ask("/containers/json")
    for name in names:
        jupyter = of_project(name, containers).get("jupyter")
        if jupyter and jupyter["State"] == "running":
            try:
                busy += kernels(name, json.loads(inside(jupyter["Id"], LOOK)))
            except (DockerError, ValueError):
                unseen.append(name)
        for item in containers:
            if item["Labels"].get("com.docker.compose.project") == name and one_off(item) and item["State"] in RUNNING:
                # One that has ended meanwhile is no longer there.
                with suppress(OSError):
                    busy.append(run(item, Engine().ask(f"/containers/{item['Id']}/json")))
    return {"busy": busy, "unseen": unseen}


def kernels(stack: str, said: Iterable[Mapping[str, Any]]) -> list[str]:
    """Those that are at work, by what the server says of all: one that is idle, or was never asked for anything, is not."""
    found = [str(each["path"]) if each["path"] else None for each in said if each["state"] == "busy"]
    return [f"the kernel of {plain(path)} in {stack}" if path else f"a kernel without a notebook in {stack}" for path in found]


def run(item: Mapping[str, Any], inspected: Mapping[str, Any]) -> str:
    """A batch run, a measurement, or another `docker compose run`, in words."""
    stack, name = item["Labels"]["com.docker.compose.project"], item["Names"][0].lstrip("/")
    if is_run(item):
        return f"the run {plain(name)} of {plain(str(facts(inspected)['notebook']))} in {plain(stack)}"
    if _MEASURE in item.get("Command", ""):
        return f"a measurement ({plain(name)}) in {plain(stack)}"
    return f"the container {plain(name)} in {plain(stack)}"


def plain(text: str) -> str:
    """Without what a terminal would take for a command of its own."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
