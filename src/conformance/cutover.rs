//! Contract section 22: a copy that goes on beside writers, and becomes the topic while they wait.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::ledger::{Ledger, prepare, versions};
use super::many::{File, append, back, copy, event, read_shared};
use super::prompt::{Argument, call};
use super::together::sound_log;
use crate::append::Append;
use crate::command::Command;
use crate::config::Config;
use crate::copy::{Copied, TopicCopy, mark};
use crate::error::{Error, Result};
use crate::json::Json;
use crate::position::Version;
use crate::projection::Projection;
use crate::snapshot::NewSnapshot;
use crate::sql::holds::{self, Hold};
use crate::store::Store;
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    a_copy_follows_what_is_written: "22.5" if Url, Sql;
    what_readers_share_is_copied: "22.1" if Url, Sql;
    a_snapshot_that_was_pruned_since_is_no_difference: "22.4" if Url, Sql;
    a_legal_hold_is_copied_and_compared: "22.1", "22.4" if Url, Sql;
    what_the_original_has_since_is_counted_and_is_no_difference: "22.4" if Url, Sql;
    writers_wait_while_a_topic_is_moved: "22.6" if Url, Sql;
    a_writer_whose_own_deadline_is_shorter_is_told_of_the_move: "22.6" if Url, Sql;
    a_topic_that_was_moved_takes_nothing_at_its_old_place: "22.6" if Url, Sql;
    a_move_that_was_given_up_lets_writers_go_on: "22.6" if Url, Sql;
    whoever_follows_is_told_that_the_original_was_moved: "22.5" if Url, Sql;
    a_projection_goes_on_after_its_topic_comes_back: "17.1", "22.1" if Url, Sql;
    what_comes_under_a_clock_that_went_back_goes_along: "22.6" if Url, Sql;
    the_prompt_heeds_a_move: "22.6" if Routines, OneLane;
];

