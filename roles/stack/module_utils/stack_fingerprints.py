"""Fingerprints of what the stores, the notebooks' folder and their home hold: equal before and after, or something is lost.

Each is taken by the store's own client, in its container, with its password from its file. Beside it stands a mark, which moves with every
write: as long as it is the same, the fingerprint is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any

from ansible.module_utils.stack_home import kept, of_the_home
from ansible.module_utils.stack_store import PassingError, StoreError
from ansible.module_utils.stack_store_files import Notebooks
from ansible.module_utils.stack_store_home import Home
from ansible.module_utils.stack_store_mongo import Mongo
from ansible.module_utils.stack_store_postgres import Postgres
from ansible.module_utils.stack_store_redis import Redis

#: Stores are Compose services of these names.
_CLIENTS: Mapping[str, Any] = {"postgres": Postgres, "mongo": Mongo, "redis": Redis}
STORES = tuple(_CLIENTS)
#: How long one that may be left out is tried.
PERHAPS_SECONDS = 20
#: What a client says of a server that is not there yet.
_STARTING = re.compile(
    "starting up|refused|could not connect|no such file|LOADING|not running|restarting|ECONN|server closed|has ended"
    # MongoDB, whose replica set is made, or has no primary yet.
    "|not.{0,20}primary|NotYetInitialized|ReplState",
    re.I,
)
#: What is said of one that ends while it is read, and how often that may happen: reading may be the reason.
_LOST, LOSSES = re.compile("server closed|reset by peer|has ended|terminating connection|connection .* closed", re.I), 2


class Readers(ExitStack):
    """Clients of the stores that there are, of `notebooks`, the files in `directory`/work, and of `home`, the volume that Jupyter's
    container has, until the end of the `with`.

    `containers` are those of the services, by name, as the engine lists them; each store may take `patience` seconds until it answers.
    Further stacks are added; the names of their stores begin with a `prefix`.
    """

    def __init__(self, containers: Mapping[str, Mapping[str, Any]], directory: str, patience: int, prefix: str = "") -> None:
        super().__init__()
        self._patience = patience
        self._readers: dict[str, Any] = {}
        self.add(containers, directory, prefix)

    def add(self, containers: Mapping[str, Mapping[str, Any]], directory: str, prefix: str) -> None:
        """Read another stack too."""
        found: dict[str, Any] = {name: _CLIENTS[name](containers[name], directory) for name in STORES if name in containers}
        found["notebooks"] = Notebooks(directory)
        for name, reader in found.items():
            self._readers[prefix + name] = reader
            self.callback(reader.close)
        if "jupyter" in containers and kept(containers["jupyter"]):
            self.add_home(containers["jupyter"], prefix)

    def add_home(self, container: Mapping[str, Any], prefix: str) -> None:
        """Read the volume too that was made for this container's home."""
        reader = self._readers[f"{prefix}home"] = Home(container)
        self.callback(reader.close)

    @classmethod
    def of(
        cls,
        stacks: Sequence[Mapping[str, Any]],
        containers: Mapping[str, Mapping[str, Mapping[str, Any]]],
        patience: int,
        known: Container[str] = (),
    ) -> Readers:
        """Of at least one stack, of each its `name`, `directory` and `prefix`; the containers are by its name.

        A home whose fingerprint is `known` is in its volume, also if its container, of an earlier version, was not made again yet.
        """
        first, *others = stacks
        readers = cls(containers[first["name"]], first["directory"], patience, first["prefix"])
        for stack in others:
            readers.add(containers[stack["name"]], stack["directory"], stack["prefix"])
        for stack in stacks:
            home = f"{stack['prefix']}home"
            if home in known and home not in readers._readers and (names := of_the_home(containers[stack["name"]])):
                readers.add_home(containers[stack["name"]][names[0]], stack["prefix"])
        return readers

    def take(
        self,
        known: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        perhaps: Container[str] = (),
        busy: bool = False,
        without: Container[str] = (),
    ) -> dict[str, dict[str, Any]]:
        """Fingerprints by store: `said`, one line, and its `mark`. Raises StoreError, which names the store.

        Those that are known and whose mark has not moved are not taken again. Those in `perhaps` are left out if they cannot be read, those
        in `without` are not tried. While users write, `busy`, one is left out that cannot be read at this moment, as its table is locked.
        """
        begun = time.monotonic()

        def read(name: str) -> dict[str, Any] | None:
            losses = 0
            while True:
                try:
                    mark = known.get(name, {}).get("mark", "")
                    found = self._readers[name].read(mark)
                    return dict(known[name]) if found["mark"] == mark else found
                except (StoreError, OSError) as refused:
                    seconds, why = time.monotonic() - begun, str(refused)
                    losses += bool(_LOST.search(why))
                    starting = bool(_STARTING.search(why)) and losses < LOSSES
                    passing = starting or isinstance(refused, PassingError)
                    if seconds > PERHAPS_SECONDS and (name in perhaps or (busy and passing)):
                        return None
                    if starting and seconds > self._patience:
                        raise StoreError(f"{name} does not answer after {self._patience} s: {why}") from refused
                    if not starting and name not in perhaps and (not passing or seconds > PERHAPS_SECONDS):
                        raise StoreError(f"{name} could not be read: {why}") from refused
                    time.sleep(0.3)

        with ThreadPoolExecutor(max_workers=5) as pool:
            reads = {name: pool.submit(read, name) for name in sorted(self._readers) if name not in without}
            return {name: found for name, each in reads.items() if (found := each.result())}


def differences(before: Mapping[str, str], after: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The stores whose fingerprint is another one than before, or was not taken again."""
    return sorted(name for name, said in before.items() if name not in after or after[name]["said"] != said)
