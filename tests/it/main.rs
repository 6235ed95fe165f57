//! The integration tests, one binary. Each engine enrols in the conformance suite in a file of its own; what is not the
//! contract's stands beside: migrations, the command line, the saboteurs, crashes.

#![allow(clippy::unwrap_used, clippy::expect_used)] // Helpers of tests fail as tests do.

mod contract;
mod layout;
mod support;

#[cfg(feature = "postgres")]
mod lost_answers;
#[cfg(feature = "mssql")]
mod mssql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_engine;
#[cfg(feature = "postgres")]
mod postgres_plans;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "sqlite")]
mod cli;
#[cfg(feature = "sqlite")]
mod copy;
#[cfg(all(feature = "sqlite", feature = "postgres"))]
mod crash;
#[cfg(all(feature = "sqlite", feature = "postgres"))]
mod decorator;
#[cfg(all(feature = "sqlite", feature = "postgres"))]
mod examination;
#[cfg(all(feature = "sqlite", feature = "postgres"))]
mod failover;
#[cfg(feature = "sqlite")]
mod migrations;
#[cfg(feature = "sqlite")]
mod model;
#[cfg(feature = "sqlite")]
mod relay;
#[cfg(all(feature = "sqlite", feature = "postgres"))]
mod replica;
#[cfg(feature = "sqlite")]
mod saboteurs;
#[cfg(all(feature = "sqlite", feature = "postgres"))]
mod slow_copy;
#[cfg(all(feature = "sqlite", feature = "postgres"))]
mod soak;
#[cfg(feature = "sqlite")]
mod topics;
