#!/bin/sh
# Start Redis with its password from a pipe: on the command line every user of the host could read it.
set -eu
password=$(sed 's/[\\"]/\\&/g' /run/secrets/redis_password)
exec docker-entrypoint.sh redis-server - "$@" <<EOF
requirepass "$password"
EOF
