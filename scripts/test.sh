#!/usr/bin/env bash
# Runs every test: on SQLite, on Postgres, on SQL Server where there is one, and with NATS.
#
#   bash scripts/test.sh [arguments of the test runner, such as a part of a test's name]
#
# ANNALS_TEST_POSTGRES   the URL of a Postgres server whose user may create databases; without it, a private server
#                        is started for the tests and removed after them
# NATS_SERVER            the program nats-server, which the tests start; without it, the one that is installed, and
#                        where there is none, it is installed
# ANNALS_TEST_MSSQL      the URL of a SQL Server; without it, SQL Server is not tested, which is said loudly
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command -v cargo >/dev/null || { echo "error: cargo is not installed: see https://rustup.rs" >&2 && exit 1; }
[[ -n ${ANNALS_TEST_POSTGRES:-} ]] || exec bash scripts/with-postgres.sh bash scripts/test.sh "$@"
[[ -n ${NATS_SERVER:-} ]] || exec bash scripts/with-nats.sh bash scripts/test.sh "$@"

# What is required and absent fails its tests, which would be skipped otherwise.
export ANNALS_REQUIRE=sqlite,postgres,nats
if [[ -n ${ANNALS_TEST_MSSQL:-} ]]; then
  ANNALS_REQUIRE+=,mssql
  mssql="==> SQL Server is tested on the server that ANNALS_TEST_MSSQL names"
else
  mssql="==> !!! SQL SERVER IS NOT TESTED: set ANNALS_TEST_MSSQL to the URL of a server to test it !!!"
fi
trap 'echo "$mssql"' EXIT
echo "$mssql"

if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --all-features --no-fail-fast "$@" </dev/null
  # Nextest does not run the examples of the documentation.
  (($# > 0)) || cargo test --all-features --doc </dev/null
else
  cargo test --all-features --no-fail-fast "$@" </dev/null
fi
