"""What the role reads of a container's memory on the host, by control groups of either version, and of whom it says that memory ran out."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.modules import load

engine = load("stack_engine")
memory = load("stack_memory")

#: As Linux 6.8 writes them, of a container of 256 MiB in which a process was killed: /proc/PID/cgroup, the line of
#: /proc/self/mountinfo, the folder and its files.
VERSIONS = {
    "1": (
        "9:name=systemd:/docker/abc\n4:memory:/docker/abc\n3:cpuset,cpu:/docker/abc\n0::/docker/abc\n",
        "490 486 0:32 / {root}/memory rw,nosuid - cgroup cgroup rw,memory\n",
        "memory/docker/abc",
        {
            "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
            "memory.max_usage_in_bytes": "268435456\n",
        },
    ),
    # A host that is a container itself sees the files below its own group.
    "1, in a container": (
        "4:memory:/docker/host/docker/abc\n0::/\n",
        "490 486 0:32 /docker/host {root}/memory rw,nosuid - cgroup cgroup rw,memory\n",
        "memory/docker/abc",
        {"memory.oom_control": "oom_kill 1\n", "memory.max_usage_in_bytes": "268435456\n"},
    ),
    "2": (
        "0::/system.slice/docker-abc.scope\n",
        "30 23 0:26 / {root} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
        "system.slice/docker-abc.scope",
        {"memory.events": "low 0\nhigh 0\nmax 93\noom 1\noom_kill 1\noom_group_kill 0\n", "memory.peak": "268435456\n"},
    ),
}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A host whose files these are."""

    class Here(type(Path())):  # type: ignore[misc]
        def __new__(cls, first: str, *rest: str) -> Any:
            proc = tmp_path / first.lstrip("/") if first.startswith("/proc") else Path(first)
            return proc.joinpath(*rest)

    def make(cgroup: str, mount: str, folder: str, files: dict[str, str]) -> None:
        texts = {"proc/7/cgroup": cgroup, "proc/self/mountinfo": mount.format(root=tmp_path / "groups")}
        texts |= {f"groups/{folder}/{name}": text for name, text in files.items()}
        for name, text in texts.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        monkeypatch.setattr(memory, "Path", Here)

    return make


@pytest.mark.parametrize("version", VERSIONS)
def test_kills_and_peak_are_read_of_either_version(version: str, host: Any) -> None:
    host(*VERSIONS[version])
    assert memory.kills_and_peak(7) == (1, 256)


def test_a_linux_that_tells_no_peak_tells_none(host: Any) -> None:
    cgroup, mount, folder, files = VERSIONS["2"]
    host(cgroup, mount, folder, {"memory.events": files["memory.events"]})
    assert memory.kills_and_peak(7) == (1, None)


def facts(started: str = "2026-05-01T12:00:00.5Z", **state: Any) -> dict[str, Any]:
    """What the engine says of a container of 256 MiB."""
    told = {"OOMKilled": False, "Running": True, "StartedAt": started, "FinishedAt": "0001-01-01T00:00:00Z"} | state
    return {"State": told, "RestartCount": told.pop("restarts", 0), "HostConfig": {"Memory": 256 << 20}}


def record(who: str, notebook: str | None, when: str) -> dict[str, Any]:
    return {"who": who, "notebook": notebook, "when": when, "limit_mib": 256, "peak_mib": 256}


def names(deaths: list[dict[str, Any]]) -> list[tuple[str, str | None, int]]:
    return [(each["who"], each["notebook"], each["times"]) for each in deaths]


def test_whom_the_server_has_named_is_counted_once_and_what_remains_of_the_count_is_a_process() -> None:
    later = "2026-05-01T12:10:0{}+00:00"
    told = [record("kernel", "work/a.ipynb", later.format(0)), record("kernel", "work/a.ipynb", later.format(1))]
    assert names(memory.deaths(facts(), 2, 256, told)) == [("kernel", "work/a.ipynb", 2)]
    assert names(memory.deaths(facts(), 3, 256, told)) == [("kernel", "work/a.ipynb", 2), ("process", None, 1)]
    assert memory.deaths(facts(), 2, 256, told)[0]["when"] == later.format(1)
    assert memory.deaths(facts(), 0, 100, []) == []


