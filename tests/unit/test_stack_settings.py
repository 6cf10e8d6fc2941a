"""The settings that the role stack writes, and the Compose files that read them, without a host."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

from tests.conftest import PROJECT
from tests.modules import load

ROLE = PROJECT / "roles" / "stack"
SERVICES = ("jupyter", "redis", "mongo", "postgres")
init_plugin_loader([])
SUBSETS = [list(chosen) for count in range(1, 5) for chosen in combinations(SERVICES, count)]


def settings(services: list[str], memory_mib: int = 1024, **inputs: Any) -> dict[str, str]:
    """What env.j2 renders for these services on a machine of this size."""
    loader = DataLoader()
    variables: dict[str, Any] = {}
    for name in ("defaults", "vars"):
        variables |= loader.load_from_file(str(ROLE / name / "main.yml"), trusted_as_template=True)
    variables |= {
        "stack_services": services,
        "stack_memory_mib": memory_mib,
        "role_path": str(ROLE),
        "ansible_managed": "by a test",
        "__stack_uids": load("stack_uid_rules").uids(1_900_000_000),
    } | inputs
    # As Ansible's own template module reads it.
    templar = Templar(loader, variables).copy_with_new_env()
    text = templar.template(trust_as_template((ROLE / "templates" / "env.j2").read_text()), overrides={"trim_blocks": True})
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def composed(folder: Path, values: dict[str, str], *options: str) -> dict[str, Any]:
    """What Compose makes of them."""
    shutil.copytree(ROLE / "files" / "compose", folder, dirs_exist_ok=True)
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    compose = Path(sys.prefix) / "bin" / "docker-compose"
    command = [compose, *options, "config", "--format", "json"]
    done = subprocess.run(command, cwd=folder, env={"PATH": os.defpath}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("services", SUBSETS, ids=["-".join(chosen) for chosen in SUBSETS])
def test_every_choice_of_services_is_a_project_that_fits(services: list[str], tmp_path: Path) -> None:
    project = composed(tmp_path, settings(services))
    assert project["name"] == "slipway"
    assert set(project["services"]) == set(services)
    limits = [int(service["mem_limit"]) for service in project["services"].values()]
    # What the budget leaves free is for systemd, the engine and SSH.
    assert (1024 - 224 - len(services)) * 2**20 <= sum(limits) <= (1024 - 224) * 2**20
    for name, service in project["services"].items():
        assert service["memswap_limit"] == service["mem_limit"], name
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name
        assert {port["host_ip"] for port in service.get("ports", [])} <= {"127.0.0.1"}, name
        # Each store's data lies in a named volume, never in the container or an anonymous one.
        assert name == "jupyter" or "volume" in {mount["type"] for mount in service["volumes"]}, name


@pytest.mark.parametrize(("memory_mib", "jupyter"), [(1024, 364), (2048, 1132), (4096, 2668)])
def test_a_larger_machine_gives_jupyter_the_most(memory_mib: int, jupyter: int) -> None:
    assert settings(list(SERVICES), memory_mib)["JUPYTER_MEMORY"] == f"{jupyter}m"


def test_another_base_or_requirement_makes_another_image(tmp_path: Path) -> None:
    image = settings(["jupyter"])["JUPYTER_IMAGE"]
    name, _, tag = image.partition(":")
    assert name == "slipway/jupyter"
    assert len(tag) == 12
    assert settings(["jupyter", "redis"])["JUPYTER_IMAGE"] == image


def test_upstream_images_are_named_by_tag_and_digest() -> None:
    values = settings(list(SERVICES))
    for key in ("JUPYTER_BASE_IMAGE", "REDIS_IMAGE", "MONGO_IMAGE", "POSTGRES_IMAGE"):
        tag, _, digest = values[key].partition("@")
        assert ":" in tag.rpartition("/")[2], key
        assert digest.startswith("sha256:"), key
        assert len(digest) == len("sha256:") + 64, key


@pytest.mark.parametrize("services", [["jupyter"], ["redis", "jupyter", "postgres"]])
def test_by_tls_jupyter_has_the_public_port_and_no_other(services: list[str], tmp_path: Path) -> None:
    project = composed(tmp_path, settings(services, stack_jupyter_exposure="public", stack_jupyter_public_port=8443))
    jupyter = project["services"]["jupyter"]
    assert [(port["published"], port["target"]) for port in jupyter["ports"]] == [("8443", 8888)]
    assert jupyter["ports"][0]["host_ip"] == str(ipaddress.IPv4Address(0))
    pair = "--ServerApp.certfile=/run/secrets/self_signed.crt --ServerApp.keyfile=/run/secrets/self_signed.key"
    # Under the machine's name too; without TLS only under the loopback's.
    assert jupyter["command"] == ["start-notebook.py", *pair.split(), "--ServerApp.allow_remote_access=true"]
    assert "openssl s_client" in jupyter["healthcheck"]["test"][-1]
    assert {name for name, service in project["services"].items() if service.get("ports")} == {"jupyter"}
    # What the other mode has besides stays.
    assert jupyter["healthcheck"]["retries"] == 3
    assert jupyter["mem_limit"]


def value(name: str, **given: Any) -> Any:
    """What one of the role's own variables comes to."""
    loader = DataLoader()
    variables: dict[str, Any] = {}
    for file in ("defaults", "vars"):
        variables |= loader.load_from_file(str(ROLE / file / "main.yml"), trusted_as_template=True)
    return Templar(loader, variables | given).template(trust_as_template(f"{{{{ {name} }}}}"))


