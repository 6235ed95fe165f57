//! The benchmark: the store beside the raw driver, in the same run, with the same durability, tables and indexes.
//!
//! A round of a workload runs on the raw driver and then on the store, on databases of their own; the figures are the
//! medians of the rounds. `ratio` is the store's events per second divided by the raw driver's. A [`Study`] asks what
//! rounds of one workload can't answer, and has figures of its own.

mod bytes;
mod contender;
mod copying;
mod costs;
mod grown;
mod held;
mod lanes;
mod live;
mod projection;
mod read_grown;
mod store;
mod study;
mod tail;
mod topics;
mod workload;

#[cfg(feature = "postgres")]
mod raw_postgres;
#[cfg(feature = "sqlite")]
mod raw_sqlite;

use std::sync::Arc;

use futures::FutureExt as _;
use serde::Serialize;

use crate::conformance::{Database, Harness, UrlHarness};
use crate::error::{Error, Result};
use contender::{Contender, Inserter};
use study::Subject;
pub use study::{Finding, Study};
pub use workload::Workload;

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Rounds of a workload, beside the raw driver's.
    Workload(Workload),
    /// A study.
    Study(Study),
}

impl Task {
    /// Returns every workload and then every study.
    pub fn all() -> impl Iterator<Item = Self> {
        Workload::ALL.into_iter().map(Self::Workload).chain(Study::ALL.into_iter().map(Self::Study))
    }

    /// Returns the name of the workload or study.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Workload(workload) => workload.name(),
            Self::Study(study) => study.name(),
        }
    }
}

impl std::str::FromStr for Task {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::all().find(|task| task.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::all().map(Self::name).collect();
            Error::invalid("workload", format!("{text:?} is not one of {}", names.join(", ")))
        })
    }
}

/// How a benchmark is run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What to measure, in order.
    pub tasks: Vec<Task>,
    /// How many rounds of each; the median counts. One more warms up.
    pub rounds: usize,
    /// How many events a round of a writing workload appends, and a reading one is read from, in thousands.
    pub thousands: usize,
    /// How many events the large log of [`Study::AppendGrown`] and [`Study::ReadGrown`] has, in millions.
    pub grown_millions: usize,
    /// For how long [`Study::AppendUnderSnapshot`] holds its snapshot, in seconds.
    pub snapshot_seconds: u64,
}

/// What is reported.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Report {
    /// The figures of a workload.
    Figures(Figures),
    /// A figure of a study.
    Finding(Finding),
}

/// The figures of a workload.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// The workload's name.
    pub workload: &'static str,
    /// The engine.
    pub engine: String,
    /// The durability, as the URL's option names it.
    pub durability: String,
    /// Events per second of the store, the median of the rounds.
    pub events_per_s: f64,
    /// The store's median time of one operation, in microseconds.
    pub p50_us: f64,
    /// The store's 99th percentile of the time of one operation, in microseconds.
    pub p99_us: f64,
    /// Events per second of the raw driver, the median of the rounds.
    pub raw_events_per_s: f64,
    /// The median of the rounds' ratios of the store's events per second to the raw driver's.
    pub ratio: f64,
    /// Events per second of one caller of the raw driver, where the workload has several on streams of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_single_events_per_s: Option<f64>,
    /// The median of the rounds' ratios to `raw_single_events_per_s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_to_raw_single: Option<f64>,
    /// Events per second of the raw driver with as many callers as suit it best: 1, 8, or those of the workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_best_events_per_s: Option<f64>,
    /// The median of the rounds' ratios to `raw_best_events_per_s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_to_raw_best: Option<f64>,
}

/// Runs a benchmark on the engine of a URL and reports each figure as it is known. The databases are made for the run and
/// removed after it. Where `stop` is ready, what is under way is abandoned, and its databases are removed.
///
/// Returns whether it came to its end. Where the future is dropped instead, the databases stay.
///
/// # Errors
/// [`Error::Url`] for a URL that can't be used, [`Error::Unsupported`] for an engine without a raw driver here, and what
/// the database answers.
pub async fn run(
    url: &str,
    plan: &Plan,
    stop: impl Future<Output = ()> + Send,
    mut on_report: impl FnMut(Report) + Send,
) -> Result<bool> {
    let harness = UrlHarness::new(url, None)?;
    let config: crate::Config = url.parse()?;
    let durability = config.durability().unwrap_or("full").to_owned();
    let stop = stop.boxed().shared();
    for task in &plan.tasks {
        let mut made = Vec::new();
        let outcome = tokio::select! {
            outcome = measure(*task, plan, (&harness, config.scheme(), &durability), &mut made, &mut on_report) => {
                Some(outcome)
            }
            () = stop.clone() => None,
        };
        let mut removed = Ok(());
        for database in made {
            removed = removed.and(database.remove().await);
        }
        match outcome {
            None => return removed.map(|()| false),
            Some(outcome) => outcome.and(removed)?,
        }
    }
    Ok(true)
}

