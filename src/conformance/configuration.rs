//! Contract section 21: the configuration of topics, which is a log of events.

use std::time::Duration;

use chrono::TimeDelta;
use futures::future::try_join_all;
use serde_json::json;
use tokio::task::JoinSet;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::{Fixture, with_options};
use super::many::{configuration, event, here, initialized, memory, put, topics, until, url};
use crate::error::Error;
use crate::event::NewEvent;
use crate::position::{Position, Version};
use crate::read::Query;
use crate::stream::{Expected, Stream};
use crate::topics::{ConfiguredTopic, TopicChangeKind, TopicConfig, Topics};

pub(super) const CASES: &[Case] = cases![
    an_unknown_adapter_is_refused_with_the_choices: "21.6";
    a_configuration_is_refused_by_the_name_of_its_field: "21.6";
    the_configurations_own_topic_is_none_of_the_topics: "21.6" if Url;
    nothing_can_be_done_before_the_configuration_is_read: "21.8" if Url;
    reading_the_configuration_twice_changes_nothing: "21.8" if Url;
    a_topic_that_was_never_created_is_unknown: "21.9" if Url;
    a_topic_that_exists_is_not_created_again: "21.9" if Url;
    a_deleted_topic_is_hidden_and_comes_back_with_its_log: "21.9", "21.10" if Url;
    who_held_a_deleted_topic_hears_where_it_is_created_again: "21.16" if Url;
    what_can_not_be_used_is_not_recorded: "21.6" if Url, Sql;
    another_instance_finds_the_topics: "21.8" if Url;
    another_instance_hears_of_changes: "21.11" if Url;
    of_two_that_change_a_topic_one_conflicts: "21.11" if Url;
    of_many_that_create_a_topic_one_does: "21.11" if Url;
    a_rebuild_finds_what_is_stored: "21.8" if Url;
    a_creation_that_was_cut_off_is_made_good: "21.12" if Url;
    a_malformed_configuration_event_stops_the_start: "21.13" if Url;
    an_unknown_configuration_event_stops_the_start: "21.13" if Url;
    the_number_of_lanes_is_fixed: "21.10" if Url;
    the_history_tells_every_change: "21.15" if Url;
    the_configuration_is_known_as_of_a_time: "21.15" if Url;
    a_difference_names_topic_and_field: "21.15" if Url;
];

async fn an_unknown_adapter_is_refused_with_the_choices(_: &Fixture) -> Verdict {
    match TopicConfig::builder("a").adapter("blob").connection("blob:here").build() {
        Err(Error::Invalid { what: "adapter", reason }) => {
            for choice in ["blob", "memory", "file", "sqlite"] {
                ensure!(reason.contains(choice), "{choice} is not in {reason:?}");
            }
            Ok(())
        }
        other => Err(Failure(format!("expected a refusal of the adapter, got {other:?}"))),
    }
}

async fn a_configuration_is_refused_by_the_name_of_its_field(_: &Fixture) -> Verdict {
    let file = || TopicConfig::builder("a").connection("sqlite:a.db");
    let error = TopicConfig::builder("a").connection("Server=db;Password=hidden-word").build();
    ensure!(!format!("{error:?}").contains("hidden-word"), "a password shows in {error:?}");
    let wrong = [
        (TopicConfig::builder(""), "name"),
        (TopicConfig::builder(" a"), "name"),
        (file().partitions(0), "partitions"),
        (file().partitions(u16::MAX), "partitions"),
        (file().retention_days(0), "retention_days"),
        (file().schema("s"), "schema"),
        (file().connection("sqlite:a.db?topic=b"), "connection"),
        (file().connection("sqlite:"), "connection"),
        (TopicConfig::builder("a").connection("no scheme"), "connection"),
        (file().adapter("file").connection(""), "connection"),
        (file().adapter("memory").replica("nonsense"), "replica"),
    ];
    for (builder, field) in wrong {
        match builder.clone().build() {
            Err(Error::Invalid { what, .. }) if what == field => {}
            other => return Err(Failure(format!("expected a refusal of {field}, got {other:?} for {builder:?}"))),
        }
    }
    ensure_err!(TopicConfig::builder("n".repeat(256)).build(), Error::Limit { what: "name", .. });
    Ok(())
}

async fn the_configurations_own_topic_is_none_of_the_topics(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    for connection in [url(f), with_options(&url(f), &[("connect_timeout", "29s")])] {
        let own = TopicConfig::builder("topics").connection(connection).build()?;
        ensure_err!(topics.create(own).await, Error::Invalid { what: "name", .. });
    }
    topics.create(memory("topics").build()?).await?;
    topics.close().await;
    Ok(())
}

