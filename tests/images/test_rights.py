"""PostgreSQL's slipway is no superuser: what it may, what it may not, and a volume of an earlier version, whose slipway was one."""

from __future__ import annotations

import time
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
#: As compose.postgres.yml has it: a user without a name, to whom the role has given the volume. And as that of the version before had it.
UID = 1_900_000_003
LEAST: dict[str, Any] = {"cap_drop": ["ALL"], "user": f"{UID}:{UID}"}
LEAST_BEFORE: dict[str, Any] = {"cap_drop": ["ALL"], "cap_add": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]}
READY = ("pg_isready", "-h", "127.0.0.1", "-U", "slipway")
OPTIONS = "-c default_transaction_read_only=off -c role=none -c statement_timeout=0 -c local_preload_libraries="
SUPERUSER = ("psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-U", "slipway_superuser", "-d")

#: Done in each of three databases, by slipway, when it was the first superuser.
KINDS = r"""
CREATE EXTENSION file_fdw; CREATE EXTENSION dblink; CREATE EXTENSION hstore;
CREATE SCHEMA shop; CREATE TABLE shop.orders (id serial PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, t text, CHECK (t <> ''));
INSERT INTO shop.orders (t) SELECT 'x' || g FROM generate_series(1, 100) g;
GRANT SELECT ON shop.orders TO bob; GRANT UPDATE (t) ON shop.orders TO bob WITH GRANT OPTION;
CREATE TABLE parts (n int) PARTITION BY RANGE (n); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE UNLOGGED TABLE fleeting (n int); CREATE TABLE "odd ""name" (n int);
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
CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE AGGREGATE zeros(*) (SFUNC = one, STYPE = int, INITCOND = '0');
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
ALTER ROLE slipway SET work_mem = '64kB'; ALTER ROLE slipway IN DATABASE slipway SET search_path = public, shop;
ALTER ROLE bob SET jit = off;
ALTER ROLE slipway SET statement_timeout = '1ms'; ALTER ROLE slipway SET default_transaction_read_only = on;
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
  SELECT relname::text COLLATE "C", 'pg_class'::regclass, oid FROM pg_class WHERE relowner = 10 AND relkind NOT IN ('t', 'c')
    AND relnamespace::regnamespace::text !~ '^pg_'
  UNION ALL SELECT proname, 'pg_proc'::regclass, oid FROM pg_proc WHERE proowner = 10
  UNION ALL SELECT typname, 'pg_type'::regclass, oid FROM pg_type t WHERE typowner = 10 AND typelem = 0
    AND typnamespace::regnamespace::text !~ '^pg_'
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

    def run(old: bool = False, scripts: dict[str, str] | None = None, wait: bool = True, sql: str = "", **environment: str) -> Box:
        for box in made:
            box.container.stop(timeout=20)
        # nocopy: an empty one stays its user's.
        mounted = [f"{volume.name}:{DATA}{'' if old else ':nocopy'}"]
        if not old:
            made.append(start("postgres", entrypoint=["chown", "-R", f"{UID}:{UID}", DATA], volumes=mounted))
            assert made[-1].exit_code() == 0
        files = {f"/slipway/{path.name}": (path.read_text(), 0o644) for path in HERE.iterdir() if path.is_file()}
        files |= {"/run/secrets/postgres_password": (PASSWORD, 0o444), "/old.sql": (OLD, 0o444)}
        files |= {f"/project/{name}": (text, 0o644) for name, text in (scripts or {}).items()}
        if not old:
            files |= {"/docker-entrypoint-initdb.d/project.sh": ((HERE / "init" / "project.sh").read_text(), 0o644)}
        names = {"POSTGRES_USER": "slipway" if old else "slipway_superuser", "POSTGRES_DB": "slipway"}
        names |= {"POSTGRES_PASSWORD_FILE": "/run/secrets/postgres_password"} | environment
        entry = {} if old else {"entrypoint": ["sh", "/slipway/start.sh"]}
        if sql:
            # In single-user mode, in the database slipway.
            entry = {"entrypoint": ["sh", "-c", f'echo "{sql}" | sh /slipway/start.sh single slipway']}
        command = COMMAND[:3] if old else COMMAND
        who = LEAST_BEFORE if old else LEAST
        box = start("postgres", *command, files=files, environment=names, volumes=mounted, **entry, **who)
        made.append(box)
        return box.wait(*READY) if wait else box

    yield run
    for box in made:
        box.container.remove(force=True, v=True)
    volume.remove(force=True)


def asked(box: Box, query: str, database: str = "slipway") -> str:
    """What the superuser sees."""
    return box.out(*SUPERUSER, database, "-c", query, PGOPTIONS=f"{OPTIONS} -c session_preload_libraries=")


def slipway(box: Box, query: str, database: str = "slipway") -> tuple[int, str]:
    """What a notebook sees: by TCP, with the password."""
    command = ("psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-U", "slipway", "-h", address(box), "-d", database, "-c", query)
    return box.run(*command, PGPASSWORD=PASSWORD, PGOPTIONS=f"{OPTIONS} -c client_min_messages=error")


def address(box: Box) -> str:
    box.container.reload()
    return str(box.container.attrs["NetworkSettings"]["IPAddress"])


def test_a_volume_of_an_earlier_version(server: Callable[..., Box], tmp_path: Path) -> None:
    """Killed again and again meanwhile; in the end all is slipway's, and the fingerprint is what it was."""
    old = server(old=True)
    old.out("psql", "-XAtqU", "slipway", "-v", "ON_ERROR_STOP=1", "-f", "/old.sql", PGOPTIONS=OPTIONS)
    query = "SELECT rolpassword FROM pg_authid WHERE oid = 10"
    verifier = old.out("psql", "-XAtqU", "slipway", "-d", "postgres", "-c", query, PGOPTIONS=OPTIONS)
    before = taken(tmp_path, postgres=old)["postgres"]
    new = server(wait=False)
    for seconds in (0.3, 0.8, 1.1, 1.4, 1.7):
        time.sleep(seconds)
        new.container.kill()
        new.container.start()
    new.wait(*READY)
    assert taken(tmp_path, postgres=new)["postgres"] == before
    assert asked(new, ROLES).splitlines() == RIGHTS
    assert asked(new, "SELECT rolpassword FROM pg_authid WHERE rolname = 'slipway'") == verifier
    assert asked(new, "SELECT datname FROM pg_database WHERE NOT datallowconn ORDER BY 1").split() == ["closed", "template0"]
    asked(new, "ALTER DATABASE closed ALLOW_CONNECTIONS true", "postgres")
    for database in ("slipway", ODD, "closed"):
        assert asked(new, LEFT, database) == STAYS, database
        for query, answer in FOLLOWS.items():
            assert slipway(new, query, database) == (0, answer), query
        assert refused(new, MAY_NOT, database) == []
    # What it owns it may remove.
    assert slipway(new, "DROP SCHEMA shop CASCADE; DROP OWNED BY slipway CASCADE; SELECT 1")[0] == 0
    bob = ("psql", "-XAtqw", "-U", "bob", "-h", address(new), "-d", "slipway", "-c", "SELECT 1")
    assert new.run(*bob, PGPASSWORD="bobbobbobbobbob") == (0, "1")


