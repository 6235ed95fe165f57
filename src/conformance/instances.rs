//! Contract section 21: several instances at work on topics of several databases, each with connections of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::many::{File, Instance, here, put, url};
use super::together::{sound_log, together};
use crate::error::{Error, Result};
use crate::event::{NewEvent, RecordedEvent};
use crate::position::Version;
use crate::read::Query;
use crate::stream::{Expected, Stream};
use crate::topics::{ConfiguredTopic, TopicConfigBuilder, Topics};

pub(super) const CASES: &[Case] = cases![
    the_next_instance_finds_the_topics_of_all_databases: "21.1", "21.8", "21.9" if Url, Durable;
    a_topic_that_another_instance_makes_is_used_at_once: "21.8", "21.11" if Url, Durable;
    two_instances_create_each_topic_once: "21.1", "21.11" if Url, Durable;
    two_instances_change_delete_and_append_at_once: "21.1", "21.11" if Url, Durable;
    writers_of_two_instances_go_there_and_back: "21.16", "22.6" if Url, Durable, Sql;
];

/// The topics that both instances use, every other one in the file.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn place(f: &Fixture, file: &File, number: usize) -> TopicConfigBuilder {
    if number.is_multiple_of(2) { here(f, NAMES[number]).partitions(2) } else { file.topic(NAMES[number]) }
}

async fn the_next_instance_finds_the_topics_of_all_databases(f: &Fixture) -> Verdict {
    let file = File::new();
    let first = Instance::start(f).await?;
    for (number, name) in NAMES.into_iter().enumerate() {
        first.topics.create(place(f, &file, number).build()?).await?;
        for stream in ["s", "t", "s"] {
            put(&first.topics, name, stream).await?;
        }
    }
    let made = first.topics.get("b")?;
    first.topics.update(made.config.change().retention_days(9).build()?, made.version).await?;
    first.topics.delete("c", Version::new(1)).await?;
    let (topics, logs) = (first.topics.list()?, logs(&first.topics, &["a", "b", "d"]).await?);
    first.end().await;

    let second = Instance::start(f).await?;
    ensure_eq!(second.topics.list()?, topics, "topics that the second instance lists");
    ensure_eq!(self::logs(&second.topics, &["a", "b", "d"]).await?, logs, "logs that the second instance reads");
    ensure_err!(second.topics.store("c").await, Error::TopicDeleted { .. });
    for name in ["a", "b", "d"] {
        put(&second.topics, name, "s").await?;
        ensure_eq!(second.topics.version(name, "s").await?.get(), 3, "the version in {name}");
    }
    second.end().await;
    Ok(())
}

/// Reads the logs of some topics.
async fn logs(topics: &Topics, names: &[&str]) -> Result<Vec<Vec<RecordedEvent>>> {
    try_join_all(names.iter().map(|name| topics.query(name, Query::new()))).await
}

async fn a_topic_that_another_instance_makes_is_used_at_once(f: &Fixture) -> Verdict {
    let file = File::new();
    let (one, two) = (Instance::start(f).await?, Instance::start(f).await?);
    // Each has used both databases before.
    for (number, topics) in [&one.topics, &two.topics, &two.topics, &one.topics].into_iter().enumerate() {
        topics.create(place(f, &file, number).build()?).await?;
        put(topics, NAMES[number], "s").await?;
    }
    for (topics, name) in [(&one.topics, "b"), (&one.topics, "c"), (&two.topics, "a"), (&two.topics, "d")] {
        knows(topics, name).await?;
        put(topics, name, "s").await?;
        ensure_eq!(topics.version(name, "s").await?.get(), 2, "the version in {name}, which the other one has made");
    }
    one.end().await;
    two.end().await;
    Ok(())
}

async fn knows(topics: &Topics, name: &str) -> Verdict {
    super::many::until(|| topics.get(name).is_ok()).await
}

async fn two_instances_create_each_topic_once(f: &Fixture) -> Verdict {
    let file = File::new();
    let instances = [Instance::start(f).await?, Instance::start(f).await?];
    let answers = together(2 * NAMES.len(), |task| {
        let topics = instances[task % 2].topics.clone();
        let config = place(f, &file, task / 2).build();
        async move { topics.create(config?).await }
    })
    .await?;
    for (name, of_name) in NAMES.iter().zip(answers.chunks(2)) {
        match of_name {
            [Ok(made), Err(Error::TopicExists { .. })] | [Err(Error::TopicExists { .. }), Ok(made)] => {
                ensure_eq!(made.version, Version::new(1), "the version of {name}");
            }
            other => return Err(Failure(format!("not one of two has made {name}: {other:?}"))),
        }
    }
    for instance in &instances {
        for name in NAMES {
            knows(&instance.topics, name).await?;
            put(&instance.topics, name, "s").await?;
        }
    }
    let lists = (instances[0].topics.list()?, instances[1].topics.list()?);
    ensure_eq!(lists.0, lists.1, "topics of the one, and those of the other");
    for name in NAMES {
        let log = sound_log(&instances[0].topics.store(name).await?).await?;
        ensure_eq!(log.len(), 2, "events of {name}");
    }
    for instance in instances {
        instance.end().await;
    }
    Ok(())
}

