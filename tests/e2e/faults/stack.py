"""Faults of the services and of the host under them."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import docker

from lab import config
from lab.hosts import vpc_network
from tests.conftest import IMAGES, Checkout
from tests.e2e.faults import Fault, serves
from tests.e2e.faults.disk import disk_full
from tests.e2e.faults.power import power_cut
from tests.e2e.support.machines import instance

Inject = Callable[[Checkout], AbstractContextManager[object]]
COMPOSE = Path("roles", "stack", "files", "compose")
NO_DIGEST = "0" * 64
PG_VERSION = "/var/lib/docker/volumes/slipway_postgres_data/_data/PG_VERSION"
#: As large as no machine's memory, in a process that is not the container's first.
GREEDY_KERNEL = "docker exec slipway-jupyter-1 python -c 'bytearray(2 * 1024 ** 3)' 2>&1; exit 0"
GREEDY_STORE = 'for i = 1, 200 do redis.call("set", "waste" .. i, string.rep("x", 1000000)) end'


def both(*injects: Inject) -> Inject:
    """Several faults at once."""

    @contextmanager
    def inject(machine: Checkout) -> Iterator[None]:
        with ExitStack() as stack:
            for one in injects:
                stack.enter_context(one(machine))
            yield

    return inject


def given(**variables: object) -> Inject:
    """Variables for which there is no option."""
    return lambda machine: machine.given(variables)


def changed(path: Path, old: str, new: str) -> Inject:
    """A file of the checkout that says something else."""

    @contextmanager
    def inject(machine: Checkout) -> Iterator[None]:
        file = machine.path / path
        kept = file.read_bytes()
        mode = file.stat().st_mode
        text = kept.decode().replace(old, new) if old else new
        assert text.encode() != kept
        file.chmod(0o600)
        file.write_text(text)
        try:
            yield
        finally:
            file.write_bytes(kept)
            file.chmod(mode)

    return inject


def secret(text: str) -> Inject:
    """MongoDB's password file with another content."""
    return changed(Path(".slipway", "lab", "machines", "slipway", "stack", "secrets", "mongo_password"), "", text)


@contextmanager
def secret_gone(machine: Checkout) -> Iterator[None]:
    file = machine.path / ".slipway" / "lab" / "machines" / "slipway" / "stack" / "secrets" / "mongo_password"
    away = file.rename(machine.path / "away")
    try:
        yield
        assert not file.exists()
    finally:
        away.rename(file)


def on_host(before: str, after: str = "true") -> Inject:
    """A command on the machine, and the one that takes it back."""

    @contextmanager
    def inject(machine: Checkout) -> Iterator[None]:
        machine.on_host(before)
        try:
            yield
        finally:
            machine.on_host(after)

    return inject


@contextmanager
def registry_down(machine: Checkout) -> Iterator[None]:
    """Nobody reaches the registry. It runs on: a lab whose registry has ended is started again by any `up`."""
    engine = docker.from_env()
    registry = engine.containers.get(f"{machine.lab.id}-registry")
    vpc = engine.networks.get(vpc_network(machine.lab))
    vpc.disconnect(registry)
    try:
        yield
    finally:
        vpc.connect(registry, ipv4_address=machine.lab.registry_ip, aliases=[config.REGISTRY.partition(":")[0]])


@contextmanager
def pull_dies(machine: Checkout) -> Iterator[None]:
    """The registry serves slowly, and ends while the host pulls an image that it has lost."""
    engine = docker.from_env()
    registry = engine.containers.get(f"{machine.lab.id}-registry")
    machine.on_host(f"docker rm --force slipway-postgres-1 && docker rmi {IMAGES['postgres']}")
    registry.update(cpu_period=100_000, cpu_quota=2_000)
    # The engine keeps what it has of a layer under this name.
    begun = "for _ in $(seq 600); do ls /var/lib/docker/tmp/GetImageBlob* >/dev/null 2>&1 && exit; sleep 0.2; done; exit 1"
    host = engine.containers.get(f"{machine.lab.id}-{instance(machine)}")

    def end() -> None:
        if host.exec_run(["sh", "-c", begun]).exit_code == 0:
            registry.kill()

    watch = threading.Thread(target=end)
    watch.start()
    try:
        yield
    finally:
        watch.join()
        registry.reload()
        ended = registry.status
        registry.update(cpu_quota=-1)
        registry.start()
    assert ended == "exited"


@contextmanager
def same_containers(machine: Checkout) -> Iterator[None]:
    """Whatever the command did: the containers that served before still do."""
    before = machine.containers()
    yield
    assert machine.containers() == before


@contextmanager
def mended_by_no_new_container(machine: Checkout) -> Iterator[None]:
    """They still serve, and the same command without the fault leaves them alone too."""
    before = machine.containers()
    yield
    assert machine.containers() == before
    machine.answer("up")
    assert machine.containers() == before


@contextmanager
def two_others_serve(machine: Checkout) -> Iterator[None]:
    """All but two: the same containers, and healthy."""
    before = set(machine.containers())
    yield
    healthy = set(machine.on_host("docker ps --quiet --no-trunc --filter health=healthy").split())
    assert len(before & healthy) == len(healthy) == len(before) - 2


def redis(*words: str) -> str:
    """The shell command that gives Redis a command of its own."""
    cli = 'REDISCLI_AUTH=$(cat /run/secrets/redis_password) exec redis-cli "$@"'
    return shlex.join(["docker", "exec", "slipway-redis-1", "sh", "-c", cli, "redis", *words])


