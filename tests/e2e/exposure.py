"""The variables of a public Jupyter, as a user's own file has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.conftest import Checkout

NAMED = "198.18.0.0/15"
OWN = {"stack_tls_certificate": "{tls}/own.crt", "stack_tls_key": "{tls}/own.key"}
PUBLIC: dict[str, Any] = {"jupyter_exposure": "public", "jupyter_public_cidrs": [NAMED]}


def keep(checkout: Checkout, variables: dict[str, Any], tls: Path | None = None) -> Path:
    """Write the user's own variables file, as the README tells, and return its path."""
    path = checkout.path / "inventory" / "lab" / "group_vars" / "all" / "mine.yml"
    path.write_text(yaml.safe_dump(variables).replace("{tls}", str(tls)))
    return path
