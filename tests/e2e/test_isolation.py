"""A notebook that tries to get out: by links, pipes and folders that it replaces, from its own container and by its stores."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import yaml

from tests.conftest import IMAGES, Checkout, own_lab
from tests.e2e.support import isolation
from tests.e2e.support.projects import make, python

pytestmark = [pytest.mark.xdist_group("isolation"), pytest.mark.long]

#: In the notebook, of its own folder: what a command or a store reads there leads elsewhere, or never ends.
REPLACE = """
import os, pathlib
work = pathlib.Path("/home/jovyan/work")
right, mine = "/home/ubuntu/projects/right", "/home/ubuntu/.ssh"
for name, target in (("data", "/"), ("docker/postgres", "/"), ("docker/jupyter", right), ("runs", mine)):
    path = work / name
    path.parent.mkdir(exist_ok=True)
    if path.exists():
        path.rename(f"{path}.was")
    path.symlink_to(target)
for name, target in (("stolen", f"{right}/secrets/redis_password"), ("lib/out", "../../../right/work"), ("host", "/proc/1/root")):
    (work / name).symlink_to(target)
for name in ("pipe", "ipynb/pipe.ipynb", "lib/pipe.py"):
    os.mkfifo(work / name)
"""
#: Of the host's root, if a store has it.
ROOT = "ls -d /data/home/ubuntu /project/home/ubuntu /data/proc/1 2> /dev/null || true"
#: What the user ubuntu and another project have on the host.
SUMS = "find ~/.ssh ~/projects/right -path ~/projects/right/work -prune -o -type f -print0 | sort -z | xargs -0 sha256sum"
BACK = """
import pathlib
work = pathlib.Path("/home/jovyan/work")
for name in ("data", "docker/postgres", "docker/jupyter", "runs", "stolen", "lib/out", "host", "pipe", "ipynb/pipe.ipynb", "lib/pipe.py"):
    (work / name).unlink()
    if (was := work / f"{name}.was").exists():
        was.rename(work / name)
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout with two projects on a machine that builds images itself."""
    with own_lab(tmp_path_factory.mktemp("isolation")) as made:
        for name in ("left", "right"):
            make(made, name, "postgres,redis", ["print(1)"], instance_type="t2.small", memory_mib=450)
            made.answer("deploy", name)
        yield made


def healthy(here: Checkout, service: str) -> None:
    end = time.monotonic() + 120
    while here.on_host(f"docker inspect --format '{{{{.State.Health.Status}}}}' left-{service}-1").strip() != "healthy":
        assert time.monotonic() < end, here.on_host(f"docker logs --tail 30 left-{service}-1 2>&1")
        time.sleep(1)


def test_what_a_notebook_replaces_leads_nowhere(here: Checkout) -> None:
    beyond = isolation.other(here, "right")
    before = here.on_host(SUMS)
    python(here, "left", REPLACE)
    # Each server ends itself, and the engine starts its container again: it resolves the mounts once more.
    for service in ("postgres", "redis"):
        here.on_host(f"docker exec left-{service}-1 sh -c 'kill -INT 1'; sleep 3")
        healthy(here, service)
        assert here.on_host(f"docker exec left-{service}-1 sh -c '{ROOT}'") == "", service
    isolation.closed(here, "left", beyond)
    # They end, whatever they say of such a folder, and bring nothing of it here.
    for words in (
        ["status", "left"],
        ["push", "left"],
        ["pull", "left"],
        ["deploy", "left", "--dry-run"],
        ["run", "left/ipynb/own.ipynb"],
        ["rest", "left"],
    ):
        done = here.orchestrate(*words)
        assert done.returncode < 5, f"{words}: {done.stdout}\n{done.stderr}"
    assert here.on_host(SUMS) == before
    secrets = here.path / ".slipway/lab/machines/slipway/projects/right/secrets"
    words = [path.read_text().strip() for path in secrets.iterdir()]
    for path in (here.path / "left").rglob("*"):
        assert not path.is_symlink(), path
        assert not path.is_file() or not [word for word in words if word in path.read_text(errors="replace")], path
    here.on_host("docker start left-jupyter-1")
    python(here, "left", BACK)
    here.answer("deploy", "left")
    isolation.closed(here, "left", beyond)


def test_an_image_is_built_from_what_was_sent_and_runs_as_no_other_user(here: Checkout) -> None:
    """A Dockerfile that ends as root, and one in work/ that another one took the place of."""
    dockerfile = here.path / "left" / "docker" / "jupyter" / "Dockerfile"
    dockerfile.write_text("ARG BASE\nFROM ${BASE}\nUSER root\nRUN touch /opt/mine && chmod u+s /usr/bin/env\n")
    here.answer("deploy", "left")
    assert here.on_host("cat projects/left/image/Dockerfile") == dockerfile.read_text()
    assert python(here, "left", "import os; print(os.path.exists('/opt/mine'), os.getuid(), os.getgid())").split() == [
        "True",
        "1000",
        "100",
    ]
    assert isolation.users(here, "left") & {"0"} == set()
    said = here.on_host("docker top left-jupyter-1 -eo pid,uid").splitlines()[1:]
    assert {line.split()[1] for line in said} == {"1000"}
    assert (
        python(here, "left", "import subprocess; print(subprocess.run(['env', 'id', '-u'], capture_output=True, text=True).stdout)").strip()
        == "1000"
    )
    isolation.closed(here, "left", isolation.other(here, "right"))


@pytest.mark.parametrize(
    "services", [["../../right/compose.redis"], ["redis.yml"], ["jupyter", "redis-private"], ["jupyter:/etc"], ["home"]]
)
def test_a_compose_file_cannot_be_named(here: Checkout, services: list[str]) -> None:
    settings = here.path / "left" / "slipway.yml"
    before, containers = settings.read_text(), here.containers()
    settings.write_text(yaml.safe_dump(yaml.safe_load(before) | {"services": services}))
    refused = here.orchestrate("deploy", "left")
    settings.write_text(before)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert here.containers() == containers


#: compose.postgres.yml of the version before, whose slipway is the first superuser: nothing of Slipway's own runs before the server does.
POSTGRES_BEFORE = """
services:
  postgres:
    image: ${POSTGRES_IMAGE:?}
    restart: unless-stopped
    security_opt: ["no-new-privileges:true"]
    cap_drop: [ALL]
    cap_add: [CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID]
    pids_limit: 256
    command: [postgres, -c, "shared_buffers=${POSTGRES_SHARED_BUFFERS:?}"]
    environment:
      POSTGRES_USER: slipway
      POSTGRES_DB: slipway
      POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password
    volumes:
      - postgres_data:/var/lib/postgresql/data
    secrets: [postgres_password]
    ulimits: {core: 0}
    shm_size: ${POSTGRES_MEMORY:?}
    mem_limit: ${POSTGRES_MEMORY:?}
    memswap_limit: ${POSTGRES_MEMORY:?}
    healthcheck:
      test: [CMD, pg_isready, --quiet, --host=127.0.0.1, --username=slipway]
      interval: 10s
      timeout: 5s
      start_period: 120s
      retries: 3