def test_a_server_that_was_killed_just_now_is_not_taken_for_the_next(server: Callable[..., Box]) -> None:
    box = server()
    for _ in range(6):
        # The number of the process is the same each time, and both begin within two seconds.
        box.container.kill()
        began = len(box.logs())
        box.container.start()
        deadline = time.monotonic() + 30
        while "ready to accept connections" not in box.logs()[began:]:
            assert time.monotonic() < deadline, box.logs()[began:]
            time.sleep(0.02)
    box.container.kill()
    box.container.start()
    box.wait(*READY)
    # The server of each start was asked who its superuser is, and answered.
    assert "becomes slipway_superuser" not in box.logs()


@pytest.mark.long
def test_a_volume_with_more_objects_than_a_transaction_has_room_for_their_locks(server: Callable[..., Box]) -> None:
    old = server(old=True)
    # Each a transaction of its own: the old server has no room for all their locks either.
    name = "f%s_a_rather_long_name_as_people_and_programs_give_to_them"
    function = f"EXECUTE format('CREATE FUNCTION {name}() RETURNS int LANGUAGE internal AS $f$pg_backend_pid$f$', g)"
    made = ["-c", "SELECT count(lo_create(0)) FROM generate_series(1, 2000)"]
    for n in range(40):
        made += ["-c", f"DO $$ BEGIN FOR g IN {n * 2000} .. {n * 2000 + 1999} LOOP {function}; END LOOP; END $$"]
    old.out("psql", "-XAtqU", "slipway", *made)
    new = server(wait=False)
    # It is waited for, as a first start is.
    new.wait("sh", "-c", "sh /slipway/seeding.sh | grep 'Roles get their rights'")
    # Nor does psql hold all that is to be done: it is beside the server in its small memory.
    sizes = r"cat /proc/[0-9]*/status 2> /dev/null | sed -nE '/^Name:.psql$/,/^VmHWM/ s/^VmHWM:[^0-9]*([0-9]+) kB/\1/p'"
    seen = new.out("timeout", "120", "sh", "-c", f"until {' '.join(READY)} > /dev/null; do {sizes}; sleep 0.2; done").split()
    new.wait(*READY)
    assert 4000 < max(int(size) for size in seen) < 14000
    assert new.out("sh", "/slipway/seeding.sh") == ""
    assert asked(new, ROLES).splitlines() == RIGHTS[2:]
    assert asked(new, "SELECT lomowner::regrole, count(*) FROM pg_largeobject_metadata GROUP BY 1") == "slipway|2000"
    assert asked(new, "SELECT proowner::regrole, count(*) FROM pg_proc WHERE proname ~ '^f[0-9]+_a_' GROUP BY 1") == "slipway|80000"


