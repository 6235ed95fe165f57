#!/usr/bin/env bash
# Lets processes write, and members of consumer groups and a projection read, kills any of them at random and the Postgres
# server too, and checks that every event was handled in the order of its stream, none skipped, and each counted once by
# the projection; then that a control, members that acknowledge before they handle, is caught by the same checks.
#
#   bash scripts/soak.sh [a part of a test's name, such as soak::members]
#
# ANNALS_SOAK_SECONDS   how long an engine is under it: 600 seconds, where it is not set
# PG_BIN                the folder of initdb and postgres, where they are not where Debian puts them
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The server that is killed is another one, which the tests start; this one brings an installation where there is none.
[[ -n ${ANNALS_TEST_POSTGRES:-} ]] || exec bash scripts/with-postgres.sh bash scripts/soak.sh "$@"

export ANNALS_REQUIRE=sqlite,postgres ANNALS_SOAK_SECONDS=${ANNALS_SOAK_SECONDS:-600}
cargo test --all-features --test it -- "${@:-soak::}" --nocapture --test-threads=1 </dev/null
