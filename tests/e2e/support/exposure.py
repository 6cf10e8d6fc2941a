"""A public Jupyter: its variables, as a user's own file has them, and what a browser sees of it."""

from __future__ import annotations

import hashlib
import json
import ssl
import urllib.request
from pathlib import Path
from typing import Any

NAMED = "198.18.0.0/15"
#: {tls} is a folder of certificates.
OWN = {"stack_tls_certificate": "{tls}/own.crt", "stack_tls_key": "{tls}/own.key"}
PUBLIC: dict[str, Any] = {"jupyter_exposure": "public", "jupyter_public_cidrs": [NAMED]}


def filled(variables: dict[str, Any], tls: Path) -> dict[str, Any]:
    """The variables with the folder's name."""
    return dict(json.loads(json.dumps(variables).replace("{tls}", str(tls))))


def get(url: str, certificate: Path) -> str:
    """The page, from a server that has the key of this certificate; by no proxy."""
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(url, timeout=30) as answer:
        return str(answer.read().decode())


def fingerprint(address: str) -> str:
    """Of the certificate that the server shows, as `openssl x509 -fingerprint -sha256` prints it."""
    shown = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((address, 443)))
    return ":".join(f"{byte:02X}" for byte in hashlib.sha256(shown).digest())
