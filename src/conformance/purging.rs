//! Contract section 8: removing a topic's log for good.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::many::{configuration, here, initialized, put, read_shared, stored};
use super::together::sound_log;
use crate::command::Command;
use crate::copy::{self, mark};
use crate::error::{Error, Result};
use crate::event::{ActorType, NewEvent, Payload, RecordedEvent, Source};
use crate::json::Json;
use crate::position::{LaneId, Position, Version};
use crate::schema::model::all_tables;
use crate::snapshot::NewSnapshot;
use crate::stream::{Expected, Stream};
use crate::topics::{TopicChangeKind, Topics};

pub(super) const CASES: &[Case] = cases![
    a_purged_topic_is_gone_and_its_purge_recorded: "8.6" if Url, Sql;
    a_topic_that_is_not_deleted_is_not_purged: "8.6" if Url, Sql;
    without_a_retention_nothing_is_purged: "8.6" if Url, Sql;
    before_its_retention_ends_nothing_is_purged: "8.6" if Url, Sql;
    under_a_legal_hold_nothing_is_purged: "8.6" if Url, Sql;
    what_was_not_exported_is_not_purged: "8.6" if Url, Sql;
    a_purge_names_the_version_that_it_has_seen: "8.6" if Url, Sql;
    a_purge_leaves_other_topics_as_they_were: "8.5", "8.6" if Url, Sql;
    a_topic_that_is_moved_is_not_purged: "8.6", "22.6" if Url, Sql;
    a_purge_that_was_cut_off_can_be_completed: "8.6" if Url, Sql;
    a_purged_topic_can_be_created_anew: "8.6", "21.9" if Url, Sql;
];

/// A topic that was deleted, whose events are older than its retention.
struct Old {
    topics: Topics,
    version: Version,
    hash: [u8; 32],
}

/// Creates topic `t` with events of the year 2000, and deletes it.
async fn old(f: &Fixture, days: Option<u32>) -> Result<Old, Failure> {
    let topics = initialized(f).await?;
    let mut config = here(f, "t").partitions(2);
    if let Some(days) = days {
        config = config.retention_days(days);
    }
    let made = topics.create(config.build()?).await?;
    let store = topics.store("t").await?;
    for (index, lane) in store.topic().lanes.clone().into_iter().enumerate() {
        let events = (1..=3).map(|position| of_2000(lane, index, position)).collect::<Result<Vec<_>>>()?;
        store.backend().restore(lane, &events).await?;
    }
    // Something of everything that a topic has beside its events.
    store.record_command(Command::new(Uuid::from_u128(1))).await?;
    let snapshot = NewSnapshot::new(Stream::new("thing", "s-0")?, Version::new(2), Json::parse("1")?);
    store.save_snapshot(&snapshot).await?;
    read_shared(&store).await?;
    let (hash, _) = copy::log_hash(&store).await?;
    topics.delete("t", made.version).await?;
    Ok(Old { topics, version: made.version.next(), hash })
}

fn of_2000(lane: LaneId, index: usize, position: i64) -> Result<RecordedEvent> {
    Ok(RecordedEvent {
        lane,
        position: Position::new(position),
        event_id: Uuid::now_v7(),
        aggregate_id: format!("s-{index}"),
        aggregate_type: "thing".to_owned(),
        aggregate_version: Version::new(position),
        event_type: "Happened".to_owned(),
        event_version: 1,
        event_timestamp: DateTime::from_timestamp_micros(946_684_800_000_000 + position).unwrap_or_default(),
        actor: None,
        actor_type: ActorType::default(),
        source: Source::default(),
        causation_id: None,
        correlation_id: None,
        payload: Payload::Json(Json::parse("1")?),
        metadata: None,
        tags: vec!["tag".to_owned()],
        hash: None,
    })
}

/// Asserts that a purge was refused, and that everything is there.
async fn kept(f: &Fixture, refused: Result<crate::topics::Purged>, why: &str) -> Verdict {
    match refused {
        Err(error @ Error::Kept { .. }) => ensure!(error.to_string().contains(why), "{error} does not say {why:?}"),
        other => return Err(Failure(format!("expected a refusal that says {why:?}, got {other:?}"))),
    }
    ensure_eq!(sound_log(&stored(f, "t").await?).await?.len(), 6, "events after a refused purge");
    let stream = Stream::new("thing", "later")?;
    let event = NewEvent::json("Happened", &1)?;
    stored(f, "t").await?.append(&stream, Expected::Any, [event]).await?;
    Ok(())
}

