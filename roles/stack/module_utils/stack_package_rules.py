"""Which packages differ between an image and its container, and how each could be installed again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

#: What an image may be called after the colon: https://docs.docker.com/reference/cli/docker/image/tag/
TAG = re.compile("[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
#: What may stand in a Dockerfile as it is.
_ADDRESS = re.compile(r"[A-Za-z0-9._~:/@%+=#&,-]+")
_VERSION = re.compile(r"[0-9][A-Za-z0-9.!_-]*")

#: A package as the container's Python tells of it (READ).
Facts = Mapping[str, Any]


def differences(image: Facts, container: Facts, clones: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """What the container has otherwise than its image; what somebody asked for comes first. `clones` are the sources of editable ones."""
    changed = {
        "pip": [
            _entry(was, now, *_pip_line(now, clones))
            for was, now in _pairs(image["pip"], container["pip"], ("version", "origin", "editable"))
        ],
        # Without a version: an archive of Debian packages has one at a time.
        "apt": [
            _entry(was, now, now["name"] if now and now["asked"] else None)
            for was, now in _pairs(image["apt"], container["apt"], ("version",))
        ],
    }
    return {kind: sorted(found, key=lambda each: (not each["asked"], each["name"].lower())) for kind, found in changed.items()}


def clones(frozen: str) -> dict[str, str]:
    """Of what `pip freeze` says (`-e git+https://…@COMMIT#egg=NAME`): where the editable installs of clones are from, by name."""
    found = {}
    for each in frozen.splitlines():
        source, _, fragment = each.removeprefix("-e ").partition("#")
        parts = dict(part.split("=", 1) for part in fragment.split("&") if "=" in part)
        if each.startswith("-e ") and "egg" in parts:
            folder = f"#subdirectory={parts['subdirectory']}" if "subdirectory" in parts else ""
            found[_plain(unquote(parts["egg"]))] = source + folder
    return found


def _pairs(image: Facts, container: Facts, fields: tuple[str, ...]) -> list[tuple[Facts | None, Facts | None]]:
    """What each of the two has, where that is not the same."""
    pairs = [(image.get(key), container.get(key)) for key in image.keys() | container.keys()]
    return [(was, now) for was, now in pairs if not was or not now or any(was[field] != now[field] for field in fields)]


def _entry(was: Facts | None, now: Facts | None, line: str | None, why: str | None = None) -> dict[str, Any]:
    one: Facts = now or was or {}
    versions = {"was": was and was["version"], "now": now and now["version"]}
    return {"name": one["name"], **versions, "asked": bool(one["asked"]), "home": bool(now and now.get("home")), "line": line, "why": why}


def _pip_line(facts: Facts | None, clones: Mapping[str, str]) -> tuple[str | None, str | None]:
    """What pip would be told to install this again, or why it could not be."""
    if facts is None:
        return None, None
    name, version = facts["name"], str(facts["version"])
    if facts["installer"] == "conda":
        return None, "conda installed it: write a RUN mamba install for it"
    if facts["editable"] or facts["origin"]:
        source = clones.get(_plain(name), "") if facts["editable"] else _source(facts["origin"])
        why = _unfit(source)
        return (None, why) if why else (f"{name} @ {source}", None)
    if "+" in version:
        return None, "only the index that it came from has this version: write a RUN pip install --index-url for it"
    return (f"{name}=={version}", None) if _VERSION.fullmatch(version) else (None, "pip cannot be asked for this version")


def _source(origin: Facts) -> str:
    """The address in a direct_url.json (https://packaging.python.org/en/latest/specifications/direct-url/), as `pip freeze` has it."""
    url, parts = str(origin.get("url", "")), []
    if vcs := origin.get("vcs_info"):
        url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    if hashed := (origin.get("archive_info") or {}).get("hash"):
        parts.append(hashed)
    if folder := origin.get("subdirectory"):
        parts.append(f"subdirectory={folder}")
    return url + ("#" + "&".join(parts) if parts else "")


def _unfit(source: str) -> str:
    """Why nothing can be installed from this address by a Dockerfile; empty where it can."""
    parts = urlsplit(source)
    if not parts.netloc:
        return "it was installed from a folder or a file of the container, which a new image does not have"
    if parts.scheme.rpartition("+")[2] != "https":
        return "it was not installed by https"
    if "@" in parts.netloc or parts.query:
        return "its address has a user, a password or a query, which may be secret"
    return "" if _ADDRESS.fullmatch(source) else "its address has characters that are not safe in a Dockerfile"


def _plain(name: str) -> str:
    """The name as pip compares it: https://packaging.python.org/en/latest/specifications/name-normalization/."""
    return re.sub("[-_.]+", "-", name).lower()
