"""What each store's own client is told, to say what its store holds."""

from __future__ import annotations

# Of every table its rows' number and the sum of their hashes, in which their order does not count. Partitions are tables themselves.
POSTGRES = """
SELECT format('SELECT json_build_array(%L, count(*), '
              'coalesce(sum((''x'' || left(md5(record_send(slipway_row)), 16))::bit(64)::bigint::numeric), 0)) '
              'FROM ONLY %I.%I AS slipway_row', current_database() || '.' || n.nspname || '.' || c.relname, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
ORDER BY 1 \\gexec
"""

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

# For each line that it is given, a mark: where the journal has moved on since, of every collection what mongod itself hashes it to, and its
# documents' number.
MONGO = """
const fs = require("fs"), admin = db.getSiblingDB("admin");
function line() {
  for (let text = "", one = Buffer.alloc(1);;) {
    try {
      if (!fs.readSync(0, one)) quit(0);
    } catch (error) {
      if (error.code === "EAGAIN") { sleep(20); continue; }
      if (error.code === "EOF") quit(0);
      throw error;
    }
    if (one[0] === 10) return text;
    text += one.toString();
  }
}
admin.auth({user: "slipway", pwd: fs.readFileSync("/run/secrets/mongo_password", "utf8").trimEnd()});
for (;;) {
  const known = line(), server = admin.serverStatus();
  const mark = String(server.wiredTiger.log["log write operations"]), found = {};
  const names = known === mark ? [] : admin.runCommand({listDatabases: 1, nameOnly: true}).databases.map((each) => each.name);
  for (const name of names.filter((each) => !["local", "config"].includes(each))) {
    const one = db.getSiblingDB(name), hash = one.runCommand({dbHash: 1});
    // Keys that a replica set makes for its clock.
    delete hash.collections["system.keys"];
    found[name] = Object.entries(hash.collections).map(([each, md5]) => [each, one.getCollection(each).countDocuments({}), md5]);
  }
  fs.writeSync(1, JSON.stringify({mark, found}) + "\\n");
}
"""
