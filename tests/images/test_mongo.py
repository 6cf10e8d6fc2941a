"""The mongo stand-in keeps the contract of the official image."""

import pytest

PASSWORD = 'p"w$ \\x'
# The init script notes where the server listens: 0100007F:6989 is 127.0.0.1:27017.
SCRIPT = """
from=$(awk '$4 == "0A" { print $2 }' /proc/net/tcp) "${mongo[@]}" "$MONGO_INITDB_DATABASE" \
  --eval 'db.marks.insertOne({ from: process.env.from })'
"""
FILES = {
    "/run/root-name": ("root\n", 0o444),
    "/run/root-password": (PASSWORD + "\n", 0o444),
    "/docker-entrypoint-initdb.d/01.js": ("db.marks.insertOne({ from: 'js' });", 0o644),
    "/docker-entrypoint-initdb.d/02.sh": (SCRIPT, 0o644),
    "/docker-entrypoint-initdb.d/03.txt": ("ignored", 0o644),
}
ENVIRONMENT = {
    "MONGO_INITDB_ROOT_USERNAME_FILE": "/run/root-name",
    "MONGO_INITDB_ROOT_PASSWORD_FILE": "/run/root-password",
    "MONGO_INITDB_DATABASE": "app",
}
# The password goes to the shell by its environment, as a health check should do.
LOGIN = "db.getSiblingDB('admin').auth('root', process.env.PASSWORD); "
REPLICA_SET = """
storage: {dbPath: /data/db/deeper, directoryPerDB: true}
replication: {replSetName: rs0}
security: {keyFile: /run/key}
net: {port: 27018}
"""


def shell(box, code, **options):
    port = options.pop("port", "27017")
    return box.out("mongosh", "--quiet", "--port", port, "app", "--eval", LOGIN + code, PASSWORD=PASSWORD)


def started(box, port="27017"):
    """The last server is PID 1; the one that makes the root user is not."""
    return box.wait("sh", "-c", f"grep -q mongod /proc/1/comm && mongosh --quiet --port {port} --eval 1")


@pytest.fixture(scope="module")
def server(start, volume):
    return started(start("mongo", files=FILES, environment=ENVIRONMENT, volumes=[f"{volume}:/data/db"]))


def test_server_is_pid_1_as_mongodb_without_the_secret(server):
    assert server.command_line() == ["mongod", "--auth", "--bind_ip_all"]
    assert server.status("Uid")[0] == server.status("Gid")[0] == "999"
    assert "MONGO_INITDB" not in server.out("cat", "/proc/1/environ", user="mongodb")
    assert shell(server, "db.version()").startswith("6.0.")


def test_refuses_without_password(server):
    code, output = server.run("mongosh", "--quiet", "app", "--eval", "db.marks.find()")
    assert code != 0 and "requires authentication" in output


def test_root_reaches_it_from_outside_with_pymongo(server, notebook):
    code = """if True:
        import os, pymongo
        client = pymongo.MongoClient(os.environ["HOST"], username="root", password=os.environ["PASSWORD"])
        print(client.app.marks.count_documents({}))
        """
    address = server.container.attrs["NetworkSettings"]["IPAddress"]
    assert notebook.out("python", "-c", code, HOST=address, PASSWORD=PASSWORD) == "2"


def test_init_ran_once_against_a_server_on_loopback(server, start, volume):
    marks = "db.marks.find().toArray().map(mark => mark.from).join()"
    assert shell(server, marks) == "js,0100007F:6989"
    assert server.stop() == 0
    again = started(start("mongo", files=FILES, environment=ENVIRONMENT, volumes=[f"{volume}:/data/db"]))
    assert shell(again, marks) == "js,0100007F:6989"


def test_failing_init_and_mistaken_root_user_exit_non_zero(start):
    bad = {"/docker-entrypoint-initdb.d/01.js": ("throw new Error('init broke')", 0o644)}
    both = start("mongo", files=FILES, environment=ENVIRONMENT | {"MONGO_INITDB_ROOT_PASSWORD": "x"})
    script = start("mongo", files=bad)
    half = start("mongo", environment={"MONGO_INITDB_ROOT_USERNAME": "root"})
    assert both.exit_code() != 0 and "both set" in both.logs()
    assert script.exit_code() != 0 and "init broke" in script.logs()
    assert half.exit_code() != 0 and "one is missing" in half.logs()


def test_config_file_with_replica_set_gets_its_root_user_and_data_folder(start):
    prepare = "install -d -o mongodb /data/db/deeper && chown mongodb /run/key && exec docker-entrypoint.sh "
    files = FILES | {"/etc/mongod.conf": (REPLICA_SET, 0o644), "/run/key": ("a2V5a2V5\n", 0o400)}
    command = prepare + "mongod --config /etc/mongod.conf"
    box = started(start("mongo", "sh", "-c", command, files=files, environment=ENVIRONMENT), port="27018")
    assert shell(box, "rs.initiate().ok", port="27018") == "1"
    assert "storage.bson" in box.out("ls", "/data/db/deeper")
