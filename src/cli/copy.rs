//! `annals copy`: topics from one database to another, as they are.

use std::time::Instant;

use indicatif::ProgressBar;
use serde_json::json;

use super::context::{advised, check_file};
use super::output::counted;
use super::{Context, Exit, Failure, progress};
use crate::config::Config;
use crate::copy::{TopicCopy, Verified};
use crate::hash::hex;
use crate::store::Store;
use crate::topics::adapter;

/// The arguments of `annals copy`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Positions, versions, ids, times, payloads byte for byte, streams, commands, snapshots and subscriptions \
    are as they were. It can be stopped or killed at any moment: the same command goes on. Stop the writers of the original \
    for a copy that is complete."
)]
pub(crate) struct Args {
    /// The URL of the original; all of its topics, unless it or --topic names one
    from: String,
    /// The URL of the database that is to have the copy
    to: String,
    /// Compare every event and its hash on both sides afterwards, and fail at the first difference.
    #[arg(long)]
    verify: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let (from, to): (Config, Config) = (args.from.parse()?, args.to.parse()?);
    if adapter::place_of_url(&from)?.home == adapter::place_of_url(&to)?.home && from.target() != ":memory:" {
        return Err(Failure::usage("both URLs name the same database"));
    }
    check_file(&from)?;
    check_file(&to)?;
    let original = Store::connect_with(from.clone()).await.map_err(|error| advised(&from, error))?;
    let copied = copy_all(&args, context, (&from, &to), &original).await;
    original.close().await;
    copied
}

/// Copies the topics that are asked for, one after the other.
async fn copy_all(
    args: &Args,
    context: &Context,
    (from, to): (&Config, &Config),
    original: &Store,
) -> Result<(), Failure> {
    let only = context.topic.as_deref().or(Some(from.topic()).filter(|topic| *topic != "default"));
    let names = match only {
        Some(name) => vec![name.to_owned()],
        None => original.backend().topics().await?.into_iter().map(|topic| topic.name).collect(),
    };
    for name in names {
        let config = from.clone().with_topic(&name)?;
        let source = Store::shared(std::sync::Arc::clone(original.backend()), &config).await?;
        let copy = TopicCopy::begin(source, to.clone()).await.map_err(|error| advised(to, error))?;
        let done = copy_topic(args, context, &name, &copy).await;
        copy.to().close().await;
        done?;
    }
    Ok(())
}

async fn copy_topic(args: &Args, context: &Context, name: &str, copy: &TopicCopy) -> Result<(), Failure> {
    let (total, there) = copy.progress().await?;
    let bar = progress::copied(total);
    bar.set_message(name.to_owned());
    let start = Instant::now();
    let copied = copy.run(|events| bar.set_position(there + events)).await?;
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    if context.json {
        let (events, rows) = (copied.events, copied.rows);
        context.output().json(&json!({"topic": name, "events": events, "rows": rows, "seconds": seconds}))?;
    } else {
        let (events, rows) = (counted(copied.events, "event"), counted(copied.rows, "other row"));
        context.output().line(format_args!("{name}: copied {events} and {rows}, {seconds:.2} s"))?;
    }
    context.output().flush()?;
    if !args.verify {
        return Ok(());
    }
    let bar: ProgressBar = progress::copied(copy.progress().await?.0);
    bar.set_message(format!("{name}, verifying"));
    let start = Instant::now();
    let verified = copy.verify(|events| bar.set_position(events)).await?;
    bar.finish_and_clear();
    report(context, name, &verified, start.elapsed().as_secs_f64())
}

/// Prints what comparing has shown; a difference is a failure.
fn report(context: &Context, name: &str, verified: &Verified, seconds: f64) -> Result<(), Failure> {
    let (from_hash, to_hash) = (hex(&verified.from_hash), hex(&verified.to_hash));
    let difference = verified.difference.as_ref();
    if context.json {
        context.output().json(&json!({
            "topic": name, "same": verified.is_same(), "compared": verified.events, "from_hash": from_hash,
            "to_hash": to_hash, "differing_rows": verified.rows, "seconds": seconds,
            "difference": difference.map(|difference| json!({
                "partition": difference.partition, "position": difference.position, "field": difference.field,
            })),
        }))?;
    } else {
        let events = counted(verified.events, "event");
        context.output().line(format_args!("{name}: {events} compared, {seconds:.2} s"))?;
        context.output().line(format_args!("{name}: original {from_hash}"))?;
        context.output().line(format_args!("{name}: copy     {to_hash}"))?;
    }
    if let Some(difference) = difference {
        let (field, position, partition) = (difference.field, difference.position, difference.partition);
        let reason = format!("topic {name:?} differs at position {position} of partition {partition}, in its {field}");
        return Err(Failure::new(Exit::Conflict, reason));
    }
    if verified.is_same() {
        return Ok(());
    }
    let rows = counted(verified.rows, "row");
    Err(Failure::new(Exit::Conflict, format!("topic {name:?} has the same events, and {rows} beside them differ")))
}
