"""How several stacks share a machine's memory, and that the role's own variables and template say the same of one."""

from __future__ import annotations

import importlib.util
import random
import sys
from types import ModuleType

import pytest

from tests.conftest import PROJECT
from tests.unit.test_stack_settings import settings, value

RESERVE = 224


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stack_budget", PROJECT / "roles" / "stack" / "module_utils" / "stack_budget.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["stack_budget"] = module
    spec.loader.exec_module(module)
    return module


budget = _load()
FIGURES = budget.Figures(value("__stack_floors_mib"), value("__stack_weights"))
STORES = ("redis", "mongo", "postgres")


def chosen(dice: random.Random) -> dict[str, int]:
    """Some services, and how many containers each has."""
    found = dict.fromkeys(dice.sample([*STORES, "jupyter"], dice.randint(1, 4)), 1)
    if "jupyter" in found and "redis" in found:
        found |= dict.fromkeys(dice.sample(["worker", "monitor"], dice.randint(0, 2)), 1)
        found |= {"worker": dice.randint(1, 4)} if "worker" in found else {}
    return found


def text(services: dict[str, int], memory_mib: int, most: int) -> str:
    """The .env that the role writes."""
    scale = {"worker": services["worker"]} if "worker" in services else {}
    ports = {"JUPYTER_PORT": 8888, "MONITOR_PORT": 9181}
    given = {"stack_scale": scale, "stack_most_memory_mib": most, "__stack_look": {"chosen_ports": ports, "others": {}}}
    return "".join(f"{key}={said}\n" for key, said in settings(list(services), memory_mib, **given).items())


@pytest.mark.parametrize("seed", range(12))
def test_a_stacks_own_settings_are_the_same_by_either(seed: int) -> None:
    dice = random.Random(seed)
    services = chosen(dice)
    stack = budget.Stack(services)
    smaller, larger = sorted(dice.sample(range(stack.floor(FIGURES) + RESERVE, 8192), 2))
    most = dice.choice([0, stack.floor(FIGURES) + dice.randint(0, 500)])
    env = text(services, larger, most)
    read = budget.stack(env, FIGURES)
    assert read.containers == services
    assert read.most == most
    # Only what depends on memory is another line.
    share = budget.shares({"one": read}, smaller - RESERVE, FIGURES)["one"]
    assert budget.rewritten(env, read.budgets(share, FIGURES)) == text(services, smaller, most)


@pytest.mark.parametrize("seed", [1, 2, 6, 14])
def test_stacks_beside_each_other_keep_their_limits(seed: int) -> None:
    """Each is brought up again and again, in turn: from the second time on nothing changes."""
    dice = random.Random(seed)
    stacks = {"capped": {"jupyter": 1, "redis": 1, "worker": dice.randint(1, 3)}, "free": chosen(dice)}
    most = {"capped": budget.Stack(stacks["capped"]).floor(FIGURES) + dice.randint(0, 300), "free": 0}
    machine = RESERVE + most["capped"] + budget.Stack(stacks["free"]).floor(FIGURES) + dice.randint(1, 2000)
    limits: dict[str, dict[str, int]] = {}

    def deploy(name: str) -> None:
        beside = {other: {"limit_mib": budget.Stack(stacks[other]).used(had)} for other, had in limits.items() if other != name}
        containers = {f"{each}-{n}" if n > 1 else each: each for each, number in stacks[name].items() for n in range(1, number + 1)}
        had = {each: {"memory_limit_mib": limits[name][of]} for each, of in containers.items()} if name in limits else {}
        given = {"stack_scale": {"worker": stacks[name].get("worker", 1)}, "stack_most_memory_mib": most[name]}
        look = {"services": had, "others": beside}
        limits[name] = value("__stack_budgets_mib", stack_services=list(stacks[name]), stack_memory_mib=machine, __stack_look=look, **given)

    for name in ("capped", "free", "capped", "free"):
        deploy(name)
    settled = dict(limits)
    for name in ("free", "capped", "free", "capped"):
        deploy(name)
        assert limits == settled
    # It is no reason to go on with less than there is for it.
    assert machine - RESERVE - sum(budget.Stack(stacks[name]).used(each) for name, each in limits.items()) <= 8