def before(server: Callable[..., Box], *statements: str) -> Box:
    """A server of the version before, where these were run one by one; it may hold transactions that are prepared."""
    old = server(old=True)
    old.out("psql", "-XAtqU", "slipway", "-c", "ALTER SYSTEM SET max_prepared_transactions = 4")
    old.container.restart(timeout=20)
    old.wait("pg_isready", "-h", "127.0.0.1")
    old.out("psql", "-XAtqU", "slipway", "-v", "ON_ERROR_STOP=1", *(word for each in statements for word in ("-c", each)))
    return old


def test_what_cannot_change_is_told_and_the_rest_serves(server: Callable[..., Box]) -> None:
    """A table that a prepared transaction holds, a function whose catalog is broken, a database that is lost; and postgres is gone."""
    old = before(
        server,
        "CREATE TABLE held (n int)",
        "CREATE TABLE free (n int)",
        "CREATE FUNCTION broken(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "UPDATE pg_proc SET proargtypes = '99999' WHERE proname = 'broken'",
        "CREATE DATABASE lost",
        "DROP DATABASE postgres",
        "BEGIN; LOCK TABLE held; INSERT INTO held VALUES (1); PREPARE TRANSACTION 'it'",
    )
    lost = old.out("psql", "-XAtqU", "slipway", "-c", "SELECT oid FROM pg_database WHERE datname = 'lost'")
    old.out("rm", "-r", f"{DATA}/base/{lost}", user="postgres")
    new = server()
    owners = "SELECT string_agg(tableowner, ',' ORDER BY tablename) FROM pg_tables WHERE tablename IN ('held', 'free')"
    assert asked(new, owners) == "slipway,slipway_superuser"
    assert asked(new, ROLES).splitlines() == RIGHTS[2:]
    told = [line for line in new.logs().splitlines() if "not all is slipway's" in line]
    assert len(told) == 2 and "database slipway" in told[0] and "last of 2 errors: ERROR" in told[0], new.logs()
    assert "database lost" in told[1]
    asked(new, "COMMIT PREPARED 'it'")
    new.container.restart(timeout=20)
    new.wait(*READY)
    assert asked(new, owners) == "slipway,slipway"


def test_a_server_that_slipway_could_rule_does_not_start(server: Callable[..., Box]) -> None:
    """Each time one line says why, and the way in that it names mends it."""
    before(
        server,
        "CREATE ROLE slipway_superuser",
        "CREATE ROLE slipway_reader PASSWORD 'theirs'",
        "CREATE FUNCTION rules() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "BEGIN; ALTER FUNCTION rules() COST 7; PREPARE TRANSACTION 'it'",
    )
    for said, mended in (
        (
            'cannot become slipway_superuser: FATAL: role "slipway_superuser" already exists',
            "ALTER ROLE slipway_superuser RENAME TO theirs",
        ),
        ("slipway_reader is a role of the user's", "ALTER ROLE slipway_reader RENAME TO reads"),
        ("ROUTINE public.rules() would act as the superuser for slipway: ERROR: canceling", "ROLLBACK PREPARED 'it'"),
    ):
        new = server(wait=False)
        assert new.exit_code() == 77, new.logs()
        *_, why, way = new.logs().splitlines()
        assert said in why and "run --rm postgres single" in way, new.logs()
        assert server(wait=False, sql=mended).exit_code() == 0
    new = server()
    assert "not properly shut down" not in new.logs()
    assert asked(new, ROLES).splitlines() == ["reads|f|f|f", *RIGHTS[2:], "theirs|f|f|t"]
    assert slipway(new, "SELECT rules()") == (0, "1")


