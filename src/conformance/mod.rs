//! The public conformance suite: the contract as named cases, each on a fresh, empty database.
//!
//! A backend enrols through a [`Harness`], and [`conformance_suite!`](crate::conformance_suite) makes a test of each
//! case. `annals conformance URL` runs the same cases against anybody's server.
//!
//! A case that a backend's [`Capabilities`](crate::backend::Capabilities) rule out is skipped, with the reason.

mod case;
mod enrol;
mod harness;
mod keepers;
mod run;

mod aggregate;
mod aggregate_state;
mod append;
mod boundary;
mod cancel;
mod close;
mod command_reuse;
mod commands;
mod condition;
#[cfg(feature = "sqlite")]
mod configuration;
mod conflict;
mod connection;
mod contention;
mod counter;
#[cfg(feature = "sqlite")]
mod cutover;
mod dead_letter;
mod durable;
mod errors;
mod event_id;
mod fidelity;
mod filter;
mod follow;
mod group;
mod idempotency;
mod immutability;
#[cfg(feature = "_sql")]
mod inline;
#[cfg(feature = "sqlite")]
mod instances;
mod json_filter;
#[cfg(feature = "_sql")]
mod ledger;
mod limits;
mod live;
mod lives;
#[cfg(feature = "sqlite")]
mod many;
mod members;
mod metadata;
#[cfg(feature = "sqlite")]
mod moving;
mod names;
mod order;
mod overview;
#[cfg(feature = "sqlite")]
mod ownership;
mod paging;
mod process;
#[cfg(feature = "_sql")]
mod projection;
#[cfg(feature = "sqlite")]
mod purging;
mod queue;
mod races;
mod raw;
mod read;
#[cfg(feature = "_sql")]
mod rebuild;
mod reopen;
#[cfg(feature = "sqlite")]
mod restoring;
mod routines;
#[cfg(feature = "sqlite")]
mod routing;
mod snapshot;
mod speed;
mod time;

mod prompt;
mod streams;
mod subscriptions;

mod together;
mod topic;
#[cfg(feature = "_sql")]
mod transaction;

pub use case::{Case, Failure, Need, Verdict};
pub use harness::{Database, Fixture, Harness, UrlHarness, with_options};
pub use run::{Report, Status, Summary, run, run_case, run_test, run_until};

/// Every family of cases, in the order in which they are run.
pub const FAMILIES: &[(&str, &[Case])] = &[
    ("append", append::CASES),
    ("conflict", conflict::CASES),
    ("condition", condition::CASES),
    ("idempotency", idempotency::CASES),
    ("command_reuse", command_reuse::CASES),
    ("event_id", event_id::CASES),
    ("lives", lives::CASES),
    ("metadata", metadata::CASES),
    ("snapshot", snapshot::CASES),
    ("limits", limits::CASES),
    ("names", names::CASES),
    ("errors", errors::CASES),
    ("close", close::CASES),
    ("overview", overview::CASES),
    ("commands", commands::CASES),
    ("streams", streams::CASES),
    ("topic", topic::CASES),
    #[cfg(feature = "sqlite")]
    ("routing", routing::CASES),
    #[cfg(feature = "sqlite")]
    ("configuration", configuration::CASES),
    #[cfg(feature = "sqlite")]
    ("instances", instances::CASES),
    #[cfg(feature = "sqlite")]
    ("cutover", cutover::CASES),
    #[cfg(feature = "sqlite")]
    ("ownership", ownership::CASES),
    #[cfg(feature = "sqlite")]
    ("moving", moving::CASES),
    #[cfg(feature = "sqlite")]
    ("purging", purging::CASES),
    #[cfg(feature = "sqlite")]
    ("restoring", restoring::CASES),
    ("races", races::CASES),
    ("contention", contention::CASES),
    ("boundary", boundary::CASES),
    ("process", process::CASES),
    ("queue", queue::CASES),
    ("order", order::CASES),
    ("read", read::CASES),
    ("filter", filter::CASES),
    ("json_filter", json_filter::CASES),
    ("paging", paging::CASES),
    ("time", time::CASES),
    ("fidelity", fidelity::CASES),
    ("immutability", immutability::CASES),
    ("raw", raw::CASES),
    ("routines", routines::CASES),
    ("subscriptions", subscriptions::CASES),
    ("follow", follow::CASES),
    ("live", live::CASES),
    ("durable", durable::CASES),
    ("group", group::CASES),
    ("dead_letter", dead_letter::CASES),
    #[cfg(feature = "_sql")]
    ("transaction", transaction::CASES),
    #[cfg(feature = "_sql")]
    ("projection", projection::CASES),
    #[cfg(feature = "_sql")]
    ("rebuild", rebuild::CASES),
    #[cfg(feature = "_sql")]
    ("inline", inline::CASES),
    ("reopen", reopen::CASES),
    ("aggregate", aggregate::CASES),
    ("aggregate_state", aggregate_state::CASES),
    ("cancel", cancel::CASES),
    ("connection", connection::CASES),
    ("speed", speed::CASES),
];

/// Returns every case with its full name, `family::case`.
pub fn cases() -> impl Iterator<Item = (String, &'static Case)> {
    FAMILIES.iter().flat_map(|(family, cases)| cases.iter().map(move |case| (format!("{family}::{}", case.name), case)))
}
