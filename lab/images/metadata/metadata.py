"""EC2's instance metadata service (IMDSv2) for the instances of a lab.

It knows the instance that asks by its private address, and reads what to say from a folder that the lab's API writes: a file an
address (lab/metadata.py). It stands outside of the hosts' network namespaces, so its packets' time to live counts as on EC2: the answer
with a token travels as many hops as the instance allows, one by default, and does not reach a container of the host.

Codes: "Use the Instance Metadata Service to access instance metadata", in the EC2 User Guide.
"""

from __future__ import annotations

import base64
import fcntl
import ipaddress
import json
import secrets
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ADDRESS = "169.254.169.254"
DATA = Path("/data")
LONGEST_SECONDS = 21600
VERSIONS = ("1.0", "2009-04-04", "2016-09-02", "2018-09-24", "2021-03-23", "latest")
TOKEN, LIFE = "X-aws-ec2-metadata-token", "X-aws-ec2-metadata-token-ttl-seconds"
#: linux/sockios.h
_SET_ADDRESS, _SET_MASK = 0x8916, 0x891C


class RefusalError(Exception):
    """An answer without data: its code of HTTP, and why."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Tokens:
    """The tokens that were given out, each for one address and some time."""

    def __init__(self) -> None:
        self._given: dict[str, tuple[str, float]] = {}
        self._changing = threading.Lock()

    def new(self, address: str, life: str | None) -> tuple[str, int]:
        """A token and its seconds. Raises RefusalError if the time is missing, no number, or not 1 to 21600."""
        if life is None or not life.isdecimal() or not 1 <= int(life) <= LONGEST_SECONDS:
            raise RefusalError(400, "Bad Request")
        now = time.monotonic()
        token = secrets.token_urlsafe(40)
        with self._changing:
            kept = {each: given for each, given in self._given.items() if given[1] > now}
            self._given = kept | {token: (address, now + int(life))}
        return token, int(life)

    def check(self, address: str, token: str | None, required: bool) -> None:
        """Raises RefusalError if the token is missing where one is required, old, or another instance's."""
        if token is None and not required:
            return
        whose, until = self._given.get(token or "", ("", 0.0))
        if whose != address or until < time.monotonic():
            raise RefusalError(401, "Unauthorized")


def found(known: dict[str, Any], path: str) -> bytes:
    """What a path shows: a value, or the names in a folder. Raises RefusalError if there is none."""
    version, *names = [part for part in path.split("/") if part] or [""]
    if not version:
        return "\n".join(VERSIONS).encode()
    if version not in VERSIONS:
        raise RefusalError(404, "Not Found")
    data = known["user_data"]
    if names == ["user-data"] and data is not None:
        return base64.b64decode(data)
    place: Any = known["tree"]
    for name in names:
        # A public key's folder is shown as 0=NAME, and asked for as 0.
        inside = {each.partition("=")[0]: value for each, value in place.items()} if isinstance(place, dict) else {}
        if name not in inside:
            raise RefusalError(404, "Not Found")
        place = inside[name]
    if isinstance(place, dict):
        shown = [each if "=" in each or not isinstance(value, dict) else f"{each}/" for each, value in sorted(place.items())]
        return "\n".join([*shown, *(["user-data"] if not names and data is not None else [])]).encode()
    return str(place).encode()


class Handler(BaseHTTPRequestHandler):
    """One connection of an instance."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "EC2ws", ""
    timeout = 30
    tokens = Tokens()

    def do_GET(self) -> None:
        """What a path shows."""
        try:
            known = self._known()
            if self.path.split("?")[0].rstrip("/") == "/latest/api/token":
                raise RefusalError(405, "Not Allowed")
            self.tokens.check(self.client_address[0], self.headers.get(TOKEN), known["tokens"] == "required")
            path = self.path.split("?")[0]
            self._say(200, found(known, path), "application/octet-stream" if path.endswith("user-data") else "text/plain")
        except RefusalError as refusal:
            self._refuse(refusal)

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        self.do_GET()

    def do_PUT(self) -> None:
        """A new token."""
        try:
            known = self._known()
            if self.path.split("?")[0] != "/latest/api/token":
                raise RefusalError(405, "Not Allowed")
            if "X-Forwarded-For" in self.headers:
                raise RefusalError(403, "Forbidden")
            token, seconds = self.tokens.new(self.client_address[0], self.headers.get(LIFE))
            # For the rest of this connection, so for a packet that is sent again too.
            self.connection.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, known["hops"])
            self.close_connection = True
            self._say(200, token.encode(), "text/plain", {LIFE: str(seconds), "Connection": "close"})
        except RefusalError as refusal:
            self._refuse(refusal)

    def do_POST(self) -> None:
        """Nothing is taken."""
        self._refuse(RefusalError(405, "Not Allowed"))

    def do_DELETE(self) -> None:
        """Nothing is removed."""
        self.do_POST()

    def _known(self) -> dict[str, Any]:
        """What the lab's API has written for the instance that asks."""
        try:
            known = dict(json.loads((DATA / f"{self.client_address[0]}.json").read_text()))
        except FileNotFoundError:
            raise RefusalError(404, "Not Found") from None
        if known["endpoint"] != "enabled":
            raise RefusalError(403, "Forbidden")
        return known

    def _refuse(self, refusal: RefusalError) -> None:
        # What was sent with the request is not read.
        self.close_connection = True
        self._say(refusal.code, f"{refusal.code} - {refusal}\n".encode(), "text/plain", {"Connection": "close"})

    def _say(self, code: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in ({"Content-Type": kind, "Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: a path may hold what is the instance's alone."""


class Server(ThreadingHTTPServer):
    """One that many hosts may ask at once, as they start."""

    daemon_threads = True
    request_queue_size = 128


def take_address(interface: str) -> None:
    """Give the interface the service's address beside its own (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for what, value in ((_SET_ADDRESS, ADDRESS), (_SET_MASK, "255.255.255.255")):
            address = struct.pack("HH4s8x", socket.AF_INET, 0, ipaddress.IPv4Address(value).packed)
            fcntl.ioctl(any_socket, what, struct.pack("16s16s", f"{interface}:1".encode(), address))


def main() -> None:
    """Serve until the end of the lab."""
    take_address("eth0")
    Server((ADDRESS, 80), Handler).serve_forever()


if __name__ == "__main__":
    main()