@pytest.mark.parametrize(
    ("image", "major"),
    [
        ("postgres:15.19-bookworm@sha256:" + "0" * 64, "15"),
        ("registry.lab:5000/postgres:16", "16"),
        ("postgres:17-alpine", "17"),
        # Nothing that could be known.
        ("postgres:latest", ""),
        ("postgres:15beta1", ""),
        ("registry.lab:5000/postgres@sha256:" + "0" * 64, ""),
        ("timescale/timescaledb:2.17-pg15", ""),
    ],
)
def test_the_major_version_of_postgresql_is_read_from_a_tag_that_tells_it(image: str, major: str) -> None:
    assert value("__stack_postgres_wanted", stack_images={"postgres": image}) == major


@pytest.mark.parametrize(
    ("killed", "memory_mib"), [({"jupyter": 364}, 1510), ({"redis": 60}, 1744), ({"jupyter": 364, "redis": 60}, 1744), ({}, 0)]
)
def test_the_machine_that_would_fit_gives_twice_the_limit(killed: dict[str, int], memory_mib: int) -> None:
    services = {name: {"out_of_memory": name in killed, "memory_limit_mib": killed.get(name, 0)} for name in SERVICES}
    fit = int(value("__stack_fit_mib", stack_services=list(SERVICES), __stack_look={"services": services}))
    assert fit == memory_mib
    for name, limit in killed.items():
        assert int(settings(list(SERVICES), fit)[f"{name.upper()}_MEMORY"].removesuffix("m")) >= 2 * limit


def test_what_starved_in_a_container_that_is_gone_counts_as_long_as_the_service_has_no_more() -> None:
    services = {name: {"out_of_memory": False, "memory_limit_mib": 364} for name in SERVICES}
    given = {"stack_services": list(SERVICES), "__stack_look": {"services": services}}
    assert int(value("__stack_fit_mib", stack_starved={"jupyter": 364}, **given)) == 1510
    assert int(value("__stack_fit_mib", stack_starved={"jupyter": 363}, **given)) == 0
    assert int(value("__stack_fit_mib", stack_starved={"worker": 364}, **given)) == 0


def test_room_for_images_is_asked_for_only_where_they_are_missing() -> None:
    images = value("__stack_engine_names", stack_name="slipway", role_path=str(ROLE))
    assert images["redis"].startswith("redis@sha256:")
    given = {"stack_services": list(SERVICES), "role_path": str(ROLE), "stack_images": {}, "stack_free_disk_mib": 100}
    assert int(value("__stack_wanted_disk_mib", __stack_look={"images": list(images.values())}, **given)) == 100
    assert int(value("__stack_wanted_disk_mib", __stack_look={"images": [images["jupyter"]]}, **given)) == 100 + 1024 + 512 + 256
    assert int(value("__stack_wanted_disk_mib", __stack_look={"images": []}, **given | {"stack_free_disk_mib": 0})) == 0


@pytest.mark.parametrize("services", [["jupyter"], ["jupyter", "worker"]])
def test_a_mongo_elsewhere_has_its_replica_sets_name_in_every_container_that_uses_it(services: list[str], tmp_path: Path) -> None:
    hosts = {"mongo": "10.200.0.5", "redis": "10.200.0.5"}
    project = composed(tmp_path, settings(services, stack_store_hosts=hosts, __stack_look={"chosen_ports": {}}), "--profile", "batch")
    assert set(project["services"]) == {*services, "batch"}
    for name, service in project["services"].items():
        assert service["environment"]["MONGO_HOST"] == "10.200.0.5", name
        assert service["extra_hosts"] == ["mongo=10.200.0.5"], name
    here = composed(tmp_path, settings(["jupyter", "mongo"]))["services"]
    assert "extra_hosts" not in here["jupyter"]
    assert here["mongo"]["hostname"] == "mongo"