async fn a_copy_follows_what_is_written(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = Arc::new(copy(f).await?);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let following = tokio::spawn({
        let copy = Arc::clone(&copy);
        async move { copy.follow(async { drop(ended.await) }, |_| {}).await }
    });
    for count in 2..=5_i64 {
        append(&f.store, "a").await?;
        let mut version = Version::ZERO;
        for _ in 0..4_000 {
            version = copy.to().version("a").await?;
            if version.get() == count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        ensure_eq!(version.get(), count, "the version in the copy");
    }
    f.store.record_command(Command::new(Uuid::from_u128(1))).await?;
    append(&f.store, "b").await?;
    drop(end);
    let copied = following.await.map_err(|error| Failure(error.to_string()))??;
    ensure_eq!((copied.events, copied.rows), (6, 1), "events and other rows that were copied");
    ensure!(copy.verify(|_| {}).await?.is_same(), "the copy is not the same");
    copy.to().close().await;
    Ok(())
}

async fn what_readers_share_is_copied(f: &Fixture) -> Verdict {
    for stream in ["a", "b", "a", "c"] {
        append(&f.store, stream).await?;
    }
    read_shared(&f.store).await?;
    let copy = copy(f).await?;
    copy.run(|_| {}).await?;
    ensure_eq!(copy.verify(|_| {}).await?.rows, 0, "rows that differ");
    for store in [&f.store, copy.to()] {
        let letter = store.dead_letters("group", None, 1).await?.pop().and_then(|letter| letter.reason);
        ensure_eq!(letter.as_deref(), Some("broken"), "why an event failed for good");
    }
    copy.to().close().await;
    Ok(())
}

async fn a_snapshot_that_was_pruned_since_is_no_difference(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let state = || Json::parse("1");
    f.store.save_snapshot(&NewSnapshot::new(f.stream("a")?, Version::new(1), state()?)).await?;
    let copy = copy(f).await?;
    copy.run(|_| {}).await?;
    append(&f.store, "a").await?;
    f.store.save_snapshot(&NewSnapshot::new(f.stream("a")?, Version::new(2), state()?)).await?;
    ensure_eq!(f.store.prune_snapshots("a", Version::new(2)).await?, 1, "snapshots that are pruned");
    copy.run(|_| {}).await?;
    ensure!(copy.verify(|_| {}).await?.is_same(), "a snapshot that the original has no more is a difference");
    copy.to().close().await;
    Ok(())
}

async fn a_legal_hold_is_copied_and_compared(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = copy(f).await?;
    copy.run(|_| {}).await?;
    let hold = Hold { kind: holds::PURGE, name: "case-17" };
    f.store.under_locks(|dialect, lane| vec![holds::begin(dialect, lane, hold, holds::FOR_EVER, "kept")]).await?;
    let lanes = f.store.topic().lanes.len() as u64;
    ensure_eq!(copy.verify(|_| {}).await?.rows, lanes, "rows that differ where the copy lacks a hold");
    copy.run(|_| {}).await?;
    ensure_eq!(copy.verify(|_| {}).await?.rows, 0, "rows that differ");
    f.store.under_locks(|dialect, lane| vec![holds::end(dialect, lane, hold)]).await?;
    ensure_eq!(copy.verify(|_| {}).await?.rows, lanes, "rows that differ where a hold was released");
    copy.run(|_| {}).await?;
    ensure_eq!(copy.verify(|_| {}).await?.rows, 0, "rows that differ after the copy has no hold either");
    copy.to().close().await;
    Ok(())
}

async fn what_the_original_has_since_is_counted_and_is_no_difference(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = copy(f).await?;
    copy.run(|_| {}).await?;
    append(&f.store, "a").await?;
    let verified = copy.verify(|_| {}).await?;
    ensure_eq!((verified.events, verified.missing, verified.difference.clone()), (1, 1, None), "what was compared");
    ensure_eq!(verified.from_hash, verified.to_hash, "hashes up to the copy's end");
    ensure!(!verified.is_same(), "a copy that lacks an event is said to be the same");
    copy.to().close().await;
    Ok(())
}

async fn writers_wait_while_a_topic_is_moved(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    append(&f.store, "b").await?;
    prepare(f).await?;
    let projecting = f.store.inline([Box::new(Ledger::new(f)) as Box<dyn Projection>]).await?;
    let copy = copy(f).await?;
    let until = copy.hold(Duration::from_secs(10)).await?;
    let mut transaction = f.store.begin().await?;
    let request = Append::new().to(Stream::new("thing", "a")?, Expected::Any, [event()?]);
    ensure_err!(transaction.append(request).await, Error::Held { .. });
    drop(transaction);
    let store = f.store.clone();
    let mut writers = JoinSet::new();
    writers.spawn(async move {
        let stream = Stream::new("thing", "c")?;
        projecting.append(&stream, Expected::NoStream, [event()?]).await.map(drop)
    });
    writers.spawn({
        let store = store.clone();
        async move { append(&store, "a").await }
    });
    writers.spawn({
        let store = store.clone();
        async move { store.delete(&Stream::new("thing", "b")?, Expected::Any).await.map(drop) }
    });
    writers.spawn({
        let store = store.clone();
        async move { store.record_command(Command::new(Uuid::from_u128(1))).await.map(drop) }
    });
    writers.spawn(async move { store.set_metadata("a", None, Json::parse("{}")?).await.map(drop) });
    let early = tokio::time::timeout(Duration::from_millis(300), writers.join_next()).await;
    ensure!(early.is_err(), "a writer was answered while the topic is moved: {early:?}");
    ensure_eq!(f.store.version("a").await?.get(), 1, "the version while the topic is moved");
    mark::end_lease(&f.store, until).await;
    for outcome in writers.join_all().await {
        outcome?;
    }
    ensure_eq!(f.store.version("a").await?.get(), 2, "the version after the move was given up");
    ensure_eq!(f.store.version("c").await?.get(), 1, "the version of a stream whose writer has projections");
    ensure!(!f.store.exists("b").await?, "the deletion that waited is lost");
    ensure!(f.store.command(Uuid::from_u128(1)).await?.is_some(), "the command that waited is lost");
    copy.to().close().await;
    Ok(())
}

/// Appends and describes a stream with a deadline of some seconds, and returns both errors.
async fn hurried(f: &Fixture, seconds: u64) -> Result<(Option<Error>, Option<Error>)> {
    let url = format!("sqlite::memory:?statement_timeout={seconds}s");
    let store =
        Store::shared(Arc::clone(f.store.backend()), &url.parse::<Config>()?.with_topic(&f.store.topic().name)?)
            .await?;
    let described = store.set_metadata("a", None, Json::parse("{}")?);
    let (appended, described) = tokio::join!(append(&store, "a"), described);
    store.close().await;
    Ok((appended.err(), described.err()))
}

async fn a_writer_whose_own_deadline_is_shorter_is_told_of_the_move(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = copy(f).await?;
    let until = copy.hold(Duration::from_mins(2)).await?;
    // A server that is slow to refuse a request lets a short deadline pass.
    let mut told = hurried(f, 2).await?;
    for seconds in [6, 20] {
        if let (Some(Error::Deadline { .. }), _) | (_, Some(Error::Deadline { .. })) = told {
            told = hurried(f, seconds).await?;
        }
    }
    for error in [told.0, told.1] {
        ensure!(matches!(error, Some(Error::Held { until: end }) if end == until), "expected Held, got {error:?}");
    }
    mark::end_lease(&f.store, until).await;
    append(&f.store, "a").await?;
    ensure_eq!(f.store.version("a").await?.get(), 2, "the version after requests that were refused");
    copy.to().close().await;
    Ok(())
}

async fn a_topic_that_was_moved_takes_nothing_at_its_old_place(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = copy(f).await?;
    let done = copy.cutover(|_| {}).await?;
    ensure_eq!((done.copied.events, done.last_events), (1, 0), "events copied, and while writers waited");
    let (store, stream) = (&f.store, Stream::new("thing", "a")?);
    ensure_err!(append(store, "a").await, Error::Moved { .. });
    ensure_err!(append(store, "new").await, Error::Moved { .. });
    let several =
        Append::new().to(stream.clone(), Expected::Any, [event()?, event()?]).guard(stream.clone(), Expected::Any);
    ensure_err!(store.commit(several).await, Error::Moved { .. });
    ensure_err!(store.record_command(Command::new(Uuid::from_u128(1))).await, Error::Moved { .. });
    ensure_err!(store.delete(&stream, Expected::Any).await, Error::Moved { .. });
    ensure_err!(store.set_metadata("a", None, Json::parse("{}")?).await, Error::Moved { .. });
    let mut transaction = store.begin().await?;
    ensure_err!(transaction.append(Append::new().to(stream, Expected::Any, [event()?])).await, Error::Moved { .. });
    drop(transaction);
    ensure_eq!(sound_log(store).await?.len(), 1, "events at the old place");
    append(copy.to(), "a").await?;
    ensure_eq!(copy.to().version("a").await?.get(), 2, "the version at the new place");
    copy.to().close().await;
    Ok(())
}

async fn a_move_that_was_given_up_lets_writers_go_on(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = copy(f).await?;
    copy.cutover(|_| {}).await?;
    ensure_err!(append(&f.store, "a").await, Error::Moved { .. });
    copy.reopen().await?;
    append(&f.store, "a").await?;
    let done = copy.cutover(|_| {}).await?;
    ensure_eq!(done.copied.events, 1, "events that were copied afterwards");
    copy.to().close().await;
    Ok(())
}

async fn whoever_follows_is_told_that_the_original_was_moved(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = copy(f).await?;
    let file = File::new();
    let other = TopicCopy::begin(f.store.clone(), file.url().parse()?).await?;
    let moving = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        other.cutover(|_| {}).await
    };
    let following = tokio::time::timeout(Duration::from_secs(30), copy.follow(std::future::pending(), |_| {}));
    let (followed, moved) = tokio::join!(following, moving);
    moved?;
    let followed = followed.map_err(|_| Failure("it follows a topic for ever that was moved".to_owned()))?;
    ensure_err!(followed, Error::Moved { .. });
    ensure_eq!(copy.to().version("a").await?.get(), 1, "the version in the copy");
    other.to().close().await;
    copy.to().close().await;
    Ok(())
}

