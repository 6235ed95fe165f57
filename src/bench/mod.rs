//! The benchmark: the store beside the raw driver, in the same run, with the same durability, tables and indexes.
//!
//! A round of a workload runs on the raw driver and then on the store, on databases of their own; the figures are the
//! medians of the rounds. `ratio` is the store's events per second divided by the raw driver's.

mod contender;
mod store;
mod workload;

#[cfg(feature = "postgres")]
mod raw_postgres;
#[cfg(feature = "sqlite")]
mod raw_sqlite;

use serde::Serialize;

use crate::conformance::{Database, Harness, UrlHarness};
use crate::error::{Error, Result};
use contender::Contender;
pub use workload::Workload;

/// How a benchmark is run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The workloads, in order.
    pub workloads: Vec<Workload>,
    /// How many rounds of each; the median counts.
    pub rounds: usize,
    /// How many events a round of a writing workload appends, and a reading one is read from, in thousands.
    pub thousands: usize,
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
    /// `events_per_s` divided by `raw_events_per_s`; the median of the rounds' ratios.
    pub ratio: f64,
}

/// Runs a benchmark on the engine of a URL and reports each workload as it ends. The databases are made for the run and
/// removed after it.
///
/// # Errors
/// [`Error::Url`] for a URL that can't be used, [`Error::Unsupported`] for an engine without a raw driver here, and what
/// the database answers.
pub async fn run(url: &str, plan: &Plan, mut on_figures: impl FnMut(Figures)) -> Result<()> {
    let harness = UrlHarness::new(url, None)?;
    let config: crate::Config = url.parse()?;
    let durability = config.durability().unwrap_or("full").to_owned();
    for workload in &plan.workloads {
        let (ours, raw) = (harness.fresh().await?, harness.fresh().await?);
        let outcome = rounds(*workload, plan, &*ours, &*raw, config.scheme()).await;
        ours.remove().await?;
        raw.remove().await?;
        on_figures(outcome?.figures(*workload, config.scheme(), &durability));
    }
    Ok(())
}

/// What was measured: events per second and the times of single operations in nanoseconds.
#[derive(Debug, Default)]
struct Measured {
    ours: Vec<f64>,
    raw: Vec<f64>,
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
    // The schema is made by opening a store.
    raw.open(&[]).await?.close().await;
    let driver = raw_driver(raw, scheme).await?;
    let mut measured = Measured::default();
    workload.prepare(&store, plan.thousands).await?;
    workload.prepare(&*driver, plan.thousands).await?;
    for round in 0..=plan.rounds {
        let (raw_rate, _) = workload.round(&*driver, plan.thousands, round).await?;
        let (rate, times) = workload.round(&store, plan.thousands, round).await?;
        // The first round warms both up.
        if round > 0 {
            measured.raw.push(raw_rate);
            measured.ours.push(rate);
            measured.times.extend(times);
        }
    }
    driver.close().await;
    store.close().await;
    Ok(measured)
}

async fn raw_driver(database: &dyn Database, scheme: &str) -> Result<Box<dyn Contender>> {
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
        let percentile = |percent: usize| {
            let index = (self.times.len() * percent / 100).min(self.times.len().saturating_sub(1));
            self.times.get(index).map_or(0.0, |nanoseconds| round_to(*nanoseconds as f64 / 1_000.0, 10.0))
        };
        Figures {
            workload: workload.name(),
            engine: engine.to_owned(),
            durability: durability.to_owned(),
            p50_us: percentile(50),
            p99_us: percentile(99),
            events_per_s: round_to(median(self.ours), 1.0),
            raw_events_per_s: round_to(median(self.raw), 1.0),
            ratio: round_to(median(ratios), 1_000.0),
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn round_to(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
