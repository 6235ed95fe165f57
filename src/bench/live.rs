//! `live`: how soon a subscriber sees an event, what waiting costs, and what 200 who wait cost an append.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::contender::{Contender, nanoseconds};
use super::store::{StoreContender, event};
use super::study::Subject;
use super::{Plan, median, percentile};
use crate::conformance::Database;
use crate::error::{Error, Result};
use crate::read::Query;
use crate::store::Store;
use crate::stream::{Expected, Stream};
use crate::subscription::Start;

/// Subscriptions that wait while appends are measured.
const IDLE: usize = 200;
/// The pause between two events whose way is measured: long enough that everybody waits again.
const PAUSE: Duration = Duration::from_millis(7);
/// How long somebody waits for nothing while the time of the processor is measured.
const QUIET: Duration = Duration::from_secs(5);

pub(super) async fn run(plan: &Plan, subject: &mut Subject<'_>) -> Result<()> {
    let database = subject.fresh().await?;
    let writer = database.open(&[]).await?;
    let other = database.open(&[]).await?;
    for (name, reader) in [("another task of the process", &writer), ("a store of its own connections", &other)] {
        let (mut answered, mut seen) = seen_after(&writer, reader, plan.thousands * 100).await?;
        answered.sort_unstable();
        seen.sort_unstable();
        subject.found("append to its own answer, p50", percentile(&answered, 50), "µs");
        subject.found(format!("append to seen by {name}, p50"), percentile(&seen, 50), "µs");
        subject.found(format!("append to seen by {name}, p99"), percentile(&seen, 99), "µs");
    }
    let share = idle_share(&other).await?;
    if let Some(share) = share {
        subject.found("processor time of one store that follows and hears nothing", share * 100.0, "%");
    }
    other.close().await;
    writer.close().await;
    subscribed(plan, &database, subject).await
}

/// Returns the times from the call of an append to its answer, and to the event's arrival, in nanoseconds.
async fn seen_after(writer: &Store, reader: &Store, events: usize) -> Result<(Vec<u64>, Vec<u64>)> {
    let mut subscription = reader.subscribe(Start::Now, Query::new()).await?;
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let following = tokio::spawn(async move {
        while let Ok(event) = subscription.next().await {
            if arrived.send((event.position, Instant::now())).is_err() {
                return;
            }
        }
    });
    let stream = Stream::new("cart", "followed")?;
    let (mut answered, mut times) = (Vec::with_capacity(events), Vec::with_capacity(events));
    for number in 0..events {
        // Not in step with anybody's clock.
        tokio::time::sleep(PAUSE + Duration::from_micros((number as u64 * 377) % 5_000)).await;
        let start = Instant::now();
        let position = writer.append(&stream, Expected::Any, [event(number)?]).await?.position();
        answered.push(nanoseconds(start));
        let seen = loop {
            match arrivals.recv().await {
                Some((arrived, at)) if arrived == position => break at,
                Some(_) => {}
                None => return Err(Error::Closed),
            }
        };
        times.push(u64::try_from(seen.duration_since(start).as_nanos()).unwrap_or(u64::MAX));
    }
    following.abort();
    Ok((answered, times))
}

/// Returns the share of one processor that a store takes which follows a log where nothing happens; `None` where the system
/// does not tell.
async fn idle_share(store: &Store) -> Result<Option<f64>> {
    let mut subscription = store.subscribe(Start::Now, Query::new()).await?;
    let mut waited = Duration::ZERO;
    // The longer nothing comes, the more rarely it is looked for.
    let settled = tokio::time::timeout(QUIET, subscription.next()).await.is_err();
    let before = processor_time();
    let start = Instant::now();
    if settled && tokio::time::timeout(QUIET, subscription.next()).await.is_err() {
        waited = start.elapsed();
    }
    Ok(before.zip(processor_time()).map(|(before, after)| (after - before) / waited.as_secs_f64().max(0.001)))
}

/// Returns the processor time of this process in seconds.
fn processor_time() -> Option<f64> {
    // The clock of the table ticks a hundred times a second on every Linux.
    const TICKS: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

/// Measures appends with and without subscriptions that wait, in turns.
async fn subscribed(plan: &Plan, database: &Arc<dyn Database>, subject: &mut Subject<'_>) -> Result<()> {
    let contender = StoreContender::open(&**database).await?;
    let (mut alone, mut followed, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=plan.rounds {
        let bare = rate(&contender, plan.thousands * 250).await?;
        let waiting = waiting(contender.store()).await?;
        let beside = rate(&contender, plan.thousands * 250).await?;
        drop(waiting);
        if round > 0 {
            alone.push(bare);
            followed.push(beside);
            ratios.push(beside / bare);
        }
    }
    subject.found("appends of one caller, nobody follows", median(alone), "events/s");
    subject.found(format!("appends of one caller, {IDLE} subscriptions wait for others"), median(followed), "events/s");
    subject.found("the second to the first", median(ratios), "ratio");
    contender.close().await;
    Ok(())
}

async fn rate(contender: &StoreContender, events: usize) -> Result<f64> {
    let start = Instant::now();
    contender.append(1, events, 1).await?;
    Ok(events as f64 / (nanoseconds(start) as f64 / 1e9))
}

/// Lets subscriptions wait for events of a type that nobody appends.
async fn waiting(store: &Store) -> Result<JoinSet<()>> {
    let mut tasks = JoinSet::new();
    for number in 0..IDLE {
        let never = Query::new().event_types([format!("Never{number}")])?;
        let mut subscription = store.subscribe(Start::Now, never).await?;
        tasks.spawn(async move {
            // It ends with its task.
            let _ = subscription.next().await;
        });
    }
    Ok(tasks)
}
