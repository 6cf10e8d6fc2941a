"""Redis's fingerprint, by its own protocol: a small Redis has no room for a script that holds a large value, nor for a client beside it."""

from __future__ import annotations

import hashlib
import socket
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from ansible.module_utils.stack_engine import Engine
from ansible.module_utils.stack_store import SECONDS, PassingError, StoreError, fingerprint

PORT = 6379
#: Bytes of a value that are read at once, and elements at most.
PIECE, ELEMENTS = 256 * 1024, 1000
#: Bytes of a module's value, which Redis gives as a whole only.
MODULE_BYTES = 1 << 20
# A page of the keys that do not expire: digests of the small ones, and the names of the others. The sum of the elements' digests is in two
# parts of 52 bits, as Lua's numbers are exact up to 53; their order does not count.
PAGE = b"""
local counts = {string = "STRLEN", hash = "HLEN", set = "SCARD", zset = "ZCARD", list = "LLEN"}
local room, digests, large = 1000000, {}, {}
local first, second
local function element(name, value)
  local digest = redis.sha1hex(#name .. ":" .. name .. value)
  first = (first + tonumber(digest:sub(1, 13), 16)) % 4503599627370496
  second = (second + tonumber(digest:sub(14, 26), 16)) % 4503599627370496
end
local page = redis.call("SCAN", ARGV[1], "COUNT", 200)
for _, key in ipairs(page[2]) do
  if redis.call("PTTL", key) == -1 then
    local kind = redis.call("TYPE", key).ok
    local count = counts[kind] and redis.call(counts[kind], key)
    local size = count
    if count and count <= 1000 and kind ~= "string" then size = redis.call("MEMORY", "USAGE", key, "SAMPLES", "0") end
    if not count or (kind ~= "string" and count > 1000) or size > 100000 or size > room then
      large[#large + 1] = key
    else
      room, first, second = room - size, 0, 0
      local value
      if kind == "string" then
        value = redis.sha1hex(redis.call("GET", key))
      else
        if kind == "set" then
          for _, each in ipairs(redis.call("SMEMBERS", key)) do element(each, "") end
        elseif kind == "list" then
          for i, each in ipairs(redis.call("LRANGE", key, 0, -1)) do element(tostring(i - 1), each) end
        else
          local all = kind == "hash" and redis.call("HGETALL", key) or redis.call("ZRANGE", key, 0, -1, "WITHSCORES")
          for i = 1, #all, 2 do element(all[i], all[i + 1]) end
        end
        value = string.format("%.0f:%.0f", first, second)
      end
      digests[#digests + 1] = redis.sha1hex(redis.sha1hex(key) .. kind .. ":" .. count .. ":" .. value)
    end
  end
end
return {page[1], digests, large}
"""
_COUNTS = {b"string": b"STRLEN", b"hash": b"HLEN", b"set": b"SCARD", b"zset": b"ZCARD", b"list": b"LLEN", b"stream": b"XLEN"}
_SCANS = {b"hash": b"HSCAN", b"set": b"SSCAN"}
_RANGES = {b"zset": b"ZRANGE", b"list": b"LRANGE"}


