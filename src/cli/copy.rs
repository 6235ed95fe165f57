//! `annals copy`: topics from one database to another, as they are.

use std::sync::Arc;
use std::time::Instant;

use futures::future::try_join_all;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use serde_json::json;

use super::context::{DEFAULT_TOPIC, advised, check_file};
use super::output::counted;
use super::{Context, Exit, Failure, progress};
use crate::config::Config;
use crate::copy::{Copied, Cutover, Difference, TopicCopy, Verified, mark};
use crate::error::Error;
use crate::hash::hex;
use crate::migrate;
use crate::store::Store;
use crate::topics::adapter;

/// The arguments of `annals copy`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Positions, versions, ids, times, payloads byte for byte, streams, commands, snapshots and subscriptions \
    are as they were. It can be stopped or killed at any moment: the same command goes on. With --cutover the original takes \
    nothing from then on, and writers wait for a moment only; `annals topic move` does that for a configured topic."
)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag.
pub(crate) struct Args {
    /// The URL of the original; all of its topics, unless it or --topic names one
    from: String,
    /// The URL of the database that is to have the copy
    to: String,
    /// Go on copying what is written to the original, until Ctrl-C.
    #[arg(long)]
    follow: bool,
    /// Make the copy the topic: writers of the original wait while the last events are copied, and are told then that it was moved.
    #[arg(long, conflicts_with = "follow")]
    cutover: bool,
    /// Let the original take events again after a cutover that is not wanted any more, and copy nothing.
    #[arg(long, conflicts_with_all = ["follow", "cutover", "verify"])]
    reopen: bool,
    /// Compare every event and its hash on both sides afterwards, and fail at the first difference.
    #[arg(long)]
    verify: bool,
}

