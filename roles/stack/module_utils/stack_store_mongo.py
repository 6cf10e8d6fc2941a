"""MongoDB's fingerprint, by mongosh."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.stack_store import Session, fingerprint, several

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
    found[name] = Object.entries(hash.collections).map(([each, md5]) => [each, one.getCollection(each).countDocuments({}), md5]);
  }
  fs.writeSync(1, JSON.stringify({mark, found}) + "\\n");
}
"""


class Mongo(Session):
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
        return fingerprint(said["mark"], f"{sum(mine)} documents in {several(len(mine), 'collection')}", parts)
