#!/bin/sh
# Start Redis with its password from a pipe: on the command line every user of the host could read it. By its hash it needs no quotes.
# Of what Redis calls dangerous the user may do what concerns the data alone: no settings, modules, debugging, users, replicas, other
# servers and no shutdown. A command that only a later version has is allowed when it is added here.
set -eu
password=$(cat /run/secrets/redis_password)
hash=$(printf %s "$password" | sha256sum | cut -c 1-64)
data="+flushall +flushdb +info +keys +monitor +restore +role +sort +sort_ro +swapdb +slowlog +latency +client|list +client|kill"
saves="+bgrewriteaof +bgsave +lastsave +save"
exec docker-entrypoint.sh redis-server - "$@" <<EOF
user default on #$hash ~* &* +@all -@admin -@dangerous -acl -cluster -config -debug -module $data $saves
sanitize-dump-payload clients
EOF
