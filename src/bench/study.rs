//! What is measured besides the rounds of a workload: each study has figures of its own.

use serde::Serialize;

use super::contender::Contender;
use super::store::StoreContender;
use super::{Plan, bytes, copying, costs, grown, held, lanes, live, projection, read_grown, round_to, tail, topics};
use crate::conformance::{Database, Harness};
use crate::error::Result;

/// A question about the store that takes more than rounds of one workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Study {
    /// What an append costs in a large log, against a small one.
    AppendGrown,
    /// What reading costs in a large log.
    ReadGrown,
    /// The throughput before, while and after somebody holds a snapshot of the database open.
    AppendUnderSnapshot,
    /// How long the slowest of 8 callers wait, against the time of one batch.
    CallersTail,
    /// What writers of their own gain from a topic of several lanes.
    AppendLanes,
    /// The bytes on disk of an event, and of which tables and indexes they are.
    BytesPerEvent,
    /// How soon a subscriber sees an event, and what those cost who wait.
    Live,
    /// How fast a projection applies a log.
    Projection,
    /// What each index, the hash and an index over payloads cost an insert.
    WriteCosts,
    /// How fast a topic is copied and compared, beside batched inserts.
    Copy,
    /// What many topics cost, and finding one of them.
    Topics,
}

impl Study {
    /// Every study.
    pub const ALL: [Self; 11] = [
        Self::Live,
        Self::Projection,
        Self::CallersTail,
        Self::AppendLanes,
        Self::BytesPerEvent,
        Self::WriteCosts,
        Self::Copy,
        Self::Topics,
        Self::AppendGrown,
        Self::ReadGrown,
        Self::AppendUnderSnapshot,
    ];

    /// Returns the study's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AppendGrown => "append_grown",
            Self::ReadGrown => "read_grown",
            Self::AppendUnderSnapshot => "append_under_snapshot",
            Self::CallersTail => "callers_tail",
            Self::Live => "live",
            Self::Projection => "projection",
            Self::AppendLanes => "append_lanes",
            Self::BytesPerEvent => "bytes_per_event",
            Self::WriteCosts => "write_costs",
            Self::Copy => "copy",
            Self::Topics => "topics",
        }
    }

    /// Runs the study on databases of its own, which it adds to `made`.
    pub(super) async fn run(self, plan: &Plan, subject: &mut Subject<'_>) -> Result<()> {
        match self {
            Self::AppendGrown => grown::run(plan, subject).await,
            Self::ReadGrown => read_grown::run(plan, subject).await,
            Self::AppendUnderSnapshot => held::run(plan, subject).await,
            Self::Live => live::run(plan, subject).await,
            Self::Projection => projection::run(plan, subject).await,
            Self::CallersTail => tail::run(plan, subject).await,
            Self::AppendLanes => lanes::run(plan, subject).await,
            Self::BytesPerEvent => bytes::run(subject).await,
            Self::WriteCosts => costs::run(plan, subject).await,
            Self::Copy => copying::run(plan, subject).await,
            Self::Topics => topics::run(subject).await,
        }
    }
}

/// One figure of a study.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The study's name.
    pub study: &'static str,
    /// The engine.
    pub engine: String,
    /// The durability, as the URL's option names it.
    pub durability: String,
    /// What was measured.
    pub measure: String,
    /// The figure.
    pub value: f64,
    /// The figure's unit; `ratio` where it has none.
    pub unit: &'static str,
}

/// Where a study runs, and what it found so far.
pub(super) struct Subject<'a> {
    pub(super) harness: &'a dyn Harness,
    pub(super) scheme: &'a str,
    pub(super) durability: &'a str,
    pub(super) study: Study,
    /// The databases that were made, which are removed after the study.
    pub(super) made: &'a mut Vec<std::sync::Arc<dyn Database>>,
    pub(super) on_finding: &'a mut (dyn FnMut(Finding) + Send),
}

impl Subject<'_> {
    /// Makes a database that is removed after the study.
    pub(super) async fn fresh(&mut self) -> Result<std::sync::Arc<dyn Database>> {
        let database = self.harness.fresh().await?;
        self.made.push(std::sync::Arc::clone(&database));
        Ok(database)
    }

    /// Reports a figure.
    pub(super) fn found(&mut self, measure: impl Into<String>, value: f64, unit: &'static str) {
        let (study, engine, durability) = (self.study.name(), self.scheme.to_owned(), self.durability.to_owned());
        let value = round_to(value, if unit == "ratio" { 1_000.0 } else { 10.0 });
        (self.on_finding)(Finding { study, engine, durability, measure: measure.into(), value, unit });
    }

    /// Opens the raw driver on a database.
    pub(super) async fn raw(&self, database: &dyn Database) -> Result<Box<dyn Contender>> {
        super::raw_driver(database, self.scheme).await
    }
}

/// Appends 100 events to each of the streams with these numbers, ten at a time, in requests of 1,000 events.
pub(super) async fn fill(store: &StoreContender, streams: std::ops::Range<usize>) -> Result<()> {
    for round in 0..10 {
        for first in streams.clone().step_by(100) {
            let names = (first..(first + 100).min(streams.end)).map(stream_name);
            store.append_to_each(names, round * 10..(round + 1) * 10).await?;
        }
    }
    Ok(())
}

/// Returns the name of a stream: neighbours in number are far apart in the order of names, as those of uuids are.
pub(super) fn stream_name(number: usize) -> String {
    format!("cart-{:08x}", (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32)
}

/// Returns the mean of some times in nanoseconds, in microseconds.
pub(super) fn mean_us(times: &[u64]) -> f64 {
    times.iter().sum::<u64>() as f64 / 1_000.0 / times.len().max(1) as f64
}
