//! Contract section 21: topics of many databases behind one handle.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::many::{File, append, broken, configuration, here, initialized, memory, put, stored};
use super::together::sound_log;
use crate::command::Command;
use crate::copy::TopicCopy;
use crate::error::Error;
use crate::event::NewEvent;
use crate::json::Json;
use crate::position::Version;
use crate::read::Query;
use crate::stream::{Expected, Stream};
use crate::topics::{HealthState, Registry, TopicConfig, Topics};

pub(super) const CASES: &[Case] = cases![
    topics_of_different_adapters_are_served_together: "21.1" if Url;
    what_is_appended_to_a_topic_is_in_its_own_log: "21.1" if Url;
    topics_of_equal_connections_share_one_backend: "21.2" if Url;
    callers_at_the_same_time_share_one_backend: "21.2" if Url;
    a_database_that_fails_blocks_no_other_topic: "21.3" if Url;
    health_names_the_database_that_is_down: "21.4" if Url;
    closing_ends_everything_and_can_be_repeated: "21.5" if Url;
    a_password_shows_nowhere: "21.7" if Url;
    a_topic_with_events_is_not_moved_without_them: "21.14" if Url;
    a_copy_that_went_another_way_is_not_the_topic: "21.14" if Url, Sql;
    a_copy_that_was_written_to_is_not_the_topic: "21.14", "22.3" if Url, Sql;
    a_copy_of_the_log_becomes_the_topic_and_the_original_is_closed: "21.14" if Url, Sql;
    an_empty_topic_can_be_moved: "21.14" if Url;
    a_topic_is_not_created_where_it_was_moved_away_from: "21.14" if Url, Sql;
    many_tasks_append_to_several_topics: "21.1" if Url;
];

async fn topics_of_different_adapters_are_served_together(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    let file = File::new();
    for config in [here(f, "first").partitions(3), memory("second"), file.topic("third")] {
        topics.create(config.build()?).await?;
    }
    for (index, name) in ["first", "second", "third"].into_iter().enumerate() {
        for _ in 0..=index {
            put(&topics, name, "a").await?;
        }
    }
    for (index, name) in ["first", "second", "third"].into_iter().enumerate() {
        let version = Version::new(1 + i64::try_from(index).unwrap_or_default());
        ensure_eq!(topics.version(name, "a").await?, version, "the version in {name}");
        let log = sound_log(&topics.store(name).await?).await?;
        ensure!(
            log.iter().all(|event| event.payload.as_json().is_some_and(|json| json.as_str().contains(name))),
            "{name} has events of another topic"
        );
    }
    ensure_eq!(topics.store("first").await?.topic().lanes.len(), 3, "lanes of the first");
    topics.close().await;
    Ok(())
}

async fn what_is_appended_to_a_topic_is_in_its_own_log(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    for name in ["one", "two"] {
        topics.create(here(f, name).build()?).await?;
    }
    put(&topics, "one", "a").await?;
    ensure_eq!(topics.version("two", "a").await?, Version::ZERO, "the version in the other topic");
    put(&topics, "two", "a").await?;
    put(&topics, "two", "b").await?;
    let of = |name: &'static str| topics.query(name, Query::new());
    ensure_eq!((of("one").await?.len(), of("two").await?.len()), (1, 2), "events of the two");
    ensure_eq!(sound_log(&f.store).await?.len(), 0, "events of the topic that nobody named");
    topics.close().await;
    Ok(())
}

async fn topics_of_equal_connections_share_one_backend(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    for name in ["a", "b", "c"] {
        topics.create(memory(name).connection("shared").build()?).await?;
    }
    topics.create(memory("d").connection("another").build()?).await?;
    let backend = |name: &'static str| async { Ok::<_, Error>(Arc::clone(topics.store(name).await?.backend())) };
    let a = backend("a").await?;
    for name in ["b", "c"] {
        ensure!(Arc::ptr_eq(&a, &backend(name).await?), "{name} has a backend of its own");
    }
    ensure!(!Arc::ptr_eq(&a, &backend("d").await?), "a topic of another connection shares the backend");
    topics.close().await;
    Ok(())
}

async fn callers_at_the_same_time_share_one_backend(_: &Fixture) -> Verdict {
    let registry = Registry::default();
    let config = memory("a").build()?;
    ensure!(registry.get(&config)?.is_none(), "a backend is there before anybody asked for one");
    let made = try_join_all((0..20).map(|_| registry.get_or_create(&config))).await?;
    ensure!(made.iter().all(|backend| Arc::ptr_eq(backend, &made[0])), "20 callers got several backends");
    ensure!(registry.get(&config)?.is_some_and(|backend| Arc::ptr_eq(&backend, &made[0])), "it is not kept");
    registry.close(Duration::from_secs(5)).await;
    ensure_err!(registry.get_or_create(&config).await, Error::Closed);
    Ok(())
}

