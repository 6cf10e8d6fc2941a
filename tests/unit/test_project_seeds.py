"""Every file of docker/postgres is run, named as not run, or refused, before PostgreSQL is started."""

from __future__ import annotations

from pathlib import Path

import pytest

import slipway.projects  # noqa: F401 (with it a role's module_utils are found, which are in no package until Ansible sends them)

from ansible.module_utils.project_seeds import Entry, Seeds, decide, look  # isort: skip

RUN, NOT_RUN, WRONG = "run", "not run", "wrong"
SQL, SCRIPT = b"SELECT 1;\n", b"#!/bin/sh\ntrue\n"


@pytest.mark.parametrize(
    ("entry", "becomes", "said"),
    [
        # What the official image runs.
        (Entry("10-a.sql", start=SQL), RUN, "10-a.sql"),
        (Entry("a.sql.gz"), RUN, "a.sql.gz"),
        (Entry("30-packed.sql.xz"), RUN, "30-packed.sql.xz"),
        (Entry("a.sql.zst"), RUN, "a.sql.zst"),
        (Entry('it\'s "x" $y.sql', start=SQL), RUN, "it's"),
        (Entry("-x.sql", start=SQL), RUN, "-x.sql"),
        (Entry("A.sql", start=SQL), RUN, "A.sql"),
        (Entry("empty.sql"), RUN, "empty.sql"),
        (Entry("a.sh", start=SCRIPT), RUN, "a.sh"),
        # What psql takes, and a shell does not.
        (Entry("a.sql", start=b"\xef\xbb\xbfSELECT 1;\r\n"), RUN, "a.sql"),
        (Entry("a.sql", start=b"SET client_encoding = 'LATIN1'; SELECT '\xe4';"), RUN, "a.sql"),
        (Entry("a.sh", start=b"\xef\xbb\xbf" + SCRIPT), WRONG, "a.sh begins with a byte order mark (BOM)"),
        (Entry("a.sh", start=b"#!/bin/sh\r\ntrue\r\n"), WRONG, "a.sh ends line 1 as Windows does (CRLF)"),
        (Entry("a.sh", start=b"#!/bin/sh\n\ntrue\r\n"), WRONG, "a.sh ends line 3 as Windows does (CRLF)"),
        (Entry("a.sql", start="SELECT 1;".encode("utf-16")), WRONG, "a.sql is UTF-16. Save it as UTF-8."),
        (Entry("a.sql", start="SELECT 1;".encode("utf-16-be")), WRONG, "a.sql is UTF-16 without a byte order mark."),
        (Entry("a.sql", start="SELECT 1;".encode("utf-32")), WRONG, "a.sql is UTF-32."),
        (Entry("a.sh", start="true".encode("utf-16")), WRONG, "a.sh is UTF-16."),
        # Surely meant to be run.
        (Entry("10-CITIES.SQL", start=SQL), WRONG, "10-CITIES.SQL would not be run: its ending is in capitals. Allowed: 10-CITIES.sql,"),
        (Entry("a.Sql.GZ"), WRONG, "Allowed: a.sql.gz,"),
        (Entry("a.sql.XZ"), WRONG, "Allowed: a.sql.xz,"),
        (Entry("a.SH"), WRONG, "Allowed: a.sh,"),
        (Entry("a.sql", "link"), WRONG, "a.sql is a link to what PostgreSQL does not see."),
        (Entry("a.sql", "other"), WRONG, "a.sql is neither a file nor a folder."),
        # Perhaps what a script reads.
        (Entry("README.md"), NOT_RUN, "docker/postgres/README.md"),
        (Entry("tables", "folder"), NOT_RUN, "docker/postgres/tables/ (a folder)"),
        (Entry("tables.sql", "folder"), NOT_RUN, "docker/postgres/tables.sql/ (a folder)"),
        (Entry(".gitkeep"), NOT_RUN, "docker/postgres/.gitkeep"),
        (Entry(".10-a.sql"), NOT_RUN, "docker/postgres/.10-a.sql"),
        (Entry(".SQL"), NOT_RUN, "docker/postgres/.SQL"),
        (Entry("a.sql~"), NOT_RUN, "docker/postgres/a.sql~"),
        (Entry(".a.sql.swp"), NOT_RUN, "docker/postgres/.a.sql.swp"),
        (Entry("a.sql.bak"), NOT_RUN, "docker/postgres/a.sql.bak"),
        (Entry("a.sql "), NOT_RUN, "docker/postgres/a.sql "),
        (Entry("a.sql.zip"), NOT_RUN, "docker/postgres/a.sql.zip"),
        (Entry("a.sql.bz2"), NOT_RUN, "docker/postgres/a.sql.bz2"),
        (Entry("a.dump"), NOT_RUN, "docker/postgres/a.dump"),
        (Entry("sql"), NOT_RUN, "docker/postgres/sql"),
        (Entry("notes.txt", "link"), NOT_RUN, "docker/postgres/notes.txt"),
    ],
)
def test_each_file_is_run_or_named(entry: Entry, becomes: str, said: str) -> None:
    found = decide([entry])
    by_kind = {RUN: found.run, NOT_RUN: found.not_run, WRONG: found.wrong}
    [line] = by_kind.pop(becomes)
    assert said in line
    assert not any(by_kind.values())


def test_a_folder_of_seeds_is_read_without_leaving_the_project(tmp_path: Path) -> None:
    folder, data = tmp_path / "docker/postgres", tmp_path / "data"
    (folder / "tables").mkdir(parents=True)
    data.mkdir()
    (data / "a.sql").write_bytes(SQL)
    (tmp_path / "other.sql").write_bytes(SQL)
    for name, target in {"10.sql": "../../data/a.sql", "20.sql": "../../other.sql", "30.sql": "none.sql", "40.sql": "10.sql"}.items():
        (folder / name).symlink_to(target)
    (folder / "50.sh").write_bytes(b"true\r\n")
    (folder / "60").symlink_to("tables")
    found = look(tmp_path)
    assert found.run == ("10.sql", "40.sql")
    assert [line.split(" ")[0] for line in found.wrong] == [f"docker/postgres/{name}" for name in ("20.sql", "30.sql", "50.sh")]
    assert found.not_run == ("docker/postgres/60/ (a folder)", "docker/postgres/tables/ (a folder)")


@pytest.mark.parametrize("name", ["postgresql", "Postgres", "initdb", "docker-entrypoint-initdb.d"])
def test_a_folder_of_a_similar_name_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "docker" / name).mkdir(parents=True)
    assert look(tmp_path) == Seeds(not_run=(f"docker/{name}/ (PostgreSQL runs docker/postgres)",))


@pytest.mark.parametrize("link", ["docker", "docker/postgres"])
def test_a_link_in_the_folders_place_is_refused(tmp_path: Path, link: str) -> None:
    (tmp_path / "real/postgres").mkdir(parents=True)
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / "real", target_is_directory=True)
    assert look(tmp_path).wrong == (f"{link} is a link, which is not followed. Allowed: a folder.",)


def test_nothing_there_is_nothing(tmp_path: Path) -> None:
    assert look(tmp_path) == Seeds()
