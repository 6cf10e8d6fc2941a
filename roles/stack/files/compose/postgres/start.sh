#!/bin/sh
# Start PostgreSQL, but not over a volume that its first start left half-made: the image would skip the files the next time, and serve. Before
# it serves, each role gets its rights: a server that only this script reaches does that, so that a volume of an earlier version, whose
# slipway was the first superuser, is never served so.
set -eu
mark="$PGDATA/slipway_init_began"
socket=/tmp/slipway_socket

# What is wrong lies in the project, or was cut off: 78 is EX_CONFIG of sysexits.h.
refuse() {
  echo "$1" >&2
  echo "The volume holds half of what it should, so PostgreSQL does not start. Make it again with: orchestrate.py reseed" >&2
  exit 78
}

# No server runs over what it has. The first superuser gets in without one, whatever its roles and databases are.
stop() {
  echo "$1" >&2
  echo "The data are whole. A way in, in the stack's folder: docker compose stop postgres; docker compose run --rm postgres single DATABASE" >&2
  exit 77
}

# Whether the server has never served: by the options of its last start, which listened on its socket alone while the files were run.
never_served() {
  [ ! -s "$PGDATA/postmaster.opts" ] || grep -qF '"listen_addresses="' "$PGDATA/postmaster.opts"
}

# The image begins as root and becomes postgres, if Compose names no other user. This shell is the parent: the server tells by that that
# what it left when it was killed, with this number, is nothing that still runs.
as_server() {
  if [ "$(id -u)" != 0 ]; then "$@"; elif command -v gosu > /dev/null; then gosu postgres "$@"; else su-exec postgres "$@"; fi
}

# What a superuser of an earlier time has left in the server's own files (ALTER SYSTEM) and runs a program or code of a file's: it would run as
# the server, whom the socket takes for any role. What the server is started with counts for more. A library by its name alone is the image's.
unless_superuser() {
  [ "${SLIPWAY_SUPERUSER:-}" != true ] || return 0
  set -- archive_mode=off archive_command= restore_command= archive_cleanup_command= recovery_end_command= primary_conninfo= \
    ssl_passphrase_command= jit_provider=llvmjit plperl.on_init= "dynamic_library_path='\$libdir'"
  major="${PG_MAJOR:-0}" && major="${major%%.*}"
  [ "$major" -lt 15 ] || set -- "$@" archive_library=
  [ "$major" -lt 18 ] || set -- "$@" "extension_control_path='\$system'"
  if [ -s "$PGDATA/PG_VERSION" ]; then
    for libraries in shared_preload_libraries session_preload_libraries; do
      value="$(as_server postgres -D "$PGDATA" -C "$libraries")"
      case "$value" in */*) set -- "$@" "$libraries=" ;; esac
    done
  fi
  printf ' -c %s' "$@"
}

# On no address, with few connections and room for the locks of many tables. "-h", not listen_addresses: never_served looks for that.
# pg_ctl hands the words to a shell. It would take the file that a killed server has left for that of this one, if the number of the process is
# the same and that one began two seconds ago, and would not wait. No other server runs in this container.
begin() {
  rm -f "$PGDATA/postmaster.pid"
  as_server pg_ctl --silent --wait --timeout 86400 -D "$PGDATA" -o "-h '' -k $socket -p 5432 -c hba_file=/slipway/pg_hba.conf \
    -c max_connections=8 -c superuser_reserved_connections=0 -c max_wal_senders=0 -c max_locks_per_transaction=2048 -c shared_buffers=16MB \
    -c autovacuum=off -c logging_collector=off -c max_logical_replication_workers=0$safe" start
}

end() {
  as_server pg_ctl --silent --wait --timeout 86400 -D "$PGDATA" --mode=fast stop
}

# postgres --single wants a name of its user, and Compose's user has none: it gets one as the image gives it to initdb.
single() {
  if [ "$(id -u)" != 0 ] && ! getent passwd "$(id -u)" > /dev/null; then
    names=/tmp/slipway_names
    for wrapper in /usr/lib/*/libnss_wrapper.so /usr/lib/libnss_wrapper.so; do
      [ ! -s "$wrapper" ] || break
    done
    rm -rf "$names"
    mkdir -m 0700 "$names"
    echo "postgres:x:$(id -u):$(id -g):PostgreSQL:$PGDATA:/bin/false" > "$names/passwd"
    echo "postgres:x:$(id -g):" > "$names/group"
    set -- env LD_PRELOAD="$wrapper" NSS_WRAPPER_PASSWD="$names/passwd" NSS_WRAPPER_GROUP="$names/group" "$@"
  fi
  as_server "$@"
}