@pytest.mark.parametrize("seed", range(300))
def test_shares_fit_and_are_fair(seed: int) -> None:
    dice = random.Random(seed)
    stacks = {}
    for name in "abcde"[: dice.randint(1, 5)]:
        services = chosen(dice)
        floor = budget.Stack(services).floor(FIGURES)
        stacks[name] = budget.Stack(services, dice.choice([0, 0, floor, floor + dice.randint(1, 2000)]))
    floors = {name: each.floor(FIGURES) for name, each in stacks.items()}
    room = sum(floors.values()) + dice.randint(0, 5000)
    shares = budget.shares(stacks, room, FIGURES)
    limits = {name: each.budgets(shares[name], FIGURES) for name, each in stacks.items()}
    used = {name: each.used(limits[name]) for name, each in stacks.items()}
    assert sum(used.values()) <= room
    spare = {}
    for name, each in stacks.items():
        assert all(limits[name][service] >= FIGURES.floors[service] for service in each.containers)
        assert not each.most or used[name] <= each.most
        spare[name] = shares[name] - floors[name]
    # Those without a limit, or below theirs, have the same but for what whole numbers leave over.
    even = [spare[name] for name, each in stacks.items() if not each.most or shares[name] < each.most]
    assert not even or max(even) - min(even) <= 64
    assert not even or min(even) >= max(spare.values()) - 64


def test_where_the_floors_do_not_fit_each_has_its_floor() -> None:
    stacks = {"a": budget.Stack({"jupyter": 1}), "b": budget.Stack({"mongo": 1}, 300)}
    assert budget.shares(stacks, 100, FIGURES) == {"a": 256, "b": 240}


def test_a_stack_with_a_limit_leaves_the_rest_to_the_others() -> None:
    stacks = {name: budget.Stack({"jupyter": 1, "redis": 1}, most) for name, most in {"capped": 400, "free": 0}.items()}
    shares = budget.shares(stacks, 1824, FIGURES)
    assert shares["capped"] == 400
    assert 1424 <= shares["free"] <= 1426


def test_other_lines_stay_as_they_are() -> None:
    env = "# REDIS_MEMORY=1m\nCOMPOSE_PROJECT_NAME=a\n\nREDIS_MEMORY=60m\nREDIS_IMAGE=redis:7@sha256:0=\nREDIS_MAXMEMORY=45mb\n"
    new = env.replace("\nREDIS_MEMORY=60m", "\nREDIS_MEMORY=100m").replace("45mb", "75mb")
    assert budget.rewritten(env, {"redis": 100, "jupyter": 300}) == new


@pytest.mark.parametrize("seed", range(40))
def test_the_room_that_is_asked_for_is_the_least_that_is_enough(seed: int) -> None:
    dice = random.Random(seed)
    stacks = {name: budget.Stack(chosen(dice), dice.choice([0, 0, 900])) for name in ("one", "two")[: dice.randint(1, 2)]}
    stacks["one"] = budget.Stack(dict(stacks["one"].containers) | {"jupyter": 1}, stacks["one"].most)
    wanted = dice.randint(100, 3000)

    def given(room: int) -> int:
        return int(stacks["one"].budgets(budget.shares(stacks, room, FIGURES)["one"], FIGURES)["jupyter"])

    room = budget.room_for(stacks, "one", "jupyter", wanted, FIGURES)
    floors = sum(each.floor(FIGURES) for each in stacks.values())
    if room is None:
        assert stacks["one"].most
        assert given(2**22) < wanted
    else:
        assert given(room) >= wanted
        assert room == floors or given(room - 1) < wanted
