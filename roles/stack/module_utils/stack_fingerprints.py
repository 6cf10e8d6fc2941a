"""Fingerprints of what the stores and the notebooks' folder hold: equal before and after, or something is lost.

Each is taken by the store's own client, in its container, with its password from its file. Beside it stands a mark, which moves with every
write: as long as it is the same, the fingerprint is.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ansible.module_utils.stack_scripts import MONGO, POSTGRES, REDIS, REDIS_INFO

#: Stores are Compose services of these names.
STORES = ("postgres", "mongo", "redis")
SECONDS = 3600
#: How long one that may be left out is tried.
PERHAPS_SECONDS = 20
#: What a client says of a server that is not there yet.
_STARTING = re.compile(
    "starting up|refused|could not connect|no such file|LOADING|not running|restarting|ECONN|server closed"
    # MongoDB, whose replica set is made, or has no primary yet.
    "|not.{0,20}primary|NotYetInitialized|ReplState",
    re.I,
)


class StoreError(Exception):
    """A store could not be read; the text is what it said."""


class Readers(ExitStack):
    """Clients of the stores that there are, and of `notebooks`, the files in `directory`/work, until the end of the `with`.

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
        found["notebooks"] = _Notebooks(directory)
        for name, reader in found.items():
            self._readers[prefix + name] = reader
            self.callback(reader.close)

    @classmethod
    def of(cls, stacks: Sequence[Mapping[str, Any]], containers: Mapping[str, Mapping[str, Mapping[str, Any]]], patience: int) -> Readers:
        """Of at least one stack, of each its `name`, `directory` and `prefix`; the containers are by its name."""
        first, *others = stacks
        readers = cls(containers[first["name"]], first["directory"], patience, first["prefix"])
        for stack in others:
            readers.add(containers[stack["name"]], stack["directory"], stack["prefix"])
        return readers

    def take(
        self, known: Mapping[str, Mapping[str, Any]] = MappingProxyType({}), perhaps: Container[str] = ()
    ) -> dict[str, dict[str, Any]]:
        """Fingerprints by store: `said`, one line, and its `mark`. Raises StoreError.

        Those that are known and whose mark has not moved are not taken again. Those in `perhaps` are left out where they cannot be read.
        """
        end = time.monotonic() + self._patience

        def read(name: str) -> dict[str, Any] | None:
            while True:
                try:
                    mark = known.get(name, {}).get("mark", "")
                    found = self._readers[name].read(mark)
                    return dict(known[name]) if found["mark"] == mark else found
                except (StoreError, OSError) as refused:
                    if name in perhaps and time.monotonic() > end - self._patience + PERHAPS_SECONDS:
                        return None
                    if not _STARTING.search(str(refused)) and name not in perhaps:
                        raise StoreError(f"{name} could not be read: {refused}") from refused
                    if time.monotonic() > end:
                        raise StoreError(f"{name} does not answer after {self._patience} s: {refused}") from refused
                    time.sleep(0.3)

        with ThreadPoolExecutor(max_workers=4) as pool:
            reads = {name: pool.submit(read, name) for name in sorted(self._readers)}
            return {name: found for name, each in reads.items() if (found := each.result())}


