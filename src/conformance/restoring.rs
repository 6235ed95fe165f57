//! Contract section 22: what a database makes of a log that comes from another one, and of writers beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::many::{copy, here, initialized, memory, read_shared};
use super::together::sound_log;
use crate::append::Append;
use crate::backend::Backend;
use crate::command::Command;
use crate::copy::rows::Lane;
use crate::copy::{claim, mark};
use crate::error::{Error, Result};
use crate::event::{ActorType, NewEvent, Payload, RecordedEvent, Source};
use crate::json::Json;
use crate::limits;
use crate::position::{LaneId, Position, Version};
use crate::read::{Query, StreamFilter};
use crate::schema::model;
use crate::snapshot::{NewSnapshot, SnapshotQuery};
use crate::sql::Value;
use crate::store::Store;
use crate::stream::{Expected, Stream, StreamInfo};

pub(super) const CASES: &[Case] = cases![
    a_log_that_moves_in_is_the_same_in_every_field: "22.1" if Url, Sql;
    what_is_beside_the_events_moves_in_with_them: "22.1" if Url, Sql;
    long_snapshots_are_read_few_at_once: "22.2" if Sql;
    only_what_continues_a_log_is_restored: "22.2", "22.3" if Sql;
    what_is_moved_or_was_takes_no_restored_events: "22.6", "23.3" if Url, Sql;
    an_append_beside_a_cutover_is_copied_or_refused: "22.6" if Sql;
];

