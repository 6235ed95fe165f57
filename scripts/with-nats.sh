#!/usr/bin/env bash
# Runs a command that finds the program nats-server in NATS_SERVER. The tests start and kill servers of their own.
#
#   bash scripts/with-nats.sh COMMAND [ARGUMENTS]
#
# NATS_SERVER   the program, where it is not in the PATH or where Debian puts it
#
# Where no nats-server is installed, it is installed with apt-get.
set -euo pipefail

# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Debian's folder for servers is not in everybody's PATH.
find_nats() {
  NATS_SERVER=$(PATH=$PATH:/usr/sbin:/usr/local/sbin command -v nats-server)
}

(($# > 0)) || fail "no command is named: write bash scripts/with-nats.sh COMMAND"
if [[ -z ${NATS_SERVER:-} ]] && ! find_nats; then
  install_package nats-server nats-server \
    "install it, or set NATS_SERVER to the program"
  find_nats || fail "the package nats-server brought no program: set NATS_SERVER to it"
fi
export NATS_SERVER
exec "$@"