class Redis:
    """From the host to the container's address. The mark is the number of changes since the last save, and when that was."""

    def __init__(self, container: Mapping[str, Any], _: str) -> None:
        self._id = container["Id"]
        self._socket: socket.socket | None = None
        self._answers: BinaryIO | None = None

    def close(self) -> None:
        """Close the connection."""
        if self._answers:
            self._answers.close()
        if self._socket:
            self._socket.close()
        self._answers = self._socket = None

    def read(self, known: str) -> dict[str, Any]:
        try:
            return self._read(known)
        except OSError:
            self.close()
            raise

    def _read(self, known: str) -> dict[str, Any]:
        facts = dict(line.partition(":")[::2] for line in self._ask(b"INFO").decode(errors="replace").splitlines() if ":" in line)
        # While it reads its data it refuses nearly all but this, which tells of no key then.
        if facts["loading"] != "0":
            raise StoreError("LOADING Redis reads its data")
        mark = " ".join(facts[name] for name in ("run_id", "rdb_changes_since_last_save", "rdb_last_save_time"))
        if mark == known:
            return {"mark": mark}
        parts, keys = {}, 0
        for name in sorted(name for name in facts if name.startswith("db") and name[2:].isdigit()):
            held = dict(word.partition("=")[::2] for word in facts[name].split(","))
            self._ask(b"SELECT", name[2:].encode())
            count, total = 0, 0
            for digest in self._digests():
                count, total = count + 1, (total + int(digest, 16)) % (1 << 160)
            # A table that shrinks meanwhile may show a key twice.
            if count != int(held["keys"]) - int(held["expires"]):
                raise PassingError(f"its database {name[2:]} has changed meanwhile")
            # A database of keys that expire is gone with them.
            if count:
                parts[f"database {name[2:]}"] = f"{count} {total:040x}"
                keys += count
        return fingerprint(mark, f"{keys} keys", parts)

    def _digests(self) -> Iterator[bytes]:
        """One of each key that does not expire."""
        cursor = b"0"
        while True:
            cursor, digests, large = self._ask(b"EVAL", PAGE, b"0", cursor)
            yield from digests
            for key in large:
                yield self._digest(key)
            if cursor == b"0":
                return

    def _digest(self, key: bytes) -> bytes:
        """What the script says of a small one."""
        kind = self._ask(b"TYPE", key)
        if kind == b"none":
            raise PassingError("a key was removed meanwhile")
        size = self._ask(b"MEMORY", b"USAGE", key, b"SAMPLES", b"100") or 0
        if kind not in _COUNTS:
            if size > MODULE_BYTES:
                raise StoreError(f"the key {key!a} is of a module's type, {kind.decode()}, and too large to be read ({size >> 20} MiB)")
            count, value = 1, _sha1(self._ask(b"DUMP", key)).hexdigest()
        elif kind == b"string":
            count, value = self._ask(b"STRLEN", key), self._string(key)
        else:
            count = self._ask(_COUNTS[kind], key)
            seen, first, second = 0, 0, 0
            for name, rest in self._elements(kind, key, max(1, min(ELEMENTS, PIECE * count // max(size, 1)))):
                digest = _sha1(b"%d:" % len(name))
                digest.update(name)
                digest.update(rest)
                text = digest.hexdigest()
                first, second, seen = (first + int(text[:13], 16)) % (1 << 52), (second + int(text[13:26], 16)) % (1 << 52), seen + 1
            if seen != count:
                raise PassingError(f"the key {key!a} has changed meanwhile")
            value = f"{first}:{second}" + (self._groups(key) if kind == b"stream" else "")
        return _sha1(f"{_sha1(key).hexdigest()}{kind.decode()}:{count}:{value}".encode()).hexdigest().encode()

    def _string(self, key: bytes) -> str:
        digest, place = _sha1(b""), 0
        while part := self._ask(b"GETRANGE", key, b"%d" % place, b"%d" % (place + PIECE - 1)):
            digest.update(part)
            place += PIECE
        return digest.hexdigest()

    def _elements(self, kind: bytes, key: bytes, page: int) -> Iterator[tuple[bytes, bytes]]:
        """Each with what belongs to it, in pages: a field and its value, a member and its score, a place in a list and its item."""
        if kind in _SCANS:
            cursor = b""
            while cursor != b"0":
                cursor, found = self._ask(_SCANS[kind], key, cursor or b"0", b"COUNT", b"%d" % page)
                yield from zip(found[::2], found[1::2], strict=True) if kind == b"hash" else ((each, b"") for each in found)
        elif kind in _RANGES:
            place, more = 0, [b"WITHSCORES"] * (kind == b"zset")
            while found := self._ask(_RANGES[kind], key, b"%d" % place, b"%d" % (place + page - 1), *more):
                yield from (
                    zip(found[::2], found[1::2], strict=True) if more else ((b"%d" % (place + i), each) for i, each in enumerate(found))
                )
                place += page
        else:
            last = b"-"
            while found := self._ask(b"XRANGE", key, last, b"+", b"COUNT", b"%d" % page):
                for name, fields in found:
                    yield name, b"".join(b"%d:" % len(each) + each for each in fields)
                last = b"(" + found[-1][0]

    def _groups(self, key: bytes) -> str:
        """How far a stream's readers are."""
        facts = _pairs(self._ask(b"XINFO", b"STREAM", key))
        groups = [_pairs(each) for each in self._ask(b"XINFO", b"GROUPS", key)]
        told = sorted((each[b"name"], each[b"pending"], each[b"last-delivered-id"]) for each in groups)
        return ascii((facts[b"last-generated-id"], told))

    def _ask(self, *words: bytes) -> Any:
        if not self._socket:
            self._connect()
        return self._tell(*words)

    def _connect(self) -> None:
        networks = Engine().ask(f"/containers/{self._id}/json")["NetworkSettings"]["Networks"].values()
        address = next((each["IPAddress"] for each in networks if each["IPAddress"]), "")
        if not address:
            raise StoreError("it is not running")
        done = subprocess.run(["docker", "exec", self._id, "cat", "/run/secrets/redis_password"], capture_output=True)
        if done.returncode:
            raise StoreError(done.stderr.decode(errors="replace").strip()[-600:])
        self._socket = socket.create_connection((address, PORT), timeout=SECONDS)
        self._answers = self._socket.makefile("rb", 1 << 16)
        try:
            self._tell(b"AUTH", done.stdout.rstrip(b"\n"))
        except StoreError:
            self.close()
            raise

    def _tell(self, *words: bytes) -> Any:
        self._socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))  # type: ignore[union-attr]
        return self._answer()

    def _answer(self) -> Any:
        """One value of RESP2 (https://redis.io/docs/latest/develop/reference/protocol-spec/)."""
        line = self._answers.readline()  # type: ignore[union-attr]
        if not line:
            raise ConnectionResetError("server closed the connection")
        kind, text = line[:1], line[1:-2]
        if kind == b"*":
            return [self._answer() for _ in range(int(text))]
        if kind == b"$" and int(text) >= 0:
            return self._answers.read(int(text) + 2)[:-2]  # type: ignore[union-attr]
        if kind == b"-":
            said = text.decode(errors="replace")
            raise PassingError(said) if said.startswith(("WRONGTYPE", "ERR no such key")) else StoreError(said)
        return int(text) if kind == b":" else text if kind == b"+" else None


def _sha1(part: bytes) -> hashlib._Hash:
    """The only digest that Redis's scripts have."""
    return hashlib.sha1(part, usedforsecurity=False)


def _pairs(words: list[Any]) -> dict[bytes, Any]:
    return dict(zip(words[::2], words[1::2], strict=True))
