#!/bin/sh
# Say what PostgreSQL's first start does just now: nothing once it has served, or has run the project's files.
mark="$PGDATA/slipway_init_began"
if [ -e "$mark" ]; then
  echo "The first start runs $(head -n 1 "$mark"); the volume has $(du -sm "$PGDATA" 2> /dev/null | cut -f 1) MiB so far."
elif [ ! -e "$PGDATA/slipway_init_ended" ] && { [ ! -s "$PGDATA/postmaster.opts" ] || grep -qF '"listen_addresses="' "$PGDATA/postmaster.opts"; }; then
  echo "The first start makes the volume."
fi