/// Fills a topic with something of everything.
async fn fill(store: &Store) -> Result<()> {
    let stream = |id: &str| Stream::new("thing", id);
    for number in 0..12_u128 {
        let data = Json::parse(r#"{"b":1e400, "a":0.10,"a":[null,"\u00e9 💶"]}"#)?;
        let event = NewEvent::new("Happened", Payload::Json(data))?
            .with_tags(["red", &format!("n-{number}")])?
            .with_actor("ada", ActorType::User)?
            .with_metadata(Json::parse(r#"{ "from": "here" }"#)?)?
            .with_version(3)?
            .with_source(Source::Webhook)
            .with_causation(Uuid::from_u128(number))
            .with_correlation(Uuid::from_u128(9));
        store.append(&stream(&format!("s-{}", number % 4))?, Expected::Any, [event]).await?;
    }
    let many: Result<Vec<NewEvent>> = (0..MANY).map(partly_filled).collect();
    store.append(&stream("z")?, Expected::Any, many?).await?;
    let bytes = NewEvent::bytes("Bytes", "application/x", vec![0, 255, 10])?;
    let command = Command::new(Uuid::from_u128(7)).with_data(Json::parse("[1 ]")?);
    store.commit(Append::new().to(stream("s-1")?, Expected::Any, [bytes]).command(command)).await?;
    store.delete(&stream("s-2")?, Expected::Any).await?;
    store.delete(&stream("s-3")?, Expected::Any).await?;
    store.reuse(&stream("s-3")?, Expected::Any).await?;
    store.set_metadata("s-1", None, Json::parse(r#"{"owner":"é"}"#)?).await?;
    let snapshot = NewSnapshot::new(stream("s-0")?, Version::new(2), Json::parse(r#"{"count": 2}"#)?);
    store.save_snapshot(&snapshot).await?;
    read_shared(store).await
}

/// So many events that a backend which stores long pages in another way than short ones does so.
const MANY: u8 = 192;

/// An event that has some of the fields that an event may lack, in each combination after 64 of them.
fn partly_filled(number: u8) -> Result<NewEvent> {
    let with = |bit: u8| number >> bit & 1 == 1;
    let mut event = if with(0) {
        NewEvent::bytes("Bytes", "application/x", vec![number; usize::from(number)])?
    } else {
        NewEvent::new("Happened", Payload::Json(Json::parse(format!("[{number}, \"it's\"]"))?))?
    };
    if with(1) {
        event = event.with_actor("ada", ActorType::Service)?;
    }
    if with(2) {
        event = event.with_metadata(Json::parse("{}")?)?;
    }
    if with(3) {
        event = event.with_tags([format!("many-{number}"), "many".to_owned()])?;
    }
    if with(4) {
        event = event.with_causation(Uuid::from_u128(number.into()));
    }
    if with(5) {
        event = event.with_correlation(Uuid::from_u128(5));
    }
    Ok(event)
}

/// Reads a log with all that is hidden, without the numbers that its database gives to lanes.
async fn whole_log(store: &Store) -> Result<Vec<RecordedEvent>> {
    let mut log = store.query(Query::new().include_deleted()).await?;
    for event in &mut log {
        let partition = store.topic().lanes.iter().position(|lane| *lane == event.lane);
        event.lane = LaneId::new(partition.map_or(-1, |partition| i64::try_from(partition).unwrap_or(-1)));
    }
    Ok(log)
}

/// Moves a topic with something of everything from memory into the case's database, and returns both its stores.
async fn moved_in(f: &Fixture) -> Result<(crate::Topics, Vec<RecordedEvent>, Store), Failure> {
    let topics = initialized(f).await?;
    let made = topics.create(memory("t").partitions(2).build()?).await?;
    let before = topics.store("t").await?;
    fill(&before).await?;
    let log = whole_log(&before).await?;
    topics.relocate(here(f, "t").partitions(2).build()?, made.version, |_| {}).await?;
    let after = topics.store("t").await?;
    ensure!(Arc::ptr_eq(after.backend(), f.store.backend()), "the topic is not in the case's database");
    Ok((topics, log, after))
}

async fn a_log_that_moves_in_is_the_same_in_every_field(f: &Fixture) -> Verdict {
    let (topics, before, store) = moved_in(f).await?;
    let after = whole_log(&store).await?;
    ensure_eq!(after.len(), before.len(), "events after the move");
    for (after, before) in after.iter().zip(&before) {
        ensure_eq!(after, before, "the event at position {} after the move", before.position);
        ensure_eq!(after.hash, Some(crate::hash::of(after)), "its hash");
    }
    topics.close().await;
    Ok(())
}

async fn long_snapshots_are_read_few_at_once(f: &Fixture) -> Verdict {
    const MEBIBYTES: [usize; 6] = [0, 3, 3, 3, 9, 0];
    for (number, mebibytes) in MEBIBYTES.into_iter().enumerate() {
        let stream = Stream::new("thing", format!("a-{number}"))?;
        f.store.append(&stream, Expected::NoStream, f.events(1)?).await?;
        let state = Json::parse(format!("\"{}\"", "x".repeat(mebibytes << 20)))?;
        f.store.save_snapshot(&NewSnapshot::new(stream, Version::new(1), state)).await?;
    }
    let mut read = Vec::new();
    for lane in &f.store.topic().lanes {
        let mut pages = Lane::new(&f.store, *lane).rows(&model::SNAPSHOTS, Position::MAX);
        while let Some(rows) = pages.next().await? {
            let documents = rows.iter().flatten().map(|cell| match cell {
                Value::Json(Some(text)) => text.len(),
                _ => 0,
            });
            let long: usize = documents.sum();
            let most = limits::PAGE_BYTES;
            ensure!(rows.len() == 1 || long <= most, "{} rows of {long} bytes were read at once", rows.len());
            read.extend(rows);
        }
    }
    ensure_eq!(read.len(), MEBIBYTES.len(), "snapshots");
    Ok(())
}

async fn what_is_beside_the_events_moves_in_with_them(f: &Fixture) -> Verdict {
    let (topics, log, store) = moved_in(f).await?;
    let streams = store.streams(&StreamFilter { include_deleted: true, limit: 10, ..StreamFilter::default() }).await?;
    let versions =
        |stream: &StreamInfo| (stream.aggregate_id.clone(), stream.version.get(), stream.deleted_at.is_some());
    let versions: Vec<_> = streams.iter().map(versions).collect();
    let expected =
        [("s-0", 3, false), ("s-1", 4, false), ("s-2", 4, true), ("s-3", 5, false), ("z", i64::from(MANY), false)];
    ensure_eq!(versions, expected.map(|(id, version, deleted)| (id.to_owned(), version, deleted)), "streams");
    let time = |id: &str, version: i64| {
        let is_it = |event: &&RecordedEvent| event.aggregate_id == id && event.aggregate_version.get() == version;
        log.iter().find(is_it).map(|event| event.event_timestamp)
    };
    ensure_eq!(streams[2].deleted_at, time("s-2", 4), "when a stream was deleted");
    ensure_eq!(streams[3].first_version.get(), 5, "the version from which on a reused stream shows");
    ensure_eq!(Some(streams[0].created_at), time("s-0", 1), "when a stream was created");
    let metadata = streams[1].metadata.as_ref().map(Json::as_str);
    ensure_eq!((metadata, streams[1].metadata_version), (Some(r#"{"owner":"é"}"#), 1), "metadata of a stream");
    let command = store.command(Uuid::from_u128(7)).await?;
    let data = command.as_ref().and_then(|command| command.data.as_ref()).map(Json::as_str);
    ensure_eq!(data, Some("[1 ]"), "data of the command");
    let snapshot = store.snapshot("s-0", SnapshotQuery::default()).await?;
    let state = snapshot.as_ref().map(|snapshot| (snapshot.aggregate_version.get(), snapshot.state.as_str()));
    ensure_eq!(state, Some((2, r#"{"count": 2}"#)), "the snapshot");
    let letter = store.dead_letters("group", None, 1).await?.pop().and_then(|letter| letter.reason);
    ensure_eq!(letter.as_deref(), Some("broken"), "why an event failed for good");
    topics.close().await;
    Ok(())
}

async fn only_what_continues_a_log_is_restored(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 6).await?;
    let log = f.store.read_stream(stream.id()).await?;
    let backend = Arc::clone(f.store.backend()) as Arc<dyn Backend>;
    let lane = backend.create_topic("copy", 1).await?.lanes[0];
    let gap = |expected: i64, found: i64| move |error: &Error| matches!(error, Error::Gap { expected: one, found: other, .. } if (one.get(), other.get()) == (expected, found));
    ensure_eq!(backend.restore(lane, &log[..2]).await?, Position::new(2), "the head");
    // What is there already, all of it or some, and what leaves a hole.
    ensure_err!(backend.restore(lane, &log[..2]).await, error if gap(3, 1)(&error));
    ensure_err!(backend.restore(lane, &log[1..4]).await, error if gap(3, 2)(&error));
    ensure_err!(backend.restore(lane, &log[3..]).await, error if gap(3, 4)(&error));
    let with_a_hole = [log[2].clone(), log[4].clone()];
    ensure_err!(backend.restore(lane, &with_a_hole).await, error if gap(4, 5)(&error));
    ensure_eq!(backend.head(lane).await?, Position::new(2), "the head after what was refused");
    ensure_eq!(backend.restore(lane, &log[2..]).await?, Position::new(6), "the head at last");
    let mut copied = backend.read(lane, &Query::new(), 10).await?.events;
    for event in &mut copied {
        event.lane = log[0].lane;
    }
    ensure_eq!(copied, log, "the log that was restored");
    Ok(())
}

async fn what_is_moved_or_was_takes_no_restored_events(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    let copy = copy(f).await?;
    let restore = async |version: i64| {
        let mut event = f.store.read_stream(stream.id()).await?.remove(0);
        (event.position, event.aggregate_version) = (Position::new(version), Version::new(version));
        event.event_id = Uuid::now_v7();
        f.store.backend().restore(event.lane, &[event]).await.map(drop)
    };
    claim::begin(&f.store, "somebody").await?;
    restore(2).await?;
    let until = copy.hold(Duration::from_mins(1)).await?;
    ensure_err!(restore(3).await, Error::Held { .. });
    ensure_err!(claim::begin(&f.store, "somebody").await, Error::Held { .. });
    mark::end_lease(&f.store, until).await;
    // Who began before is not the one any more, and what he is about to write may be old.
    ensure_err!(claim::end(&f.store, "somebody").await, Error::Invalid { what: "target", .. });
    restore(3).await?;
    copy.cutover(|_| {}).await?;
    ensure_err!(restore(4).await, Error::Moved { .. });
    ensure_err!(claim::begin(&f.store, "somebody").await, Error::Moved { .. });
    ensure_eq!(copy.to().version(stream.id()).await?.get(), 3, "the version where the topic is");
    copy.to().close().await;
    Ok(())
}

async fn an_append_beside_a_cutover_is_copied_or_refused(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    let copy = copy(f).await?;
    let mut written = 0;
    for round in 0..10 {
        let (stop, mut writers) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for number in 0..3 {
            let stop = Arc::clone(&stop);
            let (store, stream) = (f.store.clone(), f.stream(&format!("w-{number}"))?);
            writers.spawn(async move {
                let mut count = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    match store.append(&stream, Expected::Any, [NewEvent::json("Happened", &round)?]).await {
                        Ok(_) => count += 1,
                        Err(Error::Moved { .. }) => break,
                        Err(error) => return Err(error),
                    }
                }
                Ok::<_, Error>(count)
            });
        }
        let moved = copy.cutover(|_| {}).await;
        stop.store(true, Ordering::Relaxed);
        moved?;
        for count in writers.join_all().await {
            written += count?;
        }
        let (original, copied) = copy.progress().await?;
        ensure_eq!(copied, original, "events of the copy, and of the original, after round {round}");
        copy.reopen().await?;
    }
    ensure!(copy.verify(|_| {}).await?.is_same(), "the copy is not the same");
    ensure_eq!(sound_log(&f.store).await?.len() as u64, written + 1, "events that were acknowledged");
    copy.to().close().await;
    Ok(())
}