def test_a_database_is_changed_whatever_ends_its_connections(server: Callable[..., Box]) -> None:
    """A library that is not there, which its owner gets past; template0 is as any other. What else keeps the superuser out is told."""
    rules = "CREATE FUNCTION rules() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user::text'"
    old = before(server, rules, "CREATE DATABASE other TEMPLATE slipway", "CREATE DATABASE paths TEMPLATE slipway")
    old.out("psql", "-XAtqU", "slipway", "-c", "ALTER DATABASE template0 ALLOW_CONNECTIONS true")
    old.out("psql", "-XAtqU", "slipway", "-d", "template0", "-c", rules)
    old.out("psql", "-XAtqU", "slipway", "-c", "ALTER DATABASE template0 ALLOW_CONNECTIONS false")
    settings = ("slipway SET local_preload_libraries = 'nope'", "other SET session_preload_libraries = 'nope'")
    settings += ("paths SET session_preload_libraries = '/tmp/evil'", "paths SET dynamic_library_path = '/tmp'")
    old.out("psql", "-XAtqU", "slipway", *(word for each in settings for word in ("-c", f"ALTER DATABASE {each}")))
    new = server()
    assert "not all is slipway's" not in new.logs()
    for database in ("slipway", "other", "paths"):
        assert asked(new, "SELECT rules()", database) == "slipway", database
    assert slipway(new, "SELECT rules()") == (0, "slipway")
    # Nothing of it is left in the sessions of a database, and one that is made of template0 has nothing of the superuser's.
    assert slipway(new, "SELECT rules()", "paths") == (0, "slipway")
    assert asked(new, "SHOW dynamic_library_path", "paths") == "$libdir"
    assert slipway(new, "CREATE DATABASE fresh TEMPLATE template0") == (0, "")
    assert slipway(new, "SELECT rules()", "fresh") == (0, "slipway")
    assert asked(new, "SELECT datname FROM pg_database WHERE NOT datallowconn") == "template0"
    oid = asked(new, "SELECT oid FROM pg_database WHERE datname = 'other'")
    new.out("rm", f"{DATA}/base/{oid}/PG_VERSION")
    new.container.restart(timeout=20)
    assert new.exit_code() == 77
    *_, why, way = new.logs().splitlines()
    assert "in the database other" in why and "is not a valid data directory" in why and "postgres single" in way, new.logs()


def test_why_it_does_not_start_is_told_also_if_its_server_has_died(server: Callable[..., Box]) -> None:
    before(
        server,
        "CREATE FUNCTION rules() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "BEGIN; ALTER FUNCTION rules() COST 7; PREPARE TRANSACTION 'it'",
    )
    new = server(wait=False)
    waits = "SELECT 1 / count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    new.wait(*SUPERUSER, "postgres", "-h", "/tmp/slipway_socket", "-c", waits)  # noqa: S108 (of the container)
    new.out("sh", "-c", f"kill -9 $(head -n 1 {DATA}/postmaster.pid)")
    assert new.exit_code() == 77, new.logs()
    *_, died, why, way = new.logs().splitlines()
    assert "has ended by itself" in died and "in the database slipway slipway would have" in why and "postgres single" in way, new.logs()


