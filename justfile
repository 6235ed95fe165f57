set shell := ["bash", "-euo", "pipefail", "-c"]

# List the recipes.
default:
    @just --list --unsorted

# Run every test, on SQLite and a private Postgres server; arguments go to the test runner.
test *arguments:
    bash scripts/test.sh {{ arguments }}

# Show what the store does, on real input, in a temporary file.
demo:
    cargo demo

# Check formatting, lints of code and scripts.
lint:
    cargo fmt --check
    cargo clippy --all-features --all-targets -- -D warnings
    shellcheck scripts/*.sh .ci/run

# Build the documentation of the library.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --all-features --no-deps

# Check licences, sources and versions of the dependencies.
deny:
    cargo deny check

# Run the conformance suite against a database; it works in a schema or file of its own, and leaves nothing behind.
conformance url:
    cargo run --quiet --release --all-features -- conformance {{ quote(url) }}

# Run the conformance suite against SQLite and every server of docker/compose.yaml.
conformance-all:
    bash scripts/conformance-all.sh

# Kill processes and servers under load, 200 times an engine, and check that nothing acknowledged is lost.
crash cycles="200":
    ANNALS_CRASH_CYCLES={{ quote(cycles) }} bash scripts/crash.sh

# Kill members of groups, projections and the server at random while others write, ten minutes an engine, and check what came of it.
soak seconds="600":
    ANNALS_SOAK_SECONDS={{ quote(seconds) }} bash scripts/soak.sh

# Measure how many lines the tests reach, at least 85 of 100.
coverage *arguments:
    bash scripts/coverage.sh {{ arguments }}

# Play many random histories against the model of the contract, on SQLite and a private Postgres server.
model cases="5000":
    ANNALS_MODEL_CASES={{ quote(cases) }} bash scripts/test.sh model::clients model::one_client

# Compare the store with the bare driver, as docs/benchmarks.md explains.
bench url="sqlite:target/bench.db":
    cargo run --quiet --release --all-features -- bench {{ quote(url) }}

# Measure appends where each flush of the disk takes 2 ms; arguments go to `annals bench`.
bench-slow-flush *arguments:
    bash scripts/bench-slow-flush.sh {{ arguments }}

# Write the migrations anew from the schema's model.
generate:
    for dialect in sqlite postgres mssql; do \
        cargo run --quiet --features cli -- migrate generate --dialect "$dialect" --out "migrations/$dialect"; \
    done

# What a change must pass before it lands.
ci:
    bash .ci/run
