//! `annals conformance`: the suite against anybody's database.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use indicatif::ProgressBar;
use serde::Serialize;

use super::table::{Column, Table};
use super::{Context, Exit, Failure, interrupt, progress};
use crate::conformance::{Harness, Report, Status, Summary, UrlHarness, cases, run_until};
use crate::limits;

/// Prove that a database keeps the contract: every case of the suite, each in a schema or file of its own, which is
/// removed afterwards.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The database: sqlite:PATH (files beside it are used), postgres://… or mssql://… (a user who may create schemas)
    #[arg(value_name = "URL")]
    target: String,
    /// Only cases whose name, such as `append::…`, contains this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Give each case a topic of so many lanes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(limits::LANES)))]
    lanes: u16,
    /// Cases that run at a time; 4 on servers and 2 on SQLite unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: Option<u16>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let wanted = |name: &str| name.contains(&args.filter);
    let total = cases().filter(|(name, _)| wanted(name)).count();
    if total == 0 {
        return Err(Failure::usage(format!("no case's name contains {:?}", args.filter)));
    }
    let harness = UrlHarness::new(&args.target, program())?.with_lanes(args.lanes)?;
    reach(&harness).await?;
    let parallel = args.parallel.unwrap_or(if harness.is_server() { 4 } else { 2 });
    let mut results = Results { context, bar: progress::cases(total as u64), printed: Ok(()), reports: Vec::new() };
    let suite = run_until(interrupt(), &harness, parallel.into(), wanted, |report| results.add(report));
    let summary = tokio::select! {
        summary = suite => summary,
        () = interrupt_twice() => return Err(Failure::interrupted(false)),
    };
    results.finish(summary)?;
    if summary.passed + summary.failed + summary.skipped < total {
        return Err(Failure::new(Exit::Interrupted, "interrupted: the databases of the cases are removed"));
    }
    if summary.failed > 0 { Err(Failure::silent(Exit::Failure)) } else { Ok(()) }
}

/// Returns this very program, for the cases that run several processes.
fn program() -> Option<PathBuf> {
    std::env::current_exe().ok()
}

/// Connects once, so that a database out of reach is one error, and not one a case.
async fn reach(harness: &UrlHarness) -> Result<(), Failure> {
    let database = harness.fresh().await?;
    let opened = database.open(&[]).await;
    if let Ok(store) = &opened {
        store.close().await;
    }
    let removed = database.remove().await;
    opened?;
    Ok(removed?)
}

/// Waits for a second Ctrl-C: who gives it does not want to wait for the removal of databases.
async fn interrupt_twice() {
    interrupt().await;
    interrupt().await;
}

/// What programs get of a case.
#[derive(Serialize)]
struct Line<'a> {
    case: &'a str,
    status: &'static str,
    ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// Prints what becomes of the cases.
struct Results<'a> {
    context: &'a Context,
    bar: ProgressBar,
    printed: Result<(), Failure>,
    reports: Vec<Report>,
}

impl Results<'_> {
    fn add(&mut self, report: Report) {
        self.bar.inc(1);
        if self.context.json && self.printed.is_ok() {
            self.printed = self.print(&report);
        }
        self.reports.push(report);
    }

    fn print(&self, report: &Report) -> Result<(), Failure> {
        let (status, reason) = words(&report.status);
        let mut output = self.context.output();
        output.json(&Line { case: &report.name, status, ms: milliseconds(report.duration), reason })?;
        output.flush()
    }

    fn finish(mut self, summary: Summary) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        std::mem::replace(&mut self.printed, Ok(()))?;
        let Summary { passed, failed, skipped } = summary;
        if self.context.json {
            return self.context.output().json(&summary);
        }
        self.reports.sort_by(|left, right| left.name.cmp(&right.name));
        self.families()?;
        for status in ["skipped", "failed"] {
            self.reasons(status)?;
        }
        self.context.output().line(format!("\n{passed} passed, {failed} failed, {skipped} skipped"))
    }

    /// Prints a line a family.
    fn families(&self) -> Result<(), Failure> {
        let mut families: BTreeMap<&str, (Summary, Duration)> = BTreeMap::new();
        for report in &self.reports {
            let family = report.name.split_once("::").map_or(report.name.as_str(), |(family, _)| family);
            let (counts, time) = families.entry(family).or_default();
            counts.count(&report.status);
            *time += report.duration;
        }
        let mut output = self.context.output();
        let [passed, failed] = ["passed", "failed"].map(Column::number);
        let mut table =
            Table::new([Column::text("family"), passed, failed, Column::number("skipped"), Column::number("ms")]);
        for (family, (counts, time)) in families {
            let numbers = [counts.passed, counts.failed, counts.skipped].map(|count| count.to_string());
            let [passed, failed, skipped] = numbers;
            table.row([family.to_owned(), passed, failed, skipped, milliseconds(time).to_string()], &mut output)?;
        }
        table.finish(&mut output)
    }

    /// Prints the cases of a status, with the reasons.
    fn reasons(&self, wanted: &str) -> Result<(), Failure> {
        let mut output = self.context.output();
        let mut title = Some(format!("\n{wanted}:"));
        for report in &self.reports {
            if let (status, Some(reason)) = words(&report.status)
                && status == wanted
            {
                title.take().map_or(Ok(()), |title| output.line(title))?;
                output.line(format!("  {}: {reason}", report.name))?;
            }
        }
        Ok(())
    }
}

fn words(status: &Status) -> (&'static str, Option<&str>) {
    match status {
        Status::Passed => ("passed", None),
        Status::Failed(reason) => ("failed", Some(reason)),
        Status::Skipped(reason) => ("skipped", Some(reason)),
    }
}

fn milliseconds(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}
