"""PostgreSQL's slipway is no superuser: what it may, what it may not, and a volume of an earlier version, whose slipway was one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT
from tests.images.boxes import Box
from tests.images.readers import taken

HERE = PROJECT / "roles" / "stack" / "files" / "compose" / "postgres"
COMMAND = ("postgres", "-c", "shared_buffers=16MB", "-c", "hba_file=/slipway/pg_hba.conf")
DATA = "/var/lib/postgresql/data"
PASSWORD = "p" * 32
#: As compose.postgres.yml has it.
LEAST = {"cap_drop": ["ALL"], "cap_add": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]}
SUPERUSER = ("psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-U", "slipway_superuser", "-d")

#: Done in each of three databases, by slipway, when it was the first superuser.
KINDS = r"""
CREATE EXTENSION file_fdw; CREATE EXTENSION dblink; CREATE EXTENSION hstore;
CREATE SCHEMA shop; CREATE TABLE shop.orders (id serial PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, t text, CHECK (t <> ''));
INSERT INTO shop.orders (t) SELECT 'x' || g FROM generate_series(1, 100) g;
GRANT SELECT ON shop.orders TO bob; GRANT UPDATE (t) ON shop.orders TO bob WITH GRANT OPTION;
CREATE TABLE parts (n int) PARTITION BY RANGE (n); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS n; CREATE TABLE "odd ""name" (n int);
CREATE VIEW seen AS SELECT * FROM parts; CREATE MATERIALIZED VIEW filled AS SELECT * FROM shop.orders;
CREATE RULE noted AS ON INSERT TO seen DO INSTEAD INSERT INTO parts VALUES (NEW.n);
CREATE SEQUENCE numbers; SELECT nextval('numbers');
CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TYPE pair AS (a int, b text); CREATE TYPE span AS RANGE (subtype = int4);
CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TABLE typed (m mood, p pair, s span, d positive, h hstore);
INSERT INTO typed VALUES ('a', (1, 'x'), '[1,3)', 7, 'a=>1');
CREATE FUNCTION one(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'; CREATE PROCEDURE two() LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION who() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user::text';
CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER fire BEFORE INSERT ON parts_1 FOR EACH ROW EXECUTE FUNCTION fires();
CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0'); CREATE AGGREGATE zeros(*) (SFUNC = one, STYPE = int, INITCOND = '0');
CREATE OPERATOR ~~~ (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl); CREATE OPERATOR !!! (RIGHTARG = int, FUNCTION = one);
CREATE OPERATOR FAMILY family USING btree;
CREATE OPERATOR CLASS class FOR TYPE int4 USING btree FAMILY family AS OPERATOR 1 <, FUNCTION 1 btint4cmp(int4, int4);
CREATE COLLATION german (LOCALE = 'C'); CREATE CONVERSION odd FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE STATISTICS stats ON id, t FROM shop.orders;
CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple); CREATE TEXT SEARCH CONFIGURATION search (COPY = simple);
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; CREATE FOREIGN TABLE elsewhere (t text) SERVER files OPTIONS (filename '/nowhere');
CREATE FOREIGN DATA WRAPPER bare; CREATE SERVER bared FOREIGN DATA WRAPPER bare;
CREATE USER MAPPING FOR slipway SERVER bared OPTIONS (login 'it''s', word 'a=b "c"');
CREATE PUBLICATION few FOR TABLE shop.orders; CREATE PUBLICATION every FOR ALL TABLES;
SELECT lo_from_bytea(7, '\x0102'); GRANT SELECT ON LARGE OBJECT 7 TO bob;
CREATE TABLE hidden (n int); INSERT INTO hidden VALUES (1), (2);
ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; ALTER TABLE hidden FORCE ROW LEVEL SECURITY;
CREATE POLICY mine ON hidden TO slipway, bob USING (n = 1);
CREATE TABLE bobs (n int); ALTER TABLE bobs OWNER TO bob; INSERT INTO bobs VALUES (1);
REVOKE ALL ON bobs FROM slipway; GRANT SELECT, INSERT ON bobs TO slipway; GRANT UPDATE (n) ON bobs TO slipway WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO bob; ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO bob;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
CREATE FUNCTION up() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN ALTER ROLE bob SUPERUSER; END';
CREATE EVENT TRIGGER up ON ddl_command_start EXECUTE FUNCTION up(); ALTER EVENT TRIGGER up ENABLE ALWAYS;
GRANT EXECUTE ON FUNCTION pg_read_file(text) TO slipway, PUBLIC;
"""
ODD = r"dbname='odd = \'\\ db'"
OLD = (
    r"""