async fn measure(
    task: Task,
    plan: &Plan,
    (harness, scheme, durability): (&UrlHarness, &str, &str),
    made: &mut Vec<Arc<dyn Database>>,
    on_report: &mut (impl FnMut(Report) + Send),
) -> Result<()> {
    match task {
        Task::Workload(workload) => {
            for _ in 0..2 {
                made.push(harness.fresh().await?);
            }
            let measured = rounds(workload, plan, &*made[0], &*made[1], scheme).await?;
            on_report(Report::Figures(measured.figures(workload, scheme, durability)));
            Ok(())
        }
        Task::Study(study) => {
            let on_finding = &mut |finding| on_report(Report::Finding(finding));
            study.run(plan, &mut Subject { harness, scheme, durability, study, made, on_finding }).await
        }
    }
}

/// What was measured: events per second and the times of single operations in nanoseconds.
#[derive(Debug, Default)]
struct Measured {
    ours: Vec<f64>,
    raw: Vec<f64>,
    /// The raw driver with one caller and at its best, in workloads of several callers.
    raw_single: Vec<f64>,
    raw_best: Vec<f64>,
    times: Vec<u64>,
}

async fn rounds(
    workload: Workload,
    plan: &Plan,
    ours: &dyn Database,
    raw: &dyn Database,
    scheme: &str,
) -> Result<Measured> {
    let store = store::StoreContender::open(ours).await?;
    let driver = raw_driver(raw, scheme).await?;
    let mut measured = Measured::default();
    workload.prepare(&store, plan.thousands).await?;
    workload.prepare(&*driver, plan.thousands).await?;
    for round in 0..=plan.rounds {
        let (raw_rate, _) = workload.round(&*driver, plan.thousands, round).await?;
        let others = raw_callers(workload, &*driver, plan.thousands, round).await?;
        let (rate, times) = workload.round(&store, plan.thousands, round).await?;
        // The first round warms both up.
        if round > 0 {
            measured.raw.push(raw_rate);
            measured.ours.push(rate);
            measured.times.extend(times);
            if let Some((single, eight)) = others {
                measured.raw_single.push(single);
                measured.raw_best.push(raw_rate.max(single).max(eight));
            }
        }
    }
    driver.close().await;
    store.close().await;
    Ok(measured)
}

/// Returns the events per second of the raw driver with one caller and with 8, where the workload has several callers.
async fn raw_callers(
    workload: Workload,
    driver: &dyn Contender,
    thousands: usize,
    round: usize,
) -> Result<Option<(f64, f64)>> {
    if workload.callers().is_none() {
        return Ok(None);
    }
    let (single, _) = Workload::AppendSingle.round(driver, thousands, round).await?;
    let (eight, _) = Workload::AppendCallers8.round(driver, thousands, round).await?;
    Ok(Some((single, eight)))
}

async fn raw_driver(database: &dyn Database, scheme: &str) -> Result<Box<dyn Contender>> {
    // The schema is made by opening a store.
    database.open(&[]).await?.close().await;
    let url = database.url().ok_or(Error::Unsupported { backend: "this", what: "benchmarks" })?;
    match scheme {
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Box::new(raw_sqlite::RawSqlite::open(&url)?)),
        #[cfg(feature = "postgres")]
        "postgres" => Ok(Box::new(raw_postgres::RawPostgres::open(&url).await?)),
        _ => Err(Error::Unsupported { backend: "this", what: "benchmarks: there is no raw driver to compare with" }),
    }
}

async fn raw_inserter(database: &dyn Database, scheme: &str) -> Result<Box<dyn Inserter>> {
    let url = database.url().ok_or(Error::Unsupported { backend: "this", what: "benchmarks" })?;
    match scheme {
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Box::new(raw_sqlite::RawSqlite::open(&url)?)),
        #[cfg(feature = "postgres")]
        "postgres" => Ok(Box::new(raw_postgres::RawPostgres::open(&url).await?)),
        _ => Err(Error::Unsupported { backend: "this", what: "benchmarks: there is no raw driver to compare with" }),
    }
}

impl Measured {
    fn figures(mut self, workload: Workload, engine: &str, durability: &str) -> Figures {
        let ratios = self.ours.iter().zip(&self.raw).map(|(ours, raw)| ours / raw).collect();
        self.times.sort_unstable();
        let several = workload.callers().is_some();
        let ratio_to = |raw: &[f64]| {
            let ratios = self.ours.iter().zip(raw).map(|(ours, raw)| ours / raw).collect();
            several.then(|| round_to(median(ratios), 1_000.0))
        };
        let rate_of = |raw: &[f64]| several.then(|| round_to(median(raw.to_vec()), 1.0));
        Figures {
            workload: workload.name(),
            engine: engine.to_owned(),
            durability: durability.to_owned(),
            p50_us: round_to(percentile(&self.times, 50), 10.0),
            p99_us: round_to(percentile(&self.times, 99), 10.0),
            raw_single_events_per_s: rate_of(&self.raw_single),
            ratio_to_raw_single: ratio_to(&self.raw_single),
            raw_best_events_per_s: rate_of(&self.raw_best),
            ratio_to_raw_best: ratio_to(&self.raw_best),
            events_per_s: round_to(median(self.ours), 1.0),
            raw_events_per_s: round_to(median(self.raw), 1.0),
            ratio: round_to(median(ratios), 1_000.0),
        }
    }
}

/// Returns a percentile of sorted times in nanoseconds, in microseconds.
fn percentile(sorted: &[u64], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |nanoseconds| *nanoseconds as f64 / 1_000.0)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn round_to(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