def test_what_was_told_before_a_restart_is_told_on_and_is_not_of_the_new_count() -> None:
    told = [record("kernel", "work/a.ipynb", "2026-05-01T11:00:00+00:00")]
    assert names(memory.deaths(facts(), 1, 256, told)) == [("kernel", "work/a.ipynb", 1), ("process", None, 1)]
    assert names(memory.deaths(facts(), 0, 10, told)) == [("kernel", "work/a.ipynb", 1)]


def test_a_service_that_ended_for_memory_is_told_also_after_the_engine_has_started_it_again() -> None:
    ended = {"OOMKilled": True, "FinishedAt": "2026-05-01T12:20:00.28725620898Z"}
    for died in (facts(**ended, restarts=2), facts(**ended, Running=False)):
        (death,) = memory.deaths(died, 0, None, [])
        assert (death["who"], death["when"], death["limit_mib"], death["peak_mib"]) == ("service", "2026-05-01T12:20:00+00:00", 256, None)
    # Some engines say it where another process than the first was killed: that one is told once.
    assert names(memory.deaths(facts(OOMKilled=True), 1, 256, [])) == [("process", None, 1)]
    assert names(memory.deaths(facts(OOMKilled=True), 0, 256, [])) == [("process", None, 1)]


class Engine:
    """Answers with an archive of this file."""

    def __init__(self, text: bytes | None, kind: bytes = tarfile.REGTYPE) -> None:
        self.text, self.kind = text, kind

    def fetch(self, path: str, most: int, /, **query: Any) -> bytes:
        if self.text is None:
            raise OSError("404")
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            entry = tarfile.TarInfo("file")
            entry.size, entry.type, entry.linkname = len(self.text), self.kind, "/etc/shadow"
            archive.addfile(entry, io.BytesIO(self.text))
        return packed.getvalue()[:most]


def test_what_the_server_wrote_is_read_and_what_others_wrote_there_is_not() -> None:
    good = record("kernel", "work/été 1.ipynb", "2026-05-01T12:10:00+00:00")
    bad = [
        b"{",
        b"[]",
        b"\xff",
        b'{"who": "root"}',
        json.dumps(good | {"peak_mib": "much"}).encode(),
        json.dumps(good | {"when": 1}).encode(),
    ]
    assert memory.told(Engine(b"\n".join([*bad, json.dumps(good).encode()])), "c") == [good]
    assert memory.told(Engine(None), "c") == []
    assert memory.told(Engine(b""), "c") == []
    assert memory.told(Engine(b"", tarfile.SYMTYPE), "c") == memory.told(Engine(b"", tarfile.DIRTYPE), "c") == []
    # A great file is read as far as the limit.
    assert memory.told(Engine(b"x" * (1 << 20)), "c") == []


@pytest.mark.parametrize(
    ("running", "status", "code", "output", "reason"),
    [
        (True, "unhealthy", 1, "Redis is full:\n it takes  nothing.\n", "Redis is full: it takes nothing."),
        (True, "starting", 1, "x" * 1000, "x" * 600),
        (True, "starting", 0, "fine", None),
        (True, "healthy", 1, "once", None),
        (True, "unhealthy", 1, "", None),
        (False, "unhealthy", 1, "of an earlier life", None),
    ],
)
def test_of_a_container_that_is_not_healthy_its_check_says_why(
    running: bool, status: str, code: int, output: str, reason: str | None
) -> None:
    assert engine.reason({"Running": running, "Health": {"Status": status, "Log": [{"ExitCode": code, "Output": output}]}}) == reason


def test_a_container_without_a_check_says_nothing() -> None:
    assert engine.reason({"Running": True}) is None
    assert engine.reason({"Running": True, "Health": {"Status": "starting", "Log": None}}) is None