CREATE ROLE bob LOGIN SUPERUSER PASSWORD 'bobbobbobbobbob'; CREATE ROLE "odd ""role" CREATEROLE; GRANT pg_execute_server_program TO bob;
GRANT slipway TO bob; GRANT "odd ""role" TO slipway WITH ADMIN OPTION; GRANT pg_read_server_files TO "odd ""role";
ALTER ROLE slipway SET work_mem = '64kB'; ALTER ROLE slipway IN DATABASE slipway SET search_path = public, shop; ALTER ROLE bob SET jit = off;
ALTER DATABASE slipway SET role = bob; ALTER DATABASE slipway SET default_transaction_read_only = on;
ALTER DATABASE slipway SET standard_conforming_strings = off;
GRANT ALTER SYSTEM ON PARAMETER archive_command TO bob;
CREATE DATABASE "odd = '\ db"; CREATE DATABASE closed; REVOKE CONNECT ON DATABASE closed FROM PUBLIC;
"""
    + "SET default_transaction_read_only = off; SET standard_conforming_strings = on; RESET role;"
    + KINDS
    + rf"""\connect -reuse-previous=on "{ODD}"
{KINDS}
\connect closed
{KINDS}
\connect postgres
ALTER DATABASE closed ALLOW_CONNECTIONS false;
"""
)
#: What is still the first superuser's, but for what extensions are made of: the event trigger, its function, what only a superuser may own.
LEFT = """
SELECT string_agg(what, ',' ORDER BY what) FROM (
  SELECT relname::text COLLATE "C", 'pg_class'::regclass, oid FROM pg_class WHERE relowner = 10 AND relkind NOT IN ('t', 'c') AND relnamespace::regnamespace::text !~ '^pg_'
  UNION ALL SELECT proname, 'pg_proc'::regclass, oid FROM pg_proc WHERE proowner = 10
  UNION ALL SELECT typname, 'pg_type'::regclass, oid FROM pg_type t WHERE typowner = 10 AND typelem = 0 AND typnamespace::regnamespace::text !~ '^pg_'
  UNION ALL SELECT nspname, 'pg_namespace'::regclass, oid FROM pg_namespace WHERE nspowner = 10 AND nspname !~ '^pg_'
  UNION ALL SELECT oprname, 'pg_operator'::regclass, oid FROM pg_operator WHERE oprowner = 10
  UNION ALL SELECT opcname, 'pg_opclass'::regclass, oid FROM pg_opclass WHERE opcowner = 10
  UNION ALL SELECT opfname, 'pg_opfamily'::regclass, oid FROM pg_opfamily WHERE opfowner = 10
  UNION ALL SELECT collname, 'pg_collation'::regclass, oid FROM pg_collation WHERE collowner = 10
  UNION ALL SELECT conname, 'pg_conversion'::regclass, oid FROM pg_conversion WHERE conowner = 10
  UNION ALL SELECT stxname, 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext WHERE stxowner = 10
  UNION ALL SELECT dictname, 'pg_ts_dict'::regclass, oid FROM pg_ts_dict WHERE dictowner = 10
  UNION ALL SELECT cfgname, 'pg_ts_config'::regclass, oid FROM pg_ts_config WHERE cfgowner = 10
  UNION ALL SELECT fdwname, 'pg_foreign_data_wrapper'::regclass, oid FROM pg_foreign_data_wrapper WHERE fdwowner = 10
  UNION ALL SELECT srvname, 'pg_foreign_server'::regclass, oid FROM pg_foreign_server WHERE srvowner = 10
  UNION ALL SELECT pubname, 'pg_publication'::regclass, oid FROM pg_publication WHERE pubowner = 10
  UNION ALL SELECT format('%s %s', evtname, evtenabled), 'pg_event_trigger'::regclass, oid FROM pg_event_trigger WHERE evtowner = 10
  UNION ALL SELECT 'large object', 'pg_largeobject'::regclass, oid FROM pg_largeobject_metadata WHERE lomowner = 10
  UNION ALL SELECT 'default rights', 'pg_default_acl'::regclass, oid FROM pg_default_acl WHERE defaclrole = 10
  UNION ALL SELECT 'user mapping', 'pg_user_mapping'::regclass, oid FROM pg_user_mapping WHERE umuser = 10
  UNION ALL SELECT 'policy', 'pg_policy'::regclass, oid FROM pg_policy WHERE 10 = ANY (polroles)
  UNION ALL SELECT extname, 'pg_extension'::regclass, oid FROM pg_extension WHERE extowner = 10
) found (what, class, oid)
WHERE oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = class AND d.objid = found.oid AND d.deptype = 'e')
"""
STAYS = "bare,dblink,every,file_fdw,up,up D"
ROLES = "SELECT rolname, rolsuper, rolcreaterole, rolpassword IS NULL FROM pg_authid WHERE oid = 10 OR oid >= 16384 ORDER BY rolname"
#: What a role may do to the system: superuser, CREATEROLE, no password.
RIGHTS = ["bob|f|f|f", 'odd "role|f|f|t', "slipway|f|f|f", "slipway_reader|f|f|t", "slipway_superuser|t|t|t"]


@pytest.fixture
def server(start: Callable[..., Box], client: Any) -> Iterator[Callable[..., Box]]:
    """server(old=True): the volume as the version before had it; else as it is now. One container at a time."""
    volume = client.volumes.create(labels={"slipway.test": "1"})
    made: list[Box] = []

    def run(old: bool = False, scripts: dict[str, str] | None = None, wait: bool = True, **environment: str) -> Box:
        for box in made:
            box.container.stop(timeout=20)
        files = {f"/slipway/{path.name}": (path.read_text(), 0o644) for path in HERE.iterdir() if path.is_file()}
        files |= {"/run/secrets/postgres_password": (PASSWORD, 0o444), "/old.sql": (OLD, 0o444)}
        files |= {f"/project/{name}": (text, 0o644) for name, text in (scripts or {}).items()}
        if not old:
            files |= {"/docker-entrypoint-initdb.d/project.sh": ((HERE / "init" / "project.sh").read_text(), 0o644)}
        names = {"POSTGRES_USER": "slipway" if old else "slipway_superuser", "POSTGRES_DB": "slipway"}
        names |= {"POSTGRES_PASSWORD_FILE": "/run/secrets/postgres_password"} | environment
        entry = {} if old else {"entrypoint": ["sh", "/slipway/start.sh"]}
        command = COMMAND[:3] if old else COMMAND
        box = start("postgres", *command, files=files, environment=names, volumes=[f"{volume.name}:{DATA}"], **entry, **LEAST)
        made.append(box)
        return box.wait("pg_isready", "-h", "127.0.0.1") if wait else box

    yield run
    for box in made:
        box.container.remove(force=True, v=True)
    volume.remove(force=True)


def asked(box: Box, query: str, database: str = "slipway") -> str:
    """What the superuser sees."""
    return box.out(*SUPERUSER, database, "-c", query, PGOPTIONS="-c default_transaction_read_only=off -c role=none")


def slipway(box: Box, query: str, database: str = "slipway") -> tuple[int, str]:
    """What a notebook sees: by TCP, with the password."""
    command = ("psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-U", "slipway", "-h", address(box), "-d", database, "-c", query)
    return box.run(*command, PGPASSWORD=PASSWORD, PGOPTIONS="-c default_transaction_read_only=off -c role=none")


def address(box: Box) -> str:
    box.container.reload()
    return str(box.container.attrs["NetworkSettings"]["IPAddress"])


def test_a_volume_of_an_earlier_version(server: Callable[..., Box], tmp_path: Path) -> None:
    old = server(old=True)
    old.out("psql", "-XAtqU", "slipway", "-v", "ON_ERROR_STOP=1", "-f", "/old.sql")
    verifier = old.out("psql", "-XAtqU", "slipway", "-d", "postgres", "-c", "SELECT rolpassword FROM pg_authid WHERE oid = 10")
    before = taken(tmp_path, postgres=old)["postgres"]
    new = server()
    assert taken(tmp_path, postgres=new)["postgres"] == before
    assert asked(new, ROLES).splitlines() == RIGHTS
    assert asked(new, "SELECT rolpassword FROM pg_authid WHERE rolname = 'slipway'") == verifier
    asked(new, "ALTER DATABASE closed ALLOW_CONNECTIONS true", "postgres")
    for database in ("slipway", ODD, "closed"):
        assert asked(new, LEFT, database) == STAYS, database
    print(new.logs())
