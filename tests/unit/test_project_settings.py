"""The settings of a project: what is filled in, and what is refused with its field, its value and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import slipway.projects  # noqa: F401 (with it a role's module_utils are found, which are in no package until Ansible sends them)

from ansible.module_utils import project_dockerfile, project_seeds, project_settings, project_text  # isort: skip

LEAST = {
    "name": "adult",
    "services": ["jupyter"],
    "scale": {},
    "packages": {"pip": [], "apt": []},
    "instance_type": "t2.micro",
    "memory_mib": 0,
    "job_seconds": 60,
    "seeds": [],
    "postgres": {"superuser": False},
    "machines": {},
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "adult"
    (folder / "ipynb").mkdir(parents=True)
    (folder / "ipynb" / "first.ipynb").write_text("{}")
    (folder / "data").mkdir()
    (folder / "data" / "adult.csv").write_text("1,2\n")
    (folder / "data" / "empty.csv").touch()
    return folder


def read(project: Path, text: str | bytes) -> dict[str, Any]:
    (project / "slipway.yml").write_bytes(text.encode() if isinstance(text, str) else text)
    return dict(project_settings.read(project))


def refused(project: Path, text: str | bytes) -> list[str]:
    with pytest.raises(project_settings.SettingsError) as wrong:
        read(project, text)
    return list(wrong.value.lines)


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("services: [jupyter]", {}),
        ("{name: other-1, services: [jupyter]}", {"name": "other-1"}),
        (
            "{services: [jupyter, postgres], postgres: {superuser: true}}",
            {"services": ["jupyter", "postgres"], "postgres": {"superuser": True}},
        ),
        ("{services: [jupyter], job_seconds: 0}", {"job_seconds": 0}),
        ("services: [monitor, redis, jupyter]", {"services": ["jupyter", "redis", "monitor"]}),
        ("services: [jupyter, redis, worker]", {"services": ["jupyter", "redis", "worker"], "scale": {"worker": 1}}),
        (
            "{services: [jupyter, redis, worker], scale: {worker: 16}}",
            {"services": ["jupyter", "redis", "worker"], "scale": {"worker": 16}},
        ),
        ("{services: [jupyter], scale: {}, packages: {}, seeds: [], machines: {}}", {}),
        (
            "{services: [jupyter], packages: {pip: [xgboost==2.1.1, 'a[b]>=1; os_name != \"nt\"'], apt: [g++, libx-dev=1:2.0~rc1+b-1]}}",
            {
                "packages": {
                    "pip": ["xgboost==2.1.1", 'a[b]>=1; os_name != "nt"'],
                    "apt": ["g++", "libx-dev=1:2.0~rc1+b-1"],
                }
            },
        ),
        (
            "{services: [jupyter], packages: {pip: ['a @ git+https://example.org/a.git']}}",
            {"packages": {"pip": ["a @ git+https://example.org/a.git"], "apt": []}},
        ),
        (
            "{services: [jupyter], instance_type: u-6tb1.112xlarge, memory_mib: 600}",
            {"instance_type": "u-6tb1.112xlarge", "memory_mib": 600},
        ),
        ("{services: [jupyter, postgres], seeds: [data/adult.csv]}", {"services": ["jupyter", "postgres"], "seeds": ["data/adult.csv"]}),
        (
            "{services: [jupyter, worker], seeds: [data/adult.csv], machines: {store: {services: [postgres, redis]}}}",
            {
                "services": ["jupyter", "worker"],
                "scale": {"worker": 1},
                "seeds": ["data/adult.csv"],
                "machines": {"store": {"services": ["redis", "postgres"], "instance_type": "t2.micro"}},
            },
        ),
        (
            "{services: [jupyter], machines: {a: {services: [mongo], instance_type: t2.small}, b: {services: [redis]}}}",
            {
                "machines": {
                    "a": {"services": ["mongo"], "instance_type": "t2.small"},
                    "b": {"services": ["redis"], "instance_type": "t2.micro"},
                }
            },
        ),
    ],
)
def test_settings_have_every_default_filled_in(project: Path, text: str, settings: dict[str, Any]) -> None:
    assert read(project, text) == LEAST | settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # The file itself.
        ("", "slipway.yml is empty"),
        ("# nothing", "slipway.yml is empty"),
        ("- jupyter", 'slipway.yml: ["jupyter"] cannot be used. Allowed: keys with values'),
        ("jupyter", 'slipway.yml: "jupyter" cannot be used'),
        ("services: [jupyter", "slipway.yml: line 1"),
        ("services: [jupyter]\nservices: [jupyter]", 'slipway.yml: line 2, column 1: the key "services" stands twice'),
        ("services: [jupyter]\npackages:\n  pip: []\n  pip: []", 'line 4, column 3: the key "pip" stands twice'),
        ("services: &a [jupyter]\nseeds: *a", "line 2, column 8: an alias (*a) cannot be used"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("--- {services: [jupyter]}\n--- {}", "slipway.yml: line 2"),
        ("? [a]\n: b", "unhashable key"),
        ("services: [jupyter]\nseeds: " + "[" * 1000, "slipway.yml: it is nested too deeply"),
        (b"services: [jupyter] # \xe4", "slipway.yml is no UTF-8: byte 22 is 0xe4"),
        (b"services: [jupyter]\x00", "slipway.yml: unacceptable character"),
        ("#" * 70000, "slipway.yml has 70000 bytes. Allowed: at most 65536"),
        # Keys.
        (
            "{services: [jupyter], packges: {}}",
            "slipway.yml: packges: there is no such key. Did you mean packages? Allowed: name, services",
        ),
        ("{services: [jupyter], zzz: 1}", "slipway.yml: zzz: there is no such key. Allowed: name"),
        ("{services: [jupyter], no: 1}", "slipway.yml: false: there is no such key"),
        ("{services: [jupyter, redis, worker], scale: {workers: 2}}", "scale.workers: there is no such key. Did you mean worker?"),
        ("{services: [jupyter], packages: {pipp: []}}", "packages.pipp: there is no such key. Did you mean pip?"),
        ("{services: [jupyter], machines: {a: {services: [redis], type: x}}}", "machines.a.type: there is no such key"),
        # The name.
        ("{name: Adult, services: [jupyter]}", 'slipway.yml: name: "Adult" cannot be used. Allowed: 1 to 30 lower-case letters'),
        ("{name: a-, services: [jupyter]}", 'name: "a-" cannot be used'),
        ("{name: 1a, services: [jupyter]}", 'name: "1a" cannot be used'),
        (f"{{name: {'a' * 31}, services: [jupyter]}}", 'name: "aaa'),
        ('{name: "a\\n", services: [jupyter]}', 'name: "a\\n" cannot be used'),
        ("{name: slipway, services: [jupyter]}", "slipway is the base stack's own"),
        ("{name: no, services: [jupyter]}", "name: false cannot be used"),
        ("{name: 2026-01-01, services: [jupyter]}", 'name: "2026-01-01" cannot be used'),
        # Services.
        ("name: adult", "slipway.yml: services: it is missing. Allowed: a list of jupyter, redis, mongo, postgres, worker, monitor."),
        ("services: []", "services: [] cannot be used. Allowed: at least one of jupyter"),
        ("services: jupyter", 'services: "jupyter" cannot be used. Allowed: a list of jupyter'),
        ("services: null", "services: null cannot be used"),
        ("services: [redis]", 'services: ["redis"] cannot be used. Allowed: jupyter among them.'),
        ("services: [jupyter, no]", "services: false cannot be used. Allowed: jupyter"),
        (
            "services: [jupyter, postgresql]",
            'services: "postgresql" cannot be used. Allowed: jupyter, redis, mongo, postgres, worker, monitor. Did you mean postgres?',
        ),
        ("services: [jupyter, redis, redis]", 'services: "redis" cannot be used. Allowed: each once.'),
        ("services: [jupyter, worker]", "redis too, which worker takes its jobs from"),
        ("services: [jupyter, monitor]", "redis too, which monitor takes its jobs from"),
        # Numbers.
        ("{services: [jupyter], scale: {worker: 2}}", "scale.worker: 2 cannot be used. Allowed: where worker is among the services."),
        ("{services: [jupyter, redis, worker], scale: {worker: 0}}", "scale.worker: 0 cannot be used. Allowed: a whole number, 1 to 16."),
        ("{services: [jupyter, redis, worker], scale: {worker: 17}}", "scale.worker: 17 cannot be used"),
        ("{services: [jupyter, redis, worker], scale: {worker: yes}}", "scale.worker: true cannot be used"),
        ("{services: [jupyter, redis, worker], scale: {worker: '2'}}", 'scale.worker: "2" cannot be used'),
        ("{services: [jupyter, redis, worker], scale: 2}", "scale: 2 cannot be used"),
        ("{services: [jupyter], memory_mib: 0}", "memory_mib: 0 cannot be used. Allowed: a whole number, 1 to 10000000, in MiB."),
        ("{services: [jupyter], memory_mib: 10000001}", "memory_mib: 10000001 cannot be used"),
        ("{services: [jupyter], memory_mib: 0600}", 'memory_mib: "0600" cannot be used'),
        ("{services: [jupyter], memory_mib: 0x600}", 'memory_mib: "0x600" cannot be used'),
        ("{services: [jupyter], memory_mib: 1_000}", 'memory_mib: "1_000" cannot be used'),
        ("{services: [jupyter], memory_mib: +600}", 'memory_mib: "+600" cannot be used'),
        ("{services: [jupyter], memory_mib: 1e3}", 'memory_mib: "1e3" cannot be used'),
        ("{services: [jupyter], memory_mib: ٦٠٠}", "memory_mib: "),
        ("{services: [jupyter], job_seconds: 1:30}", 'job_seconds: "1:30" cannot be used'),
        ("{services: [jupyter], job_seconds: 3601}", "job_seconds: 3601 cannot be used. Allowed: a whole number, 0 to 3600, in seconds."),
        ("{services: [jupyter], job_seconds: 1m}", 'job_seconds: "1m" cannot be used'),
        ("{services: [jupyter], memory_mib: 0.5}", "memory_mib: 0.5 cannot be used"),
        ("{services: [jupyter], memory_mib: null}", "memory_mib: null cannot be used"),
        # Types.
        (
            "{services: [jupyter], instance_type: micro}",
            'instance_type: "micro" cannot be used. Allowed: an instance type, t2.micro for one.',
        ),
        ("{services: [jupyter], instance_type: 2.1}", "instance_type: 2.1 cannot be used"),
        ('{services: [jupyter], instance_type: "{{ x }}"}', "instance_type: "),
        # Packages.
        ("{services: [jupyter], packages: [xgboost]}", 'packages: ["xgboost"] cannot be used. Allowed: pip and apt, each a list.'),
        ("{services: [jupyter], packages: {pip: xgboost}}", 'packages.pip: "xgboost" cannot be used. Allowed: a list of requirements.'),
        ("{services: [jupyter], packages: {pip: [1.0]}}", "packages.pip: 1.0 cannot be used"),
        ("{services: [jupyter], packages: {apt: [no]}}", "packages.apt: false cannot be used"),
        ("{services: [jupyter], packages: {apt: ['']}}", 'packages.apt: "" cannot be used'),
        # Seeds.
        (
            "{services: [jupyter], seeds: [data/adult.csv]}",
            'seeds: ["data/adult.csv"] cannot be used. Allowed: where postgres is among the services.',
        ),
        (
            "{services: [jupyter, postgres], seeds: [data/other.csv]}",
            'seeds: "data/other.csv" cannot be used. Allowed: a file inside the project, by its path from there; there is none of',
        ),
        ("{services: [jupyter, postgres], seeds: [data/empty.csv]}", "this one is empty."),
        ("{services: [jupyter, postgres], seeds: [data]}", "there is none of this name"),
        ("{services: [jupyter, postgres], postgres: {superuser: 1}}", "postgres.superuser: 1 cannot be used. Allowed: true or false."),
        ("{services: [jupyter, postgres], postgres: {superusr: true}}", "postgres.superusr: there is no such key. Did you mean superuser?"),
        ("{services: [jupyter, postgres], postgre: {superuser: true}}", "postgre: there is no such key. Did you mean postgres?"),
        ("{services: [jupyter, postgres], postgres: true}", "postgres: true cannot be used. Allowed: superuser, true or false."),
        ("{services: [jupyter], postgres: {superuser: true}}", "Allowed: where postgres is among the services."),
        ("{services: [jupyter, postgres], seeds: data/adult.csv}", "Allowed: a list of files in the project."),
        ("{services: [jupyter, postgres], seeds: [7]}", "seeds: 7 cannot be used"),
        # Machines.
        ("{services: [jupyter], machines: [store]}", "machines: "),
        (
            "{services: [jupyter], machines: {Store: {services: [redis]}}}",
            'machines: "Store" cannot be used. Allowed: keys of 1 to 10 lower-case letters',
        ),
        ("{services: [jupyter], machines: {no: {services: [redis]}}}", "machines: false cannot be used"),
        ("{services: [jupyter], machines: {a-: {services: [redis]}}}", 'machines: "a-" cannot be used'),
        ("{services: [jupyter], machines: {a: {}}}", "machines.a.services: it is missing. Allowed: a list of redis, mongo, postgres."),
        ("{services: [jupyter], machines: {a: null}}", "machines.a: null cannot be used"),
        ("{services: [jupyter], machines: {a: {services: []}}}", "machines.a.services: [] cannot be used. Allowed: at least one of redis"),
        (
            "{services: [jupyter], machines: {a: {services: [worker]}}}",
            'machines.a.services: "worker" cannot be used. Allowed: redis, mongo, postgres.',
        ),
        ("{services: [jupyter, redis], machines: {a: {services: [redis]}}}", "Allowed: each store at one place; services has it already."),
        ("{services: [jupyter], machines: {a: {services: [redis]}, b: {services: [redis]}}}", "machines.a.services has it already."),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(project: Path, text: str | bytes, said: str) -> None:
    lines = refused(project, text)
    assert any(said in line for line in lines), lines
    assert all(line.startswith("slipway.yml") and len(line) < 400 for line in lines)


@pytest.mark.parametrize(
    "word",
    ["-r requirements.txt", "--index-url https://example.org", "-e .", "a b", "a\nb", "a\n", " a", "", "./a", "a==", "https://example.org/a.whl",
     "a @ https://user:secret@example.org/a.whl", "a @ https://token@example.org/a.whl", "a @ file:///etc/passwd", "a @ http://example.org/a.whl",
     "a; b", "{{ a }}", "a # comment"],
)  # fmt: skip
def test_a_pip_line_is_one_requirement_without_options_or_credentials(word: str) -> None:
    assert project_settings.requirement_flaw(word)


def test_credentials_are_not_told_again(project: Path) -> None:
    [line] = refused(project, "{services: [jupyter], packages: {pip: ['a @ https://user:secret@example.org/a.whl']}}")
    assert "secret" not in line
    assert '"a @ https://…@example.org/a.whl" cannot be used' in line
    assert "without a user or password" in line


@pytest.mark.parametrize(
    "word", ["-y", "a", "graphviz-", "graphviz; reboot", "graph viz", "Graphviz", "a$b", "graphviz=", "a=1\n", "../a.deb", "a/sid"]
)
def test_an_apt_word_is_a_package_and_nothing_else(word: str) -> None:
    assert not project_settings._APT.fullmatch(word)


def test_a_seed_stays_inside_the_project(project: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.csv").write_text("1")
    (project / "data" / "link.csv").symlink_to(tmp_path / "outside.csv")
    (project / "data" / "inner.csv").symlink_to("adult.csv")
    for seed in ("../outside.csv", "data/../../outside.csv", str(tmp_path / "outside.csv"), "data/link.csv", "~/x", "./data/adult.csv", ""):
        [line] = refused(project, f"{{services: [jupyter, postgres], seeds: ['{seed}']}}")
        assert "Allowed: a file inside the project" in line
    assert read(project, "{services: [jupyter, postgres], seeds: [data/inner.csv]}")["seeds"] == ["data/inner.csv"]


def test_everything_that_is_wrong_is_told_at_once(project: Path) -> None:
    (project / "ipynb" / "first.ipynb").unlink()
    lines = refused(project, "{name: X, services: [jupyter, oracle], memory_mib: -1, seeds: [a], wrong: 1}")
    assert [line.split(":")[1].strip() for line in lines[:-1]] == ["wrong", "name", "services", "memory_mib", "seeds", "seeds"]
    assert lines[-1].startswith("ipynb/ has no notebook")


def test_a_long_value_is_cut(project: Path) -> None:
    [line] = refused(project, f"{{services: [jupyter], instance_type: {'x' * 5000}}}")
    assert len(line) < 200


@pytest.mark.parametrize("place", ["first.ipynb", "ipynb/.ipynb_checkpoints/a.ipynb", "ipynb/a.ipynb/b.txt", "ipynb/a.txt"])
def test_a_project_needs_a_notebook_in_ipynb(project: Path, place: str) -> None:
    (project / "ipynb" / "first.ipynb").unlink()
    (project / place).parent.mkdir(exist_ok=True)
    (project / place).write_text("{}")
    assert refused(project, "services: [jupyter]") == ["ipynb/ has no notebook. Allowed: at least one file ipynb/….ipynb."]


@pytest.mark.parametrize(
    ("text", "fits", "plain"),
    [
        ("ARG BASE\nFROM ${BASE}\n", True, True),
        ("# syntax=docker/dockerfile:1\n\n# why\nARG BASE=x\nFROM $BASE AS mine\n# RUN nothing\n", True, True),
        ("arg BASE\nfrom ${BASE}\nRUN true\n", True, False),
        (
            "ARG BASE\nFROM python:3.12 AS build\nRUN a \\\n  # why\n  b\nFROM --platform=linux/amd64 ${BASE}\nCOPY --from=build /a /a",
            True,
            False,
        ),
        ("FROM ${BASE}\n", False, False),
        ("FROM python:3.12\n", False, False),
        ("ARG BASE\nFROM python:3.12\n", False, False),
        ("ARG BASE\nRUN true\n", False, False),
        ("ARG OTHER\nARG BASE\nFROM ${BASE}\n", False, False),
        ("ARG BASE\n# FROM ${BASE}\n", False, False),
        ("", False, True),
        ("\ufeffARG BASE\r\nFROM ${BASE}\r\n", True, True),
        ("\ufeffARG BASE\r\nFROM ${BASE}\r\nRUN a \\\r\n  b\r\n", True, False),
        ("\ufeff\ufeffARG BASE\nFROM ${BASE}\n", False, None),
    ],
)
def test_a_dockerfile_is_on_top_of_the_image(project: Path, text: str, fits: bool, plain: bool | None) -> None:
    file = project / "docker" / "jupyter" / "Dockerfile"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    if fits:
        read(project, "services: [jupyter]")
        assert project_dockerfile.adds_nothing(project_text.decoded(text.encode())) == plain
    else:
        [line] = refused(project, "services: [jupyter]")
        assert line.startswith("docker/jupyter/Dockerfile: ")
        assert "Allowed: a Dockerfile that begins with ARG BASE and has FROM ${BASE}." in line


def test_init_scripts_need_postgres(project: Path) -> None:
    folder = project / "docker" / "postgres"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("x")
    read(project, "services: [jupyter]")
    for name in ("20-b.sh", "10-a.sql", "15-c.sql.gz", "16-d.sql.xz", ".17.sql", "18.sql~"):
        (folder / name).write_text("x")
    [line] = refused(project, "services: [jupyter]")
    assert "postgres among them, for docker/postgres has 10-a.sql; or remove that file" in line
    read(project, "services: [jupyter, postgres]")
    read(project, "{services: [jupyter], machines: {a: {services: [postgres]}}}")
    found = project_seeds.look(project)
    assert found.run == ("10-a.sql", "15-c.sql.gz", "16-d.sql.xz", "20-b.sh")
    assert found.not_run == tuple(f"docker/postgres/{name}" for name in (".17.sql", "18.sql~", "README.md"))


def test_a_folder_that_is_no_project_is_refused_with_its_reason(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "nothing", "is no folder"), (tmp_path, "has no slipway.yml. Make a project with: new NAME")):
        with pytest.raises(project_settings.SettingsError, match=said):
            project_settings.read(path)
    folder = tmp_path / "My Project"
    (folder / "ipynb").mkdir(parents=True)
    (folder / "ipynb" / "a.ipynb").touch()
    [line] = refused(folder, "services: [jupyter]")
    assert '"My Project" cannot be used' in line
    assert "It is the folder's; the key `name` gives another." in line
    assert read(folder, "{name: mine, services: [jupyter]}")["name"] == "mine"


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_windows_line_ends_and_a_byte_order_mark_are_taken(project: Path, mark: str) -> None:
    assert read(project, f"{mark}name: other-1\r\nservices:\r\n  - jupyter\r\n")["name"] == "other-1"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_refused_by_name(project: Path, encoding: str) -> None:
    [line] = refused(project, "services: [jupyter]\r\n".encode(encoding))
    assert line.startswith("slipway.yml is UTF-")
    assert "Save it as UTF-8." in line
    file = project / "docker" / "jupyter" / "Dockerfile"
    file.parent.mkdir(parents=True)
    file.write_bytes("ARG BASE\nFROM ${BASE}\n".encode(encoding))
    [line] = refused(project, "services: [jupyter]")
    assert line.startswith("docker/jupyter/Dockerfile is UTF-")


def test_a_folder_in_the_files_place_is_told(project: Path) -> None:
    (project / "slipway.yml").mkdir()
    with pytest.raises(project_settings.SettingsError, match="cannot be read: Is a directory"):
        project_settings.read(project)
