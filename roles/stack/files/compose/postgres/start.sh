#!/bin/sh
# Start PostgreSQL, but not over a volume that its init scripts left half-made: the image would skip them the next time, and serve.
set -eu
if [ -e "$PGDATA/slipway_init_began" ]; then
  echo "The files in docker/postgres failed when this volume was made, so it holds half of what it should. This is what failed:" >&2
  cat "$PGDATA/slipway_init_began" >&2
  echo "Mend them, then make it anew with: orchestrate.py reseed" >&2
  exit 1
fi
exec docker-entrypoint.sh "$@"
