"""What a notebook may do in MongoDB and Redis: all that concerns the data, and nothing that leads out of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import docker
import pytest

from tests.images.stores import Stores, running

CONNECT = """
import json, os, pymongo, redis
env = os.environ
cache = redis.Redis(env["REDIS_HOST"], password=env["REDIS_PASSWORD"])
mongo = pymongo.MongoClient(env["MONGO_HOST"], username=env["MONGO_USER"], password=env["MONGO_PASSWORD"])
"""
MONGO = """
root = [{"role": "root", "db": "admin"}]
entry = {"_id": "admin.second", "user": "second", "db": "admin", "roles": root, "credentials": {}}
everything = [{"resource": {"anyResource": True}, "actions": ["anyAction"]}]
mongo.shop.orders.insert_many([{"n": 1}, {"n": 2}])
tried = {
    "grant": ("admin", {"grantRolesToUser": "slipway", "roles": root}),
    "update": ("admin", {"updateUser": "slipway", "roles": root}),
    "create": ("admin", {"createUser": "second", "pwd": "p", "roles": root}),
    "create elsewhere": ("shop", {"createUser": "second", "pwd": "p", "roles": root}),
    "role": ("admin", {"createRole": "all", "privileges": everything, "roles": []}),
    "insert": ("admin", {"insert": "system.users", "documents": [entry]}),
    "read": ("admin", {"find": "system.users"}),
    "out": ("shop", {"aggregate": "orders", "pipeline": [{"$out": {"db": "admin", "coll": "system.users"}}], "cursor": {}}),
    "merge": ("shop", {"aggregate": "orders", "pipeline": [{"$merge": {"into": {"db": "admin", "coll": "system.users"}}}], "cursor": {}}),
    "lookup": ("admin", {"aggregate": "a", "pipeline": [{"$lookup": {"from": "system.users", "pipeline": [], "as": "b"}}], "cursor": {}}),
    "view": ("admin", {"create": "v", "viewOn": "system.users", "pipeline": []}),
    "rename": ("admin", {"renameCollection": "shop.orders", "to": "admin.system.users", "dropTarget": True}),
    "rename from": ("admin", {"renameCollection": "admin.system.users", "to": "shop.users"}),
    "apply": ("admin", {"applyOps": [{"op": "i", "ns": "admin.system.users", "o": entry}]}),
    "drop": ("admin", {"drop": "system.users"}),
    "drop all": ("admin", {"dropDatabase": 1}),
    "shutdown": ("admin", {"shutdown": 1}),
    "parameter": ("admin", {"setParameter": 1, "notablescan": True}),
    "replica set": ("admin", {"replSetReconfig": {"_id": "slipway"}}),
    "oplog": ("local", {"insert": "oplog.rs", "documents": [{}]}),
    "config": ("config", {"insert": "a", "documents": [{}]}),
}
said = {}
for name, (database, command) in tried.items():
    try:
        said[name] = mongo[database].command(command)["ok"]
    except pymongo.errors.OperationFailure as refusal:
        said[name] = refusal.details["codeName"]
print(json.dumps(said))
"""
MAY_MONGO = """
mongo.shop.orders.create_index("n")
mongo.other.create_collection("capped", capped=True, size=4096)
with mongo.start_session() as session, session.start_transaction():
    mongo.shop.orders.insert_one({"n": 3}, session=session)
with mongo.shop.watch():
    pass
mongo.admin.command("renameCollection", "shop.orders", to="other.orders")
mongo.drop_database("shop")
print(mongo.other.orders.count_documents({}), mongo.other.validate_collection("orders")["valid"], "shop" in mongo.list_database_names(),
      mongo.admin.command("serverStatus")["ok"], mongo.other.command("dbStats")["ok"], mongo.other.command("profile", -1)["ok"])
