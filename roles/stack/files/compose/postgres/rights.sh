#!/bin/sh
# Give each role its rights, and what users made to slipway: by the socket in the folder $1, while the server listens on nothing else.
# It looks at what there is, and may be cut off anywhere: the next start does the rest.
set -eu
superuser=false
[ "${SLIPWAY_SUPERUSER:-}" != true ] || superuser=true
# What a client asks for counts for more than what the user has set for a database. Nothing is converted, and no password is logged.
options="-c search_path=pg_catalog -c role=none -c row_security=off -c standard_conforming_strings=on -c statement_timeout=0 -c lock_timeout=3s"
options="$options -c idle_in_transaction_session_timeout=0 -c default_transaction_read_only=off -c default_transaction_deferrable=off"
options="$options -c default_transaction_isolation=read\\ committed -c transform_null_equals=off -c synchronous_commit=on -c jit=off"
options="$options -c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic -c log_parameter_max_length_on_error=0"
options="$options -c client_min_messages=warning -c lc_messages=C -c default_tablespace= -c temp_tablespaces= -c password_encryption=scram-sha-256"
# A library that is not there ends the connection.
options="$options -c local_preload_libraries= -c session_preload_libraries="
# An owner may set them for a database, and no start would come to its end.
major="${PG_MAJOR:-0}" && major="${major%%.*}"
[ "$major" -lt 14 ] || options="$options -c idle_session_timeout=0"
[ "$major" -lt 17 ] || options="$options -c transaction_timeout=0 -c event_triggers=off"
export PGHOST="$1" PGUSER=slipway_superuser PGDATABASE=postgres PGOPTIONS="$options" PGCLIENTENCODING=SQL_ASCII
# None of these may lead elsewhere.
unset PGHOSTADDR PGSERVICE PGPASSWORD PGSSLMODE PGTARGETSESSIONATTRS

sql() {
  psql --no-psqlrc --no-password --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --set "superuser=$superuser" "$@"
}

# fail WORDS: the server must not serve so. The last error of psql's follows.
fail() {
  echo "PostgreSQL does not start: $1$(errors | tail -n 1 | sed 's/^/: /')" >&2
  exit 77
}

errors() {
  sed -nE 's/^.*(ERROR|FATAL|PANIC|error): +/\1: /p' "$said"
}

# Whether a role might get into the database of this number: it is open, and its folder is there. What was said is no proof of that.
may_be_entered() {
  [ "$(sql --command "SELECT count(*) FROM pg_database WHERE oid = $1 AND datallowconn AND oid IN (SELECT pg_tablespace_databases(dattablespace))")" != 0 ]
}

said="$(mktemp)"
told="$(mktemp)"
trap 'rm -f "$said" "$told"' EXIT
# One of the two may have been removed.
sql --command 'SELECT 1' > /dev/null 2>&1 || export PGDATABASE=template1
[ "$(sql --command 'SELECT oid FROM pg_authid WHERE rolname = current_user' 2> "$said")" = 10 ] ||
  fail "slipway_superuser is a role of the user's, and is not the first superuser"
# Slipway's own has this setting from its first moment on.
[ -z "$(sql --command "SELECT 1 FROM pg_authid WHERE rolname = 'slipway_reader' AND NOT EXISTS (SELECT FROM pg_db_role_setting
    WHERE setrole = pg_authid.oid AND setdatabase = 0 AND 'lc_messages=C' = ANY (setconfig))")" ] ||
  fail "slipway_reader is a role of the user's; Slipway reads what tables hold as a role of that name. Give yours another: ALTER ROLE slipway_reader RENAME TO …"
sql --file /slipway/roles.sql 2> "$said" || fail "the roles could not get their rights"
# By its number: a name may hold whatever a line of psql may not.
databases="$(sql --command "SELECT oid FROM pg_database WHERE datallowconn AND datconnlimit <> -2 ORDER BY oid")"
for oid in $databases; do
  name="$(sql --command "SELECT quote_ident(datname) FROM pg_database WHERE oid = $oid")"
  code=0
  sql --file - > "$told" 2> "$said" << END || code=$?
SELECT format('dbname=''%s''', replace(replace(datname, '\\', '\\\\'), '''', '\\''')) AS slipway_database FROM pg_database WHERE oid = $oid \\gset
\\connect -reuse-previous=on :slipway_database
\\echo slipway_connected
\\if :superuser
\\else
\\i /slipway/shut.sql
\\endif
\\i /slipway/owners.sql
END
  if grep -q '^slipway_unsafe ' "$told"; then
    fail "in the database $name $(sed -n 's/^slipway_unsafe //p' "$told") would act as the superuser for slipway"
  elif [ "$code" != 0 ] && { grep -q '^slipway_connected' "$told" || may_be_entered "$oid"; }; then
    fail "in the database $name slipway would have rights of a superuser"
  fi
  sed '/^slipway_/d; /^$/d' "$told"
  [ -z "$(errors)" ] || echo "PostgreSQL: in the database $name not all is slipway's; each start tries again. The last of $(errors | wc -l) errors: $(errors | tail -n 1)"
done
sql --file /slipway/closed.sql
