#!/usr/bin/env bash
# Measures how many lines the tests reach, and fails below 85 of 100. Arguments go to cargo llvm-cov, such as --html.
#
# cargo-llvm-cov is installed where it is absent. The tools of LLVM come with the toolchain (rustup component add
# llvm-tools), or are the system's, of the same version as the compiler's LLVM (on Debian: apt-get install llvm-22).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo llvm-cov --version >/dev/null 2>&1 || cargo install --locked cargo-llvm-cov
if ! compgen -G "$(rustc --print sysroot)/lib/rustlib/*/bin/llvm-profdata" >/dev/null; then
  major=$(rustc --version --verbose | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
  export LLVM_COV=/usr/lib/llvm-$major/bin/llvm-cov LLVM_PROFDATA=/usr/lib/llvm-$major/bin/llvm-profdata
  if [[ ! -x $LLVM_PROFDATA ]]; then
    echo "error: the tools of LLVM $major are missing: run 'rustup component add llvm-tools'" >&2
    exit 1
  fi
fi

[[ -n ${NATS_SERVER:-} ]] || exec bash scripts/with-nats.sh bash scripts/coverage.sh "$@"

command=(cargo llvm-cov)
! cargo nextest --version >/dev/null 2>&1 || command+=(nextest)
command+=(--all-features --fail-under-lines 85 "$@")
export ANNALS_REQUIRE=sqlite,postgres,nats
if [[ -n ${ANNALS_TEST_POSTGRES:-} ]]; then
  exec "${command[@]}"
fi
exec bash scripts/with-postgres.sh "${command[@]}"
