"""Code in a kernel of the running Jupyter, as a browser does it: a session by the server's API, and the kernel's own websocket."""

from __future__ import annotations

import json

#: Reads a list of [path, type, code] and prints for each how the kernel has answered: "ok", "error", or "restarting" where it ended.
#: A type that is null is a kernel without a session.
CLIENT = """
import asyncio, json, pathlib, sys, urllib.request, uuid
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

headers = {"Authorization": "token " + pathlib.Path("/run/secrets/jupyter_token").read_text().strip()}

def ask(what, **body):
    request = urllib.request.Request("http://127.0.0.1:8888/api/" + what, json.dumps(body).encode(), headers)
    return json.load(urllib.request.urlopen(request, timeout=60))

async def execute(path, kind, code):
    kernel = {"name": "python3"}
    kernel = ask("sessions", path=path, type=kind, name="", kernel=kernel)["kernel"] if kind else ask("kernels", **kernel)
    address = f"ws://127.0.0.1:8888/api/kernels/{kernel['id']}/channels?session_id={uuid.uuid4().hex}"
    socket = await websocket_connect(HTTPRequest(address, headers=headers))
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "", "session": uuid.uuid4().hex, "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    request = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
    await socket.write_message(json.dumps(request))
    while True:
        answer = json.loads(await asyncio.wait_for(socket.read_message(), 120))
        state = answer["content"].get("execution_state")
        if state in ("restarting", "dead"):
            return state
        if answer["header"]["msg_type"] == "execute_reply" and answer["parent_header"]["msg_id"] == header["msg_id"]:
            return answer["content"]["status"]

print(json.dumps([asyncio.run(execute(*each)) for each in json.loads(sys.argv[1])]))
"""

#: More than any small container has.
HOARD = "hoard = [bytes(range(256)) * 40960 for _ in range(200)]"


def words(*codes: tuple[str, str | None, str]) -> list[str]:
    """The command in Jupyter's container."""
    return ["python", "-c", CLIENT, json.dumps(codes)]
