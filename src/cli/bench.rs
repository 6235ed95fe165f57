//! `annals bench`: the store beside the raw driver.

use super::{Context, Failure};
use crate::bench::{Figures, Plan, Workload, run as measure};

/// Measures the store beside the raw driver, in the same run, on databases of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The database to measure.
    url: String,
    /// The workloads, separated by commas; all without.
    #[arg(long, value_delimiter = ',')]
    workload: Vec<Workload>,
    /// Rounds of each workload, of which the median counts; one more warms up.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Events of a round, in thousands.
    #[arg(long, default_value_t = 10)]
    thousands: usize,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let workloads = if args.workload.is_empty() { Workload::ALL.to_vec() } else { args.workload };
    let plan = Plan { workloads, rounds: args.rounds.max(1), thousands: args.thousands.max(1) };
    let mut printed = Ok(());
    if !context.json {
        let heading = ["workload", "events/s", "raw", "ratio", "p50 µs", "p99 µs"];
        let [workload, rate, raw, ratio, p50, p99] = heading;
        context.output().line(format!("{workload:<20} {rate:>12} {raw:>12} {ratio:>7} {p50:>10} {p99:>10}"))?;
        context.output().flush()?;
    }
    measure(&args.url, &plan, |figures| {
        if printed.is_ok() {
            printed = print(&figures, context);
        }
    })
    .await?;
    printed
}

fn print(figures: &Figures, context: &Context) -> Result<(), Failure> {
    let mut output = context.output();
    if context.json {
        output.json(figures)?;
    } else {
        let Figures { workload, events_per_s, raw_events_per_s, ratio, p50_us, p99_us, .. } = figures;
        output.line(format!(
            "{workload:<20} {events_per_s:>12.0} {raw_events_per_s:>12.0} {ratio:>7.3} {p50_us:>10.1} {p99_us:>10.1}"
        ))?;
    }
    output.flush()
}
