//! The read side under kills (contract 14 to 17): processes write, members of consumer groups and a projection handle, any
//! of them is killed at random, and the server too; then every event was handled in the order of its stream, none was
//! skipped, and the projection has counted each exactly once.
//!
//! `just soak` runs for ten minutes an engine; without `ANNALS_SOAK_SECONDS` it is some seconds.

mod child;
mod run;
mod verdict;

use std::time::Duration;

use run::Run;

/// How long processes are killed, unless `ANNALS_SOAK_SECONDS` says otherwise.
const SECONDS: u64 = 6;

fn time() -> Duration {
    Duration::from_secs(std::env::var("ANNALS_SOAK_SECONDS").map_or(SECONDS, |text| text.parse().unwrap()))
}

#[test]
fn members_and_projections_that_are_killed_skip_nothing_on_sqlite() {
    println!("sqlite: {}", Run::sqlite().soak(time()).unwrap_or_else(|error| panic!("{error}")));
}

#[test]
fn members_and_projections_that_are_killed_skip_nothing_on_postgres() {
    let Some(run) = Run::postgres() else { return };
    println!("postgres: {}", run.soak(time()).unwrap_or_else(|error| panic!("{error}")));
}

#[test]
fn a_member_that_acknowledges_before_it_handles_is_caught() {
    let found = Run::sqlite().with_early_acknowledgements().soak(Duration::from_secs(20));
    let error = found.expect_err("the control was not caught");
    assert!(error.starts_with("skipped:"), "the control was caught for another reason: {error}");
    println!("control, acknowledged early: caught: {error}");
}