@contextmanager
def a_row_is_kept(machine: Checkout) -> Iterator[None]:
    """A row that was written before is there afterwards. Redis promises what is older than its last second."""
    machine.on_host(f"{redis('set', 'kept', 'a row')} && sleep 2")
    yield
    machine.answer("up")
    assert machine.on_host(redis("get", "kept")).strip() == "a row"


def mends(machine: Checkout) -> None:
    """The same command again finishes the job."""
    machine.answer("up")
    serves(machine)


def forgotten(machine: Checkout) -> None:
    """It serves by new containers: with the old ones goes what they tell of memory that ran out, which a later test must not find."""
    machine.on_host("cd slipway && docker compose up --detach --force-recreate --wait --wait-timeout 120 jupyter redis 2>&1")
    serves(machine)


ROWS: list[Fault] = [
    Fault("a store's password is lost", secret_gone, 3, ("slipway_mongo_data", "never made over existing data")),
    Fault("a store's password is empty", secret(""), 3, ("mongo_password is empty or short",), long=True),
    Fault("a store's password is another", secret("x" * 32), 3, ("is not the secret that the host has", "slipway_mongo_data")),
    Fault(
        "the Compose project is renamed",
        both(same_containers, given(stack_name="other")),
        3,
        ('"other"', "empty volumes", "slipway"),
        long=True,
    ),
    Fault(
        "a volume's definition has changed",
        both(a_row_is_kept, same_containers, changed(COMPOSE / "compose.redis.yml", "redis_data: {}", "redis_data: {labels: {a: b}}")),
        3,
        ("slipway_redis_data", '"labels": {"a": "b"}', "loses its data"),
    ),
    Fault(
        "a port is taken",
        on_host(
            "docker stop slipway-jupyter-1 && sudo systemd-run --unit=taker python3 -m http.server --bind 127.0.0.1 8888 && sleep 2",
            "sudo systemctl stop taker",
        ),
        3,
        ("stack_jupyter_port: 8888", "python3, pid "),
        after=mends,
    ),
    Fault(
        "the disk is too full",
        both(same_containers, given(stack_free_disk_mib=99_999_999)),
        3,
        ("MiB free, and 99999999 MiB are needed", "stack_free_disk_mib"),
        long=True,
    ),
    Fault(
        "PostgreSQL of another major version over its volume",
        both(same_containers, given(stack_images=IMAGES | {"postgres": "registry.lab:5000/postgres:16"})),
        2,
        ("stack_images.postgres", "is PostgreSQL 16", "was made by PostgreSQL 15", "pg_dumpall"),
    ),
    Fault(
        "PostgreSQL finds files of another major version",
        both(
            given(stack_wait_seconds=30),
            on_host(
                f"docker stop slipway-postgres-1 && echo 14 | sudo tee {PG_VERSION} && docker start slipway-postgres-1",
                f"docker stop slipway-postgres-1 && echo 15 | sudo tee {PG_VERSION} && docker start slipway-postgres-1",
            ),
        ),
        4,
        ("postgres", "initialized by PostgreSQL version 14", "The other services stay up"),
        after=mends,
        long=True,
    ),
    Fault(
        "a service never turns healthy, and one ends at once",
        both(
            two_others_serve,
            given(stack_wait_seconds=20),
            changed(COMPOSE / "compose.redis.yml", "command: [sh, /slipway/start.sh,", 'command: [sh, -c, "echo I only sleep; sleep 600",'),
            changed(
                COMPOSE / "compose.mongo.yml", "entrypoint: [bash, /slipway/start.sh]", 'entrypoint: [sh, -c, "echo I only end; exit 1"]'
            ),
        ),
        4,
        (
            # Compose waits no longer once a container has ended, so redis may be starting still.
            " s: mongo",
            "redis",
            "mongo is ",
            "restarts: health",
            "I only end",
            "The other services stay up",
        ),
        after=mends,
    ),
    Fault("the registry is down, with the images there", both(registry_down, on_host("docker rm --force slipway-redis-1")), 0, long=True),
    Fault(
        "the registry is down, without an image",
        both(same_containers, registry_down, given(stack_images=IMAGES | {"redis": "registry.lab:5000/redis:missing"})),
        4,
        ("redis cannot be started without its image registry.lab:5000/redis:missing", "no such host"),
    ),
    Fault(
        "a pull dies at half",
        both(pull_dies, same_containers),
        4,
        ("postgres cannot be started without its image registry.lab:5000/postgres:15",),
        after=mends,
        long=True,
    ),
    Fault(
        "an image's digest is none of the registry's",
        both(mended_by_no_new_container, given(stack_images=IMAGES | {"redis": f"registry.lab:5000/redis@sha256:{NO_DIGEST}"})),
        4,
        ("redis", NO_DIGEST),
    ),
    Fault(
        "a notebook's kernel runs out of memory",
        on_host(GREEDY_KERNEL),
        0,
        ("out of memory", "t2.small"),
        words=("status",),
        after=forgotten,
        long=True,
    ),
    Fault(
        "a store runs out of memory",
        both(a_row_is_kept, on_host(f"{redis('config', 'set', 'maxmemory', '0')}; {redis('eval', GREEDY_STORE, '0')}; sleep 2")),
        0,
        ("out of memory",),
        after=forgotten,
        long=True,
    ),
    Fault("the power is cut in mid-write", power_cut, 0),
    Fault("the disk is full in mid-write", disk_full, 0),
]
