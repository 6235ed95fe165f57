//! Contract sections 21 and 22: a topic that is moved to another database while it is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::many::{File, here, initialized, memory, put, url};
use super::prompt::{Argument, call};
use super::together::sound_log;
use crate::append::Append;
use crate::backend::Backend;
use crate::command::Command;
use crate::config::Config;
use crate::copy::{Copied, Cutover, TopicCopy};
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::json::Json;
use crate::position::Version;
use crate::read::Query;
use crate::store::Store;
use crate::stream::{Expected, Stream};
use crate::subscription::Start;
use crate::topics::{ConfiguredTopic, TopicConfig, Topics};

pub(super) const CASES: &[Case] = cases![
    a_copy_follows_what_is_written: "22.5" if Url, Sql;
    writers_wait_while_a_topic_is_moved: "22.6" if Url, Sql;
    a_topic_that_was_moved_takes_nothing_at_its_old_place: "22.6" if Url, Sql;
    a_move_that_was_given_up_lets_writers_go_on: "22.6" if Url, Sql;
    a_topic_with_its_log_is_moved_there_and_back: "21.14", "22.6" if Url, Sql;
    eight_writers_go_along_and_lose_nothing: "21.16", "22.6" if Url, Sql;
    all_instances_go_along: "21.16" if Url, Sql;
    who_holds_the_old_store_is_told: "21.16" if Url, Sql;
    a_change_beside_a_move_lets_the_topic_be: "21.11", "21.16" if Url, Sql;
    a_topic_is_not_moved_onto_another_log: "22.3" if Url, Sql;
    a_command_from_before_a_move_is_known_after_it: "22.1", "22.6" if Url, Sql;
    a_topic_is_moved_to_one_place_only: "22.6" if Url, Sql;
    a_lease_that_ended_closes_nothing: "22.6" if Url, Sql;
    a_legal_hold_goes_along: "8.6", "22.1" if Url, Sql;
    commands_of_a_clock_that_went_back_go_along: "22.6" if Url, Sql;
    the_prompt_heeds_a_move: "22.6" if Routines, OneLane;
];

fn event() -> Result<NewEvent> {
    NewEvent::json("Happened", &1)
}

/// Creates topic `t` in the case's database, with some events.
async fn created(f: &Fixture) -> Result<(Topics, ConfiguredTopic), Failure> {
    let topics = initialized(f).await?;
    let made = topics.create(here(f, "t").partitions(2).build()?).await?;
    for stream in ["a", "b", "c", "a"] {
        put(&topics, "t", stream).await?;
    }
    Ok((topics, made))
}

fn elsewhere(made: &ConfiguredTopic) -> Result<TopicConfig> {
    made.config.change().adapter("memory").connection("apart").build()
}

async fn moved(topics: &Topics, made: &ConfiguredTopic) -> Result<(ConfiguredTopic, Cutover)> {
    topics.relocate(elsewhere(made)?, made.version, |_| {}).await
}

/// Copies the case's own topic to a database in memory.
async fn copy(f: &Fixture) -> Result<TopicCopy> {
    TopicCopy::begin(f.store.clone(), "sqlite::memory:?migrate=auto".parse()?).await
}

async fn append(store: &Store, stream: &str) -> Result<()> {
    store.append(&Stream::new("thing", stream)?, Expected::Any, [event()?]).await.map(drop)
}

/// A store of topic `t` in the case's database, whatever the configuration says.
async fn at_the_old_place(f: &Fixture) -> Result<Store> {
    let config = url(f).parse::<Config>()?.with_topic("t")?;
    Store::shared(Arc::clone(f.store.backend()) as Arc<dyn Backend>, &config).await
}

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

