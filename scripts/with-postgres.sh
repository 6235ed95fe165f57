#!/usr/bin/env bash
# Runs a command while a private Postgres server runs, whose URL the command finds in ANNALS_TEST_POSTGRES.
#
#   bash scripts/with-postgres.sh COMMAND [ARGUMENTS]
#
# PG_BIN      the folder of initdb and pg_ctl, where they are not where Debian puts them
# PG_PRELOAD  a library that the server loads before all others, such as one that delays its flushes
#
# Where no Postgres is installed, it is installed with apt-get. The server listens on loopback only, on a free port,
# keeps its files in a folder of its own under /tmp, and runs as the caller; where that is root, whom Postgres refuses,
# as the system's user postgres, or as one that this script creates. It is stopped and its folder is removed when the
# command ends, after a failure and after Ctrl-C too.
set -euo pipefail

folder=""
postgres_bin=${PG_BIN:-}
server_user=""

# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Finds the folder of the newest Postgres server that is installed.
find_postgres() {
  local initdb
  initdb=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort --version-sort | tail -n 1)
  [[ -x $initdb ]] || initdb=$(command -v initdb) || return 1
  postgres_bin=$(dirname "$(readlink -f "$initdb")")
}

# Postgres refuses to run as root.
choose_server_user() {
  ((EUID == 0)) || return 0
  server_user=postgres
  if ! id "$server_user" >/dev/null 2>&1; then
    server_user=annals-test
    id "$server_user" >/dev/null 2>&1 || useradd --system --shell /bin/sh "$server_user"
  fi
}

as_server() {
  if [[ -n $server_user ]]; then
    (cd / && runuser --user "$server_user" -- "$@")
  else
    "$@"
  fi
}

# Starts a server on a free port and exports its URL: a port that somebody else took is tried again elsewhere.
start_postgres() {
  local port try
  folder=$(as_server mktemp --directory /tmp/annals-test.XXXXXX)
  as_server tee "$folder/password" <<<for-tests >/dev/null
  as_server "$postgres_bin/initdb" --pgdata="$folder/data" --username=annals --pwfile="$folder/password" \
    --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 >/dev/null
  for try in 1 2 3 4 5 6 7 8; do
    port=$((20000 + (RANDOM % 12000)))
    if as_server env ${PG_PRELOAD:+LD_PRELOAD="$PG_PRELOAD"} "$postgres_bin/pg_ctl" start --wait --silent --pgdata="$folder/data" --log="$folder/log" --options="-p $port \
      -c listen_addresses=127.0.0.1 -c unix_socket_directories=$folder -c max_connections=200" >/dev/null; then
      export ANNALS_TEST_POSTGRES="postgres://annals:for-tests@127.0.0.1:$port/postgres"
      say "Postgres $("$postgres_bin/postgres" --version | cut -d' ' -f3) runs on 127.0.0.1:$port in $folder (try $try)"
      check_preload
      return
    fi
    as_server grep -q 'could not bind' "$folder/log" || break
  done
  as_server tail -n 20 "$folder/log" >&2 || true
  fail "Postgres did not start"
}

# The dynamic linker only warns where it can't load a library.
check_preload() {
  local server
  [[ -n ${PG_PRELOAD:-} ]] || return 0
  server=$(as_server head -n 1 "$folder/data/postmaster.pid")
  grep -qF "$PG_PRELOAD" "/proc/$server/maps" || fail "the server did not load $PG_PRELOAD"
}

# shellcheck disable=SC2317 # the trap calls it
stop_postgres() {
  local status=$?
  trap - EXIT
  trap '' INT TERM HUP
  if [[ -n $folder ]]; then
    if as_server test -f "$folder/data/postmaster.pid"; then
      as_server "$postgres_bin/pg_ctl" stop --silent --mode=immediate --pgdata="$folder/data" >/dev/null || true
    fi
    as_server rm -rf "$folder"
    say "the private Postgres server is stopped and removed"
  fi
  exit "$status"
}

(($# > 0)) || fail "no command is named: write bash scripts/with-postgres.sh COMMAND"
trap stop_postgres EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
if [[ -z $postgres_bin ]] && ! find_postgres; then
  install_package postgresql Postgres \
    "install its server, or set PG_BIN to the folder of its initdb"
  find_postgres || fail "the package postgresql brought no initdb: set PG_BIN to its folder"
fi
choose_server_user
start_postgres
"$@"
