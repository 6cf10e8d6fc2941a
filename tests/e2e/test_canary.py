"""The canary: after an `up` and while one runs, each secret is where it belongs and nowhere else."""

from __future__ import annotations

import fnmatch
import itertools
import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import Checkout
from tests.e2e.support import canary

pytestmark = pytest.mark.xdist_group("machine")

#: On the machine: the stack's own copies, and what Jupyter writes for its own user in its container.
BELONGS_THERE = (
    "/home/ubuntu/slipway/secrets/*",
    "/var/lib/docker/overlay2/*/diff/tmp/jupyter-runtime/jpserver-*",
)
NEW = "newcomer"
STORES = {"redis": "redis_password", "mongo": "mongo_password", "postgres": "postgres_password"}


def folder(machine: Checkout, name: str = "slipway") -> Path:
    return machine.path / ".slipway" / "lab" / "machines" / name


def ssh(machine: Checkout, name: str = "slipway") -> tuple[str, ...]:
    return ("ssh", "-F", str(folder(machine, name) / "ssh_config"), name, "sudo")


def nowhere_else(machine: Checkout, name: str = "slipway") -> None:
    """Each secret of the machine is found in its own files, here and there, and in no other place."""
    words = canary.secrets(folder(machine, name))
    files = sorted((folder(machine, name) / "stack" / "secrets").iterdir())
    # Each of its own, and the key: so all of them can be found.
    assert len(words) == len(files) + 1
    assert canary.look_here(machine, words) == {str(path) for path in [*files, folder(machine, name) / "ssh_key"]}
    there = canary.look_on_host(machine, words, name)
    assert {place for place in there if not any(fnmatch.fnmatch(place, known) for known in BELONGS_THERE)} == set()
    assert {f"/home/ubuntu/slipway/secrets/{path.name}" for path in files} <= there


def test_after_up_no_secret_is_where_it_does_not_belong(machine: Checkout) -> None:
    nowhere_else(machine)


def test_while_up_runs_again_no_argument_has_a_secret(machine: Checkout) -> None:
    words = canary.secrets(folder(machine))
    with canary.Watch(words) as here, canary.Watch(words, *ssh(machine)) as there:
        assert machine.answer("up")["changed"] == 0
    assert (here.found, there.found) == ([], [])
    assert min(here.looks, there.looks) > 20


@pytest.fixture
def new(machine: Checkout) -> Iterator[list[bytes]]:
    """The passwords that a second machine will be given, known before it is made."""
    place = folder(machine, NEW) / "stack" / "secrets"
    place.mkdir(mode=0o700, parents=True)
    words = [secrets.token_hex(16).encode() for _ in STORES]
    for name, word in zip(STORES.values(), words, strict=True):
        (place / name).write_bytes(word)
        (place / name).chmod(0o444)
    yield words
    gone = machine.orchestrate("destroy", NEW, "--name", NEW)
    assert gone.returncode == 0, gone.stderr


@pytest.mark.long
def test_while_stores_start_for_the_first_time_no_argument_has_a_secret(machine: Checkout, new: list[bytes]) -> None:
    with ThreadPoolExecutor(max_workers=1) as pool, ExitStack() as watches:
        here = watches.enter_context(canary.Watch(new))
        up = pool.submit(machine.answer, "up", "--name", NEW, "--services", ",".join(STORES))
        while not up.done() and subprocess.run([*ssh(machine, NEW), "true"], capture_output=True).returncode:
            time.sleep(0.5)
        there = watches.enter_context(canary.Watch(new, *ssh(machine, NEW)))
        assert set(up.result()["services"]) == set(STORES)
    assert (here.found, there.found) == ([], [])
    assert min(here.looks, there.looks) > 50
    nowhere_else(machine, NEW)


