#!/bin/bash
# Entry point with the contract of the Jupyter Docker Stacks: runs the hooks, becomes NB_USER if started as root, and
# then becomes the command. https://jupyter-docker-stacks.readthedocs.io/en/latest/using/common.html
set -Eeuo pipefail

log() { [[ -n ${JUPYTER_DOCKER_STACKS_QUIET:-} ]] || echo "$@"; }
yes() { [[ ${1:-} == 1 || ${1:-} == yes ]]; }

# Gives jovyan the name, ids and home that the variables ask for.
refit_user() {
  local home="/home/$NB_USER"
  if [[ $NB_USER != jovyan ]] && id jovyan &> /dev/null; then
    usermod --login "$NB_USER" --home "$home" jovyan
  fi
  if [[ $(id -u "$NB_USER"):$(id -g "$NB_USER") != "$NB_UID:$NB_GID" ]]; then
    # Made anew: usermod would change the owner of every file in a home that may be a mounted folder.
    userdel "$NB_USER"
    getent group "$NB_GID" > /dev/null || groupadd --gid "$NB_GID" "${NB_GROUP:-$NB_USER}"
    useradd --no-log-init --non-unique --no-create-home --home-dir "$home" --shell /bin/bash \
      --uid "$NB_UID" --gid "$NB_GID" --groups users "$NB_USER"
  fi
  if [[ ! -e $home ]]; then
    cp -a /home/jovyan "$home"
    chown -R "$NB_UID:$NB_GID" "$home"
  fi
  [[ $PWD/ != /home/jovyan/* ]] || cd "$home${PWD#/home/jovyan}"
  export HOME="$home" USER="$NB_USER" LOGNAME="$NB_USER" XDG_CACHE_HOME="$home/.cache"
}

own_folders() {
  local paths
  # Options and lists are split on purpose: "-R", "/data,/scratch".
  # shellcheck disable=SC2086
  if yes "${CHOWN_HOME:-}"; then
    chown ${CHOWN_HOME_OPTS:-} "$NB_UID:$NB_GID" "$HOME"
  fi
  IFS=, read -ra paths <<< "${CHOWN_EXTRA:-}"
  # shellcheck disable=SC2086
  if ((${#paths[@]})); then
    chown ${CHOWN_EXTRA_OPTS:-} "$NB_UID:$NB_GID" "${paths[@]}"
  fi
}

grant_sudo() {
  echo "Defaults secure_path=\"$PATH\"" > /etc/sudoers.d/path
  if yes "${GRANT_SUDO:-}"; then
    echo "$NB_USER ALL=(ALL) NOPASSWD:ALL" > /etc/sudoers.d/added-by-start-script
  fi
}

command=("$@")
(($#)) || command=(bash)

# shellcheck source=SCRIPTDIR/run-hooks.sh
source /usr/local/bin/run-hooks.sh /usr/local/bin/start-notebook.d

as_user=()
if [[ $(id -u) == 0 ]]; then
  refit_user
  own_folders
  grant_sudo
  as_user=(gosu "$NB_USER")
elif yes "${GRANT_SUDO:-}" || [[ $NB_UID != "$(id -u)" ]]; then
  log 'WARNING: NB_UID, NB_USER, NB_GID and GRANT_SUDO are only honoured in a container that starts as root' >&2
fi

# shellcheck source=SCRIPTDIR/run-hooks.sh
source /usr/local/bin/run-hooks.sh /usr/local/bin/before-notebook.d

IFS=, read -ra to_unset <<< "${JUPYTER_ENV_VARS_TO_UNSET:-}"
for name in "${to_unset[@]}"; do
  unset "$name"
done

log "Running ${command[0]} as $NB_USER"
exec "${as_user[@]}" "${command[@]}"
