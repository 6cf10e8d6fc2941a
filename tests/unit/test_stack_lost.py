"""Which of a container's changes are a user's files or packages, and which of them stop a resize."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.modules import load

rules = load("stack_lost_rules")
lost = load("stack_lost")
SITE = "/opt/conda/lib/python3.11/site-packages"


def said(*paths: str) -> list[dict[str, Any]]:
    """What the engine says: a letter as `docker diff` has it, and the path."""
    return [{"Kind": "CAD".index(each[0]), "Path": each[2:]} for each in paths]


def files(*paths: str, service: str = "jupyter", mounts: tuple[str, ...] = (), owned: tuple[str, ...] = (), by_apt: bool = False) -> Any:
    found = rules.Files()
    for each in rules.candidates(rules.changes(said(*paths)), service, mounts, set(map(hash, owned)), by_apt):
        found.add(each)
    return [(row["path"], row["files"]) for row in found.paths()]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        pytest.param(("C /opt", "A /opt/mine.txt"), [("/opt/mine.txt", 1)], id="a file in a folder of the image"),
        pytest.param(("C /etc/jupyter/server.py",), [("/etc/jupyter/server.py", 1)], id="a changed file of the image"),
        pytest.param(("D /etc/jupyter/server.py",), [], id="a removed file of the image, which comes back"),
        pytest.param(("C /opt", "A /opt/new", "A /opt/new/a", "A /opt/new/sub", "A /opt/new/sub/b"), [("/opt/new/", 2)], id="a new folder"),
        pytest.param(
            ("A /opt/new", "A /opt/new/a", "A /opt/newer"), [("/opt/new/a", 1), ("/opt/newer", 1)], id="a name that begins another"
        ),
        pytest.param(("C /tmp", "A /tmp/a", "A /var/tmp/b", "C /run", "A /run/c", "A /var/log/d"), [], id="what passes"),
        pytest.param(("C /run", "A /runner/a", "A /varied"), [("/runner/a", 1), ("/varied", 1)], id="names that begin as those that pass"),
        pytest.param(
            (f"C {SITE}/numpy/__pycache__", f"A {SITE}/numpy/__pycache__/a.nbi", "A /opt/a.pyc", "A /opt/.cache/b"), [], id="caches"
        ),
        pytest.param(("C /var/lib/apt/lists", "A /var/lib/apt/lists/a", "A /var/cache/apt/b"), [], id="apt-get update"),
        pytest.param(("A /seeds", "A /seeds/10-tables.sql"), [], id="what PostgreSQL's start makes of a project"),
        pytest.param(("C /root", "A /root/.bash_history", "A /root/.python_history"), [], id="what a shell has left"),
        pytest.param(("C /root", "A /root/notes"), [("/root/notes", 1)], id="a file of root's"),
        pytest.param(("A /home/jovyan/a.ipynb", "A /home/jovyan2"), [("/home/jovyan2", 1)], id="the home, which is kept"),
        pytest.param(("A /opt/{{ 1+1 }}\n'\"", "A /opt/\ufffd"), [("/opt/{{ 1+1 }}\n'\"", 1), ("/opt/\ufffd", 1)], id="odd names"),
        pytest.param((f"C {SITE}", f"A {SITE}/~umpy", f"A {SITE}/~umpy/a.py"), [], id="what an interrupted pip has left"),
        pytest.param(("C /opt/conda/pkgs", "A /opt/conda/pkgs/a.conda", "C /opt/conda/conda-meta/history"), [], id="what conda keeps"),
    ],
)
def test_files_that_would_be_lost_are_counted_by_their_folder(paths: tuple[str, ...], expected: list[tuple[str, int]]) -> None:
    assert files(*paths) == expected


def test_files_in_volumes_are_kept() -> None:
    assert files("A /data", "A /data/dump.rdb", "A /slipway", service="redis", mounts=("/data", "/slipway")) == []
    # The home of a store's container is in no volume.
    assert files("A /home/jovyan/a", service="mongo") == [("/home/jovyan/a", 1)]
    assert files("A /home/jovyan/a", service="worker-2") == []


def test_files_of_packages_are_none_of_the_user() -> None:
    paths = (f"C {SITE}", f"A {SITE}/mine", f"A {SITE}/mine/a.py", f"A {SITE}/mine/by_hand.py", "A /etc/mine.conf", "A /usr/local/mine")
    owned = (f"{SITE}/mine/a.py",)
    assert files(*paths, owned=owned) == [("/etc/mine.conf", 1), (f"{SITE}/mine/by_hand.py", 1), ("/usr/local/mine", 1)]
    # Debian's packages write there by scripts too, which list nothing.
    assert files(*paths, owned=owned, by_apt=True) == [(f"{SITE}/mine/by_hand.py", 1), ("/usr/local/mine", 1)]


def test_thousands_are_counted_and_few_named() -> None:
    def many() -> Iterator[dict[str, Any]]:
        yield {"Kind": 0, "Path": "/opt"}
        for number in range(100_000):
            yield {"Kind": 1, "Path": f"/opt/{number:06}"}

    found = rules.Files()
    for each in rules.candidates(rules.changes(many()), "jupyter", [], set(), by_apt=False):
        found.add(each)
    assert (found.total, len(found.paths())) == (100_000, rules.MOST_NAMED)
    losses = {"stack": "a", "service": "jupyter", "files": found.total, "paths": found.paths()}
    assert rules.files_text(losses, most=2) == "100,000 files in a's jupyter: /opt/000000, /opt/000001, and 99,998 more"


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ((f"C {SITE}", f"A {SITE}/A_b-1.0.dist-info", f"A {SITE}/A_b-1.0.dist-info/RECORD"), [("pip", "A_b", "1.0", True)]),
        # The same version again is as the image has it, but its files are the package's.
        ((f"C {SITE}/a-1.0.dist-info/RECORD",), [("pip", "a", "1.0", False)]),
        ((f"D {SITE}/a-1.0.dist-info/RECORD",), []),
        (("C /opt/conda/conda-meta", "A /opt/conda/conda-meta/a-b-1.0-py_0.json"), [("conda", "a-b", "1.0", True)]),
        (("C /var/lib/dpkg/info", "A /var/lib/dpkg/info/tree.list"), [("apt", "tree", None, True)]),
        (("C /var/lib/dpkg/info/libc6:amd64.list",), [("apt", "libc6", None, False)]),
        # Environments, and a `pip --target`, of the user's own: their files are files.
        (("A /opt/env", "A /opt/env/lib", "A /opt/env/lib/a-1.0.dist-info", "A /opt/env/lib/a-1.0.dist-info/RECORD"), []),
        (("A /opt/env", "A /opt/env/conda-meta", "A /opt/env/conda-meta/a-1.0-0.json"), []),
        ((f"C {SITE}/a/RECORD", f"A {SITE}/a.dist-info"), []),
    ],
)
def test_the_books_of_packages_are_known_by_their_paths(paths: tuple[str, ...], expected: list[tuple[str, str, str | None, bool]]) -> None:
    books = [found for each in rules.changes(said(*paths)) if (found := rules.book(each))]
    assert [(each.kind, each.name, each.version, each.new) for each in books] == expected


INFO = f"{SITE}/a-1.dist-info/RECORD"
META = "/opt/conda/conda-meta/a-1-0.json"


@pytest.mark.parametrize(
    ("kind", "path", "text", "paths", "asked"),
    [
        (
            "pip",
            INFO,
            'a.py,sha256=x,1\n"b,c.py",,\n../../../bin/a,,\n/etc/a,,\n\n',
            [f"{SITE}/a.py", f"{SITE}/b,c.py", "/opt/conda/bin/a", "/etc/a"],
            False,
        ),
        ("pip", INFO, "x" * 200_000, [], False),
        ("apt", "/var/lib/dpkg/info/tree.list", "/.\n/usr/bin/tree\n", ["/", "/usr/bin/tree"], False),
        ("conda", META, '{"files": ["bin/a"], "requested_spec": "a"}', ["/opt/conda/bin/a"], True),
        ("conda", META, '{"files": ["bin/a"], "requested_spec": "None"', [], False),
        ("conda", META, "[1]", [], False),
        ("conda", META, '{"files": 7}', [], False),
    ],
)
def test_a_book_names_the_files_of_its_package_and_whether_it_was_asked_for(
    kind: str, path: str, text: str, paths: list[str], asked: bool
) -> None:
    found = rules.Book(path, kind, "a", "1", True)
    assert rules.brought(found, io.StringIO(text)) == ([path, *paths], asked)


def test_packages_what_was_asked_for_first() -> None:
    paths = [f"{SITE}/{name}-1.dist-info/RECORD" for name in ("along", "zz", "by_conda", "again")]
    books = [rules.Book(path, "pip", path.split("/")[-2][:-12], "1", "again" not in path) for path in paths]
    books.append(rules.Book("/var/lib/dpkg/info/tree.list", "apt", "tree", None, True))
    found = rules.packages(books, {paths[1]}, {hash(paths[2])})
    assert [(each["name"], each["asked"]) for each in found] == [("zz", True), ("tree", False), ("along", False)]


def test_what_the_next_container_has_too_is_not_lost() -> None:
    packages = [{"kind": "pip", "name": name, "version": "1", "asked": True, "path": f"{SITE}/{name}-1.dist-info/RECORD"} for name in "ab"]
    found = {"stack": "s", "service": "jupyter", "files": 1, "paths": [{"path": "/opt/x", "files": 1}], "packages": packages}
    left = rules.without(found, {packages[0]["path"]})
    assert rules.told([left]) == ["1 file in s's jupyter: /opt/x", "packages in s's jupyter: b 1"]
    many = found | {"files": 0, "packages": [packages[0] | {"version": None}] * 7}
    assert rules.told([many]) == ["packages in s's jupyter: a, a, a, a, a and 2 more"]


def losses(number: int, packages: int = 0) -> dict[str, Any]:
    return {"stack": "a", "service": "jupyter", "files": number, "paths": [], "packages": ["p"] * packages}


#: What was written down, what is there now (id, whether it runs, files), whether the tags say half-way: refused, and what is lost.
STOPS = [
    pytest.param({}, [("new", True, 0)], False, [], {}, id="nothing to lose"),
    pytest.param({}, [("new", True, 2)], False, [2], {"new": 2}, id="files"),
    pytest.param({}, [("new", False, 2)], False, [2], {"new": 2}, id="files in a container that was stopped by hand"),
    pytest.param({"new": 2}, [("new", True, 2)], False, [2], {"new": 2}, id="accepted once, but that resize has stopped nothing"),
    pytest.param({"new": 2}, [("new", False, 2)], False, [], {"new": 2}, id="accepted, and stopped by a resize that was killed"),
    pytest.param({"old": 2}, [("new", False, 0)], False, [], {"old": 2}, id="… and made again"),
    pytest.param({"old": 2}, [("new", True, 0)], True, [], {"old": 2}, id="… and started"),
    pytest.param({"old": 2}, [("new", True, 1)], True, [], {"old": 2, "new": 1}, id="half-way, nothing is refused"),
    pytest.param({"old": 2}, [("new", True, 0)], False, [], {}, id="an earlier resize, which is over"),
]


@pytest.mark.parametrize(("recorded", "now", "halfway", "stops", "lost"), STOPS)
def test_files_that_were_not_accepted_stop_a_resize(recorded: Any, now: Any, halfway: bool, stops: list[int], lost: dict[str, int]) -> None:
    known = {key: losses(number) for key, number in recorded.items()}
    here = [rules.Here(key, running, losses(number)) for key, running, number in now]
    assert [each["files"] for each in rules.refused(known, here, halfway)] == stops
    assert {key: each["files"] for key, each in rules.merged(known, here, halfway).items()} == lost


def test_packages_stop_nothing() -> None:
    here = [rules.Here("new", True, losses(0, packages=1))]
    assert rules.refused({}, here, halfway=False) == []
    assert list(rules.merged({}, here, halfway=False)) == ["new"]


def test_a_refusal_names_files_in_one_line_each_and_what_to_do() -> None:
    paths = [{"path": "/opt/a\n\x1b[31m{{ 1+1 }}é", "files": 1}, {"path": "/srv/", "files": 1200}]
    text = rules.refusal([losses(1201) | {"paths": paths}])
    assert "  1,201 files in a's jupyter: /opt/a\\n\\x1b[31m{{ 1+1 }}é, /srv/ (1,200 files)\n" in text
    for words in ("Nothing was stopped.", "--lose-files", "stack_lose_files"):
        assert words in text


@pytest.mark.parametrize("size", [1, 700, 5000])
def test_what_the_engine_says_is_read_in_parts(size: int) -> None:
    paths = [f'/é{number}"}},{{"' + "x" * 40 for number in range(size)]
    text = json.dumps([{"Path": path, "Kind": 1} for path in paths], ensure_ascii=False).encode()
    assert [each["Path"] for each in lost._objects(io.BytesIO(text))] == paths
    assert list(lost._objects(io.BytesIO(b"null\n"))) == []
