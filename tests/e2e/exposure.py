"""The variables of a public Jupyter, as a user's own file has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NAMED = "198.18.0.0/15"
#: {tls} is a folder of certificates.
OWN = {"stack_tls_certificate": "{tls}/own.crt", "stack_tls_key": "{tls}/own.key"}
PUBLIC: dict[str, Any] = {"jupyter_exposure": "public", "jupyter_public_cidrs": [NAMED]}


def filled(variables: dict[str, Any], tls: Path) -> dict[str, Any]:
    """The variables with the folder's name."""
    return dict(json.loads(json.dumps(variables).replace("{tls}", str(tls))))
