#!/usr/bin/env bash
# Runs the conformance suite against SQLite, in memory and in a file, and against every server of docker/compose.yaml.
# It starts the servers, waits until they are healthy, runs through all of them, and removes them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

compose=(docker compose --file docker/compose.yaml)
docker compose version >/dev/null 2>&1 || {
  echo "error: docker compose is not installed: see https://docs.docker.com/compose/install" >&2
  exit 1
}
folder=$(mktemp --directory)
trap '"${compose[@]}" down --volumes; rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

cargo build --release --all-features
"${compose[@]}" up --detach --wait --wait-timeout 300

failed=()
for url in \
  "sqlite::memory:" \
  "sqlite:$folder/conformance.db" \
  "postgres://annals:annals@127.0.0.1:54315/annals" \
  "postgres://annals:annals@127.0.0.1:54318/annals" \
  "mssql://sa:Annals_123@127.0.0.1:14322/annals?trust_server_certificate=yes" \
  "mssql://sa:Annals_123@127.0.0.1:14325/annals?trust_server_certificate=yes"; do
  printf '\n==> %s\n' "${url/:Annals_123@/:***@}"
  target/release/annals conformance "$url" || failed+=("${url/:Annals_123@/:***@}")
done
if ((${#failed[@]} > 0)); then
  printf 'failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