def differences(before: Mapping[str, str], after: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The stores whose fingerprint is another one than before, or was not taken again."""
    return sorted(name for name, said in before.items() if name not in after or after[name]["said"] != said)


def several(number: int, word: str) -> str:
    """A number with its word."""
    return f"{number} {word}" + "s" * (number != 1)


def _fingerprint(mark: str, summary: str, parts: Mapping[str, str]) -> dict[str, Any]:
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
    # No character that a tag of AWS may not have.
    return {"mark": mark, "said": f"{summary} sha256:{digest}"}


def _client(command: Sequence[str], script: str) -> str:
    try:
        done = subprocess.run(["docker", *command], input=script, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise StoreError(f"no answer within {SECONDS} s") from None
    if done.returncode:
        raise StoreError((done.stderr or done.stdout).strip()[-600:])
    return done.stdout


class _Postgres:
    """By psql. The mark is the transactions that are done and those that are not: each that writes has a number."""

    def __init__(self, container: Mapping[str, Any], _: str) -> None:
        # A table that somebody has locked is not waited for.
        settings = 'export PGOPTIONS="-c lock_timeout=5s" PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE"); '
        shell = settings + 'exec psql -XAtq -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres'
        self._psql = ["exec", "--interactive", container["Id"], "sh", "-c", shell]

    def close(self) -> None:
        """Nothing is kept open."""

    def read(self, known: str) -> dict[str, Any]:
        mark = _client(self._psql, "SELECT txid_current_snapshot()").strip()
        if mark == known:
            return {"mark": mark}
        names = _client(self._psql, "SELECT to_json(datname) FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname")
        script = ""
        for line in names.splitlines():
            quoted = json.loads(line).replace('"', '""')
            script += f'\\connect "{quoted}"\n{POSTGRES}'
        tables = [json.loads(line) for line in _client(self._psql, script).splitlines() if line.startswith("[")]
        parts = {name: f"{rows} rows, {total}" for name, rows, total in tables}
        return _fingerprint(mark, f"{sum(rows for _, rows, _ in tables)} rows in {several(len(tables), 'table')}", parts)


class _Session:
    """A client that stays: asked by a line, it answers with one that begins as `answer` does, or says why not in one like `refusal`."""

    def __init__(self, command: Sequence[str], answer: str, refusal: str = "(?!)") -> None:
        self._command, self._answer, self._refusal = command, answer, re.compile(refusal)
        self._client: subprocess.Popen[str] | None = None

    def close(self) -> None:
        """Let it end, which it does when it is told nothing more."""
        if self._client:
            self._client.stdin.close()  # type: ignore[union-attr]
            self._client = None

    def ask(self, line: str) -> str:
        """Its answer. Raises StoreError with what it said instead."""
        if not self._client:
            pipe = subprocess.PIPE
            self._client = subprocess.Popen(["docker", *self._command], stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        client, said = self._client, ""
        late = threading.Timer(SECONDS, client.kill)
        late.start()
        try:
            client.stdin.write(f"{line}\n")  # type: ignore[union-attr]
            client.stdin.flush()  # type: ignore[union-attr]
            # It may begin with a warning.
            for text in client.stdout:  # type: ignore[union-attr]
                if text.startswith(self._answer):
                    return text
                said += text
                if self._refusal.match(text):
                    break
        except BrokenPipeError:
            said = "it has ended"
        finally:
            late.cancel()
        self._client = None
        client.kill()
        client.communicate()
        raise StoreError(said.strip()[-600:] or "it has ended")


class _Redis(_Session):
    """By redis-cli. The mark is the number of changes since the last save, and when that was."""

    def __init__(self, container: Mapping[str, Any], _: str) -> None:
        shell = "REDISCLI_AUTH=$(cat /run/secrets/redis_password) exec redis-cli --raw"
        # Without a server it waits for the next line all the same.
        refusal = r"(\(error\) )?[A-Z]{3,} |Could not connect|Error|Server closed"
        super().__init__(["exec", "--interactive", container["Id"], "sh", "-c", shell], "slipway ", refusal)

    def _run(self, script: str, *arguments: str) -> list[str]:
        # redis-cli reads a quoted word as JSON has it.
        return self.ask(" ".join(["EVAL", json.dumps(script), "0", *arguments])).split()[1:]

    def read(self, known: str) -> dict[str, Any]:
        self.ask("SELECT 0\nECHO 'slipway '")
        info = self._run(REDIS_INFO)
        mark = " ".join(word for word in info if not word.startswith("db"))
        if mark == known:
            return {"mark": mark}
        parts, keys = {}, 0
        for name in sorted(word[2:].partition(":")[0] for word in info if word.startswith("db")):
            self.ask(f"SELECT {name}\nECHO 'slipway '")
            # By key: a scan may show one twice.
            found, cursor = {}, ""
            while cursor != "0":
                cursor, *page = self._run(REDIS, cursor or "0")
                found.update({each[:40]: each[40:] for each in page})
            # A database of keys that expire is gone with them.
            if found:
                parts[f"database {name}"] = hashlib.sha256(json.dumps(sorted(found.items())).encode()).hexdigest()
                keys += len(found)
        return _fingerprint(mark, f"{keys} keys", parts)


class _Mongo(_Session):
    """By mongosh, which takes a second to start. The mark is the number of the journal's records."""

    def __init__(self, container: Mapping[str, Any], directory: str) -> None:
        # In a container of its own: mongosh takes 100 MB, which mongod's limit may not have.
        secret = f"{Path(directory).resolve()}/secrets/mongo_password:/run/secrets/mongo_password:ro"
        safe = ["--cap-drop=ALL", "--security-opt=no-new-privileges:true", "--memory=256m", "--pids-limit=100", f"--volume={secret}"]
        image = [f"--network=container:{container['Id']}", "--entrypoint=mongosh", container["ImageID"]]
        super().__init__(["run", "--rm", "--interactive", *safe, *image, "--quiet", "--eval", MONGO], "{")

    def read(self, known: str) -> dict[str, Any]:
        said = json.loads(self.ask(known))
        if said["mark"] == known:
            return {"mark": known}
        found = said["found"].items()
        parts = {f"{name}.{each}": f"{count} documents, {md5}" for name, collections in found for each, count, md5 in collections}
        mine = [count for name, collections in found for _, count, _ in collections if name != "admin"]
        return _fingerprint(said["mark"], f"{sum(mine)} documents in {several(len(mine), 'collection')}", parts)


class _Notebooks:
    """The mark is what the file system says of the files: size, place and when they were changed."""

    def __init__(self, directory: str) -> None:
        self._root = Path(directory, "work")

    def close(self) -> None:
        """Nothing is kept open."""

    def read(self, known: str) -> dict[str, Any]:
        paths = sorted(path for path in self._root.rglob("*") if path.is_symlink() or path.is_file())
        facts = [
            (str(path), *(getattr(path.lstat(), name) for name in ("st_ino", "st_size", "st_mtime_ns", "st_ctime_ns"))) for path in paths
        ]
        mark = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        if mark == known:
            return {"mark": mark}
        names = [str(path.relative_to(self._root)) for path in paths]
        contents = [f"link to {path.readlink()}" if path.is_symlink() else _sha256(path) for path in paths]
        return _fingerprint(mark, f"{len(paths)} files", dict(zip(names, contents, strict=True)))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


_CLIENTS = {"postgres": _Postgres, "mongo": _Mongo, "redis": _Redis}