async fn nothing_can_be_done_before_the_configuration_is_read(f: &Fixture) -> Verdict {
    let topics = topics(f)?;
    ensure_err!(topics.list(), Error::NotInitialized);
    ensure_err!(topics.get("a"), Error::NotInitialized);
    ensure_err!(topics.create(memory("a").build()?).await, Error::NotInitialized);
    ensure_err!(topics.delete("a", Version::new(1)).await, Error::NotInitialized);
    ensure_err!(topics.store("a").await, Error::NotInitialized);
    ensure_err!(topics.rebuild().await, Error::NotInitialized);
    ensure_err!(topics.history("a").await, Error::NotInitialized);
    ensure_err!(put(&topics, "a", "a").await, Error::NotInitialized);
    topics.close().await;
    Ok(())
}

async fn reading_the_configuration_twice_changes_nothing(f: &Fixture) -> Verdict {
    let topics = topics(f)?;
    try_join_all((0..4).map(|_| topics.initialize())).await?;
    topics.create(memory("a").build()?).await?;
    topics.initialize().await?;
    ensure_eq!(topics.list()?.len(), 1, "topics");
    ensure_eq!(configuration(f).await?.query(Query::new()).await?.len(), 1, "events of the configuration");
    topics.close().await;
    Ok(())
}

async fn a_topic_that_was_never_created_is_unknown(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    topics.create(memory("known").build()?).await?;
    let named =
        |error: &Error| matches!(error, Error::UnknownTopic { topic, known } if topic == "x" && known == "known");
    ensure_err!(topics.get("x"), error if named(&error));
    ensure_err!(topics.store("x").await, error if named(&error));
    ensure_err!(put(&topics, "x", "a").await, error if named(&error));
    ensure_err!(topics.history("x").await, error if named(&error));
    ensure_err!(topics.delete("x", Version::new(1)).await, error if named(&error));
    ensure_err!(topics.update(memory("x").build()?, Version::new(1)).await, error if named(&error));
    topics.close().await;
    Ok(())
}

async fn a_topic_that_exists_is_not_created_again(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    let made = topics.create(memory("a").retention_days(7).build()?).await?;
    ensure_eq!((made.version, made.config.retention_days()), (Version::new(1), Some(7)), "what was made");
    ensure_err!(topics.create(memory("a").build()?).await, Error::TopicExists { topic } if topic == "a");
    ensure_eq!(topics.get("a")?, made, "the topic after a second creation");
    topics.close().await;
    Ok(())
}

async fn a_deleted_topic_is_hidden_and_comes_back_with_its_log(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    let made = topics.create(here(f, "a").build()?).await?;
    put(&topics, "a", "s").await?;
    let log = topics.store("a").await?.topic().clone();
    ensure_err!(topics.delete("a", Version::new(7)).await, Error::Conflict { actual, .. } if actual == Version::new(1));
    topics.delete("a", made.version).await?;
    ensure_eq!(topics.list()?, [], "topics in the list");
    ensure_err!(topics.get("a"), Error::TopicDeleted { topic } if topic == "a");
    ensure_err!(put(&topics, "a", "s").await, Error::TopicDeleted { .. });
    ensure_err!(topics.delete("a", Version::new(2)).await, Error::TopicDeleted { .. });
    let again = topics.create(here(f, "a").build()?).await?;
    ensure_eq!(again.version, Version::new(3), "the version of the configuration");
    ensure_eq!(*topics.store("a").await?.topic(), log, "lanes and identity of the log");
    ensure_eq!(topics.version("a", "s").await?, Version::new(1), "the version of a stream of before");
    topics.close().await;
    Ok(())
}

async fn who_held_a_deleted_topic_hears_where_it_is_created_again(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    let made = topics.create(here(f, "a").build()?).await?;
    let (held, thing) = (topics.store("a").await?, f.stream("s")?);
    held.append(&thing, Expected::Any, [event()?]).await?;
    topics.delete("a", made.version).await?;
    topics.create(memory("a").build()?).await?;
    ensure_err!(held.append(&thing, Expected::Any, [event()?]).await, Error::Moved { .. });
    put(&topics, "a", "s").await?;
    topics.close().await;
    Ok(())
}

