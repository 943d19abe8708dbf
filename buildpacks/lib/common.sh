# shellcheck shell=bash
# What the buildpacks share. Source it first: it sets the shell's strictness too.
set -euo pipefail

heading() { echo "-----> $*"; }
detail() { sed -u 's/^/       /'; }
note() { echo "       $*"; }
fail() { printf ' !     %s\n' "$@" >&2; exit 1; }

# Makes the app's config variables visible to the build, but those that would break the build itself.
export_env() { # export_env ENV_DIR
  local file name
  for file in "$1"/*; do
    [ -f "$file" ] || continue
    name=${file##*/}
    case $name in PATH|HOME|GIT_DIR|CPATH|CPPATH|LD_PRELOAD|LIBRARY_PATH|LD_LIBRARY_PATH|PYTHONHOME|IFS|BASH_ENV|ENV) continue ;; esac
    [[ $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] && export "$name=$(cat "$file")"
  done
}

# bound CACHE MIB: a package manager's cache keeps what no build uses any more; one that has become too large begins anew.
bound() {
  local size
  size=$(du -sm "$1" 2>/dev/null | cut -f1) || return 0
  [ "${size:-0}" -le "$2" ] || rm -rf "$1"
}
