//! `annals subscribe`: the log, and what comes.

use chrono::{DateTime, Utc};

use super::filters::Filters;
use super::{Context, Failure, events, parse};
use crate::position::Position;
use crate::subscription::{Checkpoint, Start};

/// The arguments of `annals subscribe`. All filters must hold. It ends with Ctrl-C, or after `--limit` events.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Begin with the first event; without this and the like, with what comes.
    #[arg(long, group = "start")]
    beginning: bool,
    /// Begin after this position; for topics of one lane.
    #[arg(long, group = "start", value_name = "POSITION")]
    after: Option<i64>,
    /// Begin with the first event stored at or after this time: RFC 3339, or a date.
    #[arg(long, group = "start", value_name = "TIME", value_parser = parse::time)]
    from: Option<DateTime<Utc>>,
    /// Begin where a reader stood, see --checkpoints.
    #[arg(long, group = "start", value_name = "TEXT")]
    checkpoint: Option<Checkpoint>,
    #[command(flatten)]
    filters: Filters,
    /// End after so many events.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// End once all that is there was printed.
    #[arg(long)]
    until_now: bool,
    /// Print the checkpoint after the last event at the end, to go on from there another time.
    #[arg(long)]
    checkpoints: bool,
}

impl Args {
    fn start(&self) -> Start {
        match (self.beginning, self.after, self.from, &self.checkpoint) {
            (true, ..) => Start::Beginning,
            (_, Some(position), ..) => Start::After(Position::new(position)),
            (_, _, Some(time), _) => Start::At(time),
            (.., Some(checkpoint)) => Start::Checkpoint(checkpoint.clone()),
            _ => Start::Now,
        }
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let (start, limit) = (args.start(), args.limit.unwrap_or(u64::MAX));
    let (until_now, checkpoints) = (args.until_now, args.checkpoints);
    let query = args.filters.query()?;
    let store = context.store().await?;
    let mut subscription = store.subscribe(start, query).await?;
    let mut printed = 0;
    while printed < limit {
        let event = if until_now { subscription.try_next().await? } else { Some(subscription.next().await?) };
        let Some(event) = event else { break };
        events::print_line(context, &event)?;
        printed += 1;
    }
    if checkpoints {
        let checkpoint = subscription.checkpoint().await?;
        let mut out = context.output();
        if context.json {
            out.json(&serde_json::json!({"checkpoint": checkpoint}))?;
        } else {
            out.line(format_args!("checkpoint {checkpoint}"))?;
        }
    }
    Ok(())
}
