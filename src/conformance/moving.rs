//! Contract section 21: a topic that is moved to another database while it is used, and its configuration with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::many::{File, append, event, here, initialized, memory, put, stored, url};
use super::together::sound_log;
use crate::append::Append;
use crate::command::Command;
use crate::copy::{Cutover, TopicCopy};
use crate::error::{Error, Result};
use crate::position::Version;
use crate::read::Query;
use crate::store::Store;
use crate::stream::{Expected, Stream};
use crate::subscription::Start;
use crate::topics::{ConfiguredTopic, TopicConfig, Topics};

pub(super) const CASES: &[Case] = cases![
    a_topic_with_its_log_is_moved_there_and_back: "21.14", "22.6" if Url, Sql;
    a_topic_goes_on_to_a_third_place_and_back_to_the_first: "21.14", "22.6" if Url, Sql;
    eight_writers_go_along_and_lose_nothing: "21.16", "22.6" if Url, Sql;
    all_instances_go_along: "21.16" if Url, Sql;
    who_holds_the_old_store_is_told: "21.16" if Url, Sql;
    a_change_beside_a_move_lets_the_topic_be: "21.11", "21.16" if Url, Sql;
    a_topic_is_not_moved_onto_another_log: "22.3" if Url, Sql;
    a_command_from_before_a_move_is_known_after_it: "22.1", "22.6" if Url, Sql;
    a_legal_hold_goes_along: "8.6", "22.1" if Url, Sql;
    a_legal_hold_that_is_set_meanwhile_is_where_the_topic_is: "8.6", "22.1" if Url, Sql;
];

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
    ensure_eq!(sound_log(&stored(f, "t").await?).await?.len(), 6, "events where the topic was at first");
    topics.close().await;
    Ok(())
}

async fn a_topic_goes_on_to_a_third_place_and_back_to_the_first(f: &Fixture) -> Verdict {
    let (topics, made) = created(f).await?;
    let (there, _) = moved(&topics, &made).await?;
    put(&topics, "t", "a").await?;
    let file = File::new();
    let (third, _) = topics.relocate(file.topic("t").partitions(2).build()?, there.version, |_| {}).await?;
    put(&topics, "t", "a").await?;
    let back = third.config.change().adapter(made.config.adapter()).connection(url(f)).build()?;
    let (back, _) = topics.relocate(back, third.version, |_| {}).await?;
    put(&topics, "t", "a").await?;
    ensure_eq!(topics.version("t", "a").await?.get(), 5, "the stream's version");
    let (again, done) = topics.relocate(back.config.clone(), back.version, |_| {}).await?;
    ensure!(done.already() && again == back, "a topic was moved to where it is: {again:?}");
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
    let left = sound_log(&stored(f, "t").await?).await?;
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
    ensure_eq!(sound_log(&stored(f, "t").await?).await?.len(), 5, "events at the old place");
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

async fn a_legal_hold_that_is_set_meanwhile_is_where_the_topic_is(f: &Fixture) -> Verdict {
    let (topics, made) = created(f).await?;
    topics.hold("t", "ended", "for a day").await?;
    let config = elsewhere(&made)?;
    let backend = topics.registry().get_or_create(&config).await?;
    let url = "sqlite::memory:?migrate=auto&topic=t".parse()?;
    let copy = TopicCopy::between(topics.store("t").await?, backend, &url).await?;
    copy.run(|_| {}).await?;
    topics.release("t", "ended").await?;
    copy.run(|_| {}).await?;
    let until = copy.hold(Duration::from_secs(20)).await?;
    let setting = topics.hold("t", "case-17", "the lawyers of ACME");
    let moving = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        ensure!(copy.switch(until).await?.is_some(), "the copy lacks something");
        Ok::<_, Failure>(topics.update(config, made.version).await?)
    };
    let (set, moved) = tokio::join!(setting, moving);
    set?;
    moved?;
    let holds: Vec<_> = topics.holds("t").await?.into_iter().map(|hold| hold.name).collect();
    ensure_eq!(holds, ["case-17"], "holds at the new place");
    topics.close().await;
    Ok(())
}

async fn a_legal_hold_goes_along(f: &Fixture) -> Verdict {
    let (topics, made) = created(f).await?;
    topics.hold("t", "case-17", "the lawyers of ACME").await?;
    let before = topics.holds("t").await?;
    ensure_eq!(before[0].reason, "the lawyers of ACME", "the reason of the hold");
    moved(&topics, &made).await?;
    ensure_eq!(topics.holds("t").await?, before, "holds at the new place");
    topics.close().await;
    Ok(())
}