async fn writers_wait_while_a_topic_is_moved(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    append(&f.store, "b").await?;
    let copy = copy(f).await?;
    copy.hold(TimeDelta::seconds(10)).await?;
    let store = f.store.clone();
    let mut writers = JoinSet::new();
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
    copy.reopen().await?;
    for outcome in writers.join_all().await {
        outcome?;
    }
    ensure_eq!(f.store.version("a").await?.get(), 2, "the version after the move was given up");
    ensure!(!f.store.exists("b").await?, "the deletion that waited is lost");
    ensure!(f.store.command(Uuid::from_u128(1)).await?.is_some(), "the command that waited is lost");
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

async fn a_topic_with_its_log_is_moved_there_and_back(f: &Fixture) -> Verdict {
    let (topics, made) = created(f).await?;
    let before = sound_log(&topics.store("t").await?).await?;
    let incarnation = topics.store("t").await?.topic().incarnation;
    let (there, _) = moved(&topics, &made).await?;
    ensure_eq!(there.config.adapter(), "memory", "the adapter after the move");
    let store = topics.store("t").await?;
    ensure_eq!(store.topic().incarnation, incarnation, "the identity of the log");
    let after = sound_log(&store).await?;
    let ids = |log: &[crate::RecordedEvent]| {
        log.iter().map(|event| (event.event_id, event.position, event.event_timestamp)).collect::<Vec<_>>()
    };
    ensure_eq!(ids(&after), ids(&before), "ids, positions and times");
    put(&topics, "t", "a").await?;
    let (back, _) = topics
        .relocate(
            there.config.change().adapter(made.config.adapter()).connection(url(f)).build()?,
            there.version,
            |_| {},
        )
        .await?;
    ensure_eq!(back.version.get(), 3, "the configuration's version after two moves");
    put(&topics, "t", "a").await?;
    ensure_eq!(topics.version("t", "a").await?.get(), 4, "the stream's version");
    ensure_eq!(sound_log(&at_the_old_place(f).await?).await?.len(), 6, "events where the topic was at first");
    topics.close().await;
    Ok(())
}

async fn eight_writers_go_along_and_lose_nothing(f: &Fixture) -> Verdict {
    let (topics, made) = created(f).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for number in 0..8_u128 {
        let (topics, stop) = (topics.clone(), Arc::clone(&stop));
        writers.spawn(async move {
            let stream = Stream::new("thing", format!("w-{number}"))?;
            let mut ids = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let event = event()?.with_id(Uuid::now_v7());
                ids.push(event.event_id());
                let expected = Expected::Exact(Version::new(i64::try_from(ids.len()).unwrap_or_default() - 1));
                topics.append("t", &stream, expected, [event]).await?;
            }
            Ok::<_, Error>(ids)
        });
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let done = moved(&topics, &made).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.store(true, Ordering::Relaxed);
    let (_, done) = done?;
    let mut acknowledged = Vec::new();
    for written in writers.join_all().await {
        acknowledged.extend(written?);
    }
    let log = sound_log(&topics.store("t").await?).await?;
    ensure_eq!(log.len(), acknowledged.len() + 4, "events in the log");
    ensure!(acknowledged.iter().all(|id| log.iter().any(|event| Some(event.event_id) == *id)), "an event is lost");
    let left = sound_log(&at_the_old_place(f).await?).await?;
    ensure_eq!(left.len() as u64, done.copied.events, "events at the old place, and those that were copied");
    ensure!(log.len() > left.len(), "nothing was written after the move");
    ensure!(done.pause < Duration::from_secs(30), "writers waited for {:?}", done.pause);
    topics.close().await;
    Ok(())
}

async fn all_instances_go_along(f: &Fixture) -> Verdict {
    let (topics, made) = created(f).await?;
    let other = initialized(f).await?;
    put(&other, "t", "a").await?;
    let file = File::new();
    topics.relocate(file.topic("t").partitions(2).build()?, made.version, |_| {}).await?;
    put(&other, "t", "a").await?;
    ensure_eq!(topics.version("t", "a").await?.get(), 4, "the version that the one sees");
    ensure_eq!(other.version("t", "a").await?.get(), 4, "the version that the other sees");
    ensure_eq!(sound_log(&at_the_old_place(f).await?).await?.len(), 5, "events at the old place");
    other.close().await;
    topics.close().await;
    Ok(())
}

async fn who_holds_the_old_store_is_told(f: &Fixture) -> Verdict {
    let (topics, made) = created(f).await?;
    let old = topics.store("t").await?;
    let mut live = old.subscribe(Start::Now, Query::new()).await?;
    moved(&topics, &made).await?;
    ensure_err!(append(&old, "a").await, Error::Moved { .. });
    ensure_err!(old.query(Query::new()).await, Error::Moved { .. });
    let next = tokio::time::timeout(Duration::from_secs(20), live.next()).await;
    ensure_err!(next.map_err(|_| Failure("the subscription waits for ever".to_owned()))?, Error::Moved { .. });
    append(&topics.store("t").await?, "a").await?;
    topics.close().await;
    Ok(())
}

async fn a_change_beside_a_move_lets_the_topic_be(f: &Fixture) -> Verdict {
    let (topics, made) = created(f).await?;
    let changed = topics.update(made.config.change().retention_days(9).build()?, made.version).await?;
    ensure_err!(moved(&topics, &made).await, Error::Conflict { .. });
    // One that comes while the log is copied, too.
    let (sender, mut copied) = tokio::sync::mpsc::unbounded_channel();
    let beside = async {
        copied.recv().await;
        topics.update(changed.config.change().retention_days(10).build()?, changed.version).await
    };
    let relocated = topics.relocate(elsewhere(&changed)?, changed.version, move |_| _ = sender.send(()));
    let (relocated, beside) = tokio::join!(relocated, beside);
    // Either may have come first: the other one is refused.
    ensure!(relocated.is_ok() != beside.is_ok(), "of {relocated:?} and {beside:?} one is to be carried out");
    put(&topics, "t", "a").await?;
    ensure_eq!(topics.version("t", "a").await?.get(), 3, "the stream's version");
    topics.close().await;
    Ok(())
}

async fn a_topic_is_not_moved_onto_another_log(f: &Fixture) -> Verdict {
    let (topics, made) = created(f).await?;
    // Another log of the name is there.
    topics.create(memory("host").connection("apart").build()?).await?;
    let backend = Arc::clone(topics.store("host").await?.backend());
    backend.create_topic("t", 2).await?;
    let config = "sqlite::memory:?topic=t".parse()?;
    append(&Store::shared(backend, &config).await?, "a").await?;
    ensure_err!(moved(&topics, &made).await, Error::Invalid { what: "target", .. });
    put(&topics, "t", "a").await?;
    ensure_eq!(topics.get("t")?, made, "the topic");
    topics.close().await;
    Ok(())
}

async fn a_command_from_before_a_move_is_known_after_it(f: &Fixture) -> Verdict {
    let (topics, made) = created(f).await?;
    let request = Append::new()
        .to(Stream::new("thing", "c")?, Expected::Any, [event()?])
        .command(Command::new(Uuid::from_u128(7)));
    let first = topics.commit("t", request.clone()).await?;
    moved(&topics, &made).await?;
    let again = topics.commit("t", request).await?;
    ensure!(again.duplicate && !first.duplicate, "the repetition was carried out");
    ensure_eq!(again.positions, first.positions, "the positions of the repetition");
    topics.close().await;
    Ok(())
}

async fn a_topic_is_moved_to_one_place_only(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = copy(f).await?;
    copy.cutover(|_| {}).await?;
    let file = File::new();
    let second = TopicCopy::begin(f.store.clone(), file.url().parse()?).await?;
    ensure_err!(second.cutover(|_| {}).await, Error::Moved { .. });
    ensure_err!(append(&f.store, "a").await, Error::Moved { .. });
    // To its own place it can be completed again.
    copy.cutover(|_| {}).await?;
    second.to().close().await;
    copy.to().close().await;
    Ok(())
}

async fn a_lease_that_ended_closes_nothing(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = copy(f).await?;
    copy.run(|_| {}).await?;
    copy.hold(TimeDelta::milliseconds(1)).await?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    // It moves no head, and the copy lacks it.
    f.store.record_command(Command::new(Uuid::from_u128(1))).await?;
    ensure!(!copy.close_original().await?, "the topic was closed, and the copy lacks a command");
    append(&f.store, "a").await?;
    copy.to().close().await;
    Ok(())
}

async fn a_legal_hold_goes_along(f: &Fixture) -> Verdict {
    let (topics, made) = created(f).await?;
    topics.hold("t", "case-17", "the lawyers of ACME").await?;
    moved(&topics, &made).await?;
    let holds: Vec<_> = topics.holds("t").await?.into_iter().map(|hold| hold.reason).collect();
    ensure_eq!(holds, ["the lawyers of ACME"], "holds at the new place");
    topics.close().await;
    Ok(())
}

async fn commands_of_a_clock_that_went_back_go_along(f: &Fixture) -> Verdict {
    f.store.record_command(Command::new(Uuid::from_u128(1))).await?;
    let copy = copy(f).await?;
    let since = Some(Utc::now() + TimeDelta::days(9));
    let (mut copied, mut progress) = (Copied::default(), |_| {});
    copy.more(since, &mut copied, &mut progress).await?;
    ensure_eq!(copied.rows, 0, "rows copied that were written since a later time");
    copy.rest(since, &mut copied, &mut progress).await?;
    ensure!(copy.to().command(Uuid::from_u128(1)).await?.is_some(), "the command is unknown to the copy");
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