async fn a_projection_goes_on_after_its_topic_comes_back(f: &Fixture) -> Verdict {
    prepare(f).await?;
    let stream = f.filled("a", 3).await?;
    let ledger = Ledger::new(f);
    f.store.project(ledger.clone()).catch_up().await?;
    let copy = copy(f).await?;
    copy.cutover(|_| {}).await?;
    copy.to().append(&stream, Expected::Any, [event()?]).await?;
    back(f, &copy).await?.cutover(|_| {}).await?;
    f.store.project(ledger.clone()).catch_up().await?;
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=4), "effects of four events");
    copy.to().close().await;
    Ok(())
}

async fn what_comes_under_a_clock_that_went_back_goes_along(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    f.store.record_command(Command::new(Uuid::from_u128(1))).await?;
    let copy = copy(f).await?;
    let since = Some(Utc::now() + TimeDelta::days(9));
    let (mut copied, mut progress) = (Copied::default(), |_| {});
    copy.claim().await?;
    copy.more(since, &mut copied, &mut progress).await?;
    ensure_eq!(copied.rows, 0, "rows copied that were written since a later time");
    copy.rest(since, &mut copied, &mut progress).await?;
    ensure!(copy.to().command(Uuid::from_u128(1)).await?.is_some(), "the command is unknown to the copy");
    f.store.set_metadata("a", None, Json::parse("{}")?).await?;
    copy.rest(since, &mut copied, &mut progress).await?;
    ensure!(copy.to().stream("a").await?.is_some_and(|a| a.metadata_version == 1), "the copy lacks metadata");
    copy.to().close().await;
    Ok(())
}

async fn the_prompt_heeds_a_move(f: &Fixture) -> Verdict {
    let arguments = [
        ("stream", Argument::Text("a")),
        ("stream_type", Argument::Text("thing")),
        ("expected_version", Argument::Null),
        ("event_type", Argument::Text("Happened")),
        ("data", Argument::Text("1")),
    ];
    let call = call(f, "append_to_stream", &arguments);
    f.store.backend().session().await?.query(&call).await?;
    let copy = copy(f).await?;
    let until = copy.hold(Duration::from_mins(1)).await?;
    match f.store.backend().session().await?.query(&call).await {
        Ok(rows) => return Err(Failure(format!("a topic that is being moved took an event: {rows:?}"))),
        Err(error) => ensure!(error.report().contains("moved"), "{} does not say why", error.report()),
    }
    mark::end_lease(&f.store, until).await;
    copy.cutover(|_| {}).await?;
    match f.store.backend().session().await?.query(&call).await {
        Ok(rows) => return Err(Failure(format!("a topic that was moved took an event: {rows:?}"))),
        Err(error) => ensure!(error.report().contains("moved"), "{} does not say why", error.report()),
    }
    ensure_eq!(sound_log(&f.store).await?.len(), 1, "events at the old place");
    copy.reopen().await?;
    f.store.backend().session().await?.query(&call).await?;
    copy.to().close().await;
    Ok(())
}
