"""The user ids of a host's stacks, as they lie there: the record, and the volumes that belong to them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.stack_beside import settings
from ansible.module_utils.stack_docker import docker
from ansible.module_utils.stack_engine import RUNNING, Engine, GoneError
from ansible.module_utils.stack_uid_rules import PLACES, VOLUMES, RecordError, read, uids

#: Root's alone to write; everyone reads it.
RECORD = Path("/etc/slipway/uids")
#: Seconds that a store has to flush before it is killed.
STORE_SECONDS = 60
#: Of a volume that no container has used yet.
_NEW_MODE = 0o700


class OwnerError(Exception):
    """A volume could not be given to its store's user; the text says which, and why."""


def recorded(record: Path = RECORD) -> dict[str, int]:
    """The first id of each stack's block. Raises RecordError and OSError."""
    with suppress(FileNotFoundError):
        return read(record.read_text("utf-8", "replace"))
    return {}


def of_stack(name: str) -> dict[str, int]:
    """The ids of a stack's stores; empty if it has none yet, or the record cannot be read: who writes it says why."""
    with suppress(OSError, RecordError):
        return uids(recorded()[name]) if name in recorded() else {}
    return {}


def owners(volumes: list[dict[str, Any]]) -> dict[str, set[int]]:
    """Which ids own the folders of these volumes, as the engine lists them, by stack."""
    found: dict[str, set[int]] = {}
    for each in volumes:
        stack = (each["Labels"] or {}).get("com.docker.compose.project") or each["Name"]
        with suppress(OSError):
            found.setdefault(stack, set()).add(os.lstat(each["Mountpoint"]).st_uid)
    return found


def wanted(directory: str, own: Mapping[str, int]) -> dict[str, int]:
    """The ids that the settings in a stack's folder name. Raises OwnerError if they are not its own.

    Those of a stack that an earlier version sent name none: its containers change the owner themselves.
    """
    found = {}
    lines = settings(Path(directory, ".env"))
    for store in PLACES:
        if said := lines.get(f"{store.upper()}_UID"):
            if said != str(own.get(store)):
                raise OwnerError(f"{directory}/.env has {store.upper()}_UID={said}, and {RECORD} gives {own.get(store, 'none')} to {store}")
            found[store] = own[store]
    return found


def give(name: str, store: str, uid: int) -> bool:
    """Give a store's volumes to its user, and say whether anything was changed. One that is not there is made; what uses one is stopped.

    Its folder itself changes owner last: where this was interrupted, that one is still the old. Raises OwnerError, OSError and DockerError.
    """
    changed = False
    for key in VOLUMES[store]:
        volume = f"{name}_{key}"
        folder, new = _there(name, key, volume)
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            facts = os.fstat(top)
            if (facts.st_uid, facts.st_gid) == (uid, uid):
                continue
            _stop(volume)
            for parent, entry in _entries(top, facts.st_dev):
                os.chown(entry, uid, uid, dir_fd=parent, follow_symlinks=False)
            # What is on the disk then is whole.
            os.sync()
            if new:
                os.fchmod(top, _NEW_MODE)
            os.fchown(top, uid, uid)
            changed = True
        finally:
            os.close(top)
    return changed


def _there(name: str, key: str, volume: str) -> tuple[str, bool]:
    """The folder of a volume, and whether it was made just now, with the labels by which Compose knows its own."""
    new = False
    try:
        facts = Engine().ask(f"/volumes/{volume}")
    except GoneError:
        labels = [
            word for what, value in (("project", name), ("volume", key)) for word in ("--label", f"com.docker.compose.{what}={value}")
        ]
        docker("volume", "create", *labels, volume)
        facts, new = Engine().ask(f"/volumes/{volume}"), True
    if facts["Driver"] != "local" or facts["Options"]:
        raise OwnerError(f"the volume {volume} is not a folder of the engine's")
    return str(facts["Mountpoint"]), new


def _stop(volume: str) -> None:
    """End what uses a volume: under a server that runs no file may change its owner."""
    for each in Engine().ask("/containers/json", filters=f'{{"volume": ["{volume}"]}}'):
        if each["State"] in RUNNING:
            Engine(timeout=10 * STORE_SECONDS).tell(f"/containers/{each['Id']}/stop", t=STORE_SECONDS)
    left = [each["Names"][0] for each in Engine().ask("/containers/json", filters=f'{{"volume": ["{volume}"]}}')]
    if left:
        raise OwnerError(f"{', '.join(left)} still uses the volume {volume}")


def _entries(top: int, device: int) -> Iterator[tuple[int, str]]:
    """All below an open folder, each by its name in a folder that is open too: no link is followed, and no other file system entered."""
    for _, folders, files, parent in os.fwalk(".", dir_fd=top, follow_symlinks=False, onerror=_fail):
        folders[:] = [each for each in folders if os.stat(each, dir_fd=parent, follow_symlinks=False).st_dev == device]
        for each in (*folders, *files):
            yield parent, each


def _fail(error: OSError) -> None:
    raise error