/// Counts the rows that lanes have in some tables.
async fn rows_of(f: &Fixture, lanes: &[LaneId], tables: &[&str]) -> Result<i64> {
    let mut count = 0;
    for table in tables {
        let sql = format!("SELECT COUNT(*) FROM {} WHERE lane_id = ?", super::prompt::table(f, table));
        for lane in lanes {
            let rows = f.store.select(&sql, &[lane.get().into()]).await?;
            count += rows.first().map_or(Ok(0), |row| row.get::<i64>(0))?;
        }
    }
    Ok(count)
}

async fn a_purged_topic_is_gone_and_its_purge_recorded(f: &Fixture) -> Verdict {
    let Old { topics, version, hash } = old(f, Some(1)).await?;
    let lanes = stored(f, "t").await?.topic().lanes.clone();
    for table in ["events", "event_tags", "streams", "commands", "snapshots", "subscriptions", "dead_letters"] {
        ensure!(rows_of(f, &lanes, &[table]).await? > 0, "the topic has no rows of {table} before it is purged");
    }
    let purged = topics.purge("t", version, &hash).await?;
    ensure_eq!((purged.events, purged.hash), (6, hash), "what was removed");
    // Each lane leaves what keeps its number from being given again.
    let all: Vec<_> =
        all_tables().filter(|table| table.primary_key.contains(&"lane_id")).map(|table| table.name).collect();
    ensure_eq!(rows_of(f, &lanes, &all).await?, 2, "rows that are left");
    ensure_err!(stored(f, "t").await, Error::UnknownTopic { .. });
    let history = topics.history("t").await?;
    let last = history.last().map(|change| (change.kind, change.purged));
    ensure_eq!(last, Some((TopicChangeKind::Purged, Some(purged))), "the last change");
    let log = sound_log(&configuration(f).await?).await?;
    let recorded = log.last().and_then(|event| event.payload.as_json()).map(|json| json.as_str().to_owned());
    ensure!(recorded.is_some_and(|text| text.contains(&crate::hash::hex(&hash))), "the hash is not recorded");
    // Another instance reads it, too.
    let other = initialized(f).await?;
    ensure_err!(other.get("t"), Error::TopicDeleted { .. });
    other.close().await;
    topics.close().await;
    Ok(())
}

async fn a_topic_that_is_not_deleted_is_not_purged(f: &Fixture) -> Verdict {
    let Old { topics, version, hash } = old(f, Some(1)).await?;
    let shown = topics.create(here(f, "t").partitions(2).retention_days(1).build()?).await?;
    ensure_eq!(shown.version, version.next(), "the version");
    kept(f, topics.purge("t", shown.version, &hash).await, "delete it first").await?;
    topics.close().await;
    Ok(())
}

async fn without_a_retention_nothing_is_purged(f: &Fixture) -> Verdict {
    let Old { topics, version, hash } = old(f, None).await?;
    kept(f, topics.purge("t", version, &hash).await, "for ever").await?;
    topics.close().await;
    Ok(())
}

async fn before_its_retention_ends_nothing_is_purged(f: &Fixture) -> Verdict {
    let since_2000 = u32::try_from((Utc::now().timestamp() - 946_684_800) / 86_400).unwrap_or_default();
    let Old { topics, version, hash } = old(f, Some(since_2000 + 2)).await?;
    kept(f, topics.purge("t", version, &hash).await, "kept until").await?;
    topics.close().await;
    Ok(())
}

async fn under_a_legal_hold_nothing_is_purged(f: &Fixture) -> Verdict {
    let Old { topics, version, hash } = old(f, Some(1)).await?;
    topics.hold("t", "case-17", "the lawyers of ACME").await?;
    topics.hold("t", "audit", "until 2031").await?;
    topics.hold("t", "case-17", "the lawyers of ACME and others").await?;
    let holds: Vec<_> = topics.holds("t").await?.into_iter().map(|hold| (hold.name, hold.reason)).collect();
    let expected = [("audit", "until 2031"), ("case-17", "the lawyers of ACME and others")];
    ensure_eq!(holds, expected.map(|(name, reason)| (name.to_owned(), reason.to_owned())), "holds");
    let released = (topics.release("t", "audit").await?, topics.release("t", "never-there").await?);
    ensure_eq!(released, (true, false), "which of the two holds was there");
    let refused = topics.purge("t", version, &hash).await;
    ensure!(matches!(&refused, Err(error) if error.to_string().contains("ACME and others")), "it was {refused:?}");
    kept(f, refused, "case-17").await?;
    topics.close().await;
    Ok(())
}