"""
MUST_NOT_REDIS = [
    "CONFIG GET dir", "CONFIG SET dir /data", "CONFIG REWRITE", "CONFIG HELP", "MODULE LIST", "MODULE LOAD /data/x.so", "ACL WHOAMI",
    "ACL SETUSER second on nopass ~* +@all", "ACL LIST", "ACL HELP", "REPLICAOF 192.0.2.1 6379", "SLAVEOF NO ONE", "SHUTDOWN NOSAVE",
    "DEBUG SLEEP 0", "DEBUG HELP", "MIGRATE 192.0.2.1 6379 key 0 100", "FAILOVER", "CLUSTER INFO", "CLUSTER MEET 192.0.2.1 6379",
    "SYNC", "PSYNC ? -1", "REPLCONF listening-port 1", "CLIENT PAUSE 100", "CLIENT NO-EVICT on", "PFSELFTEST", "RESTORE-ASKING key 0 x",
]  # fmt: skip
REDIS = """
said = {}
for line in %s:
    # In a transaction, and by a script, it is the same user.
    for how in ("", "script"):
        words = line.split()
        try:
            cache.execute_command(*(["EVAL", "return redis.call(unpack(ARGV))", 0] if how else []), *words)
            said[f"{line} {how}"] = "done"
        except redis.exceptions.ConnectionError as lost:
            said[f"{line} {how}"] = f"lost {lost}"
        except redis.exceptions.ResponseError as refusal:
            said[f"{line} {how}"] = str(refusal)
print(json.dumps(said))
"""
MAY_REDIS = """
cache.set("a", 1)
cache.rpush("l", 3, 1, 2)
assert sorted(cache.keys("*"))[-1] == b"l" and cache.sort("l") == [b"1", b"2", b"3"]
assert cache.info("server")["redis_version"] and cache.client_list() and cache.memory_usage("a")
cache.restore("b", 0, cache.dump("a"))
assert cache.eval("return redis.call('get', KEYS[1])", 1, "b") == b"1"
cache.bgrewriteaof(), cache.slowlog_get(1), cache.pubsub_channels()
cache.function_load("#!lua name=mine\\nredis.register_function('f', function() return 1 end)")
assert cache.fcall("f", 0) == 1
cache.flushdb()
print(cache.dbsize())
"""


@pytest.fixture(scope="module")
def stores(client: docker.DockerClient, image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    with running(client, image, tmp_path_factory.mktemp("isolation") / "stack", "mongo", "redis") as made:
        made.compose("up", "--detach")
        for store in ("mongo", "redis"):
            made.ready(store)
        yield made


def test_a_notebook_administers_mongodb_and_cannot_become_root_there(stores: Stores) -> None:
    said = json.loads(stores.python(CONNECT + MONGO))
    # Of an own database's place as of the users: whatever is tried, it is refused.
    assert {name: word for name, word in said.items() if word not in ("Unauthorized", "IllegalOperation")} == {}
    assert len(said) == 21
    assert stores.python(CONNECT + MAY_MONGO) == "3 True False 1.0 1.0 1.0"


def test_redis_gives_the_data_and_no_more(stores: Stores) -> None:
    said = json.loads(stores.python(CONNECT + REDIS % MUST_NOT_REDIS))
    refused = (
        "this user has no permissions",
        "can't run this command",
        "not allowed from script",
        "command not allowed",
        "Unknown Redis command",
    )
    assert {line: words for line, words in said.items() if not any(word in words for word in refused)} == {}
    assert stores.python(CONNECT + MAY_REDIS) == "0"


def test_no_process_is_root_and_no_password_but_its_own_is_in_a_store(stores: Stores) -> None:
    for store in ("mongo", "redis"):
        box = stores.box(store)
        user = box.container.attrs["Config"]["User"].partition(":")[0]
        assert set(box.out("sh", "-c", "stat -c %u /proc/[0-9]*").split()) == {user}
        assert box.out("ls", "/run/secrets") == f"{store}_password"
        # What a server that was taken over could change of how it starts next time: its data alone.
        assert box.run("sh", "-c", "echo x >> /slipway/start.sh")[0] != 0
        assert box.run("sh", "-c", "echo x >> /run/secrets/*")[0] != 0
