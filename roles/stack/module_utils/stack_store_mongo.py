"""MongoDB's fingerprint, by mongosh."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.stack_store import PassingError, Session, StoreError, client, fingerprint, several

# For each line that it is given, a mark: if the journal has moved on since, of every collection and view its definition, its documents'
# number, and what mongod itself hashes it to. A view has no documents of its own; those of a time series are in its buckets. Documents that
# expire are left out, as Redis's keys are: what remains beside them is hashed here, for dbHash takes a collection as a whole.
MONGO = """
const fs = require("fs"), crypto = require("crypto"), admin = db.getSiblingDB("admin");
const PAGE = 100;
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
// No generators and no callbacks that ask the server: mongosh makes its calls asynchronous, and cannot do so there.
function first(one, command) { return one.runCommand(command).cursor.firstBatch; }
const text = (value) => EJSON.stringify(value, {relaxed: false});
const sha256 = (value) => crypto.createHash("sha256").update(value).digest("hex");
function count(one, name, filter) {
  const found = first(one, {aggregate: name, pipeline: [{$match: filter}, {$count: "n"}], cursor: {}});
  return found.length ? Number(found[0].n) : 0;
}
// Without the rights of the user slipway: each version says at its start which it has.
function told(each) {
  if (each._id === "admin.slipway") delete each.roles;
  return text(each);
}
function lasting(one, name, filter) {
  const digest = crypto.createHash("sha256");
  let cursor = one.runCommand({find: name, filter, sort: {_id: 1}, batchSize: PAGE}).cursor, page = cursor.firstBatch;
  for (;;) {
    for (const each of page) digest.update(told(each));
    if (String(cursor.id) === "0") return digest.digest("hex");
    cursor = one.runCommand({getMore: cursor.id, collection: name, batchSize: PAGE}).cursor;
    page = cursor.nextBatch;
  }
}
function look(one) {
  // system.keys: a replica set makes them for its clock.
  const described = one.getCollectionInfos({name: {$ne: "system.keys"}}).sort((a, b) => (a.name < b.name ? -1 : 1));
  const found = [], whole = [], series = new Set();
  for (const {name, type, options} of described) {
    const own = !name.startsWith("system."), held = type === "view" || !own;
    const indexes = held ? [] : first(one, {listIndexes: name, cursor: {batchSize: PAGE}});
    const expiring = indexes.filter((each) => each.expireAfterSeconds !== undefined).map(
      (each) => ({$and: [each.partialFilterExpression || {}, {[Object.keys(each.key)[0]]: {$type: "date"}}]}));
    if (options.expireAfterSeconds !== undefined) expiring.push({_id: {$type: "date"}});
    const said = {name, definition: sha256(text([type, options, indexes])), count: null, hash: null};
    if (type === "timeseries") {
      if (expiring.length) series.add("system.buckets." + name);
      else said.count = count(one, name, {});
    } else if (name === "system.users") {
      said.hash = lasting(one, name, {});
    } else if (type === "collection" && own && expiring.length) {
      const filter = {$nor: expiring};
      said.count = count(one, name, filter);
      said.hash = lasting(one, name, filter);
    } else if (type === "collection") {
      if (own) said.count = count(one, name, {});
      whole.push(said);
    }
    found.push(said);
  }
  const hashed = whole.filter((each) => !series.has(each.name));
  const hashes = hashed.length ? one.runCommand({dbHash: 1, collections: hashed.map((each) => each.name)}).collections : {};
  for (const each of hashed) each.hash = hashes[each.name] || null;
  return found.map((each) => [each.name, each.count, each.hash, each.definition]);
}
const user = line(), pwd = line();
db.getSiblingDB(user === "__system" ? "local" : "admin").auth({user, pwd});
for (;;) {
  const known = line(), server = admin.serverStatus();
  const mark = String(server.wiredTiger.log["log write operations"]), found = {};
  const names = known === mark ? [] : admin.runCommand({listDatabases: 1, nameOnly: true}).databases.map((each) => each.name);
  for (const name of names.filter((each) => !["local", "config"].includes(each))) found[name] = look(db.getSiblingDB(name));
  fs.writeSync(1, JSON.stringify({mark, found}) + "\\n");
}
"""
# By the key of its replica set, which may read all. A server of an earlier version may have none: there the user may.
WHO = """
if [ -e /dev/shm/mongo.key ]; then echo __system; cat /dev/shm/mongo.key; echo; else echo slipway; cat /run/secrets/mongo_password; echo; fi
"""
#: What is said of a collection that is removed or renamed while it is read.
_GOES = re.compile(
    "ns does not exist|ns not found|NamespaceNotFound|CursorNotFound|QueryPlanKilled|collection dropped|cursor id .* not found", re.I
)


class Mongo(Session):
    """By mongosh, which takes a second to start. The mark is the number of the journal's records."""

    def __init__(self, container: Mapping[str, Any], _: str) -> None:
        self._id = container["Id"]
        # In a container of its own: mongosh takes 100 MB, which mongod's limit may not have. As user 65534, which owns nothing.
        safe = ["--cap-drop=ALL", "--security-opt=no-new-privileges:true", "--memory=256m", "--pids-limit=100", "--user=65534:65534"]
        image = [f"--network=container:{container['Id']}", "--entrypoint=mongosh", container["ImageID"]]
        super().__init__(["run", "--rm", "--interactive", *safe, *image, "--quiet", "--eval", MONGO], "{")

    def first(self) -> str:
        return "\n".join(client(["exec", self._id, "sh", "-c", WHO], "").splitlines()[:2]) + "\n"

    def read(self, known: str) -> dict[str, Any]:
        try:
            said = json.loads(self.ask(known))
        except StoreError as refused:
            if _GOES.search(str(refused)):
                raise PassingError(str(refused)) from refused
            raise
        if said["mark"] == known:
            return {"mark": known}
        found = [(name, *each) for name, collections in said["found"].items() for each in collections]
        parts = {f"{name}.{each}": f"{count} documents, {digest}, {definition}" for name, each, count, digest, definition in found}
        mine = [count for name, _, count, _, _ in found if name != "admin" and count is not None]
        return fingerprint(said["mark"], f"{sum(mine)} documents in {several(len(mine), 'collection')}", parts)