/// What one of those who work at once does.
#[derive(Debug, Clone, Copy)]
enum Work {
    Append(&'static str),
    Update(&'static str, u32),
    Delete(&'static str),
}

async fn work(topics: Topics, work: Work, task: usize) -> Result<()> {
    match work {
        Work::Append(name) => {
            for _ in 0..5 {
                put(&topics, name, "shared").await?;
                put(&topics, name, &format!("s-{task}")).await?;
            }
            Ok(())
        }
        Work::Update(name, days) => {
            let change = topics.get(name)?.config.change().retention_days(days).build()?;
            topics.update(change, Version::new(1)).await.map(drop)
        }
        Work::Delete(name) => topics.delete(name, Version::new(1)).await,
    }
}

async fn two_instances_change_delete_and_append_at_once(f: &Fixture) -> Verdict {
    let file = File::new();
    let instances = [Instance::start(f).await?, Instance::start(f).await?];
    for number in 0..NAMES.len() {
        instances[number / 2].topics.create(place(f, &file, number).build()?).await?;
    }
    for instance in &instances {
        try_join_all(NAMES.map(|name| async { knows(&instance.topics, name).await.map_err(|failure| failure.0) }))
            .await
            .map_err(Failure)?;
    }
    let works = [
        Work::Append("a"),
        Work::Append("b"),
        Work::Update("a", 3),
        Work::Update("b", 4),
        Work::Delete("c"),
        Work::Delete("d"),
    ];
    let answers =
        together(2 * works.len(), |task| self::work(instances[task % 2].topics.clone(), works[task / 2], task)).await?;
    for (work, of_work) in works.iter().zip(answers.chunks(2)) {
        match (work, of_work) {
            (Work::Append(_), [Ok(()), Ok(())])
            | (Work::Update(..), [Ok(()), Err(Error::Conflict { .. })] | [Err(Error::Conflict { .. }), Ok(())])
            | (
                Work::Delete(_),
                [Ok(()), Err(Error::Conflict { .. } | Error::TopicDeleted { .. })]
                | [Err(Error::Conflict { .. } | Error::TopicDeleted { .. }), Ok(())],
            ) => {}
            other => return Err(Failure(format!("what both instances did at once has ended so: {other:?}"))),
        }
    }
    for Instance { topics, .. } in &instances {
        let is_known = |name: &str| topics.get(name).is_ok_and(|topic| topic.version == Version::new(2));
        super::many::until(|| is_known("a") && is_known("b") && topics.list().is_ok_and(|list| list.len() == 2))
            .await?;
        for name in ["c", "d"] {
            ensure_err!(topics.get(name), Error::TopicDeleted { .. });
        }
        for name in ["a", "b"] {
            ensure_eq!(sound_log(&topics.store(name).await?).await?.len(), 20, "events of {name}");
        }
    }
    ensure_eq!(instances[0].topics.list()?, instances[1].topics.list()?, "topics of the one, and those of the other");
    for instance in instances {
        instance.end().await;
    }
    Ok(())
}

async fn writers_of_two_instances_go_there_and_back(f: &Fixture) -> Verdict {
    let file = File::new();
    let (one, two) = (Instance::start(f).await?, Instance::start(f).await?);
    let made = one.topics.create(here(f, "t").partitions(2).build()?).await?;
    knows(&two.topics, "t").await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for number in 0..6 {
        let topics = if number % 2 == 0 { one.topics.clone() } else { two.topics.clone() };
        writers.spawn(write(topics, format!("w-{number}"), Arc::clone(&stop)));
    }
    let moved = there_and_back(f, &file, (&one.topics, &two.topics), &made).await;
    stop.store(true, Ordering::Relaxed);
    let written = writers.join_all().await;
    moved?;
    let log = sound_log(&one.topics.store("t").await?).await?;
    let mut acknowledged = 0;
    for ids in written {
        let ids = ids?;
        acknowledged += ids.len();
        ensure!(ids.iter().all(|id| log.iter().any(|event| event.event_id == *id)), "an event is lost");
    }
    ensure_eq!(log.len(), acknowledged, "events in the log");
    ensure_eq!(logs(&two.topics, &["t"]).await?, [log], "the log that the other instance reads");
    one.end().await;
    two.end().await;
    Ok(())
}

/// Moves a topic to the file by one instance, and back by the other, with some time in between.
async fn there_and_back(
    f: &Fixture,
    file: &File,
    (one, two): (&Topics, &Topics),
    made: &ConfiguredTopic,
) -> Result<(), Failure> {
    let pause = || tokio::time::sleep(Duration::from_millis(50));
    pause().await;
    let (there, _) = one.relocate(file.topic("t").partitions(2).build()?, made.version, |_| {}).await?;
    pause().await;
    let back = there.config.change().adapter(made.config.adapter()).connection(url(f)).build()?;
    let (back, _) = two.relocate(back, there.version, |_| {}).await?;
    pause().await;
    ensure_eq!(back.version.get(), 3, "the configuration's version after two moves");
    Ok(())
}

/// Appends to a stream, at the version that it has, until it is told to stop; returns the events' ids.
async fn write(topics: Topics, stream: String, stop: Arc<AtomicBool>) -> Result<Vec<Uuid>> {
    let stream = Stream::new("thing", stream)?;
    let (mut ids, mut version) = (Vec::new(), Version::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let id = Uuid::now_v7();
        let event = NewEvent::json("Happened", &1)?.with_id(id);
        version = topics.append("t", &stream, Expected::Exact(version), [event]).await?.version();
        ids.push(id);
    }
    Ok(ids)
}