async fn what_can_not_be_used_is_not_recorded(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    let made = topics.create(here(f, "a").build()?).await?;
    let changed = made.config.change().durability("eternal").build()?;
    ensure_err!(topics.update(changed, made.version).await, Error::Url { reason } if reason.contains("eternal"));
    ensure_eq!(topics.get("a")?, made, "the topic");
    put(&topics, "a", "s").await?;
    topics.close().await;
    Ok(())
}

async fn another_instance_finds_the_topics(f: &Fixture) -> Verdict {
    let first = initialized(f).await?;
    let made = first.create(here(f, "a").partitions(2).build()?).await?;
    put(&first, "a", "s").await?;
    first.close().await;
    let second = initialized(f).await?;
    ensure_eq!(second.list()?, [made], "what the second one lists");
    ensure_eq!(second.version("a", "s").await?, Version::new(1), "the version of a stream");
    second.close().await;
    Ok(())
}

async fn another_instance_hears_of_changes(f: &Fixture) -> Verdict {
    let (first, second) = (initialized(f).await?, initialized(f).await?);
    let made = first.create(memory("a").build()?).await?;
    until(|| second.get("a").is_ok_and(|seen| seen == made)).await?;
    let changed = first.update(made.config.change().retention_days(9).build()?, made.version).await?;
    until(|| second.get("a").is_ok_and(|seen| seen == changed)).await?;
    second.delete("a", changed.version).await?;
    until(|| matches!(first.get("a"), Err(Error::TopicDeleted { .. }))).await?;
    first.close().await;
    second.close().await;
    Ok(())
}

async fn of_two_that_change_a_topic_one_conflicts(f: &Fixture) -> Verdict {
    let (first, second) = (initialized(f).await?, initialized(f).await?);
    let made = first.create(memory("a").build()?).await?;
    until(|| second.get("a").is_ok()).await?;
    let change = |days: u32| made.config.change().retention_days(days).build();
    let (one, two) = tokio::join!(first.update(change(1)?, made.version), second.update(change(2)?, made.version));
    let (won, lost) = match (one, two) {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        other => return Err(Failure(format!("not one of the two won: {other:?}"))),
    };
    ensure!(
        matches!(&lost, Error::Conflict { stream, actual, .. } if stream == "a" && *actual == Version::new(2)),
        "the loser was told {lost:?}"
    );
    for topics in [&first, &second] {
        until(|| topics.get("a").is_ok_and(|seen| seen == won)).await?;
        topics.close().await;
    }
    Ok(())
}

