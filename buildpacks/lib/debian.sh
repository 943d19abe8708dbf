# shellcheck shell=bash
# Programs and libraries that only some languages need: Debian packages, unpacked without root below a folder of the app.
# DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR name another archive than the stack's; apt checks what comes by Debian's keys.

debian=.debian # of the app, and at run time $HOME/.debian

# debian_packages CACHE PACKAGE...: the packages, and what they need and the stack has not. Fetched once, kept in the cache.
debian_packages() {
  local cache=$1 system; shift
  system=$(md5sum /var/lib/dpkg/status | cut -c1-12)
  if ! fresh "$cache/debian" "$system $(words "$@")"; then
    heading "Fetching from Debian: $(words "$@")"
    fetch_debian_packages "$cache/debian" "$@"
    keep "$cache/debian" "$system $(words "$@")"
  fi
  rm -rf "$debian"
  cp -a "$cache/debian/root" "$debian"
  use_debian "$PWD/$debian"
}

fetch_debian_packages() { # fetch_debian_packages FOLDER PACKAGE...
  local folder=$1 out=$1/.out deb; shift
  mkdir -p "$folder"/{root,state/lists/partial,cache/archives/partial}
  cp /etc/apt/sources.list "$folder/sources.list"
  [ -z "${DEBIAN_MIRROR:-}" ] || printf 'deb %s %s main\n' "$DEBIAN_MIRROR" bookworm "$DEBIAN_MIRROR" bookworm-updates \
    "${DEBIAN_SECURITY_MIRROR:-${DEBIAN_MIRROR%/}-security}" bookworm-security > "$folder/sources.list"
  local apt=(apt-get -qq -o Dir::State="$folder/state" -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache="$folder/cache"
    -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts=- -o Debug::NoLocking=1 -o APT::Sandbox::User=
    -o Acquire::Languages=none -o Acquire::Retries=3)
  "${apt[@]}" update > "$out" 2>&1 || { detail < "$out"; fail "Debian's archive cannot be read; its words are above." \
    "The operator can name another one for all builds: BUILD_ENV_DEBIAN_MIRROR"; }
  "${apt[@]}" install --download-only --no-install-recommends --yes "$@" > "$out" 2>&1 || {
    detail < "$out"; fail "Debian's archive has not got all of: $(words "$@")" "Its words are above."; }
  for deb in "$folder"/cache/archives/*.deb; do
    [ ! -f "$deb" ] || dpkg-deb -x "$deb" "$folder/root"
  done
  rm -rf "$folder"/{state,cache,sources.list,.out} "$folder"/root/usr/share/{doc,man,locale,lintian,info}
  relative_links "$folder/root"
  own_interpreters "$folder/root"
}

# Links of packages are absolute; here they begin at another root.
relative_links() { # relative_links ROOT
  local link target
  find "$1" -type l -lname '/*' | while IFS= read -r link; do
    target=$(readlink "$link")
    [ ! -e "$1$target" ] && [ ! -L "$1$target" ] || ln -sfnr "$1$target" "$link"
  done
}

# Scripts name the interpreter that they were packaged with; here it is the one on the PATH.
own_interpreters() { # own_interpreters ROOT
  local script interpreter
  for script in "$1"/usr/*bin/*; do
    [ -f "$script" ] && [ "$(head -c 10 "$script" | tr -d '\0')" = '#!/usr/bin' ] || continue
    interpreter=$(sed -n '1s|^#!/usr/bin/\([^ ]*\)$|\1|p' "$script")
    [ -z "$interpreter" ] || [ ! -e "$1/usr/bin/$interpreter" ] || sed -i "1s|.*|#!/usr/bin/env $interpreter|" "$script"
  done
}

# use_debian ROOT: programs find each other and their libraries there.
use_debian() {
  export PATH="$1/usr/bin:$1/usr/sbin:$PATH"
  export LD_LIBRARY_PATH="$1/usr/lib/x86_64-linux-gnu:$1/usr/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  export LIBRARY_PATH="$1/usr/lib/x86_64-linux-gnu:$1/usr/lib${LIBRARY_PATH:+:$LIBRARY_PATH}"
  export CPATH="$1/usr/include:$1/usr/include/x86_64-linux-gnu${CPATH:+:$CPATH}"
  export PKG_CONFIG_PATH="$1/usr/lib/x86_64-linux-gnu/pkgconfig:$1/usr/share/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
}

# The same for the app's processes.
profile_debian() {
  profile 00-debian <<'PROFILE'
export PATH="$HOME/.debian/usr/bin:$HOME/.debian/usr/sbin:$PATH"
export LD_LIBRARY_PATH="$HOME/.debian/usr/lib/x86_64-linux-gnu:$HOME/.debian/usr/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
PROFILE
}

# Packages that the app itself asks for, one a line.
aptfile() { [ ! -f Aptfile ] || sed 's/#.*//' Aptfile | tr -s ' \t\r' '\n' | grep -E '^[a-z0-9][a-z0-9+.-]*$' || true; }
