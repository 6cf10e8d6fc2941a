# Makes the role slipway, and runs the project's own files as the image runs those in /docker-entrypoint-initdb.d: it is sourced there, and has
# its functions. The files run as the first superuser, and what each has made is slipway's.
# The mark is there until all have ended well. Its first line names the file; where it failed, what was said of it follows.
slipway_mark="$PGDATA/slipway_init_began"
slipway_said=/tmp/slipway_said
slipway_end=/tmp/slipway_end_of_the_file
slipway_level="$BASH_SUBSHELL"

# Passes on what is said, by the names that the user knows, and keeps it.
slipway_hear() {
  local line
  while IFS= read -r line || [[ -n $line ]]; do
    line="${line//\/project\//docker/postgres/}"
    line="${line//\/tmp\/seeds\//docker/postgres/}"
    printf '%s\n' "$line" >&2
    printf '%s\n' "$line" >> "$slipway_said"
  done
}

# slipway_fail WORDS: ends the first start, with what was said of the file in the mark. This is the container's first process.
slipway_fail() {
  trap - ERR
  echo "$1" >&2
  exec 2>&"$slipway_log"
  for _ in {1..50}; do
    kill -0 "$slipway_hears" 2> /dev/null || break
    sleep 0.1
  done
  tail -n 20 "$slipway_said" >> "$slipway_mark"
  # What is wrong lies in the project: EX_CONFIG of sysexits.h.
  builtin exit 78
}

# By the trap: the file, and in a script that is sourced the line.
slipway_failed() {
  local code="$1" place="$slipway_file" depth
  ((BASH_SUBSHELL == slipway_level)) || return 0
  for ((depth = 1; depth < ${#BASH_SOURCE[@]}; depth++)); do
    [[ ${BASH_SOURCE[depth]} != "$slipway_file" ]] || place="$slipway_file:${BASH_LINENO[depth - 1]}"
  done
  slipway_fail "$place: failed with exit code $code"
}

# In a script that is sourced it would end the first start, and no file after it would be run.
exit() {
  if ((BASH_SUBSHELL == slipway_level)) && [[ ${BASH_SOURCE[1]:-} == "$slipway_file" ]]; then
    slipway_fail "$slipway_file:${BASH_LINENO[0]}: \"exit $*\" cannot be used: the shell of the first start reads a script that is not executable, and would end. Write return, or make the script executable with chmod +x."
  fi
  builtin exit "$@"
}

# slipway_sql FILE COMMAND…: psql runs what the command makes of the file, and a last line after it if it came that far.
slipway_sql() {
  local file="$1" pipe="/tmp/seeds/${1##*/}" lines
  shift
  rm -f "$pipe" "$slipway_end" /tmp/slipway_transaction
  mkfifo "$pipe"
  { "$@" < "$file" && printf '\n\\! : > %s\n' "$slipway_end"; } > "$pipe" &
  docker_process_sql --file "$pipe" --file /slipway/transaction.sql
  if [[ ! -e $slipway_end ]]; then
    # Lines that may be why, by their numbers.
    if lines="$("$@" < "$file" 2> /dev/null | grep -niE '^[[:space:]]*\\q(uit)?([[:space:];]|$)|[[:space:]]from[[:space:]]+stdin')"; then
      tail -n 3 <<< "$lines" | cut -c 1-100 | sed "s|^|$file:|" >&2
    fi
    slipway_fail "$file: psql did not come to its end: a \\q ended it, COPY … FROM stdin has no line \\. after its data, or it could not be unpacked"
  elif [[ $(cat /tmp/slipway_transaction) != closed ]]; then
    slipway_fail "$file: its last transaction was not ended, so PostgreSQL has undone it. Write COMMIT; after BEGIN;"
  fi
}

slipway_rights() {
  sh /slipway/rights.sh "${PGHOST:-/var/run/postgresql}"
}

slipway_run() {
  case "$1" in
    *.sh) docker_process_init_files "$1" ;;
    *.sql) slipway_sql "$1" cat ;;
    *.sql.gz) slipway_sql "$1" gunzip -c ;;
    *.sql.xz) slipway_sql "$1" xz -dc ;;
    *.sql.zst) slipway_sql "$1" zstd -dc ;;
  esac
}

slipway_rights
# A script's psql that names no database means this one, as whatever role it comes.
export PGDATABASE="$POSTGRES_DB"
exec {slipway_log}>&2 2> >(slipway_hear)
slipway_hears=$!
for slipway_file in /project/*; do
  case "$slipway_file" in
    *.sh | *.sql | *.sql.gz | *.sql.xz | *.sql.zst)
      [[ ! -d $slipway_file ]] || continue
      echo "$0: running $slipway_file"
      echo "docker/postgres/${slipway_file##*/}" > "$slipway_mark"
      : > "$slipway_said"
      set -Ee
      trap 'slipway_failed "$?"' ERR
      slipway_run "$slipway_file"
      slipway_rights
      ;;
  esac
done
trap - ERR
unset -f exit
unset PGDATABASE
exec 2>&"$slipway_log" {slipway_log}>&-
touch "$PGDATA/slipway_init_ended"
rm -f "$slipway_mark"
