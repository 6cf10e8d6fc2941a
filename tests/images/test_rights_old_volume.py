"""A volume of an earlier version, whose slipway was a superuser: all becomes slipway's, and it has the rights that it should have."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.images.boxes import Box
from tests.images.readers import taken
from tests.images.rights import (
    DATA,
    LEFT,
    MAY_NOT,
    OPTIONS,
    READY,
    RIGHTS,
    ROLES,
    address,
    asked,
    before,
    refused,
    servers,
    slipway,
)

#: One worker runs all tests of these rights, one container after the other.
pytestmark = pytest.mark.xdist_group("tests/images/test_rights.py")

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


STAYS = "bare,dblink,every,file_fdw,up,up D"


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


@pytest.fixture
def server(start: Callable[..., Box], client: Any) -> Iterator[Callable[..., Box]]:
    with servers(start, client, OLD) as run:
        yield run


def test_a_volume_of_an_earlier_version_becomes_slipways_however_often_it_is_killed(server: Callable[..., Box], tmp_path: Path) -> None:
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


@pytest.mark.long
def test_a_volume_with_more_objects_than_a_transaction_can_lock_becomes_slipways(server: Callable[..., Box]) -> None:
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
