#!/usr/bin/env bash
# Runs a command that finds the program nats-server in NATS_SERVER. The tests start and kill servers of their own.
#
#   bash scripts/with-nats.sh COMMAND [ARGUMENTS]
#
# NATS_SERVER   the program, where it is not in the PATH or where Debian puts it
#
# Where no nats-server is installed, it is installed with apt-get.
set -euo pipefail

say() {
  printf '==> %s\n' "$*"
}

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Debian's folder for servers is not in everybody's PATH.
find_nats() {
  NATS_SERVER=$(PATH=$PATH:/usr/sbin:/usr/local/sbin command -v nats-server)
}

install_nats() {
  local root=()
  command -v apt-get >/dev/null ||
    fail "nats-server is not installed: install it, or set NATS_SERVER to the program"
  if ((EUID != 0)); then
    command -v sudo >/dev/null || fail "nats-server is not installed: run 'apt-get install nats-server' as root first"
    root=(sudo)
  fi
  say "nats-server is not installed: installing Debian's package nats-server"
  "${root[@]}" apt-get update --quiet </dev/null
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --quiet --yes --no-install-recommends nats-server </dev/null
}

(($# > 0)) || fail "no command is named: write bash scripts/with-nats.sh COMMAND"
if [[ -z ${NATS_SERVER:-} ]] && ! find_nats; then
  install_nats
  find_nats || fail "the package nats-server brought no program: set NATS_SERVER to it"
fi
export NATS_SERVER
exec "$@"
