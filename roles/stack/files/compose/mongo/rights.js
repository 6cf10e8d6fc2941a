// Run by mongosh beside the server, by its key: makes the replica set and the user slipway, each if there is none, and gives that user its
// rights. It reads, writes and administers every database; it makes no users and no roles, so it cannot make itself root.
const fs = require("fs"), local = db.getSiblingDB("local"), admin = db.getSiblingDB("admin");
const RIGHTS = ["clusterMonitor", "dbAdminAnyDatabase", "readWriteAnyDatabase"];
local.auth({user: "__system", pwd: fs.readFileSync("/dev/shm/mongo.key", "utf8"), mechanism: "SCRAM-SHA-256"});
if (!db.hello().setName) rs.initiate({_id: "slipway", members: [{_id: 0, host: "mongo:27017"}]});
while (!db.hello().isWritablePrimary) sleep(100);
const found = admin.getUser("slipway");
if (!found) {
  admin.createUser({user: "slipway", pwd: fs.readFileSync("/run/secrets/mongo_password", "utf8").trimEnd(), roles: RIGHTS});
} else if (found.roles.map((each) => `${each.db}.${each.role}`).sort().join() !== RIGHTS.map((each) => `admin.${each}`).join()) {
  // An earlier version made it root.
  admin.updateUser("slipway", {roles: RIGHTS});
}
