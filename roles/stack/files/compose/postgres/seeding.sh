#!/bin/sh
# Say what PostgreSQL's start does just now: nothing once it serves.
mark="$PGDATA/slipway_init_began"
if [ -e /tmp/slipway_rights ]; then
  echo "Roles get their rights, and slipway what it has made, before PostgreSQL serves."
elif [ -e "$mark" ]; then
  echo "The first start runs $(head -n 1 "$mark"); the volume has $(du -sm "$PGDATA" 2> /dev/null | cut -f 1) MiB so far."
elif [ ! -e "$PGDATA/slipway_init_ended" ] && { [ ! -s "$PGDATA/postmaster.opts" ] || grep -qF '"listen_addresses="' "$PGDATA/postmaster.opts"; }; then
  echo "The first start makes the volume."
fi
