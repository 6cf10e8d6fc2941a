#!/bin/bash
# Entry point with the contract of the official mongo image: makes the root user and runs /docker-entrypoint-initdb.d
# in an empty data folder, against a server that only this container reaches, then becomes the server.
set -Eeuo pipefail

# from_file NAME: NAME takes its value from the file that NAME_FILE names, if that is set.
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
  printf -v "$1" %s "${!1:-}"
  export "${1?}"
  unset "$file_name"
}

has_init_files() {
  compgen -G '/docker-entrypoint-initdb.d/*.sh' > /dev/null || compgen -G '/docker-entrypoint-initdb.d/*.js' > /dev/null
}

# Only what shapes the data is kept from the settings: with the rest (TLS, logs, keys, a replica set that is not there
# yet) the first server could not be reached or could not make its root user.
temporary_settings() {
  local sections='storage|setParameter'
  [[ -n $MONGO_INITDB_ROOT_USERNAME ]] || sections+='|replication'
  awk -v keep="^($sections):" '/^[^ ]/ { kept = $0 ~ keep } kept' <<< "$settings"
}

# The exit trap stops the server whether or not the scripts succeed.
initialise() (
  config="$(mktemp)"
  temporary_settings > "$config"
  mongod --config "$config" --dbpath "$dbpath" --bind_ip 127.0.0.1 --port 27017 &
  server=$!
  trap 'kill "$server" 2> /dev/null || true; wait "$server" || true; rm -f "$config"' EXIT
  until (: < /dev/tcp/127.0.0.1/27017) 2> /dev/null; do
    if ! kill -0 "$server" 2> /dev/null; then
      echo 'error: mongod ended before it accepted connections: its log is above' >&2
      exit 1
    fi
    sleep 0.2
  done

  # Sourced init scripts may use this name, as they may in the official image.
  mongo=(mongosh --quiet --host 127.0.0.1 --port 27017)
  if [[ -n $MONGO_INITDB_ROOT_USERNAME ]]; then
    # The shell reads the password from its environment: it is in no argument and needs no quoting.
    # shellcheck disable=SC2016
    "${mongo[@]}" admin --eval 'db.createUser({
      user: process.env.MONGO_INITDB_ROOT_USERNAME,
      pwd: process.env.MONGO_INITDB_ROOT_PASSWORD,
      roles: [{ role: "root", db: "admin" }] })'
  fi
  export MONGO_INITDB_DATABASE="${MONGO_INITDB_DATABASE:-test}"
  for file in /docker-entrypoint-initdb.d/*; do
    [[ -e $file ]] || continue
    echo "$0: $file"
    case "$file" in
      *.sh)
        # shellcheck source=/dev/null
        source "$file"
        ;;
      *.js) "${mongo[@]}" "$MONGO_INITDB_DATABASE" "$file" ;;
      *) echo "$0: ignored: $file" ;;
    esac
  done
)

[[ ${1:-} != -* ]] || set -- mongod "$@"

if [[ ${1:-} == mongo* && $(id -u) == 0 ]]; then
  [[ $1 != mongod ]] || find /data/configdb /data/db ! -user mongodb -exec chown mongodb {} +
  exec gosu mongodb "$0" "$@"
fi

if [[ ${1:-} == mongod ]]; then
  from_file MONGO_INITDB_ROOT_USERNAME
  from_file MONGO_INITDB_ROOT_PASSWORD
  if [[ -n $MONGO_INITDB_ROOT_USERNAME && -n $MONGO_INITDB_ROOT_PASSWORD ]]; then
    [[ " $* " == *' --auth '* ]] || set -- "$@" --auth
  elif [[ -n $MONGO_INITDB_ROOT_USERNAME$MONGO_INITDB_ROOT_PASSWORD ]]; then
    echo 'error: MONGO_INITDB_ROOT_USERNAME and MONGO_INITDB_ROOT_PASSWORD go together: one is missing' >&2
    exit 1
  fi

  # mongod itself merges options and config file, and prints them as plain YAML; for --help and --version it does not.
  settings="$("$@" --outputConfig)"
  if [[ $settings == *'outputConfig: true'* ]]; then
    dbpath="$(sed -nE 's/^  dbPath: "?([^"]*)"?$/\1/p' <<< "$settings")"
    dbpath="${dbpath:-/data/db}"
    if [[ ! -e $dbpath/WiredTiger && ! -e $dbpath/storage.bson ]] &&
      { [[ -n $MONGO_INITDB_ROOT_USERNAME ]] || has_init_files; }; then
      initialise
      echo 'MongoDB init process complete; ready for start up.'
    fi
    grep -qE '^  bindIp(All)?:' <<< "$settings" || set -- "$@" --bind_ip_all
  fi
  unset "${!MONGO_INITDB_@}"
fi

exec "$@"
