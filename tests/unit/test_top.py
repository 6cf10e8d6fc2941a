"""What `top` makes of two looks at a machine: shares of processor time and memory, on terminals of any width."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway import top
from slipway.cli import main
from slipway.model import Exit, RefusalError
from tests.conftest import PROJECT
from tests.modules import load

HEAD = {"target": "lab", "name": "slipway", "type": "t2.micro"}
host_side = load("stack_top")


def row(service: str, cpu_ns: int | None, used: float | None = 98.0, state: str = "running", **more: Any) -> dict[str, Any]:
    found = {"stack": "slipway", "service": service, "run": False, "state": state, "cpu_ns": cpu_ns, "memory_used_mib": used}
    return found | {"memory_peak_mib": None, "memory_limit_mib": 364, "out_of_memory_kills": 0} | more


def look(at: float, cpu_ns: int, *rows: dict[str, Any], cpus: float = 1.0) -> dict[str, Any]:
    """As one line of a host."""
    machine = {"cpus": cpus, "cpu_ns": cpu_ns, "memory_used_mib": 512.0, "memory_limit_mib": 1024}
    return {"at": at, "host": machine, "services": list(rows)}


def test_processor_time_is_a_share_of_all_the_machines_processors() -> None:
    before, now = (look(at, ns, row("jupyter", ns // 2), cpus=2.0) for at, ns in ((10.0, 0), (12.0, 1_000_000_000)))
    found = top.document(HEAD, before, now)
    assert found["host"] == {"cpu_percent": 25.0, "memory_used_mib": 512.0, "memory_limit_mib": 1024}
    assert [each["cpu_percent"] for each in found["services"]] == [12.5]
    assert "cpu_ns" not in found["services"][0]


def test_the_page_names_every_field() -> None:
    found = top.document(HEAD, look(1, 0, *ROWS), look(2, 1, *ROWS))
    section = (PROJECT / "docs" / "json.md").read_text().partition("\n## `top`\n")[2].partition("\n## ")[0]
    for name in [*found, *(f"services[].{key}" for key in found["services"][0])]:
        assert f"`{name}`" in section, name


def test_of_what_has_begun_since_nothing_is_known_yet_and_what_has_gone_is_not_there() -> None:
    before = look(10, 0, row("gone", 5), row("anew", 900))
    found = top.document(HEAD, before, look(12, 1, row("anew", 7), row("new", 3), row("redis", None, None, "exited")))
    assert [(each["service"], each["cpu_percent"]) for each in found["services"]] == [("anew", None), ("new", None), ("redis", None)]


ROWS = (
    row("jupyter", 1, 350.0, out_of_memory_kills=2),
    row("mongo", 1, None, "exited", out_of_memory_kills=1),
    row("redis", 1, 30.0, memory_limit_mib=0),
    row("run-20260501T120003", 1, run=True, stack="adult"),
)


def lines(columns: int = 0, colours: bool = False) -> list[str]:
    return top.table(top.document(HEAD, look(1, 0, *ROWS), look(2, 10_000_000, *ROWS)), columns, colours)


def test_a_line_a_service_and_the_machine_last() -> None:
    found = lines()
    assert "100 % is all of 1 CPU;" in found[0]
    assert [line.split()[0] for line in found[2:]] == [
        "slipway/jupyter",
        "slipway/mongo",
        "slipway/redis",
        "adult/run-20260501T120003",
        "slipway",
    ]
    assert found[2].endswith("350 of   364 MiB  out of memory (2 times)")
    assert found[3].split()[1:3] == ["exited", "0.0"]
    assert found[3].endswith("-  of   364 MiB  out of memory".replace("-  ", "- "))
    assert "30 of     - MiB" in found[4]
    assert found[-1].split()[1:] == ["1.0", "%", "512", "of", "1024", "MiB"]
    assert "\033" not in "".join(found)


@pytest.mark.parametrize("columns", [1, 20, 40, 79, 80, 120, 300])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    for line in lines(columns, colours=True):
        plain = line
        for colour in top._COLOURS.values():
            plain = plain.replace(colour, "")
        assert len(plain) <= columns
        assert "\033" not in plain
        assert not line.count("\033[3") or line.endswith("\033[0m")
    assert ("█" in "".join(lines(columns))) == (columns >= 120)


def test_a_machine_without_services_says_so() -> None:
    assert "No services. Nothing was deployed." in top.table(top.document(HEAD, look(1, 0), look(2, 0)))


@pytest.mark.parametrize("given", ["0", "0.4", "-1", "nan", "inf", "2s", "", "3601"])
def test_an_interval_that_is_none_is_refused(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", f"--interval={given}"]) == Exit.BAD_INPUT
    assert f"--interval: {given!r} cannot be used. Allowed: a number of seconds, 0.5 to 3600." in capsys.readouterr().err


def shell(text: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; sys.stdin.read(); {text}"]


def documents(command: list[str], interval: float = 0.5) -> Iterator[dict[str, Any] | None]:
    return top._documents(command, HEAD, interval, "python orchestrate.py top")


def test_the_host_may_be_silent_and_its_engine_too_and_then_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top, "_PATIENCE", 0.2)
    error, later = json.dumps({"error": "Connection refused"}), json.dumps(look(1, 0))
    lines = f"print({error!r}, flush=True); import time; time.sleep(1); print({later!r}, flush=True)"
    found = documents(shell(lines + "; print('Connection reset', file=sys.stderr)"))
    assert next(found) == {"error": "Connection refused"}
    assert next(found) is None
    with pytest.raises(RefusalError, match=r"does not answer any more: Connection reset\. To look again: python") as gone:
        next(found)
    assert gone.value.code == Exit.FAILED


def test_what_is_sent_runs_in_a_python_without_packages_and_ends_with_its_reader() -> None:
    # On this computer: whether an engine answers or not, it says so in lines.
    first = next(documents([sys.executable, "-I", "-u", "-"]))
    assert first is not None
    assert "error" in first or first["cpus"] > 0


@pytest.mark.parametrize("version", ["1", "2"])
def test_memory_and_processor_time_are_read_of_either_version(version: str, tmp_path: Path) -> None:
    kind = {"1": "cgroup", "2": "cgroup2"}[version]
    current, _, cache = {"1": ("memory.usage_in_bytes", "", "total_inactive_file"), "2": ("memory.current", "", "inactive_file")}[version]
    (tmp_path / current).write_text(f"{100 << 20}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\n{cache} {30 << 20}\n")
    (tmp_path / "cpuacct.usage").write_text("7000\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 7\nuser_usec 5\n")
    assert host_side.used(kind, tmp_path) == 70.0
    assert host_side.cpu_ns(kind, tmp_path) == 7000