#: What slipway has after it as before.
FOLLOWS = {
    "SELECT who()": "slipway",
    "SELECT count(*) FROM hidden": "1",
    "SELECT count(*) FROM bobs": "1",
    "SELECT usename, umoptions FROM pg_user_mappings": 'slipway|{login=it\'s,"word=a=b \\"c\\""}',
    "CREATE TABLE fresh (n int); SELECT relacl FROM pg_class WHERE relname = 'fresh'": "{bob=r/slipway,slipway=arwdDxt/slipway}",
    "CREATE FUNCTION fr() RETURNS int LANGUAGE sql AS 'SELECT 1'; SELECT proacl FROM pg_proc WHERE proname = 'fr'": "{slipway=X/slipway}",
    "DROP EXTENSION hstore CASCADE; CREATE EXTENSION hstore; SELECT 'a=>1'::hstore -> 'a'": "1",
    "ALTER TABLE shop.orders ADD u int; INSERT INTO shop.orders (t) VALUES ('y'); SELECT max(id) FROM shop.orders": "101",
    "GRANT \"odd \"\"role\" TO bob; SELECT pg_has_role('bob', 'odd \"role', 'MEMBER')": "t",
    "DROP TYPE span CASCADE; SELECT lo_put(7, 0, '\\x09'); SELECT lo_get(7)": "\\x0902",
}
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
#: What is said instead. Each is a way to files, programs, other roles or the superuser.
MAY_NOT = {
    "COPY (SELECT 1) TO PROGRAM 'touch /tmp/evil'": "privileges of the pg_execute_server_program role",
    "CREATE TABLE c (t text); COPY c FROM '/etc/passwd'": "privileges of the pg_read_server_files role",
    "COPY (SELECT 1) TO '/tmp/evil'": "privileges of the pg_write_server_files role",
    "SELECT pg_read_file('/run/secrets/postgres_password')": "permission denied for function pg_read_file",
    "SELECT pg_ls_dir('/')": "permission denied for function pg_ls_dir",
    "SELECT lo_import('/etc/passwd')": "permission denied for function lo_import",
    "SELECT lo_export(9, '/tmp/evil')": "permission denied for function lo_export",
    "ALTER SYSTEM SET archive_command = 'touch /tmp/evil'": "permission denied to set parameter",
    "SET session_preload_libraries = 'x'": "permission denied to set parameter",
    "LOAD '/tmp/evil.so'": 'access to library "/tmp/evil.so" is not allowed',
    "CREATE FUNCTION sys(cstring) RETURNS int LANGUAGE c AS 'libc.so.6', 'system'": "permission denied for language c",
    "CREATE FUNCTION sys() RETURNS int LANGUAGE internal AS 'pg_backend_pid'": "permission denied for language internal",
    "CREATE EXTENSION adminpack": "permission denied to create extension",
    "CREATE EXTENSION pageinspect": "permission denied to create extension",
    "CREATE ROLE mine SUPERUSER": "must be superuser to create superusers",
    "CREATE ROLE mine": "permission denied to create role",
    "ALTER ROLE slipway SUPERUSER": "must be superuser to alter superuser roles or change superuser attribute",
    "ALTER ROLE slipway_superuser PASSWORD 'x'": "must be superuser",
    "GRANT pg_execute_server_program TO slipway": "must have admin option",
    "GRANT slipway_superuser TO slipway": "must be superuser",
    "SET ROLE slipway_superuser": "permission denied to set role",
    "SET ROLE slipway_reader": "permission denied to set role",
    "SET SESSION AUTHORIZATION slipway_superuser": "permission denied to set session authorization",
    "SELECT rolpassword FROM pg_authid": "permission denied for table pg_authid",
    "UPDATE pg_database SET datdba = 10": "permission denied for table pg_database",
    "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION up()": "permission denied to create event trigger",
    "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1' PUBLICATION p": "must be superuser to create subscriptions",
    "CREATE TABLESPACE t LOCATION '/tmp'": "permission denied to create tablespace",
    "SELECT pg_reload_conf()": "permission denied for function pg_reload_conf",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'slipway_superuser'": "must be a superuser",
    "CREATE FUNCTION pg_catalog.lower(int) RETURNS int LANGUAGE sql AS 'SELECT 1'": "permission denied for schema pg_catalog",
}


def refused(box: Box, queries: dict[str, str], database: str = "slipway") -> list[str]:
    """Those of the queries that are not refused so."""
    said = {query: slipway(box, query, database) for query in queries}
    return [f"{query}: {code} {text}" for query, (code, text) in said.items() if code == 0 or queries[query] not in text]


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


def test_a_superuser_for_as_long_as_the_project_asks(server: Callable[..., Box]) -> None:
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
