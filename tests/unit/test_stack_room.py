"""What a project asks of the role stack: containers and memory beside other stacks, its own image, stores elsewhere, seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_stack_settings import ROLE, composed, settings, value

#: What the host has: ports that were chosen for this stack, and other stacks.
PORTS = {"JUPYTER_PORT": 8890, "MONITOR_PORT": 9182}
ADULT = ["jupyter", "redis", "postgres", "worker", "monitor"]
STORES = {"redis": 6379, "mongo": 27017, "postgres": 5432}
#: MiB that stay free for systemd, the engine and SSH.
RESERVE = 224


def look(**others: int) -> dict[str, Any]:
    """A host where these stacks may use so many MiB."""
    return {"chosen_ports": PORTS, "others": {name: {"limit_mib": limit, "runs": 0} for name, limit in others.items()}}


def project(services: list[str], memory_mib: int = 1024, others: dict[str, int] | None = None, **inputs: Any) -> dict[str, str]:
    """The settings of a project, as playbooks/vars/project.yml asks for them."""
    return settings(services, memory_mib, stack_name="adult", stack_chooses_port=True, __stack_look=look(**others or {}), **inputs)


def limits(values: dict[str, str]) -> dict[str, int]:
    """MiB of one container, by service."""
    return {
        name.removesuffix("_MEMORY").lower(): int(text.removesuffix("m"))
        for name, text in values.items()
        if name.endswith("_MEMORY") and name != "STACK_MOST_MEMORY"
    }


def used(values: dict[str, str]) -> int:
    """MiB of all containers."""
    return sum(limit * (int(values["WORKER_SCALE"]) if name == "worker" else 1) for name, limit in limits(values).items())


def test_the_example_adult_fits_a_t2_micro(tmp_path: Path) -> None:
    values = project(ADULT, stack_scale={"worker": 2})
    assert limits(values) == {"jupyter": 317, "redis": 54, "postgres": 118, "worker": 118, "monitor": 70}
    made = composed(tmp_path, values)
    assert made["name"] == "adult"
    assert set(made["services"]) == set(ADULT)
    assert made["services"]["worker"]["scale"] == 2
    for name, service in made["services"].items():
        assert int(service["mem_limit"]) == int(service["memswap_limit"]) == limits(values)[name] * 2**20, name
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name
        assert service["cap_drop"] == ["ALL"], name
    ports = {
        name: [(port["host_ip"], port["published"]) for port in service.get("ports", [])] for name, service in made["services"].items()
    }
    mine = {"jupyter": [("127.0.0.1", "8890")], "monitor": [("127.0.0.1", "9182")]}
    assert {name: published for name, published in ports.items() if published} == mine
    # Code, the working folder and the stores' addresses are the same for a notebook and for a job.
    images = {made["services"][name]["image"] for name in ("jupyter", "worker", "monitor")}
    assert len(images) == 1
    stores = {"REDIS_HOST": "redis", "MONGO_HOST": "mongo", "POSTGRES_HOST": "postgres"}
    for name in ("jupyter", "worker"):
        assert stores.items() <= made["services"][name]["environment"].items(), name


@pytest.mark.parametrize("scale", [1, 2, 16])
def test_the_workers_are_as_many_as_asked_for_and_fit(scale: int, tmp_path: Path) -> None:
    services = ["jupyter", "redis", "worker"]
    values = project(services, 4096, stack_scale={"worker": scale} if scale > 1 else {})
    assert values["WORKER_SCALE"] == str(scale)
    assert composed(tmp_path, values)["services"]["worker"]["scale"] == scale
    assert 4096 - RESERVE - len(services) - scale < used(values) <= 4096 - RESERVE
    assert int(value("__stack_needed_mib", stack_services=services, stack_scale={"worker": scale})) == 224 + 256 + 48 + 112 * scale


def test_a_scale_without_workers_counts_for_nothing() -> None:
    assert value("__stack_containers", stack_services=["jupyter"], stack_scale={"worker": 3}) == ["jupyter"]


@pytest.mark.parametrize("memory_mib", [1024, 2048, 4096])
@pytest.mark.parametrize("most", [0, 800])
@pytest.mark.parametrize("others", [{}, {"left": 50, "right": 30}, {"left": 2000}])
def test_all_containers_together_never_have_more_than_the_room(memory_mib: int, most: int, others: dict[str, int]) -> None:
    free = memory_mib - RESERVE - sum(others.values())
    floor = 256 + 48 + 112 + 2 * 112 + 64
    if free < floor:
        # Room is made before any settings are written.
        given = {"stack_services": ADULT, "stack_scale": {"worker": 2}, "stack_memory_mib": memory_mib, "stack_most_memory_mib": most}
        assert value("__stack_must_rest", __stack_look=look(**others), **given)
        return
    values = project(ADULT, memory_mib, others, stack_scale={"worker": 2}, stack_most_memory_mib=most)
    room = min(free, most or free)
    assert room - len(ADULT) - 1 < used(values) <= room
    assert values.get("STACK_MOST_MEMORY") == (str(most) if most else None)


@pytest.mark.parametrize(
    ("others", "rest"),
    [
        ({}, []),
        ({"left": 96}, []),
        ({"left": 97}, ["left"]),
        # The largest first, and no more than it takes.
        ({"small": 60, "large": 364}, ["large"]),
        ({"small": 97, "large": 364, "middle": 120}, ["large", "middle", "small"]),
        # One that rests has nothing to give.
        ({"left": 400, "rested": 0}, ["left"]),
        ({"rested": 0}, []),
    ],
)
def test_the_largest_stacks_rest_until_there_is_room(others: dict[str, int], rest: list[str]) -> None:
    given = {"stack_services": ADULT, "stack_scale": {"worker": 2}, "stack_memory_mib": 1024}
    assert value("__stack_must_rest", __stack_look=look(**others), **given) == rest
    spare = int(value("__stack_spare_mib", __stack_look=look(**others), **given))
    assert (spare < 0) == bool(rest)


@pytest.mark.parametrize("killed", ["worker", "worker-2", "monitor"])
def test_the_machine_that_would_fit_knows_workers_and_neighbours(killed: str) -> None:
    services = {name: {"out_of_memory": name == killed, "memory_limit_mib": 118} for name in [*ADULT, "worker-2", "batch"]}
    given = {"stack_services": ADULT, "stack_scale": {"worker": 2}}
    fit = int(value("__stack_fit_mib", __stack_look=look(left=100) | {"services": services}, **given))
    assert limits(project(ADULT, fit, {"left": 100}, stack_scale={"worker": 2}))[killed.removesuffix("-2")] >= 2 * 118


def test_a_batch_run_is_there_under_its_profile_only(tmp_path: Path) -> None:
    values = project(["jupyter", "postgres"], stack_store_hosts={"mongo": "10.0.0.7"})
    assert set(composed(tmp_path, values)["services"]) == {"jupyter", "postgres"}
    made = composed(tmp_path, values, "--profile", "batch")["services"]
    batch, jupyter = made["batch"], made["jupyter"]
    assert set(made) == {"batch", "jupyter", "postgres"}
    assert "restart" not in batch
    assert not batch.get("ports")
    # It has what a notebook has, but for the server's token and port.
    for key in ("image", "mem_limit", "memswap_limit", "cap_drop", "security_opt"):
        assert batch[key] == jupyter[key], key
    for own in ("JUPYTER_TOKEN_FILE", "JUPYTER_CONFIG_DIR", "JUPYTER_DOCKER_STACKS_QUIET"):
        for service in (batch, jupyter):
            service["environment"].pop(own, None)
    assert batch["environment"] == jupyter["environment"]


def test_stores_on_other_machines_are_known_by_their_addresses(tmp_path: Path) -> None:
    services = ["jupyter", "worker", "redis"]
    made = composed(tmp_path, project(services, stack_store_hosts={"mongo": "10.0.0.7", "postgres": "10.0.0.8"}))["services"]
    assert set(made) == set(services)
    for name in ("jupyter", "worker"):
        environment = made[name]["environment"]
        found = [environment[f"{store}_HOST"] for store in ("REDIS", "MONGO", "POSTGRES")]
        assert found == ["redis", "10.0.0.7", "10.0.0.8"], name


def test_their_passwords_are_among_the_secrets() -> None:
    given = {"stack_services": ["jupyter", "redis"], "stack_store_hosts": {"mongo": "10.0.0.7"}}
    assert value("__stack_secret_owners", **given) == ["jupyter", "redis", "mongo"]


@pytest.mark.parametrize("private", [True, False])
def test_a_store_is_published_for_another_machine_and_at_its_own_address_only(private: bool, tmp_path: Path) -> None:
    made = composed(tmp_path, project(list(STORES), stack_private_stores=private, stack_private_address="10.0.0.7"))["services"]
    assert set(made) == set(STORES)
    published = {
        name: [(port["host_ip"], int(port["published"]), port["target"]) for port in service.get("ports", [])]
        for name, service in made.items()
    }
    assert published == {name: [("10.0.0.7", port, port)] if private else [] for name, port in STORES.items()}


def test_postgresql_is_made_from_the_projects_files_only_where_there_are_some(tmp_path: Path) -> None:
    services = ["jupyter", "postgres"]
    plain = composed(tmp_path / "plain", project(services))["services"]["postgres"]
    seeded = composed(tmp_path / "seeded", project(services, stack_seed_digest="0" * 64))["services"]["postgres"]
    assert plain["entrypoint"] == seeded["entrypoint"] == ["sh", "/slipway/start.sh"]
    assert seeded["command"] == plain["command"]
    mounts = {}
    for name, made in {"plain": plain, "seeded": seeded}.items():
        binds = [mount for mount in made["volumes"] if mount["type"] == "bind"]
        assert all(mount["read_only"] for mount in binds)
        mounts[name] = {mount["target"]: str(Path(mount["source"]).relative_to((tmp_path / name).resolve())) for mount in binds}
    assert mounts["plain"] == {"/slipway": "postgres", "/docker-entrypoint-initdb.d": "postgres/init"}
    # Never what lies in work/, which a notebook may replace by a link.
    assert mounts["seeded"] == mounts["plain"] | {"/project": "seeds/project", "/data": "seeds/data"}
    # Whatever it starts with, its data lie in the volume.
    data = [[mount["target"] for mount in made["volumes"] if mount["type"] == "volume"] for made in (plain, seeded)]
    assert data == [["/var/lib/postgresql/data"]] * 2
    for path in ("postgres/start.sh", "postgres/init/project.sh"):
        assert (ROLE / "files" / "compose" / path).is_file()


def test_postgresqls_role_is_a_superuser_only_where_that_is_asked_for(tmp_path: Path) -> None:
    for asked, said in ((False, ""), (True, "true")):
        made = composed(tmp_path / str(asked), project(["jupyter", "postgres"], stack_postgres_superuser=asked))
        assert made["services"]["postgres"]["environment"]["SLIPWAY_SUPERUSER"] == said


def test_stacks_share_an_image_until_one_adds_something() -> None:
    common = settings(["jupyter"])["JUPYTER_IMAGE"]
    assert project(["jupyter", "redis", "worker"])["JUPYTER_IMAGE"] == common
    own = project(["jupyter"], stack_image_digest="0" * 64)["JUPYTER_IMAGE"]
    other = project(["jupyter"], stack_image_digest="1" * 64)["JUPYTER_IMAGE"]
    assert len({common, own, other}) == 3
    assert {image.partition(":")[0] for image in (common, own, other)} == {"slipway/jupyter"}
    assert project(["jupyter"], stack_image_digest="0" * 64)["JUPYTER_IMAGE"] == own
    # Another base makes another of each.
    base = {"jupyter": "registry.lab:5000/jupyter/scipy-notebook:lab"}
    assert project(["jupyter"], stack_images=base)["JUPYTER_IMAGE"] != common
    assert project(["jupyter"], stack_images=base, stack_image_digest="0" * 64)["JUPYTER_IMAGE"] != own


def test_the_order_of_the_services_makes_no_other_settings() -> None:
    assert project(ADULT) == project(ADULT[::-1])


@pytest.mark.parametrize(("memory_mib", "here"), [(1024, False), (2047, False), (2048, True)])
def test_a_small_machine_builds_no_image(memory_mib: int, here: bool) -> None:
    assert value("__stack_builds_here", stack_memory_mib=memory_mib) is here