impl Args {
    /// Returns whether it goes on until it is interrupted.
    pub(crate) const fn follows(&self) -> bool {
        self.follow
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let (from, to): (Config, Config) = (args.from.parse()?, args.to.parse()?);
    if to.topic() != DEFAULT_TOPIC {
        return Err(Failure::usage(
            "the second URL names a topic: leave that out, a copy has the name of its original",
        ));
    }
    if adapter::place_of_url(&from)?.home == adapter::place_of_url(&to)?.home && from.target() != ":memory:" {
        return Err(Failure::usage("both URLs name the same database"));
    }
    if args.cutover && to.is_memory() {
        return Err(Failure::usage(
            "--cutover would make a copy the topic that ends with this command: name a database that lasts",
        ));
    }
    check_file(&from)?;
    if !args.reopen {
        check_file(&to)?;
    }
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
    let only = context.topic.as_deref().or(Some(from.topic()).filter(|_| from.names_topic()));
    let names = match only {
        Some(name) => vec![name.to_owned()],
        None => original.backend().topics().await?.into_iter().map(|topic| topic.name).collect(),
    };
    if args.reopen {
        return reopen_all(context, (from, to), original, names, only.is_some()).await;
    }
    let target = migrate::open(to).await.map_err(|error| advised(to, error))?;
    let stopped = context.stopped().shared();
    let work = |name: String| {
        let (target, stopped) = (Arc::clone(&target), stopped.clone());
        async move {
            let config = to.clone().with_topic(&name)?;
            let source = source(from, original, &name).await?;
            let elsewhere =
                mark::moved_to(&source).await?.filter(|place| !adapter::is_same_place(place, &to.to_string()));
            if let (None, Some(place)) = (only, elsewhere) {
                let text = format!("{name}: left out, it was moved to {place}");
                return context.say(&json!({"topic": name, "moved_to": place}), &text);
            }
            let copy = TopicCopy::between(source, target, &config).await.map_err(|error| of_topic(&name, error))?;
            let done = copy_topic(args, context, &name, &copy, stopped).await;
            copy.to().close().await;
            done
        }
    };
    // Those that go on until they are told do so together; the others one after the other.
    let done = if args.follow {
        try_join_all(names.into_iter().map(work)).await.map(drop)
    } else {
        stream::iter(names).map(Ok).try_for_each(work).await
    };
    target.close().await;
    done
}

/// Lets topics take events again that were moved to the second database: the one that is named, or all of them.
async fn reopen_all(
    context: &Context,
    (from, to): (&Config, &Config),
    original: &Store,
    names: Vec<String>,
    is_named: bool,
) -> Result<(), Failure> {
    let mut is_any = false;
    for name in names {
        match mark::reopen(&source(from, original, &name).await?, &to.to_string()).await {
            Ok(true) => is_any = true,
            // Of all topics, some may never have been moved, or to another place.
            Err(error @ Error::Moved { .. }) if is_named => return Err(error.into()),
            Ok(false) | Err(Error::Moved { .. }) => continue,
            Err(error) => return Err(error.into()),
        }
        context.say(&json!({"topic": name, "reopened": true}), &format!("{name}: the original takes events again"))?;
    }
    if is_any { Ok(()) } else { Err(Failure::not_found(format!("no topic was moved to {to}"))) }
}

/// Says of which topic an error is, and what it means for a copy.
pub(super) fn of_topic(name: &str, error: Error) -> Failure {
    match error {
        Error::LogDiverged { position, .. } => {
            let reason = format!(
                "topic {name:?} differs at position {position}: the copy has an event there that the original has not, or \
                 another one. Something wrote to the copy: drop it and copy anew, or go on with it, if it is the topic by now"
            );
            Failure::new(Exit::Conflict, reason)
        }
        error => {
            // Somebody else's log, or somebody else who copies: the command is right.
            let is_others = matches!(error, Error::Invalid { what: "target", .. });
            let failure = Failure::from(error).at(&format!("topic {name:?}"));
            if is_others { Failure { exit: Exit::Conflict, ..failure } } else { failure }
        }
    }
}

/// Opens a topic of the original's database.
async fn source(from: &Config, original: &Store, name: &str) -> Result<Store, Failure> {
    let config = from.clone().with_topic(name)?;
    Ok(Store::shared(Arc::clone(original.backend()), &config).await?)
}

async fn copy_topic(
    args: &Args,
    context: &Context,
    name: &str,
    copy: &TopicCopy,
    stopped: impl Future<Output = ()> + Send,
) -> Result<(), Failure> {
    let (total, there) = copy.progress().await?;
    let bar = progress::copied(total);
    bar.set_message(name.to_owned());
    let start = Instant::now();
    let progress = |events| {
        bar.set_length(total.max(there + events));
        bar.set_position(there + events);
    };
    let copied = if args.cutover && args.verify {
        let copied = copy.run(progress).await;
        bar.finish_and_clear();
        let before = copied.map_err(|error| of_topic(name, error))?;
        // What differs is not to become the topic. What comes meanwhile is compared afterwards.
        let verified = compare(name, copy).await?;
        check_events(name, &verified)?;
        copy.cutover(|_| {}).await.map(|cutover| {
            let copied =
                Copied { events: before.events + cutover.copied.events, rows: before.rows + cutover.copied.rows };
            (copied, Some(cutover))
        })
    } else if args.cutover {
        copy.cutover(progress).await.map(|cutover| (cutover.copied, Some(cutover)))
    } else if args.follow {
        copy.follow(stopped, progress).await.map(|copied| (copied, None))
    } else {
        copy.run(progress).await.map(|copied| (copied, None))
    };
    let (copied, cutover) = copied.map_err(|error| of_topic(name, error))?;
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    if context.json {
        let (events, rows) = (copied.events, copied.rows);
        let pause = cutover.map(|cutover| cutover.pause.as_secs_f64());
        context.output().json(&json!({
            "topic": name, "events": events, "rows": rows, "seconds": seconds, "pause_seconds": pause,
            "already": cutover.is_some_and(|cutover| cutover.already()),
        }))?;
    } else {
        let (events, rows) = (counted(copied.events, "event"), counted(copied.rows, "other row"));
        context.output().line(format_args!("{name}: copied {events} and {rows}, {seconds:.2} s"))?;
        if let Some(cutover) = cutover {
            context.output().line(format_args!("{name}: {}", switched(&cutover)))?;
        }
    }
    context.output().flush()?;
    if !args.verify {
        return Ok(());
    }
    let start = Instant::now();
    let verified = compare(name, copy).await?;
    let reported = report(context, name, &verified, start.elapsed().as_secs_f64());
    let moved = format!(
        "the copy is topic {name:?} already: --reopen lets the original take events again, and what was written to the copy \
         stays there"
    );
    let is_new = cutover.is_some_and(|cutover| !cutover.already());
    if is_new { reported.map_err(|failure| failure.then(&moved)) } else { reported }
}

/// Says how a cutover went.
pub(super) fn switched(cutover: &Cutover) -> String {
    if cutover.already() {
        return "the copy is the topic already".to_owned();
    }
    let events = counted(cutover.last_events, "event");
    format!(
        "the copy is the topic now; writers waited {:.3} s, while {events} were copied",
        cutover.pause.as_secs_f64()
    )
}

/// Compares a copy with its original.
async fn compare(name: &str, copy: &TopicCopy) -> Result<Verified, Failure> {
    let bar: ProgressBar = progress::copied(copy.progress().await?.0);
    bar.set_message(format!("{name}, verifying"));
    let verified = copy.verify(|events| bar.set_position(events)).await;
    bar.finish_and_clear();
    Ok(verified?)
}

/// Checks that comparing has shown no event that differs.
fn check_events(name: &str, verified: &Verified) -> Result<(), Failure> {
    let Some(Difference { field, position, partition, .. }) = &verified.difference else { return Ok(()) };
    let reason = format!("topic {name:?} differs at position {position} of partition {partition}, in its {field}");
    Err(Failure::new(Exit::Conflict, reason))
}

/// Prints what comparing has shown; a difference is a failure.
fn report(context: &Context, name: &str, verified: &Verified, seconds: f64) -> Result<(), Failure> {
    let (from_hash, to_hash) = (hex(&verified.from_hash), hex(&verified.to_hash));
    let difference = verified.difference.as_ref();
    if context.json {
        context.output().json(&json!({
            "topic": name, "same": verified.is_same(), "compared": verified.events, "from_hash": from_hash,
            "to_hash": to_hash, "missing": verified.missing, "differing_rows": verified.rows, "seconds": seconds,
            "difference": difference.map(|difference| json!({
                "partition": difference.partition, "position": difference.position, "field": difference.field,
            })),
        }))?;
    } else {
        let events = counted(verified.events, "event");
        context.output().line(format_args!("{name}: {events} compared, {seconds:.2} s"))?;
        context.output().line(format_args!("{name}: original {from_hash}"))?;
        context.output().line(format_args!("{name}: copy     {to_hash}"))?;
        if verified.missing > 0 {
            let events = counted(verified.missing, "event");
            context.output().line(format_args!("{name}: the original has gone on by {events}"))?;
        }
    }
    check_events(name, verified)?;
    if verified.rows == 0 {
        return Ok(());
    }
    let rows = counted(verified.rows, "row");
    let reason = format!(
        "topic {name:?} has the same events, and {rows} beside them differ, as they do for a moment while readers and writers \
         are at work"
    );
    Err(Failure::new(Exit::Conflict, reason))
}