async fn what_was_not_exported_is_not_purged(f: &Fixture) -> Verdict {
    let Old { topics, version, mut hash } = old(f, Some(1)).await?;
    hash[0] ^= 1;
    kept(f, topics.purge("t", version, &hash).await, "export it again").await?;
    topics.close().await;
    Ok(())
}

async fn a_purge_names_the_version_that_it_has_seen(f: &Fixture) -> Verdict {
    let Old { topics, version, hash } = old(f, Some(1)).await?;
    ensure_err!(topics.purge("t", version.plus(-1), &hash).await, Error::Conflict { .. });
    ensure_err!(topics.purge("never", version, &hash).await, Error::UnknownTopic { .. });
    topics.purge("t", version, &hash).await?;
    topics.close().await;
    Ok(())
}

async fn a_purge_leaves_other_topics_as_they_were(f: &Fixture) -> Verdict {
    let Old { topics, version, hash } = old(f, Some(1)).await?;
    topics.create(here(f, "other").partitions(2).build()?).await?;
    for stream in ["a", "b", "c"] {
        put(&topics, "other", stream).await?;
    }
    let before = sound_log(&topics.store("other").await?).await?;
    topics.purge("t", version, &hash).await?;
    ensure_eq!(sound_log(&topics.store("other").await?).await?, before, "the log of another topic");
    put(&topics, "other", "a").await?;
    // The deletes that were let through let no others through.
    let events = super::prompt::table(f, "events");
    for _ in 0..8 {
        let deleted = f.store.backend().session().await?.execute(&format!("DELETE FROM {events}")).await;
        ensure!(deleted.is_err(), "events can be deleted after a purge");
    }
    topics.close().await;
    Ok(())
}

async fn a_topic_that_is_moved_is_not_purged(f: &Fixture) -> Verdict {
    let Old { topics, version, hash } = old(f, Some(1)).await?;
    let store = stored(f, "t").await?;
    let until = mark::hold(&store, Duration::from_mins(1), "elsewhere").await?;
    ensure_err!(topics.purge("t", version, &hash).await, Error::Held { until: end } if end == until);
    ensure_err!(mark::hold(&store, Duration::from_mins(1), "elsewhere").await, Error::Held { .. });
    ensure_eq!(sound_log(&store).await?.len(), 6, "events after a purge that was refused");
    mark::end_lease(&store, until).await;
    topics.purge("t", version, &hash).await?;
    topics.close().await;
    Ok(())
}

async fn a_purge_that_was_cut_off_can_be_completed(f: &Fixture) -> Verdict {
    let Old { topics, version, hash } = old(f, Some(1)).await?;
    // It was recorded, and not carried out.
    let recorded = json!({"events": 6, "hash": crate::hash::hex(&hash)});
    let (log, stream) = (configuration(f).await?, Stream::new("topic", "t")?);
    log.append(&stream, version, [NewEvent::json("TopicPurged", &recorded)?]).await?;
    ensure_err!(topics.purge("t", version, &hash).await, Error::Conflict { .. });
    topics.purge("t", version.next(), &hash).await?;
    ensure_err!(stored(f, "t").await, Error::UnknownTopic { .. });
    topics.close().await;
    Ok(())
}

async fn a_purged_topic_can_be_created_anew(f: &Fixture) -> Verdict {
    let Old { topics, version, hash } = old(f, Some(1)).await?;
    let (before, lanes) = (stored(f, "t").await?.topic().incarnation, stored(f, "t").await?.topic().lanes.clone());
    topics.purge("t", version, &hash).await?;
    topics.create(here(f, "t").build()?).await?;
    let store = topics.store("t").await?;
    ensure!(lanes.iter().all(|lane| !store.topic().lanes.contains(lane)), "the new log has a lane of the old one");
    ensure!(store.topic().incarnation != before, "the new log passes for the old one");
    put(&topics, "t", "s-0").await?;
    ensure_eq!(topics.version("t", "s-0").await?.get(), 1, "the version of a stream of the old log's name");
    topics.close().await;
    Ok(())
}
