#!/bin/bash
# Entry point with the contract of the official redis image: options or a .conf file alone mean redis-server,
# and a server started as root runs as redis.
set -Eeuo pipefail

case "${1:-}" in
  -* | *.conf) set -- redis-server "$@" ;;
esac

if [[ ${1:-} == redis-server ]]; then
  if [[ $(id -u) == 0 ]]; then
    find /data ! -user redis -exec chown redis:redis {} +
    exec gosu redis "$0" "$@"
  fi

  # The dump holds the data: by default only its owner reads it.
  [[ $(umask) != 0022 ]] || umask 0077

  # The official build defaults to protected-mode no, since nothing is reachable unless its port is published.
  # Debian's does not, so it is said here, unless the user decides. --version and --help only work alone.
  case "$*" in
    *protected-mode* | 'redis-server -v' | 'redis-server -h' | *--version | *--help | *--check-system) ;;
    *)
      if [[ ! -f ${2:-} ]] || ! grep -qiE '^[[:space:]]*protected-mode' "$2"; then
        set -- "$@" --protected-mode no
      fi
      ;;
  esac
fi

exec "$@"
