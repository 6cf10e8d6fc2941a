"""Faults of the engine and of the host it runs on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import docker

from tests.conftest import Checkout
from tests.e2e.faults import Fault, serves

DAEMON_CONFIG = "/etc/docker/daemon.json"
SSHD = "/etc/ssh/sshd_config.d/fault.conf"
DROP_IN = "/etc/systemd/system/docker.service.d/fault.conf"
LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
Inject = Callable[[Checkout], AbstractContextManager[object]]

#: The containers before the fault, which must be there after it: one row's at a time.
_BEFORE: list[str] = []


def remember(machine: Checkout) -> None:
    """Keep the containers' ids, and a row in a store."""
    _BEFORE[:] = machine.containers()
    machine.on_host(redis("SET fault kept"))


def redis(command: str) -> str:
    return f"cd slipway && docker compose exec -T redis sh -c 'REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli {command}'"


def the_same_serve(machine: Checkout) -> None:
    """The same containers, with their data."""
    serves(machine)
    assert machine.containers() == _BEFORE
    assert machine.on_host(redis("GET fault")).strip() == "kept"


def stopped(*units: str) -> Inject:
    """Units that somebody stopped. The command mends that, so there is nothing to take back."""

    @contextmanager
    def inject(machine: Checkout) -> Iterator[None]:
        remember(machine)
        machine.on_host(f"sudo systemctl stop {' '.join(units)}")
        yield

    return inject


@contextmanager
def cannot_start(machine: Checkout) -> Iterator[None]:
    """An engine that ends at once, as one whose settings or whose disk are broken."""
    remember(machine)
    said = '[Service]\nExecStart=\nExecStart=/bin/sh -c "echo the engine has no disk >&2; exit 1"\n'
    machine.on_host(f"sudo mkdir -p $(dirname {DROP_IN}) && sudo tee {DROP_IN}", stdin=said)
    machine.on_host("sudo systemctl daemon-reload && sudo systemctl stop docker docker.socket")
    try:
        yield
    finally:
        machine.on_host(f"sudo rm {DROP_IN} && sudo systemctl daemon-reload")
        # The same command again starts it, although systemd has counted failures in a row.
        machine.answer("up")


@contextmanager
def broken_settings(machine: Checkout) -> Iterator[None]:
    """A comma too many in the engine's settings; an engine that runs does not read them."""
    remember(machine)
    kept = machine.on_host(f"cat {DAEMON_CONFIG}")
    machine.on_host(f"sudo tee {DAEMON_CONFIG}", stdin='{"debug": true,}\n')
    try:
        yield
        assert machine.on_host(f"cat {DAEMON_CONFIG}") == '{"debug": true,}\n'
    finally:
        # The engine that runs has read them: they are as old as they were.
        machine.on_host(f"sudo tee {DAEMON_CONFIG} && sudo touch --date '2020-01-01' {DAEMON_CONFIG}", stdin=kept)


def clock(offset: str) -> Inject:
    """A host whose clock is wrong, for all that is started there over SSH; sshd itself does not bear libfaketime."""
    settings = f"SetEnv LD_PRELOAD={LIBRARY} FAKETIME={offset}\n"

    @contextmanager
    def inject(machine: Checkout) -> Iterator[None]:
        remember(machine)
        known = "dpkg --status libfaketime >/dev/null 2>&1"
        machine.on_host(f"{known} || (sudo apt-get update -q && sudo apt-get install -qy --no-install-recommends libfaketime)")
        machine.on_host(f"sudo tee {SSHD} && sudo systemctl reload ssh", stdin=settings)
        log_in_anew(machine)
        try:
            yield
        finally:
            machine.on_host(f"sudo rm {SSHD} && sudo systemctl reload ssh")
            log_in_anew(machine)

    return inject


def log_in_anew(machine: Checkout) -> None:
    """End the connections that Ansible keeps, which have the settings of their time; the tunnel has no session, and stays."""
    known_hosts = machine.path / ".slipway" / "lab" / "machines" / "slipway" / "known_hosts"
    host = docker.from_env().containers.get(f"{machine.lab.id}-{known_hosts.read_text().split()[0]}")
    host.exec_run(["pkill", "--full", "^sshd: ubuntu@notty"])


ROWS: list[Fault] = [
    Fault("engine dead", stopped("docker", "docker.socket"), 0, after=the_same_serve),
    Fault(
        "containerd upgraded and dockerd left stopped", stopped("docker", "docker.socket", "containerd"), 0, after=the_same_serve, long=True
    ),
    Fault("engine cannot start", cannot_start, 4, ("did not start", "its journal", "the engine has no disk"), after=the_same_serve),
    Fault(
        "engine's settings are no JSON",
        broken_settings,
        4,
        (DAEMON_CONFIG, "is not valid JSON", "Mend or remove it"),
        after=the_same_serve,
        long=True,
    ),
    Fault("clock an hour ahead", clock("+1h"), 4, ("The clock of", "s ahead of this computer's", "Allowed: 300 s"), after=the_same_serve),
    Fault(
        "clock an hour behind",
        clock("-1h"),
        4,
        ("The clock of", "s behind this computer's", "Allowed: 300 s"),
        after=the_same_serve,
        long=True,
    ),
]
