#!/bin/bash
# Wait for the server, and make it a replica set of one member if it is none yet. It keeps what its volume holds.
set -u
until state=$(bash /slipway/state.sh 2> /dev/null) && [[ $state == primary ]]; do
  if [[ $state == none ]]; then
    # shellcheck disable=SC2016
    mongosh --quiet admin --eval '
      db.auth("slipway", require("fs").readFileSync("/run/secrets/mongo_password", "utf8").trimEnd());
      rs.initiate({_id: "slipway", members: [{_id: 0, host: "mongo:27017"}]});
    ' >&2
  fi
  sleep 0.5
done
# The server is the container's first process and waits for no child: this one would stay there as defunct. An init of Docker's before the
# server would stay as root, with the entry point's capabilities.
exec sleep infinity
