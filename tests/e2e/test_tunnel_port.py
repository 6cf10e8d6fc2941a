"""The tunnel's port on this computer, where another program wants the same one."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Checkout

pytestmark = pytest.mark.xdist_group("machine")

#: Stands before the real ssh, once: takes the port that ssh was told to forward, as a second `up` at the same time would.
FASTER = r"""#!/bin/sh
port=$(printf '%s\n' "$@" | sed -n 's/^127\.0\.0\.1:\([0-9]*\):.*/\1/p')
if [ -n "$port" ] && mkdir "{folder}/once" 2>/dev/null; then
    echo "$port" > "{folder}/port"
    python3 -m http.server --bind 127.0.0.1 "$port" >/dev/null 2>&1 & echo $! > "{folder}/pid"
    sleep 2
fi
exec {ssh} "$@"
"""


@pytest.fixture
def faster(machine: Checkout, tmp_path: Path) -> Iterator[Path]:
    """A machine whose tunnel's port is not chosen yet, and somebody who takes each port first; then as it was."""
    memory = machine.path / ".slipway" / "lab" / "machines" / "slipway" / "tunnel.json"
    kept = memory.read_text()
    closed = machine.run("ansible-playbook", "playbooks/open.yml", "-e", "tunnel_state=closed")
    assert closed.returncode == 0, closed.stdout
    memory.unlink()
    script = tmp_path / "ssh"
    script.write_text(FASTER.replace("{folder}", str(tmp_path)).replace("{ssh}", str(shutil.which("ssh"))))
    script.chmod(0o755)
    yield tmp_path
    machine.run("kill", (tmp_path / "pid").read_text().strip())
    machine.run("ansible-playbook", "playbooks/open.yml", "-e", "tunnel_state=closed")
    memory.write_text(kept)
    machine.answer("open")


def test_a_port_that_is_lost_to_another_program_is_left_to_it(machine: Checkout, faster: Path) -> None:
    done = machine.orchestrate("open", "--json", PATH=f"{faster}:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    taken = int((faster / "port").read_text())
    chosen = json.loads(done.stdout)["url"]
    assert f":{taken}/" not in chosen
    assert int(chosen.partition("127.0.0.1:")[2].partition("/")[0]) > taken


@contextmanager
def listening(port: int = 0) -> Iterator[int]:
    """Another program on a port of this computer."""
    with socket.create_server(("127.0.0.1", port)) as server:
        yield int(server.getsockname()[1])


def port_of(url: str) -> int:
    return int(url.partition("127.0.0.1:")[2].partition("/")[0])


def test_a_taken_port_moves_the_url_and_a_chosen_one_is_kept(machine: Checkout) -> None:
    """Whatever opens the tunnel: `open` here; `up`, `deploy` and `resize` open it by the same task."""
    had = port_of(machine.answer("open")["url"])
    closed = machine.run("ansible-playbook", "playbooks/open.yml", "-e", "tunnel_state=closed")
    assert closed.returncode == 0, closed.stdout
    with listening(had):
        moved = machine.orchestrate("open", "--json")
        assert moved.returncode == 0, moved.stderr
        now = port_of(json.loads(moved.stdout)["url"])
        assert now > had
        assert f"Port {had} of this computer" in moved.stderr
        assert f"http://127.0.0.1:{now}/lab, and stays there. To choose a port: open --local-port N" in " ".join(moved.stderr.split())
        # Nothing is changed by a port that is taken.
        refused = machine.orchestrate("open", "--local-port", str(had))
        assert refused.returncode == 3, refused.stderr
        assert f"Port {had} of this computer is taken by another program." in refused.stderr
        assert port_of(machine.answer("status")["url"]) == now
    # It stays where it was said to be, also now; another one is chosen by its number, and is kept.
    assert port_of(machine.answer("open")["url"]) == now
    assert port_of(machine.answer("open", "--local-port", str(had))["url"]) == had
    assert port_of(machine.answer("open")["url"]) == port_of(machine.answer("status")["url"]) == had
    # One whose socket was lost is its own, not another program.
    memory = json.loads((machine.path / ".slipway" / "lab" / "machines" / "slipway" / "tunnel.json").read_text())
    Path(memory["control"]).unlink()
    assert port_of(machine.answer("open")["url"]) == had
