#!/usr/bin/env bash
# Measures appends where every flush of the disk takes some milliseconds, on SQLite and on a private Postgres server.
#
#   bash scripts/bench-slow-flush.sh [ARGUMENTS OF annals bench]
#
# SLOW_FLUSH_US   by how many microseconds each flush is delayed; 2000 unless given
# ANNALS_BIN      the annals program, built with the feature bench; built here unless given
#
# A library that is loaded before the C library delays fsync and fdatasync. Before anything is measured, a commit of SQLite
# is shown to be delayed, and the server to have loaded the library; there, raw's one caller shows the delay.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export SLOW_FLUSH_US=${SLOW_FLUSH_US:-2000}

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

measure() {
  "$annals" bench "$@" --workload append_single,append_callers_8,append_callers_64,append_callers_256 \
    "${arguments[@]}"
}

# This script starts itself beside the server.
if [[ ${1:-} == --on-postgres ]]; then
  shift
  annals=$1
  shift
  arguments=("$@")
  measure "$ANNALS_TEST_POSTGRES"
  exit
fi

arguments=("$@")
((${#arguments[@]})) || arguments=(--rounds 3 --thousands 3)
annals=${ANNALS_BIN:-}
if [[ -z $annals ]]; then
  cargo build --quiet --release --all-features
  annals=$PWD/target/release/annals
fi
folder=$(mktemp --directory "${TMPDIR:-/tmp}/annals-slow-flush.XXXXXX")
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# A user of its own runs the server, who is to read the library.
chmod 755 "$folder"
cc -shared -fPIC -O2 -o "$folder/slow_flush.so" benches/slow_flush.c -ldl

"$annals" migrate up --url "sqlite:$folder/check.db" >/dev/null
report=$(LD_PRELOAD=$folder/slow_flush.so SLOW_FLUSH_LOG=1 \
  "$annals" append --url "sqlite:$folder/check.db" check check-1 --type Checked --data 1 2>&1 >/dev/null)
[[ $report =~ :\ [1-9][0-9]*\ flushes ]] || fail "a commit of sqlite was not delayed: $report"

printf '==> SQLite, each flush %s µs later (%s)\n' "$SLOW_FLUSH_US" "${report##*: }"
LD_PRELOAD=$folder/slow_flush.so measure "sqlite:$folder/bench.db"

printf '==> Postgres, each flush %s µs later\n' "$SLOW_FLUSH_US"
PG_PRELOAD=$folder/slow_flush.so bash scripts/with-postgres.sh \
  bash scripts/bench-slow-flush.sh --on-postgres "$annals" "${arguments[@]}"
