#!/bin/sh
# Give each role its rights, and what users made to slipway: by the socket in the folder $1, while the server listens on nothing else.
# It looks at what there is, and may be cut off anywhere: the next start does the rest.
set -eu
superuser=false
[ "${SLIPWAY_SUPERUSER:-}" != true ] || superuser=true
# What a client asks for counts for more than what the user has set for a database. Nothing is converted, and no password is logged.
options="-c search_path=pg_catalog -c role=none -c row_security=off -c standard_conforming_strings=on -c statement_timeout=0 -c lock_timeout=60s"
options="$options -c idle_in_transaction_session_timeout=0 -c default_transaction_read_only=off -c default_transaction_deferrable=off"
options="$options -c default_transaction_isolation=read\\ committed -c transform_null_equals=off -c synchronous_commit=on -c jit=off"
options="$options -c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic -c log_parameter_max_length_on_error=0"
options="$options -c client_min_messages=warning -c lc_messages=C -c default_tablespace= -c temp_tablespaces= -c password_encryption=scram-sha-256"
# An owner may set them for a database, and no start would come to its end.
major="${PG_MAJOR:-0}" && major="${major%%.*}"
[ "$major" -lt 14 ] || options="$options -c idle_session_timeout=0"
[ "$major" -lt 17 ] || options="$options -c transaction_timeout=0"
export PGHOST="$1" PGUSER=slipway_superuser PGDATABASE=postgres PGOPTIONS="$options" PGCLIENTENCODING=SQL_ASCII
# None of these may lead elsewhere.
unset PGHOSTADDR PGSERVICE PGPASSWORD PGSSLMODE PGTARGETSESSIONATTRS

sql() {
  psql --no-psqlrc --no-password --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --set "superuser=$superuser" "$@"
}

if [ "$(sql --command 'SELECT oid FROM pg_authid WHERE rolname = current_user')" != 10 ]; then
  echo "slipway_superuser is a role of the user's, and is not the first superuser." >&2
  exit 1
fi
sql --file /slipway/roles.sql
# By its number: a name may hold whatever a line of psql may not.
databases="$(sql --command "SELECT oid FROM pg_database WHERE datallowconn AND datname <> 'template0' AND datconnlimit <> -2 ORDER BY oid")"
for oid in $databases; do
  cat <<END
SELECT format('dbname=''%s''', replace(replace(datname, '\\', '\\\\'), '''', '\\''')) AS slipway_database FROM pg_database WHERE oid = $oid \\gset
\\connect -reuse-previous=on :slipway_database
\\i /slipway/owners.sql
END
done | sql --file -
sql --file /slipway/closed.sql