async fn of_many_that_create_a_topic_one_does(f: &Fixture) -> Verdict {
    let instances = try_join_all((0..4).map(|_| initialized(f))).await?;
    let mut tasks = JoinSet::new();
    for topics in instances.clone() {
        let config = here(f, "a").build()?;
        tasks.spawn(async move { topics.create(config).await });
    }
    let mut made = 0;
    while let Some(outcome) = tasks.join_next().await {
        match outcome? {
            Ok(_) => made += 1,
            Err(Error::TopicExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    ensure_eq!(made, 1, "creations that succeeded");
    for topics in instances {
        until(|| topics.get("a").is_ok()).await?;
        topics.close().await;
    }
    Ok(())
}

async fn a_rebuild_finds_what_is_stored(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    for name in ["a", "b"] {
        topics.create(memory(name).build()?).await?;
    }
    topics.delete("b", Version::new(1)).await?;
    put(&topics, "a", "s").await?;
    let before = topics.list()?;
    topics.rebuild().await?;
    ensure_eq!(topics.list()?, before, "topics after a rebuild");
    ensure_err!(topics.get("b"), Error::TopicDeleted { .. });
    ensure_eq!(topics.version("a", "s").await?, Version::new(1), "the version of a stream");
    // It is followed still.
    topics.create(memory("c").build()?).await?;
    let other = initialized(f).await?;
    other.create(memory("d").build()?).await?;
    until(|| topics.get("d").is_ok()).await?;
    other.close().await;
    topics.close().await;
    Ok(())
}

async fn a_creation_that_was_cut_off_is_made_good(f: &Fixture) -> Verdict {
    f.store.backend().create_topic("a", 2).await?;
    let topics = initialized(f).await?;
    ensure_err!(topics.get("a"), Error::UnknownTopic { .. });
    let other_lanes = topics.create(here(f, "a").partitions(3).build()?).await;
    ensure_err!(other_lanes, Error::Invalid { what: "partitions", .. });
    topics.create(here(f, "a").partitions(2).build()?).await?;
    put(&topics, "a", "s").await?;
    ensure_eq!(topics.version("a", "s").await?, Version::new(1), "the version of a stream");
    topics.close().await;
    Ok(())
}

async fn a_malformed_configuration_event_stops_the_start(f: &Fixture) -> Verdict {
    let first = initialized(f).await?;
    first.create(memory("a").build()?).await?;
    first.close().await;
    let event = NewEvent::json("TopicUpdated", &json!({"name": "a", "adapter": 7}))?;
    configuration(f).await?.append(&Stream::new("topic", "a")?, Expected::Any, [event]).await?;
    stops_at(f, 2).await
}

async fn an_unknown_configuration_event_stops_the_start(f: &Fixture) -> Verdict {
    let event = NewEvent::json("TopicPainted", &json!({"colour": "red"}))?;
    configuration(f).await?.append(&Stream::new("topic", "a")?, Expected::Any, [event]).await?;
    stops_at(f, 1).await
}

async fn the_number_of_lanes_is_fixed(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    let made = topics.create(memory("a").partitions(2).build()?).await?;
    let changed = topics.update(made.config.change().partitions(3).build()?, made.version).await;
    ensure_err!(changed, Error::Invalid { what: "partitions", .. });
    ensure_eq!(topics.get("a")?, made, "the topic after a refused change");
    topics.close().await;
    Ok(())
}

async fn the_history_tells_every_change(f: &Fixture) -> Verdict {
    let topics = initialized(f).await?;
    let made = topics.create(memory("a").build()?).await?;
    let changed = topics.update(made.config.change().retention_days(30).build()?, made.version).await?;
    topics.delete("a", changed.version).await?;
    let history = topics.history("a").await?;
    let kinds: Vec<_> = history.iter().map(|change| (change.kind, change.version.get())).collect();
    let expected = [(TopicChangeKind::Created, 1), (TopicChangeKind::Updated, 2), (TopicChangeKind::Deleted, 3)];
    ensure_eq!(kinds, expected, "changes");
    let days: Vec<_> =
        history.iter().map(|change| change.config.as_ref().and_then(TopicConfig::retention_days)).collect();
    ensure_eq!(days, [None, Some(30), None], "days of retention");
    ensure!(history.is_sorted_by_key(|change| (change.at, change.position)), "the changes are out of order");
    topics.close().await;
    Ok(())
}

/// Returns topics of which one was created, and changed at a later time, as it was and as it is.
async fn changed_once(f: &Fixture) -> Result<(Topics, ConfiguredTopic, ConfiguredTopic), Failure> {
    let topics = initialized(f).await?;
    let made = topics.create(memory("a").build()?).await?;
    // Times have microseconds: a later event may have the same one.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let changed = topics.update(made.config.change().retention_days(30).build()?, made.version).await?;
    Ok((topics, made, changed))
}

async fn the_configuration_is_known_as_of_a_time(f: &Fixture) -> Verdict {
    let (topics, made, changed) = changed_once(f).await?;
    let before = made.created_at - TimeDelta::seconds(1);
    ensure_eq!(topics.as_of(before).await?, [], "topics before the first");
    ensure_eq!(topics.as_of(made.created_at).await?, [made], "topics after the first change");
    ensure_eq!(topics.as_of(changed.updated_at).await?, [changed], "topics after the second");
    topics.close().await;
    Ok(())
}

async fn a_difference_names_topic_and_field(f: &Fixture) -> Verdict {
    let (topics, made, changed) = changed_once(f).await?;
    let differences = topics.diff(made.created_at, changed.updated_at).await?;
    ensure_eq!(differences.len(), 1, "differences in {differences:?}");
    let difference = &differences[0];
    ensure_eq!((difference.topic.as_str(), difference.field), ("a", "retention_days"), "topic and field");
    ensure_eq!((difference.before.as_deref(), difference.after.as_deref()), (None, Some("30")), "before and after");
    ensure_eq!(topics.diff(changed.updated_at, changed.updated_at).await?, [], "differences of one time with itself");
    topics.close().await;
    Ok(())
}

/// Asserts that the configuration can't be read for its event at a position, and that this is said.
async fn stops_at(f: &Fixture, position: i64) -> Verdict {
    let topics = topics(f)?;
    match topics.initialize().await {
        Err(error @ Error::Configuration { position: found, .. }) if found == Position::new(position) => {
            ensure!(error.to_string().contains(&position.to_string()), "the position is not in {error}");
        }
        other => return Err(Failure(format!("expected a stop at position {position}, got {other:?}"))),
    }
    ensure_err!(topics.list(), Error::NotInitialized);
    topics.close().await;
    Ok(())
}
