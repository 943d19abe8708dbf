# What ./quickstart and ./test share: progress lines, package installation, the build.
# shellcheck shell=bash

started=$SECONDS
step() { printf '\n== [%3ds] %s\n' $((SECONDS - started)) "$*"; }
fail() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

check_root() { [ "$(id -u)" = 0 ] || fail "this needs root, for packages and containers: run it with sudo"; }
check_system() {
  command -v apt-get >/dev/null || fail "this needs Debian 12 (apt-get was not found)"
  local version; version=$(. /etc/os-release && echo "$ID $VERSION_ID")
  [ "$version" = "debian 12" ] || fail "this needs Debian 12, not $version"
}

# with_progress LOG COMMAND...: runs it with its output in LOG, and shows every few seconds what it says or how long it takes.
with_progress() {
  local log=$1 over status=1 line shown= began=$SECONDS got; shift
  exec {over}< <("$@" > "$log" 2>&1 < /dev/null; echo $?)
  while read -r -t 3 status <&"$over"; got=$?; [ $got -gt 128 ]; do
    line=$(tail -n 1 "$log" | tr -d '\r' | cut -c1-120)
    if [ -n "$line" ] && [ "$line" != "$shown" ]; then printf '  %s\n' "$line"; else printf '  ... %d s\n' $((SECONDS - began)); fi
    shown=$line
  done
  exec {over}<&-
  return "${status:-1}"
}

# missing_packages LIST...: what is named in tools/packages/LIST.txt and not there yet.
missing_packages() {
  local list name
  for list in "$@"; do
    while read -r name _; do
      case $name in ''|'#'*) continue ;; esac
      dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || echo "$name"
    done < "tools/packages/$list.txt"
  done | sort -u
}

apt_install() {
  local attempt
  for attempt in 1 2 3; do
    if apt-get -q -o Acquire::Retries=3 update &&
       DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 install --no-install-recommends "$@"; then return 0; fi
    echo "apt-get failed (attempt $attempt of 3)"
    sleep $((attempt * 3))
  done
  return 1
}

# install_packages LIST...
install_packages() {
  local missing; mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} = 0 ] && { echo "all packages are installed"; return; }
  [ "$(id -u)" = 0 ] || fail "packages are missing; as root: apt-get install ${missing[*]}"
  echo "installing ${#missing[@]} packages and what they need: ${missing[*]}"
  # A service that a package brings must not start: the platform runs its own, on its own ports.
  local policy=/usr/sbin/policy-rc.d made_policy= status=0
  [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' > $policy; chmod +x $policy; made_policy=1; }
  with_progress build/logs/apt.log apt_install "${missing[@]}" || status=$?
  [ -z "$made_policy" ] || rm -f $policy
  [ $status = 0 ] || { tail -n 20 build/logs/apt.log >&2; fail "packages could not be installed; see build/logs/apt.log"; }
}

# build_targets TARGET...: the release build, in build/. Says at its end how much of it was new.
build_targets() { build_tree release build "$@"; }

configure_tree() { # PRESET FOLDER
  [ ! -f "$2/build.ninja" ] || return 0
  with_progress "build/logs/configure-$1.log" cmake --preset "$1" ||
    { tail -n 20 "build/logs/configure-$1.log" >&2; fail "configuring failed; see build/logs/configure-$1.log"; }
}

# build_tree PRESET FOLDER TARGET...
build_tree() {
  local preset=$1 folder=$2 log=build/logs/build-$1.log began=$SECONDS all done; shift 2
  configure_tree "$preset" "$folder"
  # The cache serves every checkout of the project, wherever it lies.
  export CCACHE_DIR=${CCACHE_DIR:-$HOME/.cache/ccache} CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
  with_progress "$log" env NINJA_STATUS='[%f/%t] ' ninja -C "$folder" "$@" ||
    { grep -A20 -m3 -e FAILED -e error: "$log" >&2; fail "the build failed; see $log"; }
  if grep -q '^ninja: no work to do' "$log"; then echo "nothing has changed: all of it is built already"; return; fi
  done=$(sed -n 's/^\[\([0-9]*\)\/.*/\1/p' "$log" | tail -n 1)
  all=$(ninja -C "$folder" -t commands "$@" | wc -l)
  echo "built $done of $all steps in $((SECONDS - began)) s; the rest was up to date"
}
