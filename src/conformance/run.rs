//! Running cases, one by one or all of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use tokio::task::JoinSet;

use super::case::{Case, Failure, Verdict};
use super::harness::{Database, Fixture, Harness};

/// How long one case may take.
const CASE_TIMEOUT: Duration = Duration::from_mins(2);

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Every check held.
    Passed,
    /// A check did not hold, for this reason.
    Failed(String),
    /// A capability rules the case out, for this reason.
    Skipped(&'static str),
}

/// A case with what became of it.
#[derive(Debug, Clone)]
pub struct Report {
    /// The case's full name.
    pub name: String,
    /// What became of it.
    pub status: Status,
    /// How long it took, its database included.
    pub duration: Duration,
}

/// The counts of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Cases whose checks held.
    pub passed: usize,
    /// Cases of which a check did not hold.
    pub failed: usize,
    /// Cases that a capability rules out.
    pub skipped: usize,
}

impl Summary {
    /// Counts a case.
    pub fn count(&mut self, status: &Status) {
        match status {
            Status::Passed => self.passed += 1,
            Status::Failed(_) => self.failed += 1,
            Status::Skipped(_) => self.skipped += 1,
        }
    }
}

/// Runs the cases whose full names `wanted` accepts, `parallel` at a time, and reports each as it ends.
///
/// Dropping the future stops the run; databases of cases that were under way then stay. [`run_until`] removes them.
pub async fn run(
    harness: &dyn Harness,
    parallel: usize,
    wanted: impl Fn(&str) -> bool,
    on_report: impl FnMut(Report),
) -> Summary {
    run_until(std::future::pending(), harness, parallel, wanted, on_report).await
}

/// Runs cases like [`run`] until `stop` is ready: no case is begun then, and those that are under way are abandoned, not
/// reported, and their databases removed.
pub async fn run_until(
    stop: impl Future<Output = ()> + Send,
    harness: &dyn Harness,
    parallel: usize,
    wanted: impl Fn(&str) -> bool,
    mut on_report: impl FnMut(Report),
) -> Summary {
    let stop = stop.boxed().shared();
    let mut summary = Summary::default();
    let cases = super::cases().filter(|(name, _)| wanted(name));
    let mut reports = futures::stream::iter(cases)
        .take_until(stop.clone())
        .map(|(name, case)| {
            let stop = stop.clone();
            async move {
                let start = Instant::now();
                let status = attempt(harness, case, stop).await?;
                Some(Report { name, status, duration: start.elapsed() })
            }
        })
        .buffer_unordered(parallel.max(1));
    while let Some(report) = reports.next().await {
        if let Some(report) = report {
            summary.count(&report.status);
            on_report(report);
        }
    }
    summary
}

/// Runs one case on a fresh database.
pub async fn run_case(harness: &dyn Harness, case: &'static Case) -> Status {
    attempt(harness, case, std::future::pending()).await.unwrap_or(Status::Skipped("it was abandoned"))
}

/// Runs a case on a fresh database, which is removed whatever becomes of the case; `None` where it was stopped.
async fn attempt(harness: &dyn Harness, case: &'static Case, stop: impl Future<Output = ()>) -> Option<Status> {
    let database = match harness.fresh().await {
        Ok(database) => database,
        Err(error) => return Some(Status::Failed(Failure::from(error).0)),
    };
    let status = run_on(&database, harness.program(), case, stop).await;
    match database.remove().await {
        // What a failed case leaves behind must not hide why it failed.
        Err(error) if status == Some(Status::Passed) => Some(Status::Failed(Failure::from(error).0)),
        _ => status,
    }
}

async fn run_on(
    database: &Arc<dyn Database>,
    program: Option<PathBuf>,
    case: &'static Case,
    stop: impl Future<Output = ()>,
) -> Option<Status> {
    let store = match database.open(&[]).await {
        Ok(store) => store,
        Err(error) => return Some(Status::Failed(Failure::from(error).0)),
    };
    let (capabilities, lanes) = (store.capabilities(), store.topic().lanes.len());
    let (program_is_there, has_url) = (program.is_some(), database.url().is_some());
    let unmet = case.needs.iter().find_map(|need| need.unmet(capabilities, lanes, program_is_there, has_url));
    let status = if let Some(reason) = unmet {
        Some(Status::Skipped(reason))
    } else {
        let fixture = Fixture { store: store.clone(), database: Arc::clone(database), program };
        tokio::select! {
            biased;
            verdict = judge(case, fixture) => Some(verdict.map_or_else(|failure| Status::Failed(failure.0), |()| Status::Passed)),
            () = stop => None,
        }
    };
    store.close().await;
    status
}

/// Runs a case's checks in a task of their own, so that a panic or a hang is a failure like another. The task ends with
/// the future.
async fn judge(case: &'static Case, fixture: Fixture) -> Verdict {
    let mut checks = JoinSet::new();
    checks.spawn((case.run)(fixture));
    match tokio::time::timeout(CASE_TIMEOUT, checks.join_next()).await {
        Ok(Some(verdict)) => verdict?,
        Ok(None) => Err(Failure("it had no checks".to_owned())),
        Err(_) => Err(Failure(format!("it did not end within {} s", CASE_TIMEOUT.as_secs()))),
    }
}

/// Runs one case as a test: panics with the reason where it fails, and says aloud where it is skipped.
///
/// # Panics
/// Where the case fails, or does not exist.
pub fn run_test(harness: &dyn Harness, name: &str) {
    let Some((_, case)) = super::cases().find(|(known, _)| known == name) else { panic!("no case is named {name}") };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Err(error) => panic!("no runtime: {error}"),
        Ok(runtime) => match runtime.block_on(run_case(harness, case)) {
            Status::Passed => {}
            Status::Skipped(reason) => eprintln!("skipped {name}: {reason}"),
            Status::Failed(reason) => panic!("{name}: {reason}"),
        },
    }
}
