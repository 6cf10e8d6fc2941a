"""PostgreSQL's fingerprint, by psql.

What tables hold is read by slipway_reader, which may read all and is no superuser: the planner of a query runs functions of the table's
indexes and constraints, which are the user's. The first superuser reads the system's catalogs alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.stack_store import PassingError, StoreError, client, fingerprint, several

#: What a client asks for counts for more than what is set for a user or a database. A table that is locked is not waited for.
SETTINGS = {
    "statement_timeout": "0",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "off",
    "role": "none",
    "row_security": "off",
    "search_path": "pg_catalog",
    # A library that is not there ends the connection.
    "local_preload_libraries": "",
    "session_preload_libraries": "",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "lc_messages": "C",
    "jit": "off",
    # How a value is written that has no binary form.
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "xmlbinary": "base64",
}
# New databases are copies of template1: who looks into it is in their way.
DATABASES = """
SELECT 'databases ' || string_agg(oid::text, ' ' ORDER BY oid)
FROM pg_database WHERE datallowconn AND datname NOT IN ('template0', 'template1');
"""
MARK = "SELECT txid_current_snapshot();"
# By its number: its name may hold whatever a line of psql may not.
CONNECT = r"""
SELECT format('dbname=''%s''', replace(replace(datname, '\', '\\'), '''', '\''')) AS slipway FROM pg_database WHERE oid = OID \gset
\connect -reuse-previous=on :slipway
"""
# Since 15.8 a table that becomes a view after it was listed is not read: https://www.postgresql.org/support/security/CVE-2024-7348/
TABLES_ALONE = """
SELECT 'SET restrict_nonsystem_relation_kind = ''view, foreign-table'''
FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind' \\gexec
"""
# They move without a transaction.
SEQUENCES = r"""
SELECT format('SELECT json_build_array(%L, %L, NULL, last_value || '' '' || is_called) FROM %I.%I',
              'sequence', current_database() || '.' || n.nspname || '.' || c.relname, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.oid >= 16384 AND c.relpersistence <> 't'
ORDER BY c.oid \gexec
"""
SUM = "coalesce(sum(('x' || left({}, 16))::bit(64)::bigint::numeric), 0)"
# Of every table, partition and filled materialised view its rows' number and the sum of their hashes, in which their order does not count.
# A row with a large value is hashed column by column: each is in memory once. A type without a binary form is hashed as text.
TABLES = r"""
SELECT format('SELECT json_build_array(%L, %L, count(*), SUM) FROM ONLY %I.%I AS slipway_row',
              'table', current_database() || '.' || n.nspname || '.' || c.relname,
              CASE WHEN a.sizes IS NULL THEN small
                   ELSE format('CASE WHEN greatest(%s) >= 8000 THEN md5(record_send(ROW(%s))) ELSE %s END', a.sizes, a.pieces, small) END,
              n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
  SELECT bool_or(textual) AS textual,
         string_agg(CASE WHEN textual THEN as_text ELSE column_name END, ', ' ORDER BY attnum) AS plain,
         string_agg('pg_column_size(' || column_name || ')', ', ' ORDER BY attnum) FILTER (WHERE typlen = -1) AS sizes,
         string_agg(CASE WHEN typlen <> -1 AND NOT textual THEN column_name
                         WHEN textual THEN 'md5(' || as_text || ')'
                         WHEN typcategory = 'S' THEN 'md5(' || column_name || '::text)'
                         WHEN base = 'bytea'::regtype THEN 'md5(' || column_name || '::bytea)'
                         ELSE 'md5(' || typsend::regproc || '(' || column_name || '))' END, ', ' ORDER BY attnum) AS pieces
  FROM (
    SELECT a.attnum, format('slipway_row.%I', a.attname) AS column_name,
           -- By the type's own function: a cast may be the user's.
           format('CASE WHEN slipway_row.%I IS NOT NULL THEN concat(slipway_row.%1$I) END', a.attname) AS as_text,
           t.typlen, t.typcategory, t.typsend,
           CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END AS base,
           t.typsend = 0 OR coalesce(e.typsend = 0, false) OR coalesce(b.typsend = 0, false) AS textual
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_type e ON e.oid = t.typelem LEFT JOIN pg_type b ON b.oid = t.typbasetype
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  ) AS each_column
) AS a
CROSS JOIN LATERAL (
  SELECT CASE WHEN a.textual THEN format('md5(record_send(ROW(%s)))', a.plain) ELSE 'md5(record_send(slipway_row.*))' END AS small
) AS s
WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND c.oid >= 16384 AND c.relpersistence <> 't'
ORDER BY c.oid \gexec
""".replace("SUM", SUM.format("%s").replace("'", "''"))
# The first superuser was called slipway once. What was its own is slipway's since: nothing that a fingerprint is for has changed by that,
# nor by what each may do.
NAME = "CASE WHEN {0} = 10 THEN 'slipway' ELSE pg_get_userbyid({0}) END"
RIGHTS = """(SELECT string_agg(word, ',' ORDER BY word)
   FROM (SELECT replace(a::text, 'slipway_superuser', 'slipway') FROM unnest({0}) a) w (word))"""
LARGE_OBJECTS = """
SELECT json_build_array('large objects', current_database(), count(*), SUM_OF_ROWS)
FROM pg_largeobject AS slipway_row;
SELECT json_build_array('large objects'' rights', current_database(), count(*), SUM_OF_TEXTS)
FROM (SELECT concat_ws(' ', oid, OWNER_OF_LARGE_OBJECT, RIGHTS_OF_LARGE_OBJECT) FROM pg_largeobject_metadata) AS each_one (told);
"""
# Of relations, columns, indexes, views and rules, functions, constraints, triggers, policies, roles and their settings.
DEFINITIONS = """
SELECT json_build_array('definitions', current_database(), count(*), SUM_OF_TEXTS) FROM (
  WITH mine AS MATERIALIZED (SELECT * FROM pg_class WHERE oid >= 16384 AND relpersistence <> 't' AND relkind <> 't')
  SELECT concat_ws(' ', 'class', oid::regclass, relkind, relpersistence, OWNER_OF_IT, RIGHTS_OF_IT, reloptions,
                   relispopulated, relrowsecurity)
    FROM mine
  UNION ALL SELECT concat_ws(' ', 'column', attrelid::regclass, attnum, attname, format_type(atttypid, atttypmod), attnotnull, attidentity,
                             attgenerated, pg_get_expr(d.adbin, d.adrelid))
    FROM pg_attribute a JOIN mine ON mine.oid = attrelid AND mine.relkind <> 'i'
    LEFT JOIN pg_attrdef d ON adrelid = attrelid AND adnum = attnum
    WHERE attnum > 0 AND NOT attisdropped
  UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN mine ON mine.oid = indexrelid JOIN mine AS of ON of.oid = indrelid
  UNION ALL SELECT concat_ws(' ', 'rule', ev_class::regclass, rulename, ev_action) FROM pg_rewrite JOIN mine ON mine.oid = ev_class
  UNION ALL SELECT concat_ws(' ', 'function', oid::regprocedure, prosrc, probin, proconfig, RIGHTS_OF_CODE)
    FROM pg_proc WHERE oid >= 16384
  UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(c.oid))
    FROM pg_constraint c JOIN mine ON mine.oid = conrelid
  UNION ALL SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN mine ON mine.oid = tgrelid
  UNION ALL SELECT concat_ws(' ', 'policy', oid, polrelid::regclass, polname, polcmd, polpermissive, polqual, polwithcheck,
                             (SELECT string_agg(OWNER_OF_POLICY, ',' ORDER BY OWNER_OF_POLICY) FROM unnest(polroles) r))
    FROM pg_policy
  UNION ALL SELECT concat_ws(' ', 'role', rolname, rolinherit, rolcanlogin, rolconnlimit, rolvaliduntil,
                             CASE WHEN rolname <> 'slipway' THEN rolpassword END)
    FROM pg_authid WHERE rolname NOT IN ('slipway_superuser', 'slipway_reader')
  UNION ALL SELECT concat_ws(' ', 'setting', setdatabase, CASE WHEN setrole <> 0 THEN OWNER_OF_SETTING END, setconfig)
    FROM pg_db_role_setting WHERE setrole NOT IN (SELECT r.oid FROM pg_authid r WHERE rolname = 'slipway_reader')
) AS all_of_them (told);
"""
_WORDS = {
    "SUM_OF_ROWS": SUM.format("md5(record_send(slipway_row.*))"),
    "SUM_OF_TEXTS": SUM.format("md5(told)"),
    "OWNER_OF_IT": NAME.format("relowner"),
    "OWNER_OF_LARGE_OBJECT": NAME.format("lomowner"),
    "OWNER_OF_POLICY": NAME.format("r"),
    "OWNER_OF_SETTING": NAME.format("setrole"),
    "RIGHTS_OF_IT": RIGHTS.format("relacl"),
    "RIGHTS_OF_LARGE_OBJECT": RIGHTS.format("lomacl"),
    "RIGHTS_OF_CODE": RIGHTS.format("proacl"),
}
CATALOGS = re.sub("|".join(_WORDS), lambda word: _WORDS[word[0]], LARGE_OBJECTS + DEFINITIONS)
#: The last line of each answer.
_END = "slipway end"
#: What is said of a table that is locked, or removed while it is read.
_PASSES = re.compile("cut off|lock timeout|does not exist|could not open relation|cache lookup failed|deadlock", re.I)


class Postgres:
    """By psql. The mark is the transactions that are done and those that are not, for each that writes has a number, and the sequences."""

    def __init__(self, container: Mapping[str, Any], _: str) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
        # Only a superuser may set them; of the reader the language is set.
        own = ("lc_messages", "session_preload_libraries")
        less = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items() if name not in own)
        # Nothing is converted: what a database holds may be invalid in its own encoding.
        psql = "export PGCLIENTENCODING=SQL_ASCII; exec psql -XAtqw -v ON_ERROR_STOP=1 -d postgres -U"
        command = ["exec", "--interactive", container["Id"], "sh", "-c"]
        superuser = f'{{ export PGOPTIONS="{options}"; {psql} "$POSTGRES_USER"; }}'
        # A container that an earlier version made has no other role.
        reader = f'[ "$POSTGRES_USER" = slipway_superuser ] || {superuser}; export PGOPTIONS="{less}"; {psql} slipway_reader'
        self._superuser, self._reader = [*command, superuser], [*command, reader]
        self._databases: list[str] = []

    def close(self) -> None:
        """Nothing is kept open."""

    def read(self, known: str) -> dict[str, Any]:
        try:
            return self._read(known)
        except StoreError as refused:
            self._databases = []
            if _PASSES.search(str(refused)):
                raise PassingError(str(refused)) from refused
            raise

    def _read(self, known: str) -> dict[str, Any]:
        while True:
            mark = _answer(self._reader, TABLES_ALONE + MARK + DATABASES + self._in_each(TABLES_ALONE, SEQUENCES))
            databases = next(line for line in mark.splitlines() if line.startswith("databases ")).split()[1:]
            if databases == self._databases:
                break
            self._databases = databases
        if mark == known:
            return {"mark": mark}
        tables = _answer(self._reader, self._in_each(TABLES_ALONE, TABLES))
        catalogs = _answer(self._superuser, self._in_each(CATALOGS))
        lines = (mark + tables + catalogs).splitlines()
        found = [json.loads(line) for line in lines if line.startswith("[")]
        counted = [rows for kind, _, rows, _ in found if kind == "table"]
        parts = {f"{kind} {name}": f"{rows}, {total}" for kind, name, rows, total in found}
        return fingerprint(mark, f"{sum(counted)} rows in {several(len(counted), 'table')}", parts)

    def _in_each(self, *scripts: str) -> str:
        return "".join(CONNECT.replace("OID", oid) + "".join(scripts) for oid in self._databases)


def _answer(command: Sequence[str], script: str) -> str:
    """What psql prints, to its last line: an engine may lose output of `docker exec`, which ends with 0 all the same (moby issue 27289)."""
    whole, found, after = client(command, f"{script}\n\\echo {_END}\n").rpartition(_END)
    if not found or after.strip():
        raise StoreError("the answer of psql was cut off")
    return whole
