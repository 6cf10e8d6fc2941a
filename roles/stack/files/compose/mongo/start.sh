#!/bin/bash
# Start MongoDB as a replica set of one member, slipway, which is made at the first start of its volume. A server without one acknowledges
# a write before its journal has it, and has no setting against that.
set -eu
# A replica set with passwords wants a key, by which its members know each other. This one has no other member: a new key each time. Who has
# it may do everything: the server's own user alone, in this container's memory.
key=/dev/shm/mongo.key
rm -f "$key"
(umask 077 && head -c 48 /dev/urandom | base64 -w 0 > "$key")
chmod 400 "$key"
bash /slipway/initiate.sh &
exec docker-entrypoint.sh "$@" --replSet slipway --keyFile "$key"