async fn a_database_that_fails_blocks_no_other_topic(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    topics.create(here(f, "good").build()?).await?;
    ensure!(topics.create(broken("bad").build()?).await.is_err(), "a topic was created where nothing can be");
    ensure_err!(topics.get("bad"), Error::UnknownTopic { .. });
    // It was there once: its configuration says so.
    let config = broken("bad").build()?;
    let event = NewEvent::json("TopicCreated", &config)?;
    let log = configuration(f).await?;
    log.append(&Stream::new("topic", "bad")?, Expected::NoStream, [event]).await?;
    topics.rebuild().await?;
    for _ in 0..3 {
        ensure!(put(&topics, "bad", "a").await.is_err(), "a topic that can't be reached took an event");
        put(&topics, "good", "a").await?;
    }
    ensure_eq!(topics.version("good", "a").await?, Version::new(3), "the version in the good one");
    ensure_eq!(topics.list()?.len(), 2, "topics in the list");
    topics.close().await;
    Ok(())
}

async fn health_names_the_database_that_is_down(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    topics.create(memory("good").build()?).await?;
    // A server that is busy may well be slow to answer.
    let state = topics.health().await?.state;
    ensure!(state != HealthState::Down, "all together are {state}");
    let event = NewEvent::json("TopicCreated", &broken("bad").build()?)?;
    configuration(f).await?.append(&Stream::new("topic", "bad")?, Expected::NoStream, [event]).await?;
    topics.rebuild().await?;
    let health = topics.health().await?;
    ensure_eq!(health.state, HealthState::Degraded, "all together");
    for backend in &health.backends {
        let is_bad = backend.topics == ["bad"];
        ensure_eq!(backend.state == HealthState::Down, is_bad, "whether {backend:?} is down");
        ensure_eq!(
            backend.reason.is_some(),
            backend.state != HealthState::Healthy,
            "whether {backend:?} gives a reason"
        );
        ensure_eq!(backend.latency.is_none(), is_bad, "whether a time is given for {backend:?}");
    }
    ensure_eq!(health.backends.len(), 3, "backends");
    topics.close().await;
    Ok(())
}

async fn closing_ends_everything_and_can_be_repeated(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    topics.create(memory("a").build()?).await?;
    let store = topics.store("a").await?;
    topics.close().await;
    topics.close().await;
    ensure_err!(topics.get("a"), Error::Closed);
    ensure_err!(topics.store("a").await, Error::Closed);
    ensure_err!(topics.initialize().await, Error::Closed);
    ensure!(store.query(Query::new()).await.is_err(), "a closed topic is read");
    ensure_err!(store.append(&f.stream("a")?, Expected::Any, f.events(1)?).await, Error::Closed);
    // What was lent stays open.
    f.filled("a", 1).await?;
    Ok(())
}

async fn a_password_shows_nowhere(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    let url = "sqlite://ada:hidden-word@/no/such/folder/events.db";
    let config = TopicConfig::builder("a").connection(url).build()?;
    let event = NewEvent::json("TopicCreated", &config)?;
    configuration(f).await?.append(&Stream::new("topic", "a")?, Expected::NoStream, [event]).await?;
    topics.rebuild().await?;
    let texts = [
        format!("{config:?} {:?} {:?}", config.change(), config.fields()),
        format!("{:?} {:?}", topics.get("a")?, topics.history("a").await?),
        format!("{:?} {topics:?}", topics.health().await?),
        format!("{:?}", topics.store("a").await),
        format!("{:?}", topics.registry()),
    ];
    for text in texts {
        ensure!(!text.contains("hidden-word"), "a password shows in {text}");
    }
    topics.close().await;
    Ok(())
}

async fn a_topic_with_events_is_not_moved_without_them(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    let made = topics.create(here(f, "a").build()?).await?;
    put(&topics, "a", "s").await?;
    let moved = made.config.change().adapter("memory").connection("elsewhere").build()?;
    let refused = topics.update(moved.clone(), made.version).await;
    ensure_err!(refused, Error::EventsLeftBehind { topic, events: 1 } if topic == "a");
    // A log of its own at the new place is not that of the old one.
    let elsewhere = topics.registry().get_or_create(&moved).await?;
    elsewhere.create_topic("a", 1).await?;
    let refused = topics.update(moved, made.version).await;
    ensure_err!(refused, Error::EventsLeftBehind { .. });
    ensure_eq!(topics.get("a")?, made, "the topic after a refused move");
    ensure_eq!(topics.version("a", "s").await?, Version::new(1), "the version of its stream");
    topics.close().await;
    Ok(())
}

