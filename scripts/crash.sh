#!/usr/bin/env bash
# Lets processes append under load, kills them and their Postgres server, and checks that nothing that was acknowledged is
# lost, doubled or out of place; then that controls, stores with a fault, are caught by the same checks.
#
#   bash scripts/crash.sh [a part of a test's name, such as crash::sqlite]
#
# ANNALS_CRASH_CYCLES   how often an engine is killed: 200 times, where it is not set
# PG_BIN                the folder of initdb and postgres, where they are not where Debian puts them
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The server that is killed is another one, which the tests start; this one brings an installation where there is none.
[[ -n ${ANNALS_TEST_POSTGRES:-} ]] || exec bash scripts/with-postgres.sh bash scripts/crash.sh "$@"

export ANNALS_REQUIRE=sqlite,postgres ANNALS_CRASH_CYCLES=${ANNALS_CRASH_CYCLES:-200}
output=$(mktemp)
trap 'rm -f "$output"' EXIT
cargo test --all-features --test it -- "${@:-crash::}" --nocapture --test-threads=1 </dev/null | tee "$output"
# What the tests found, once more, without what the runner says around it.
sed -nE -e '/control, /s/^(.{300}).*/\1 …/' -e 's/^(test .* \.\.\. )?((sqlite|postgres): |control, )/==> \2/p' "$output"