#: A kind of place on the machine: what puts $word there (it runs as ubuntu; $image is an image), and what takes it away.
PLANTS: dict[str, tuple[str, str]] = {
    "/tmp/planted": ('echo "$word" > /tmp/planted', "rm /tmp/planted"),  # noqa: S108 - a folder of the machine
    "/var/log/planted": ('echo "x$word" | sudo tee /var/log/planted', "sudo rm /var/log/planted"),
    "/home/ubuntu/slipway/planted": ('printf "\\0$word" > slipway/planted', "rm slipway/planted"),
    "/home/ubuntu/.ansible/planted": ('mkdir -p .ansible; echo "$word" > .ansible/planted', "rm .ansible/planted"),
    "/proc/*/cmdline": ('(exec -a "$word" sleep 300) & echo $! > /tmp/pid', "kill $(cat /tmp/pid)"),
    "/proc/*/environ": ("(PLANTED=$word exec sleep 301) & echo $! > /tmp/pid2", "kill $(cat /tmp/pid2)"),
    "containers": ('docker create --name planted --label "planted=$word" $image', "docker rm planted"),
    "images": (
        'docker create --name base $image && docker commit --change "ENV P=$word" base planted',
        "docker rmi planted; docker rm base",
    ),
    "history": ('printf "FROM $image\\nARG P=$word\\nLABEL x=y" | docker build --tag planted2 -', "docker rmi planted2"),
    "volumes": ('docker volume create --label "planted=$word" planted', "docker volume rm planted"),
    "journal": ('echo "$word" | systemd-cat', "true"),
}


@contextmanager
def planted_there(machine: Checkout, forms: Iterator[str]) -> Iterator[set[str]]:
    """Put a word into each kind of place on the machine; the places."""
    image = machine.on_host("docker image ls --quiet registry.lab:5000/redis").strip()
    try:
        for place, (put, _) in PLANTS.items():
            machine.on_host(f"word=$(cat); image={image}; exec >/dev/null 2>/tmp/plant </dev/null; {put}", stdin=next(forms))
            assert machine.on_host("cat /tmp/plant") == "", place
        yield set(PLANTS)
    finally:
        for _, take in PLANTS.values():
            machine.on_host(f"({take}) >/dev/null")
        machine.on_host("rm -f /tmp/pid /tmp/pid2 /tmp/plant")


@contextmanager
def planted_here(machine: Checkout, forms: Iterator[str]) -> Iterator[set[str]]:
    """The same on this machine."""
    run = next(path.parent for path in (machine.path / ".slipway" / "runs").rglob("stdout"))
    log = machine.path / ".slipway" / "lab" / "api.log"
    files = [machine.path / "planted.txt", run / "planted", Path.home() / ".ansible" / "tmp" / "planted"]
    size = log.stat().st_size
    with ExitStack() as undo:
        for path in files:
            path.write_text(f"x{next(forms)}\0")
            undo.callback(path.unlink)
        with log.open("a") as stream:
            stream.write(next(forms))
        undo.callback(os.truncate, log, size)
        named = subprocess.Popen([next(forms), "300"], executable="/bin/sleep")
        undo.callback(named.wait)
        undo.callback(named.kill)
        surrounded = subprocess.Popen(["/bin/sleep", "300"], env={"PLANTED": next(forms)})
        undo.callback(surrounded.wait)
        undo.callback(surrounded.kill)
        yield {*map(str, files), str(log), f"/proc/{named.pid}/cmdline", f"/proc/{surrounded.pid}/environ"}


def test_the_canary_finds_what_is_planted(machine: Checkout) -> None:
    word = f"pl@nted/{secrets.token_hex(12)}+".encode()
    written = canary.forms(word)
    assert len(written) > 4
    forms = itertools.cycle(sorted(written))
    with planted_here(machine, forms) as places:
        assert canary.look_here(machine, [word]) == places
    with planted_there(machine, forms) as kinds:
        found = canary.look_on_host(machine, [word])
        assert {kind for kind in kinds if not fnmatch.filter(found, kind)} == set(), found
    left = canary.look_on_host(machine, [word])
    # Nothing takes a line out of the journal.
    assert {kind for kind in kinds if fnmatch.filter(left, kind)} == {"journal"}


def test_the_watch_sees_an_argument(machine: Checkout) -> None:
    word = secrets.token_hex(16).encode()
    seen = json.dumps({"password": word.decode()})
    with canary.Watch([word]) as here, canary.Watch([word], *ssh(machine)) as there:
        with subprocess.Popen([seen, "1"], executable="/bin/sleep"):
            pass
        machine.on_host('word=$(cat); exec -a "$word" sleep 1', stdin=seen)
    assert [seen in line for line in here.found] == [True]
    assert [seen in line for line in there.found] == [True]