/// Topic `a` in the case's database with an event, its copy in memory, and the configuration that has it there.
async fn copied(f: &Fixture, topics: &Topics) -> Result<(TopicCopy, TopicConfig, Version), Failure> {
    let made = topics.create(here(f, "a").build()?).await?;
    put(topics, "a", "s").await?;
    let there = made.config.change().adapter("memory").connection("elsewhere").build()?;
    let backend = topics.registry().get_or_create(&there).await?;
    let url = "sqlite::memory:?topic=a".parse()?;
    let copy = TopicCopy::between(topics.store("a").await?, backend, &url).await?;
    copy.run(|_| {}).await?;
    Ok((copy, there, made.version))
}

async fn a_copy_that_went_another_way_is_not_the_topic(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    let (copy, there, version) = copied(f, &topics).await?;
    // As long as the original, and not the same.
    append(copy.to(), "s").await?;
    put(&topics, "a", "s").await?;
    ensure_err!(topics.update(there, version).await, Error::EventsLeftBehind { events: 2, .. });
    put(&topics, "a", "s").await?;
    ensure_eq!(topics.version("a", "s").await?.get(), 3, "the version of its stream");
    topics.close().await;
    Ok(())
}

async fn a_copy_that_was_written_to_is_not_the_topic(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    let (copy, there, version) = copied(f, &topics).await?;
    append(copy.to(), "s").await?;
    ensure_err!(topics.update(there, version).await, Error::EventsLeftBehind { events: 1, .. });
    put(&topics, "a", "s").await?;
    ensure_eq!(topics.version("a", "s").await?.get(), 2, "the version of its stream");
    topics.close().await;
    Ok(())
}

async fn a_copy_of_the_log_becomes_the_topic_and_the_original_is_closed(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    let (copy, there, version) = copied(f, &topics).await?;
    // What has come beside the events since it was copied goes along.
    topics.store("a").await?.record_command(Command::new(Uuid::from_u128(1))).await?;
    topics.store("a").await?.set_metadata("s", None, Json::parse("{}")?).await?;
    topics.hold("a", "case-17", "the lawyers of ACME").await?;
    topics.update(there, version).await?;
    ensure!(copy.to().command(Uuid::from_u128(1)).await?.is_some(), "a command is unknown at the new place");
    ensure_eq!(
        copy.to().stream("s").await?.map(|stream| stream.metadata_version),
        Some(1),
        "metadata at the new place"
    );
    ensure_eq!(topics.holds("a").await?.len(), 1, "legal holds at the new place");
    put(&topics, "a", "s").await?;
    ensure_eq!(topics.version("a", "s").await?.get(), 2, "the version at the new place");
    ensure_err!(append(&stored(f, "a").await?, "s").await, Error::Moved { .. });
    topics.close().await;
    Ok(())
}

async fn a_topic_is_not_created_where_it_was_moved_away_from(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    let (_, there, version) = copied(f, &topics).await?;
    let moved = topics.update(there, version).await?;
    topics.delete("a", moved.version).await?;
    ensure_err!(topics.create(here(f, "a").build()?).await, Error::Moved { .. });
    ensure_err!(topics.get("a"), Error::TopicDeleted { .. });
    topics.close().await;
    Ok(())
}

async fn an_empty_topic_can_be_moved(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    let made = topics.create(memory("a").build()?).await?;
    let moved = here(f, "a").build()?;
    topics.update(moved.clone(), made.version).await?;
    put(&topics, "a", "s").await?;
    let there = Arc::clone(topics.store("a").await?.backend());
    ensure!(Arc::ptr_eq(&there, f.store.backend()), "the topic is not at its new place");
    topics.close().await;
    Ok(())
}

async fn many_tasks_append_to_several_topics(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    let names = ["a", "b", "c"];
    topics.create(here(f, "a").build()?).await?;
    topics.create(here(f, "b").partitions(2).build()?).await?;
    topics.create(memory("c").build()?).await?;
    let mut tasks = JoinSet::new();
    for task in 0..12 {
        let topics = topics.clone();
        tasks.spawn(async move {
            for number in 0..10 {
                put(&topics, names[(task + number) % 3], &format!("s-{task}")).await?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome??;
    }
    for name in names {
        let log = sound_log(&topics.store(name).await?).await?;
        ensure_eq!(log.len(), 40, "events of {name}");
    }
    topics.close().await;
    Ok(())
}
