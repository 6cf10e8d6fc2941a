#!/bin/bash
# Sourced with one folder: sources its *.sh files and runs its other executables, in the order of their names.
# A failing hook is reported and the start goes on, as upstream. Hooks run without this shell's strict options.
__shell_options="$(set +o)"
set +eu +o pipefail

for __hook in "$1"/*; do
  if [[ $__hook == *.sh && -f $__hook ]]; then
    # shellcheck source=/dev/null
    source "$__hook" || echo "ERROR: $__hook failed, going on" >&2
    set +eu +o pipefail
  elif [[ -f $__hook && -x $__hook ]]; then
    "$__hook" || echo "ERROR: $__hook failed, going on" >&2
  fi
done

eval "$__shell_options"
unset __hook __shell_options
