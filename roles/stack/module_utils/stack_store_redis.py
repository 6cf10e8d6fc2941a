"""Redis's fingerprint, by redis-cli."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.stack_store import Session, fingerprint

# A page of the keys that do not expire: of each its name's hash, and that of its value, in which the order of what has none does not
# count. No value is in memory as a whole, and none twice, for a small Redis has no room for it.
REDIS = """
local function chained(step)
  local digest, first = "", 0
  while true do
    local parts = step(first, first + 999)
    if #parts == 0 then return digest end
    for i, part in ipairs(parts) do parts[i] = redis.sha1hex(part) end
    digest, first = redis.sha1hex(digest .. table.concat(parts)), first + 1000
  end
end
local function unordered(parts, width)
  local digests = {}
  for i = 1, #parts, width do
    digests[#digests + 1] = redis.sha1hex(#parts[i] .. ":" .. parts[i] .. (width == 2 and redis.sha1hex(parts[i + 1]) or ""))
  end
  table.sort(digests)
  return redis.sha1hex(table.concat(digests))
end
local function value(kind, key)
  if kind == "string" then
    return chained(function(first)
      local part = redis.call("GETRANGE", key, first * 1000, first * 1000 + 999999)
      return part == "" and {} or {part}
    end)
  end
  if kind == "list" then return chained(function(first, last) return redis.call("LRANGE", key, first, last) end) end
  if kind == "zset" then return chained(function(first, last) return redis.call("ZRANGE", key, first, last, "WITHSCORES") end) end
  if kind == "set" then return unordered(redis.call("SMEMBERS", key), 1) end
  if kind == "hash" then return unordered(redis.call("HGETALL", key), 2) end
  if kind == "stream" then
    local digest = ""
    for _, entry in ipairs(redis.call("XRANGE", key, "-", "+")) do
      digest = redis.sha1hex(digest .. entry[1])
      for _, field in ipairs(entry[2]) do digest = redis.sha1hex(digest .. redis.sha1hex(field)) end
    end
    return digest
  end
  return redis.sha1hex(redis.call("DUMP", key))
end
local page = redis.call("SCAN", ARGV[1], "COUNT", 1000)
local said = {"slipway", page[1]}
for _, key in ipairs(page[2]) do
  if redis.call("PTTL", key) == -1 then
    local kind = redis.call("TYPE", key).ok
    said[#said + 1] = redis.sha1hex(key) .. redis.sha1hex(kind .. value(kind, key))
  end
end
return table.concat(said, " ")
"""
REDIS_INFO = """
local said = {"slipway"}
for line in redis.call("INFO"):gmatch("[^\\r\\n]+") do
  for _, wanted in ipairs({"^run_id:", "^rdb_changes_since_last_save:", "^rdb_last_save_time:", "^db%d+:"}) do
    if line:match(wanted) then said[#said + 1] = line end
  end
end
return table.concat(said, " ")
"""


class Redis(Session):
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
        return fingerprint(mark, f"{keys} keys", parts)
