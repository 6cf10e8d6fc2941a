#!/bin/sh
# Start PostgreSQL, but not over a volume that its first start left half-made: the image would skip the files the next time, and serve.
set -eu
mark="$PGDATA/slipway_init_began"

# What is wrong lies in the project, or was cut off: 78 is EX_CONFIG of sysexits.h.
refuse() {
  echo "$1" >&2
  echo "The volume holds half of what it should, so PostgreSQL does not start. Make it again with: orchestrate.py reseed" >&2
  exit 78
}

# Whether the server has never served: by the options of its last start, which listened on its socket alone while the files were run.
never_served() {
  [ ! -s "$PGDATA/postmaster.opts" ] || grep -qF '"listen_addresses="' "$PGDATA/postmaster.opts"
}

if [ -e "$mark" ]; then
  said="$(tail -n +2 "$mark" | tail -n 20)"
  refuse "${said:-$(head -n 1 "$mark") did not come to its end: it ended the first start itself (exec), or was cut off with it.}"
elif [ -d "$PGDATA" ] && [ -n "$(ls -A "$PGDATA")" ] && [ ! -e "$PGDATA/slipway_init_ended" ] && never_served; then
  refuse "The first start was cut off before the files in docker/postgres were run."
fi

# Each file is read through a pipe of its own name, beside what it may include by \ir. One folder below / as /project is: \ir ../data leads to /data.
find /project -mindepth 1 -maxdepth 1 -exec ln -s {} /seeds/ \;
exec docker-entrypoint.sh "$@"
