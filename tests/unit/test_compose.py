"""What holds of every service's Compose file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import PROJECT

FRAGMENTS = sorted((PROJECT / "roles/stack/files/compose").glob("compose.*.yml"))
SERVICES = ("batch", "jupyter", "mongo", "monitor", "postgres", "redis", "worker")


def service(name: str) -> dict[str, Any]:
    text = (PROJECT / f"roles/stack/files/compose/compose.{name}.yml").read_text()
    return dict(yaml.safe_load(text)["services"][name])


def test_remove_knows_every_volume_that_a_project_can_have() -> None:
    """One of these that is not there is removed already; any other name is refused."""
    files = (PROJECT / "roles/stack/files/compose").glob("compose.*.yml")
    volumes = {name for path in files for name in yaml.safe_load(path.read_text()).get("volumes") or {}}
    assert set(yaml.safe_load((PROJECT / "roles/stack/vars/main.yml").read_text())["__stack_volume_keys"]) == volumes


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_writes_a_core_file(name: str) -> None:
    assert service(name)["ulimits"] == {"core": 0}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_runs_from_its_first_process_as_a_user_without_rights(name: str) -> None:
    """Whatever the image names: a project's own Dockerfile may end as root."""
    found, own = service(name), f"${{{name.upper()}_UID:?}}"
    assert found["user"] == (f"{own}:{own}" if name in ("mongo", "postgres", "redis") else "1000:100")
    assert found["cap_drop"] == ["ALL"]
    assert "cap_add" not in found
    assert found["security_opt"] == ["no-new-privileges:true"]


#: Of what a fragment may mount; each is the user ubuntu's, and work/ alone can be written to from a container.
SOURCES = {
    "./work",
    *("./secrets", "./secrets_monitor"),
    *("./batch", "./mongo", "./postgres", "./postgres/init", "./redis"),
    *("./seeds/data", "./seeds/project"),
}


@pytest.mark.parametrize("path", FRAGMENTS, ids=lambda path: path.name)
def test_no_mount_begins_at_what_a_notebook_can_move(path: Path) -> None:
    """A folder below work/ could be a link to another one by the time when the engine resolves it."""
    found = yaml.safe_load(path.read_text())
    mounts = [mount for each in found["services"].values() for mount in each.get("volumes", [])]
    binds = {mount.split(":")[0] for mount in mounts if isinstance(mount, str) and mount.startswith((".", "/", "~"))}
    assert binds <= SOURCES
    assert [mount for mount in mounts if not isinstance(mount, str) and mount["type"] != "volume"] == []
    assert {each["file"] for each in found.get("secrets", {}).values()} <= {
        f"./secrets/{store}_password" for store in ("mongo", "postgres", "redis")
    }
    for each in found["services"].values():
        assert not {"privileged", "pid", "ipc", "userns_mode", "network_mode", "devices", "cap_add", "volumes_from"} & each.keys()


@pytest.mark.parametrize("name", ["batch", "jupyter", "postgres", "worker"])
def test_shared_memory_is_as_large_as_the_limit(name: str) -> None:
    """It counts as memory. By 64 MiB of it a parallel join of 1,500,000 rows fails, and so does PyTorch's loader."""
    found = service(name)
    assert found["shm_size"] == found["mem_limit"] == found["memswap_limit"]


def test_a_worker_has_longer_to_stop_than_its_job() -> None:
    """A heartbeat in which the job is handed back comes each 5 seconds, and Redis may take a while."""
    settings = (PROJECT / "roles/stack/templates/env.j2").read_text()
    assert service("worker")["stop_grace_period"] == "${WORKER_STOP_SECONDS:?}s"
    assert re.search(r"^WORKER_STOP_SECONDS=\{\{ stack_job_seconds \| int \+ 15 \}\}$", settings, re.MULTILINE)


def test_a_start_of_postgres_that_works_is_not_unhealthy() -> None:
    """Of a volume of an earlier version each role gets its rights before it serves, with project's files or without."""
    check = service("postgres")["healthcheck"]
    assert check["start_period"] == "${POSTGRES_SEED_SECONDS:?}s" and "sh /slipway/seeding.sh" in check["test"][-1]
    settings = (PROJECT / "roles/stack/templates/env.j2").read_text()
    part = settings.partition("service == 'postgres'")[2].partition("{% endfor %}")[0]
    assert "POSTGRES_SEED_SECONDS={{ stack_seed_seconds }}" in part.rpartition("endif")[0].rpartition("endif")[2]
    [block] = [each for each in yaml.safe_load((PROJECT / "roles/stack/tasks/compose.yml").read_text()) if "rescue" in each]
    assert block["rescue"][0]["when"] == "'postgres' in stack_services"
