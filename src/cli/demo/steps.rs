//! What the demo shows of one stream.

use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use super::{EVENTS, note, say};
use crate::append::Append;
use crate::cli::{Context, Failure, events};
use crate::command::Command;
use crate::event::{ActorType, NewEvent, Source};
use crate::position::Version;
use crate::read::{Query, StreamFilter};
use crate::store::Store;
use crate::stream::{Expected, Stream, StreamInfo};

/// Events of the stream that are printed.
const SHOWN: u64 = 3;
/// Reads before those that are timed, and those.
const WARM_UP: usize = 3;
const ROUNDS: usize = 11;

/// Returns the stream with the most events.
pub(super) async fn longest(store: &Store) -> Result<Option<StreamInfo>, Failure> {
    let mut filter = StreamFilter { limit: 1_000, ..StreamFilter::default() };
    let mut longest: Option<StreamInfo> = None;
    loop {
        let page = store.streams(&filter).await?;
        let full = page.len() == filter.limit;
        filter.after = page.last().map(|stream| stream.aggregate_id.clone());
        longest = longest.into_iter().chain(page).max_by_key(|stream| stream.version);
        if !full {
            return Ok(longest);
        }
    }
}

/// Shows a stream's newest events.
pub(super) async fn stream(context: &Context, store: &Store, stream: &StreamInfo) -> Result<(), Failure> {
    let id = &stream.aggregate_id;
    let title = format!("the longest stream, {} events; the newest {SHOWN}", stream.version);
    say(context, &title, &format!("annals read '{id}' --backward --limit {SHOWN}"))?;
    events::print(context, store, Query::stream(id.as_str()).backward().limit(SHOWN)).await.map(drop)
}

/// Appends an event, and reads the stream as it was before.
pub(super) async fn time_travel(context: &Context, store: &Store, stream: &StreamInfo) -> Result<(), Failure> {
    let (id, before) = (&stream.aggregate_id, stream.last_event_at);
    let appended = store.append(&named(stream)?, stream.version, [comment("the first to comment")?]).await?;
    let time = before.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    say(context, "time travel: a comment was appended; before that", &format!("annals read '{id}' --as-of {time}"))?;
    let then = store.query(Query::stream(id.as_str()).as_of(before)).await?.len();
    let now = store.count(id).await?;
    note(context, &format!("{then} events as of {time}, {now} now (version {})", appended.version()))
}

/// Appends to a version that the stream had before.
pub(super) async fn stale_append(context: &Context, store: &Store, stream: &StreamInfo) -> Result<(), Failure> {
    let (id, version) = (&stream.aggregate_id, stream.version);
    let command = format!("annals append {} '{id}' --expect {version} …", stream.aggregate_type);
    say(context, "a writer that did not see the comment is rejected, and nothing is stored", &command)?;
    match store.append(&named(stream)?, version, [comment("too late")?]).await {
        Err(error) if error.is_conflict() => note(context, &error.report()),
        Err(error) => Err(error.into()),
        Ok(_) => Err(Failure::new(crate::cli::Exit::Failure, "the stale append was stored")),
    }
}

/// Sends one command twice.
pub(super) async fn repeated_command(context: &Context, store: &Store, stream: &StreamInfo) -> Result<(), Failure> {
    let (id, command_id) = (&stream.aggregate_id, Uuid::now_v7());
    let command = format!("annals append {} '{id}' --command-id {command_id} …", stream.aggregate_type);
    say(context, "a command that is sent twice is carried out once", &command)?;
    for attempt in ["first", "second"] {
        let event = comment("sent until an answer came")?;
        let request = Append::new().to(named(stream)?, Expected::Any, [event]).command(Command::new(command_id));
        let appended = store.commit(request).await?;
        let how = if appended.duplicate { "the outcome of the first" } else { "stored" };
        let (version, position) = (appended.version(), appended.position());
        note(context, &format!("{attempt} attempt: version {version}, position {position} ({how})"))?;
    }
    Ok(())
}

/// Reads the stream's first events, and parses their data, several times.
pub(super) async fn timed_read(context: &Context, store: &Store, stream: &StreamInfo) -> Result<(), Failure> {
    let id = &stream.aggregate_id;
    say(context, "1,000 events of one stream, read and parsed", &format!("annals read '{id}' --to {EVENTS}"))?;
    let mut times = Vec::with_capacity(ROUNDS);
    for round in 0..WARM_UP + ROUNDS {
        let start = Instant::now();
        let events = store.query(Query::stream(id.as_str()).to_version(Version::new(EVENTS))).await?;
        for event in &events {
            event.payload.to::<serde_json::Value>()?;
        }
        if round >= WARM_UP {
            times.push(start.elapsed());
        }
        if events.last().map(|event| event.aggregate_version.get()) != Some(EVENTS) {
            let message = format!("{} events came back instead of {EVENTS}", events.len());
            return Err(Failure::new(crate::cli::Exit::Failure, message));
        }
    }
    times.sort_unstable();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1_000.0;
    let (median, slowest) = (milliseconds(times[ROUNDS / 2]), milliseconds(times[ROUNDS - 1]));
    let detail = format!("the median of {ROUNDS} reads after {WARM_UP} to warm up; the slowest took {slowest:.1} ms");
    note(context, &format!("{median:.1} ms ({detail})"))
}

fn named(stream: &StreamInfo) -> Result<Stream, Failure> {
    Ok(Stream::new(stream.aggregate_type.as_str(), stream.aggregate_id.as_str())?)
}

fn comment(text: &str) -> Result<NewEvent, Failure> {
    let event = NewEvent::json("Commented", &json!({"text": text}))?.with_source(Source::Api);
    Ok(event.with_actor("demo", ActorType::Service)?)
}
