"""The settings that the role stack writes, and the Compose files that read them, without a host."""

from __future__ import annotations

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

ROLE = PROJECT / "roles" / "stack"
SERVICES = ("jupyter", "redis", "mongo", "postgres")
init_plugin_loader([])
SUBSETS = [list(chosen) for count in range(1, 5) for chosen in combinations(SERVICES, count)]


def settings(services: list[str], memory_mib: int = 1024) -> dict[str, str]:
    """What env.j2 renders for these services on a machine of this size."""
    loader = DataLoader()
    variables: dict[str, Any] = {}
    for name in ("defaults", "vars"):
        variables |= loader.load_from_file(str(ROLE / name / "main.yml"), trusted_as_template=True)
    variables |= {"stack_services": services, "stack_memory_mib": memory_mib, "role_path": str(ROLE), "ansible_managed": "by a test"}
    # As Ansible's own template module reads it.
    templar = Templar(loader, variables).copy_with_new_env()
    text = templar.template(trust_as_template((ROLE / "templates" / "env.j2").read_text()), overrides={"trim_blocks": True})
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def composed(folder: Path, values: dict[str, str]) -> dict[str, Any]:
    """What Compose makes of them."""
    shutil.copytree(ROLE / "files" / "compose", folder, dirs_exist_ok=True)
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    compose = Path(sys.prefix) / "bin" / "docker-compose"
    done = subprocess.run([compose, "config", "--format", "json"], cwd=folder, env={"PATH": os.defpath}, capture_output=True, text=True)
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


@pytest.mark.parametrize(("memory_mib", "jupyter"), [(1024, 334), (2048, 893), (4096, 2010)])
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
