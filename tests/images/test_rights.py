"""PostgreSQL's slipway is no superuser: what it may and what it may not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.images.boxes import Box
from tests.images.readers import taken
from tests.images.rights import (
    LEFT,
    MAY_NOT,
    PASSWORD,
    READY,
    RIGHTS,
    ROLES,
    address,
    asked,
    refused,
    servers,
    slipway,
)

MAY = {
    "SELECT current_database() || ' ' || rolcreatedb FROM pg_roles WHERE rolname = current_user": "slipway true",
    "CREATE SCHEMA own; CREATE TABLE own.a (n int); CREATE TABLE b (n int); INSERT INTO b VALUES (1); SELECT * FROM b": "1",
    "CREATE EXTENSION hstore; CREATE EXTENSION pgcrypto; SELECT count(*) FROM pg_extension": "4",
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 7; END'; SELECT f()": "7",
    "CREATE PUBLICATION p FOR TABLE b; SELECT count(*) FROM pg_publication": "1",
    "ALTER DATABASE slipway SET work_mem = '1MB'; ALTER ROLE slipway SET jit = off; SELECT 1": "1",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'slipway' AND pid <> pg_backend_pid(); SELECT 1": "1",
    "SELECT lo_from_bytea(9, '\\x01')": "9",
    # Of the seeds, which the superuser ran.
    "SELECT string_agg(t, ',' ORDER BY t) FROM seeded": "a,b,c",
    "ALTER TABLE seeded ADD n int; DROP VIEW of_it; DROP SCHEMA theirs CASCADE; SELECT 1": "1",
}


SEEDS = {
    "10.sql": "CREATE TABLE seeded (t text); COPY seeded FROM PROGRAM 'echo a'; CREATE VIEW of_it AS SELECT * FROM seeded;",
    "11.sql": "CREATE EXTENSION dblink;",
    "20.sh": 'psql -U slipway -c "INSERT INTO seeded VALUES (\'b\')"\npsql -U "$POSTGRES_USER" -c "INSERT INTO seeded VALUES (\'c\')"\n',
    "30.sql": "CREATE SCHEMA theirs; CREATE TYPE theirs.t AS ENUM ('a'); CREATE FUNCTION theirs.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
}
#: A function that the planner runs for each role that reads the table: it is constant, and stands in an index.
HOSTILE = r"""
CREATE FUNCTION evil(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE TABLE trap AS SELECT 1 AS n; CREATE INDEX ON trap ((n + evil(1)));
CREATE FUNCTION worse() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  BEGIN COPY (SELECT 1) TO PROGRAM 'touch /tmp/evil'; EXCEPTION WHEN OTHERS THEN NULL; END;
  BEGIN SET SESSION AUTHORIZATION slipway_superuser; EXCEPTION WHEN OTHERS THEN NULL; END;
  BEGIN COPY (SELECT 1) TO PROGRAM 'touch /tmp/evil'; EXCEPTION WHEN OTHERS THEN NULL; END;
  RETURN 1;
END $$;
CREATE OR REPLACE FUNCTION evil(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN public.worse(); END';
CREATE TYPE word AS ENUM ('a'); CREATE DOMAIN item AS aclitem; CREATE TABLE odd (i item[], w word);
CREATE FUNCTION evil(item[]) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT public.evil(1)::text';
CREATE CAST (item[] AS text) WITH FUNCTION evil(item[]);
CREATE FUNCTION evil(word) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT public.evil(1)::text';
CREATE CAST (word AS text) WITH FUNCTION evil(word) AS IMPLICIT;
INSERT INTO odd VALUES ('{}', 'a'); CREATE VIEW sees AS SELECT public.evil(1);
CREATE TABLE mine (n int); ALTER TABLE mine ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON mine USING (evil(1) = 1); INSERT INTO mine VALUES (1);
ALTER DATABASE slipway SET search_path = public, pg_catalog; ALTER DATABASE slipway SET role = slipway;
ALTER DATABASE slipway SET local_preload_libraries = 'nope';
CREATE FUNCTION public.format(text, VARIADIC text[]) RETURNS text LANGUAGE sql AS 'SELECT public.evil(1)::text';
CREATE FUNCTION public.count(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT public.evil(1)::bigint';
"""


@pytest.fixture
def server(start: Callable[..., Box], client: Any) -> Iterator[Callable[..., Box]]:
    with servers(start, client) as run:
        yield run


def test_slipway_owns_what_it_uses_and_no_more(server: Callable[..., Box], tmp_path: Path) -> None:
    box = server(scripts=SEEDS)
    assert asked(box, ROLES).splitlines() == RIGHTS[2:]
    said = {query: slipway(box, query) for query in MAY}
    assert {query: answer for query, answer in said.items() if answer != (0, MAY[query])} == {}
    links = {"SELECT dblink_connect_u('dbname=slipway user=slipway_superuser')": "permission denied for function dblink_connect_u"}
    links |= {
        f"SELECT dblink_connect('dbname=slipway user=slipway_superuser{host}')": "password is required" if not host else "rejects"
        for host in ("", " host=127.0.0.1 password=x")
    }
    assert refused(box, MAY_NOT | links) == []
    for user, host in (("slipway_superuser", "127.0.0.1"), ("slipway_superuser", address(box)), ("slipway_reader", "127.0.0.1")):
        code, text = box.run("psql", "-w", "-h", host, "-U", user, "-d", "slipway", "-c", "SELECT 1", PGPASSWORD=PASSWORD)
        assert code and "pg_hba.conf rejects" in text
    code, text = box.run("psql", "-w", "-h", "127.0.0.1", "-U", "slipway", "-c", "SELECT 1")
    assert code and "no password supplied" in text
    assert PASSWORD not in box.logs()


def test_no_function_of_the_users_runs_as_the_superuser(server: Callable[..., Box], tmp_path: Path) -> None:
    box = server()
    assert slipway(box, HOSTILE)[0] == 0
    assert taken(tmp_path, postgres=box)["postgres"].startswith("3 rows in 3 tables")
    box.container.restart(timeout=20)
    box.wait(*READY)
    assert "evil" not in box.out("ls", "/tmp")  # noqa: S108 (of the container)
    # It would: so the trap is one.
    asked(box, "SELECT * FROM public.trap")
    assert "evil" in box.out("ls", "/tmp")  # noqa: S108 (of the container)


#: What a superuser leaves in the server's own files, and what the server has without it.
SETTINGS = {
    "archive_mode": ("on", "off"),
    "archive_command": ("touch /tmp/evil", "(disabled)"),
    "archive_library": ("", ""),
    "restore_command": ("touch /tmp/evil", ""),
    "archive_cleanup_command": ("touch /tmp/evil", ""),
    "recovery_end_command": ("touch /tmp/evil", ""),
    "primary_conninfo": ("host=127.0.0.1", ""),
    "ssl_passphrase_command": ("touch /tmp/evil", ""),
    "jit_provider": ("../evil", "llvmjit"),
    "dynamic_library_path": ("/elsewhere", "$libdir"),
    "session_preload_libraries": ("/evil", ""),
    "shared_preload_libraries": ("/evil", ""),
}


def test_slipway_is_a_superuser_only_for_as_long_as_the_project_asks(server: Callable[..., Box]) -> None:
    box = server(SLIPWAY_SUPERUSER="true")
    program = "COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'; SELECT 1"
    assert slipway(box, program) == (0, "1")
    made = "CREATE EXTENSION dblink; CREATE ROLE other SUPERUSER LOGIN PASSWORD 'other'; GRANT pg_read_server_files TO other;"
    made += "CREATE FUNCTION up() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN ALTER ROLE slipway SUPERUSER; END';"
    made += "CREATE EVENT TRIGGER up ON ddl_command_end EXECUTE FUNCTION up(); ALTER EVENT TRIGGER up ENABLE ALWAYS;"
    # It may take the superuser's name and its login, too.
    made += "ALTER ROLE slipway_superuser NOLOGIN PASSWORD 'x'; ALTER ROLE slipway_superuser RENAME TO another;"
    assert slipway(box, made)[0] == 0
    for setting, (value, _) in SETTINGS.items():
        assert slipway(box, f"ALTER SYSTEM SET {setting} = '{value}'")[0] == 0
    box = server()
    # It gets in: no library that is not there is loaded.
    assert slipway(box, "SELECT 1") == (0, "1")
    shown = {setting: asked(box, f"SHOW {setting}") for setting in SETTINGS}
    assert shown == {setting: after for setting, (_, after) in SETTINGS.items()}
    asked(box, "SELECT pg_switch_wal()")
    link = {"SELECT dblink_connect_u('user=slipway_superuser')": "permission denied for function dblink_connect_u"}
    assert refused(box, MAY_NOT | link) == []
    assert asked(box, ROLES).splitlines() == ["other|f|f|f", *RIGHTS[2:]]
    assert asked(box, LEFT) == "up,up D"
    assert "evil" not in box.out("ls", "/tmp")  # noqa: S108 (of the container)
    # A library that is not there keeps the server from starting, as the user has set it.
    for setting in ("session_preload_libraries", "shared_preload_libraries"):
        asked(box, f"ALTER SYSTEM RESET {setting}")
    box = server(SLIPWAY_SUPERUSER="true")
    assert slipway(box, program) == (0, "1")
    assert slipway(box, "SHOW archive_command") == (0, "touch /tmp/evil")
