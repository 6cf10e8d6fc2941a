"""The internet of AWS's own inventory, in the lab: names that its roles ask beside EC2, answered by a container of the lab's own.

Started by `lab aws` alone (lab/aws.py). A host sees them if its image is Canonical's, or was made from such a machine; a command that has
the API for its proxy sees them too, and nothing else through it. Other hosts and this computer's resolver know nothing of them.
"""

from __future__ import annotations

import http
import selectors
import socket
from http.server import BaseHTTPRequestHandler
from typing import Any

from lab.config import Lab

#: images/internet/nginx.conf has what each of them answers.
NAMES = ("auth.docker.io", "checkip.amazonaws.com", "download.docker.com", "quay.io", "registry-1.docker.io")
#: Canonical's account, whose image AWS's inventory asks for.
CANONICAL = "099720109477"
#: On a host: the lab's authority, as Debian and Ubuntu want one of the administrator's own, and the file that they make of all of them.
AUTHORITY = "/usr/local/share/ca-certificates/slipway-lab.crt"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
_HTTPS = 443
_SECONDS = 10


def address(lab: Lab) -> str:
    """Where they answer, in the public network: beyond the addresses that hosts are given."""
    return str(lab.public_cidr[-6])


def is_seen_from(image: Any) -> bool:
    """Whether machines of this image see them."""
    made_from = getattr(image, "instance", None)
    return image.owner_id == CANONICAL or bool(made_from and getattr(made_from, "sees_internet", False))


def relay(handler: BaseHTTPRequestHandler, lab: Lab) -> None:
    """Answer CONNECT, as a proxy does (RFC 9110, 9.3.6): to these names, and to no others."""
    handler.close_connection = True
    name, _, port = handler.path.rpartition(":")
    if name.lower() not in NAMES or port != str(_HTTPS):
        return _refuse(handler, http.HTTPStatus.FORBIDDEN, f"The lab answers for {', '.join(NAMES)} alone, at port {_HTTPS}.")
    try:
        far = socket.create_connection((address(lab), _HTTPS), timeout=_SECONDS)
    except OSError as failure:
        return _refuse(handler, http.HTTPStatus.BAD_GATEWAY, f"{failure}. Start it with: python orchestrate.py lab aws")
    with far:
        handler.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        _join(handler.connection, far)


def _refuse(handler: BaseHTTPRequestHandler, status: http.HTTPStatus, why: str) -> None:
    """In the line of the status: clients show nothing else of a proxy."""
    handler.wfile.write(f"HTTP/1.1 {status} {why}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())


def _join(near: socket.socket, far: socket.socket) -> None:
    """Pass on what each of them sends, until one has no more to say."""
    with selectors.DefaultSelector() as ready:
        for one, other in ((near, far), (far, near)):
            one.settimeout(None)
            ready.register(one, selectors.EVENT_READ, other)
        while True:
            for key, _ in ready.select():
                try:
                    sent = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    key.data.sendall(sent)
                except OSError:
                    return
                if not sent:
                    return