# alone WORDS: a server without connections, by standard input.
alone() {
  eval "set -- $safe \"\$@\""
  single postgres --single -D "$PGDATA" "$@"
}

# Of a server that listens for this script alone: the number of slipway_superuser, if there is one. Either database may have been removed.
first() {
  for database in postgres template1; do
    ! as_server env PGOPTIONS="-c statement_timeout=0 -c role=none -c local_preload_libraries= -c session_preload_libraries=" psql -XAtwq -h "$socket" -U slipway_superuser -d "$database" \
      -c 'SELECT oid FROM pg_catalog.pg_authid WHERE rolname = current_user' 2> /dev/null || break
  done
}

# No role can rename itself. As the only process of the server there is no login, so no name is asked for, and no setting of a role counts.
rename() {
  for database in postgres template1; do
    ! alone -j -c exit_on_error=on -c log_min_error_statement=panic -c lc_messages=C "$database" < /slipway/rename.sql > /dev/null 2> /tmp/slipway_said || return 0
    grep -q 'database "postgres" does not exist' /tmp/slipway_said || break
  done
  stop "PostgreSQL does not start: the first superuser cannot become slipway_superuser: $(sed -nE 's/^.*(ERROR|FATAL): +/\1: /p' /tmp/slipway_said | tail -n 1)"
}

give_rights() {
  itself="the server that gives roles their rights has ended by itself; its own lines above say why"
  rm -rf "$socket"
  as_server mkdir -m 0700 "$socket"
  touch /tmp/slipway_rights
  begin
  if [ "$(first)" != 10 ]; then
    if ! end; then stop "PostgreSQL does not start: $itself"; fi
    echo "PostgreSQL: the first superuser becomes slipway_superuser."
    rename
    begin
  fi
  # Its own words are the last of the log.
  if ! as_server sh /slipway/rights.sh "$socket" 2> /tmp/slipway_said; then
    if ! end; then echo "PostgreSQL: $itself" >&2; fi
    stop "$(cat /tmp/slipway_said)"
  fi
  if ! end; then stop "PostgreSQL does not start: $itself"; fi
  rm -rf "$socket" /tmp/slipway_rights
}

if [ "${1:-}" = single ]; then
  safe="$(unless_superuser)"
  alone "${2:-template1}"
  exit
fi

if [ -d /project ]; then
  if [ -e "$mark" ]; then
    said="$(tail -n +2 "$mark" | tail -n 20)"
    refuse "${said:-$(head -n 1 "$mark") did not come to its end: it ended the first start itself (exec), or was cut off with it.}"
  elif [ -d "$PGDATA" ] && [ -n "$(ls -A "$PGDATA")" ] && [ ! -e "$PGDATA/slipway_init_ended" ] && never_served; then
    refuse "The first start was cut off before the files in docker/postgres were run."
  fi
  # Each file is read through a pipe of its own name, beside what it may include by \ir: ../data and ../../data lead to /data.
  rm -rf /tmp/seeds /tmp/data
  as_server mkdir /tmp/seeds
  ln -s /data /tmp/data
  find /project -mindepth 1 -maxdepth 1 -exec ln -s {} /tmp/seeds/ \;
fi
safe="$(unless_superuser)"
if [ -s "$PGDATA/PG_VERSION" ]; then
  # The first process hears no signal that it does not ask for.
  trap 'end || true; exit 143' INT TERM
  give_rights
  trap - INT TERM
fi
[ "${1:-}" != postgres ] || eval "set -- \"\$@\" $safe"
exec docker-entrypoint.sh "$@"
