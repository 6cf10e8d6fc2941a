"""PostgreSQL's fingerprint, by psql."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.stack_store import client, fingerprint, several

# Of every table its rows' number and the sum of their hashes, in which their order does not count. Partitions are tables themselves.
POSTGRES = """
SELECT format('SELECT json_build_array(%L, count(*), '
              'coalesce(sum((''x'' || left(md5(record_send(slipway_row)), 16))::bit(64)::bigint::numeric), 0)) '
              'FROM ONLY %I.%I AS slipway_row', current_database() || '.' || n.nspname || '.' || c.relname, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
ORDER BY 1 \\gexec
"""


class Postgres:
    """By psql. The mark is the transactions that are done and those that are not: each that writes has a number."""

    def __init__(self, container: Mapping[str, Any], _: str) -> None:
        # A table that somebody has locked is not waited for.
        settings = 'export PGOPTIONS="-c lock_timeout=5s" PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE"); '
        shell = settings + 'exec psql -XAtq -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres'
        self._psql = ["exec", "--interactive", container["Id"], "sh", "-c", shell]

    def close(self) -> None:
        """Nothing is kept open."""

    def read(self, known: str) -> dict[str, Any]:
        mark = client(self._psql, "SELECT txid_current_snapshot()").strip()
        if mark == known:
            return {"mark": mark}
        names = client(self._psql, "SELECT to_json(datname) FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname")
        script = ""
        for line in names.splitlines():
            quoted = json.loads(line).replace('"', '""')
            script += f'\\connect "{quoted}"\n{POSTGRES}'
        tables = [json.loads(line) for line in client(self._psql, script).splitlines() if line.startswith("[")]
        parts = {name: f"{rows} rows, {total}" for name, rows, total in tables}
        return fingerprint(mark, f"{sum(rows for _, rows, _ in tables)} rows in {several(len(tables), 'table')}", parts)
