"""A PostgreSQL by the role's own files, or as the version before had it, and what its superuser and a notebook see of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.conftest import PROJECT
from tests.images.boxes import Box

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


ROLES = "SELECT rolname, rolsuper, rolcreaterole, rolpassword IS NULL FROM pg_authid WHERE oid = 10 OR oid >= 16384 ORDER BY rolname"
#: What a role may do to the system: superuser, CREATEROLE, no password.
RIGHTS = ["bob|f|f|f", 'odd "role|f|f|t', "slipway|f|f|f", "slipway_reader|f|f|t", "slipway_superuser|t|t|t"]


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


@contextmanager
def servers(start: Callable[..., Box], client: Any, old_sql: str = "") -> Iterator[Callable[..., Box]]:
    """Yield server(old=True): the volume as the version before had it; else as it is now. One container at a time."""
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
        files |= {"/run/secrets/postgres_password": (PASSWORD, 0o444), "/old.sql": (old_sql, 0o444)}
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


def before(server: Callable[..., Box], *statements: str) -> Box:
    """A server of the version before, where these were run one by one; it may hold transactions that are prepared."""
    old = server(old=True)
    old.out("psql", "-XAtqU", "slipway", "-c", "ALTER SYSTEM SET max_prepared_transactions = 4")
    old.container.restart(timeout=20)
    old.wait("pg_isready", "-h", "127.0.0.1")
    old.out("psql", "-XAtqU", "slipway", "-v", "ON_ERROR_STOP=1", *(word for each in statements for word in ("-c", each)))
    return old


def refused(box: Box, queries: dict[str, str], database: str = "slipway") -> list[str]:
    """Those of the queries that are not refused so."""
    said = {query: slipway(box, query, database) for query in queries}
    return [f"{query}: {code} {text}" for query, (code, text) in said.items() if code == 0 or queries[query] not in text]
