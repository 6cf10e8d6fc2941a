#!/bin/bash
# Make the server a replica set of one member if it is not one yet, and see to it that its user slipway has the rights that MONGO_RIGHTS stands
# for. It keeps what its volume holds; what was done is written down there, for mongosh takes 100 MB and a second of the processor.
set -u
mark=/data/db/slipway_rights
until [[ $(cat "$mark" 2> /dev/null) == "$MONGO_RIGHTS" && $(bash /slipway/state.sh 2> /dev/null) == primary ]]; do
  case $(bash /slipway/state.sh 2> /dev/null) in
    none | primary)
      # If memory is short it goes before the server.
      (echo 1000 > /proc/self/oom_score_adj && exec mongosh --quiet admin /slipway/rights.js >&2) \
        && echo "$MONGO_RIGHTS" > "$mark.part" && mv "$mark.part" "$mark"
      ;;
  esac
  sleep 0.5
done
# The server is the container's first process and waits for no child: this one would stay there as defunct.
exec sleep infinity
