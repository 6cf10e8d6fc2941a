#!/bin/bash
# Print what the server is: primary (it takes writes), none (of no replica set yet), or starting. It is asked in its own protocol, for
# mongosh would cost a second of the processor and 100 MB each time. By the container's own name: while its volume is made, mongod listens
# on 127.0.0.1 only.
set -eu
export LC_ALL=C
exec 3<> "/dev/tcp/$HOSTNAME/27017"
# {hello: 1, $db: "admin"}: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/#op_msg
printf '\x34\0\0\0\1\0\0\0\0\0\0\0\xdd\7\0\0\0\0\0\0\0\x1f\0\0\0\x10hello\0\1\0\0\0\2$db\0\6\0\0\0admin\0\0' >&3
length=$(timeout 3 head -c 4 <&3 | od -A n -t u4)
said=$(timeout 3 head -c "$((length - 4))" <&3 | tr '\0\1' '.!')
case $said in
  *isWritablePrimary.!*) echo primary ;;
  *isreplicaset.!*) echo none ;;
  *) echo starting ;;
esac