volumes:
  postgres_data: {}
secrets:
  postgres_password: {file: ./secrets/postgres_password}
"""
#: What its notebooks left in PostgreSQL, as the superuser that they were.
LEFT_BEFORE = """
CREATE ROLE bob SUPERUSER LOGIN; CREATE TABLE kept (t text); INSERT INTO kept VALUES ('yes'); SELECT lo_from_bytea(7, 'yes');
CREATE DATABASE more;
"""
#: As the version before ran its stores: from root on, with capabilities, as the user 999 of every image; MongoDB's slipway is root.
BEFORE = rf"""
set -e
cd ~/slipway
docker compose stop -t 30 redis mongo
docker compose rm --force --stop postgres
docker volume rm slipway_postgres_data
cat > compose.postgres.yml << 'END'{POSTGRES_BEFORE}END
for store in redis mongo; do
  sed -i '/^    user:/d; s/^    cap_drop: .*/&\n    cap_add: [CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID]/' compose.$store.yml
done
sed -i 's/^chmod 400 "$key"/chown mongodb "$key"; chmod 400 "$key"/; s/^bash .slipway.initiate.sh/sleep infinity/' mongo/start.sh
sed -i 's/test: .CMD-SHELL.*/test: [CMD, "true"]/' compose.mongo.yml
sed -i '/_UID=/d' .env
sudo rm -rf /etc/slipway
docker compose up -d redis mongo postgres
until docker exec slipway-mongo-1 bash -c '[ "$(bash /slipway/state.sh)" = primary ]'; do sleep 1; done
docker exec --user mongodb slipway-mongo-1 sh -c 'rm -f /data/db/slipway_rights; mongosh --quiet local --eval "
  db.auth({{user: \"__system\", pwd: require(\"fs\").readFileSync(\"/dev/shm/mongo.key\", \"utf8\"), mechanism: \"SCRAM-SHA-256\"}});
  db.getSiblingDB(\"admin\").updateUser(\"slipway\", {{roles: [\"root\"]}});"'
docker exec slipway-redis-1 sh -c 'REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli set kept yes'
until docker exec slipway-postgres-1 pg_isready -q -h 127.0.0.1; do sleep 1; done
docker exec -i slipway-postgres-1 psql -qU slipway -v ON_ERROR_STOP=1 << 'END'{LEFT_BEFORE}END
"""


def owners(here: Checkout) -> set[str]:
    """Whom the files of the base stack's stores belong to."""
    folders = [f"/var/lib/docker/volumes/slipway_{each}/_data" for each in ("redis_data", "mongo_data", "mongo_config", "postgres_data")]
    return set(here.on_host(f"sudo find {' '.join(folders)} -printf '%U\\n'").split())


@pytest.mark.parametrize("command", [["resize", "t2.medium"], ["up"]])
def test_a_machine_of_the_version_before_gets_users_of_its_own_with_what_it_holds(here: Checkout, command: list[str]) -> None:
    here.answer("up", "--yes")
    here.on_host("bash -s", stdin=BEFORE)
    assert owners(here) == {"999"}
    # Of a resize the fingerprints are compared; another command is asked for what it kept. The first try ends in the middle.
    here.on_host("sudo chown -h 1 /var/lib/docker/volumes/slipway_redis_data/_data/appendonlydir")
    redis = "docker exec slipway-redis-1 sh -c 'REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli get kept'"
    if command == ["up"]:
        # No store is stopped for it before the images are there.
        with here.given({"stack_images": IMAGES | {"mongo": "registry.lab:5000/mongo:missing"}}):
            missing = here.orchestrate("--yes", *command)
        assert (missing.returncode, "What ran before still runs" in missing.stderr) == (4, True), missing.stderr
        assert here.on_host(redis).strip() == "yes"
    done = here.orchestrate("--yes", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert owners(here) & {"0", "1", "999"} == set()
    assert here.on_host(redis).strip() == "yes"
    mongo = "mongo = __import__('pymongo').MongoClient('mongo', username='slipway', password=__import__('os').environ['MONGO_PASSWORD'])\n"
    roles = "print(*sorted(each['role'] for each in mongo.admin.command('usersInfo', 'slipway')['users'][0]['roles']))"
    assert here.on_host("docker exec -i slipway-jupyter-1 python -", stdin=mongo + roles).split() == [
        "clusterMonitor",
        "dbAdminAnyDatabase",
        "readWriteAnyDatabase",
    ]
    # With the password that it has had, and with what it has made.
    query = "SELECT t, convert_from(lo_get(7), 'UTF8'), current_setting('is_superuser'), "
    query += "(SELECT rolsuper FROM pg_roles WHERE rolname = 'bob'), (SELECT tableowner FROM pg_tables WHERE tablename = 'kept') FROM kept"
    client = "import os, psycopg2\nword = os.environ['POSTGRES_PASSWORD']\n"
    client += "it = psycopg2.connect(host='postgres', user='slipway', password=word).cursor()\n"
    asked = f'{client}it.execute("{query}")\nprint(*it.fetchone())'
    assert here.on_host("docker exec -i slipway-jupyter-1 python -", stdin=asked).split() == ["yes", "yes", "off", "False", "slipway"]
    # Two projects and the base stack: of each uid there is one owner.
    blocks = [line.split() for line in here.on_host("cat /etc/slipway/uids").splitlines() if not line.startswith("#")]
    assert len({first for _, first in blocks}) == len(blocks)
