//! Running cases, one by one or all of them.

use std::time::{Duration, Instant};

use futures::StreamExt;

use super::case::{Case, Failure, Verdict};
use super::harness::{Fixture, Harness};

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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Cases whose checks held.
    pub passed: usize,
    /// Cases of which a check did not hold.
    pub failed: usize,
    /// Cases that a capability rules out.
    pub skipped: usize,
}

impl Summary {
    fn count(&mut self, status: &Status) {
        match status {
            Status::Passed => self.passed += 1,
            Status::Failed(_) => self.failed += 1,
            Status::Skipped(_) => self.skipped += 1,
        }
    }
}

/// Runs the cases whose full names `wanted` accepts, `parallel` at a time, and reports each as it ends.
///
/// Dropping the future stops the run; databases of cases that were under way then stay.
pub async fn run(
    harness: &dyn Harness,
    parallel: usize,
    wanted: impl Fn(&str) -> bool,
    mut on_report: impl FnMut(Report),
) -> Summary {
    let mut summary = Summary::default();
    let cases = super::cases().filter(|(name, _)| wanted(name));
    let mut reports = futures::stream::iter(cases)
        .map(|(name, case)| async move {
            let start = Instant::now();
            let status = run_case(harness, case).await;
            Report { name, status, duration: start.elapsed() }
        })
        .buffer_unordered(parallel.max(1));
    while let Some(report) = reports.next().await {
        summary.count(&report.status);
        on_report(report);
    }
    summary
}

/// Runs one case on a fresh database.
pub async fn run_case(harness: &dyn Harness, case: &'static Case) -> Status {
    match attempt(harness, case).await {
        Ok(status) => status,
        Err(failure) => Status::Failed(failure.0),
    }
}

async fn attempt(harness: &dyn Harness, case: &'static Case) -> Result<Status, Failure> {
    let database = harness.fresh().await?;
    let store = database.open(&[]).await?;
    let program = harness.program();
    let unmet = case.needs.iter().find_map(|need| need.unmet(store.capabilities(), program.is_some()));
    let status = if let Some(reason) = unmet {
        Status::Skipped(reason)
    } else {
        let fixture = Fixture { store: store.clone(), database: database.clone(), program };
        match judge(case, fixture).await {
            Ok(()) => Status::Passed,
            Err(failure) => Status::Failed(failure.0),
        }
    };
    store.close().await;
    let removed = database.remove().await;
    // What a failed case leaves behind must not hide why it failed.
    if status == Status::Passed {
        removed?;
    }
    Ok(status)
}

/// Runs a case's checks in a task of their own, so that a panic or a hang is a failure like another.
async fn judge(case: &'static Case, fixture: Fixture) -> Verdict {
    let checks = tokio::spawn((case.run)(fixture));
    let abort = checks.abort_handle();
    tokio::time::timeout(CASE_TIMEOUT, checks).await.unwrap_or_else(|_| {
        abort.abort();
        Ok(Err(Failure(format!("it did not end within {} s", CASE_TIMEOUT.as_secs()))))
    })?
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
