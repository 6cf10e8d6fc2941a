# Runs the project's own files as the image runs those in /docker-entrypoint-initdb.d: it is sourced there, and has its functions.
# The mark is there until all have ended well. It names the file, and holds what was said of it.
for slipway_file in /project/*; do
  case "$slipway_file" in
    *.sql | *.sql.gz | *.sh)
      echo "$slipway_file" > "$PGDATA/slipway_init_began"
      docker_process_init_files "$slipway_file" 2> >(tee -a "$PGDATA/slipway_init_began" >&2)
      ;;
  esac
done
rm -f "$PGDATA/slipway_init_began"
