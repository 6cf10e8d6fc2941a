#!/bin/bash
# Entry point with the contract of the official postgres image: makes the cluster in an empty PGDATA, runs
# /docker-entrypoint-initdb.d against a server that only its own socket reaches, then becomes the server.
set -Eeuo pipefail

# from_file NAME [DEFAULT]: NAME takes its value from the file that NAME_FILE names, if that is set.
from_file() {
  local file_name="$1_FILE"
  if [[ -n ${!1:-} && -n ${!file_name:-} ]]; then
    echo "error: $1 and $file_name are both set: keep one" >&2
    exit 1
  elif [[ -n ${!file_name:-} ]]; then
    local value
    value="$(< "${!file_name}")"
    printf -v "$1" %s "$value"
  fi
  printf -v "$1" %s "${!1:-${2:-}}"
  export "${1?}"
  unset "$file_name"
}

# Sourced init scripts may call it, as they may in the official image.
docker_process_sql() {
  PGHOST='' PGHOSTADDR='' psql --set ON_ERROR_STOP=1 --no-psqlrc --no-password \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" "$@"
}

# initdb wants a name for its user: one that the image does not know gets it from a library, as in the official image.
named() {
  local uid gid wrapper
  uid="$(id -u)" gid="$(id -g)"
  if getent passwd "$uid" > /dev/null; then
    "$@"
    return
  fi
  wrapper="$(compgen -G '/usr/lib/*/libnss_wrapper.so')"
  printf 'postgres:x:%s:%s:PostgreSQL:%s:/bin/false\n' "$uid" "$gid" "$PGDATA" > /tmp/slipway_passwd
  printf 'postgres:x:%s:\n' "$gid" > /tmp/slipway_group
  LD_PRELOAD="$wrapper" NSS_WRAPPER_PASSWD=/tmp/slipway_passwd NSS_WRAPPER_GROUP=/tmp/slipway_group "$@"
  rm /tmp/slipway_passwd /tmp/slipway_group
}

make_cluster() {
  local options auth
  eval "options=($POSTGRES_INITDB_ARGS)"
  [[ -z ${POSTGRES_INITDB_WALDIR:-} ]] || options+=(--waldir "$POSTGRES_INITDB_WALDIR")
  # A file descriptor and not an argument carries the password.
  named initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${options[@]}"
  auth="${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption "$@")}"
  printf '\nhost all all all %s\n' "$auth" >> "$PGDATA/pg_hba.conf"
}

# So may they this one: it runs files as the entry point runs those in /docker-entrypoint-initdb.d.
docker_process_init_files() {
  local file
  for file; do
    [[ -e $file ]] || continue
    echo "$0: $file"
    case "$file" in
      *.sh)
        if [[ -x $file ]]; then
          "$file"
        else
          # shellcheck source=/dev/null
          source "$file"
        fi
        ;;
      *.sql) docker_process_sql --file "$file" ;;
      *.sql.gz) gunzip --stdout "$file" | docker_process_sql ;;
      *.sql.xz) xz --decompress --stdout "$file" | docker_process_sql ;;
      *.sql.zst) zstd --decompress --stdout "$file" | docker_process_sql ;;
      *) echo "$0: ignored: $file" ;;
    esac
  done
}

initialise() {
  if [[ -z $POSTGRES_PASSWORD && $POSTGRES_HOST_AUTH_METHOD != trust ]]; then
    echo 'error: the data folder is empty and POSTGRES_PASSWORD (or POSTGRES_PASSWORD_FILE) is not set.' \
      'POSTGRES_HOST_AUTH_METHOD=trust starts without a password.' >&2
    exit 1
  fi
  make_cluster "$@"
  # pg_hba.conf may ask for a password on the socket too, if POSTGRES_INITDB_ARGS says so.
  export PGPASSWORD="${PGPASSWORD:-$POSTGRES_PASSWORD}"
  PGUSER="$POSTGRES_USER" pg_ctl --wait start -o "$(printf '%q ' "$@" -c listen_addresses=)"
  trap 'pg_ctl --wait --mode=fast stop' EXIT
  # psql's quoting of :"db" and :'db' keeps any name safe.
  docker_process_sql --dbname postgres --set db="$POSTGRES_DB" <<< \
    "SELECT format('CREATE DATABASE %I', :'db') WHERE :'db' NOT IN (SELECT datname FROM pg_database) \\gexec"
  docker_process_init_files /docker-entrypoint-initdb.d/*
  trap - EXIT
  pg_ctl --wait --mode=fast stop
  unset PGPASSWORD
  echo 'PostgreSQL init process complete; ready for start up.'
}

[[ ${1:-} != -* ]] || set -- postgres "$@"

if [[ ${1:-} == postgres && ! " $* " =~ ' '(-\?|--help|--describe-config|-V|--version)' ' ]]; then
  # Read before root is given up: a secret's file may be root's alone.
  from_file POSTGRES_PASSWORD
  from_file POSTGRES_USER postgres
  from_file POSTGRES_DB "$POSTGRES_USER"
  from_file POSTGRES_INITDB_ARGS
  : "${POSTGRES_HOST_AUTH_METHOD:=}"

  mkdir -p "$PGDATA" ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"}
  # As upstream: a folder that is mounted may belong to another user, and initdb says so itself.
  chmod 0700 "$PGDATA" || true
  if [[ $(id -u) == 0 ]]; then
    find "$PGDATA" ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"} /var/run/postgresql \
      ! -user postgres -exec chown postgres {} +
    exec gosu postgres "$0" "$@"
  fi

  if [[ -s $PGDATA/PG_VERSION ]]; then
    echo 'PostgreSQL Database directory appears to contain a database; Skipping initialization'
  else
    initialise "${@:2}"
  fi
  unset POSTGRES_PASSWORD
fi

exec "$@"
