# shellcheck shell=bash
# What the buildpacks share. Source it first: it sets the shell's strictness too.
set -euo pipefail

heading() { echo "-----> $*"; }
detail() { sed -u 's/^/       /'; }
note() { echo "       $*"; }
fail() { printf ' !     %s\n' "$@" >&2; exit 1; }
words() { local IFS=' '; echo "$*"; }

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
  [ "${size:-0}" -le "$2" ] || { chmod -R u+w "$1"; rm -rf "$1"; }
}

# fresh FOLDER STAMP: whether the folder has what an earlier build fetched for the same wish; else it is emptied. `keep FOLDER STAMP`
# says that it is complete.
fresh() {
  [ "$(cat "$1/.stamp" 2>/dev/null)" = "$2" ] && return 0
  rm -rf "$1"
  mkdir -p "$1"
  return 1
}
keep() { printf '%s\n' "$2" > "$1/.stamp"; }

# What runs first in every process of the app: the lines of standard input.
profile() { # profile NAME
  mkdir -p .profile.d
  cat > ".profile.d/$1.sh"
}

# A process type for apps whose Procfile does not name it.
default_process() { # default_process TYPE COMMAND
  mkdir -p .workflow
  [ -s .workflow/types ] || printf -- '---\ndefault_process_types:\n' > .workflow/types
  printf "  %s: '%s'\n" "$1" "${2//\'/\'\'}" >> .workflow/types
}
# What bin/release prints.
default_processes() { # default_processes BUILD_DIR
  cat "$1/.workflow/types" 2>/dev/null || echo '--- {}'
}
