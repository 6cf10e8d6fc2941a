"""What keeps Docker's settings of the user from being used, if something does: pure, but for the questions that the caller answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

#: What to do about it.
MEND = "Mend it, or name another folder of settings (DOCKER_CONFIG, or stack_docker_config)."


def fault(path: str, text: str, installed: Callable[[str], bool]) -> str | None:
    """Why no credentials can be read from this file, in a line that names it and its key; None if they can. `installed` says whether
    there is a program of that name."""
    try:
        settings = json.loads(text)
    except ValueError as wrong:
        return f"{path}: it is no JSON ({wrong}). {MEND}"
    if not isinstance(settings, dict):
        return f"{path}: it is {json.dumps(settings)[:60]}, no object in JSON. {MEND}"
    for key in ("auths", "credHelpers", "proxies", "HttpHeaders"):
        if not isinstance(settings.get(key) or {}, dict):
            return f"{path}: {key}: {json.dumps(settings[key])[:60]} is no object in JSON. {MEND}"
    for key, helper in _helpers(settings):
        if not isinstance(helper, str):
            return f"{path}: {key}: {json.dumps(helper)[:60]} is no text. {MEND}"
        if not installed(f"docker-credential-{helper}"):
            return f"{path}: {key}: {helper}: the program docker-credential-{helper} is not installed. Remove the key, or install it."
    return None


def _helpers(settings: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each key that names a helper, with the helper."""
    if settings.get("credsStore"):
        yield "credsStore", settings["credsStore"]
    for registry, helper in (settings.get("credHelpers") or {}).items():
        yield f"credHelpers: {registry}", helper
