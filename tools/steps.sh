# What ./quickstart and ./test share: progress lines, package installation, the build.
# shellcheck shell=bash

started=$SECONDS
step() { printf '\n== [%3ds] %s\n' $((SECONDS - started)) "$*"; }
fail() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

check_system() {
  [ "$(id -u)" = 0 ] || fail "this needs root, for packages and containers: run it with sudo"
  command -v apt-get >/dev/null || fail "this needs Debian 12 (apt-get was not found)"
  local version; version=$(. /etc/os-release && echo "$ID $VERSION_ID")
  [ "$version" = "debian 12" ] || fail "this needs Debian 12, not $version"
}

# install_packages LIST...: the packages named in tools/packages/LIST.txt that are not there yet.
install_packages() {
  local list name missing=()
  for list in "$@"; do
    while read -r name _; do
      case $name in ''|'#'*) continue ;; esac
      dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
    done < "tools/packages/$list.txt"
  done
  [ ${#missing[@]} = 0 ] && { echo "all packages are installed"; return; }
  echo "installing: ${missing[*]}"
  # A service that a package brings must not start: the platform runs its own, on its own ports.
  local policy=/usr/sbin/policy-rc.d made_policy=
  [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' > $policy; chmod +x $policy; made_policy=1; }
  local attempt ok=
  for attempt in 1 2 3; do
    if apt-get -q -o Acquire::Retries=3 update > build/logs/apt.log 2>&1 &&
       DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 install --no-install-recommends \
         "${missing[@]}" >> build/logs/apt.log 2>&1; then ok=1; break; fi
    echo "apt-get failed (attempt $attempt of 3); see build/logs/apt.log"
    sleep $((attempt * 3))
  done
  [ -z "$made_policy" ] || rm -f $policy
  [ -n "$ok" ] || { tail -n 20 build/logs/apt.log >&2; fail "packages could not be installed"; }
}

# build_targets TARGET...: the release build, in build/.
build_targets() {
  # The cache serves every checkout of the project, wherever it lies.
  export CCACHE_DIR=${CCACHE_DIR:-$HOME/.cache/ccache} CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
  [ -f build/build.ninja ] || cmake --preset release > build/logs/configure.log 2>&1 ||
    { tail -n 20 build/logs/configure.log >&2; fail "configuring failed"; }
  NINJA_STATUS='[%f/%t] ' ninja -C build "$@" 2>&1 | tee build/logs/build.log | show_progress
  [ "${PIPESTATUS[0]}" = 0 ] || { grep -A20 -m3 FAILED build/logs/build.log >&2; fail "the build failed; see build/logs/build.log"; }
}

# One line in fifty, so that a terminal or a CI log shows where the build is.
show_progress() { awk 'NR % 50 == 1 || /FAILED|error:/ { print; fflush() }'; }
