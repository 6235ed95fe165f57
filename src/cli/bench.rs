//! `annals bench`: the store beside the raw driver.

use tokio::sync::{mpsc, oneshot};

use super::{Context, Exit, Failure, interrupt};
use crate::bench::{Figures, Finding, Plan, Report, Task, run as measure};

/// Measures the store beside the raw driver, in the same run, on databases of its own, which are removed afterwards.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The database to measure: sqlite:PATH (files beside it are used) or postgres://… (a user who may create schemas).
    #[arg(value_name = "URL")]
    database: String,
    /// The workloads and studies, separated by commas; all without.
    #[arg(long, value_delimiter = ',')]
    workload: Vec<Task>,
    /// Rounds of each workload, of which the median counts; one more warms up.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    rounds: u16,
    /// Events of a round, in thousands.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    thousands: u16,
    /// Events of the large log of `append_grown` and `read_grown`, in millions; each takes some 700 MB of disk and half a minute.
    #[arg(long, value_name = "MILLIONS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    grown: u16,
    /// Seconds for which `append_under_snapshot` holds its snapshot, in each of four runs.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3_600))]
    seconds: u16,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    if args.database.starts_with("sqlite::memory:") {
        return Err(Failure::usage("a benchmark of sqlite needs a file: write sqlite:PATH"));
    }
    let tasks = if args.workload.is_empty() { Task::all().collect() } else { args.workload };
    let plan = Plan {
        tasks,
        rounds: args.rounds.into(),
        thousands: args.thousands.into(),
        grown_millions: args.grown.into(),
        snapshot_seconds: args.seconds.into(),
    };
    let (sender, mut reports) = mpsc::unbounded_channel();
    let (printing, unprintable) = oneshot::channel::<()>();
    let stop = async {
        tokio::select! {
            () = interrupt() => {}
            _ = unprintable => {}
        }
    };
    let measured = measure(&args.database, &plan, stop, move |report| {
        // Where nobody takes reports any more, the measuring is stopped.
        let _ = sender.send(report);
    });
    let printed = async move {
        let _printing = printing;
        let mut printer = Printer { context, headed: None };
        while let Some(report) = reports.recv().await {
            printer.print(&report)?;
        }
        Ok::<(), Failure>(())
    };
    let complete = tokio::select! {
        (complete, printed) = async { tokio::join!(measured, printed) } => {
            printed?;
            complete?
        }
        // Who gives Ctrl-C twice does not want to wait for the removal of databases.
        () = async { interrupt().await; interrupt().await } => return Err(Failure::interrupted(false)),
    };
    if complete { Ok(()) } else { Err(Failure::new(Exit::Interrupted, "interrupted: the databases are removed")) }
}

/// Prints figures as they come.
struct Printer<'a> {
    context: &'a Context,
    /// Which kind of figures the last heading was for.
    headed: Option<&'static str>,
}

impl Printer<'_> {
    fn print(&mut self, report: &Report) -> Result<(), Failure> {
        let mut output = self.context.output();
        if self.context.json {
            output.json(report)?;
            return output.flush();
        }
        let (kind, heading, line) = match report {
            Report::Figures(figures) => ("workload", heading(), row(figures)),
            Report::Finding(Finding { study, measure, value, unit, .. }) => {
                (*study, format!("\n{study}"), format!("  {measure:<56} {value:>12} {unit}"))
            }
        };
        if self.headed.replace(kind) != Some(kind) {
            output.line(heading)?;
        }
        output.line(line)?;
        output.flush()
    }
}

fn heading() -> String {
    let [workload, rate, raw, ratio, p50, p99] = ["workload", "events/s", "raw", "ratio", "p50 µs", "p99 µs"];
    let [single, best] = ["raw's 1", "raw's best"];
    format!("{workload:<20} {rate:>10} {raw:>10} {ratio:>7} {p50:>9} {p99:>10} {single:>9} {best:>11}")
}

fn row(figures: &Figures) -> String {
    let Figures { workload, events_per_s, raw_events_per_s, ratio, p50_us, p99_us, .. } = figures;
    let optional = |ratio: Option<f64>| ratio.map_or_else(String::new, |ratio| format!("×{ratio:.2}"));
    let (single, best) = (optional(figures.ratio_to_raw_single), optional(figures.ratio_to_raw_best));
    format!(
        "{workload:<20} {events_per_s:>10.0} {raw_events_per_s:>10.0} {ratio:>7.3} {p50_us:>9.1} {p99_us:>10.1} \
         {single:>9} {best:>11}"
    )
}
