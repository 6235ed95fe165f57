# shellcheck shell=bash
# What the scripts share.

say() {
  printf '==> %s\n' "$*"
}

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Installs a Debian package: its name, what is missing without it, and what to do where that can't be done here.
install_package() {
  local package=$1 missing=$2 otherwise=$3 root=()
  command -v apt-get >/dev/null || fail "$missing is not installed: $otherwise"
  if ((EUID != 0)); then
    command -v sudo >/dev/null || fail "$missing is not installed: run 'apt-get install $package' as root first"
    root=(sudo)
  fi
  say "$missing is not installed: installing Debian's package $package"
  "${root[@]}" apt-get update --quiet </dev/null
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --quiet --yes --no-install-recommends "$package" </dev/null
}
