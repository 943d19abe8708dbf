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

# The identity of everything that a result is made from: contents of the files and the words.
fingerprint() { # fingerprint WORD... -- FILE...
  { while [ "$1" != -- ]; do echo "$1"; shift; done; shift
    for file in "$@"; do [ ! -f "$file" ] || sha256sum < "$file"; done; } | sha256sum | cut -d' ' -f1
}

# restore CACHE NAME FINGERPRINT TARGET: the cached folder as TARGET, when it was made from the same.
restore() {
  [ -d "$1/$2" ] && [ "$(cat "$1/$2.fingerprint" 2>/dev/null)" = "$3" ] || return 1
  mkdir -p "$(dirname "$4")"
  cp -al "$1/$2" "$4"
}

# keep CACHE NAME FINGERPRINT SOURCE: remembers SOURCE. The fingerprint goes last, so that a half-made copy counts as none.
keep() {
  rm -rf "$1/$2" "$1/$2.fingerprint"
  mkdir -p "$1"
  cp -al "$4" "$1/$2"
  echo "$3" > "$1/$2.fingerprint"
}
