//! Contract section 19: the states of aggregates, by events of any age and with or without snapshots.

use chrono::{TimeDelta, Utc};

use super::case::{Case, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::counter::{Aging, Command, Counter, Mistaken, Stubborn, Watcher, put};
use super::harness::Fixture;
use super::prompt::{dialect, moment, table};
use crate::aggregate::{ExecuteError, Loaded};
use crate::error::{Error, Result};
use crate::json::Json;
use crate::position::Version;
use crate::snapshot::{NewSnapshot, SnapshotQuery};
use crate::sql::Dialect;
use crate::store::Store;
use crate::stream::Expected;

pub(super) const CASES: &[Case] = cases![
    a_stream_that_does_not_exist_is_the_default_state: "19.8";
    a_state_of_thousands_of_events_is_complete: "19.1";
    snapshots_are_saved_every_so_many_events: "19.4";
    snapshots_are_saved_where_the_newest_is_older_than_a_time: "19.4" if Sql;
    a_state_begins_with_its_newest_snapshot: "19.4";
    a_snapshot_of_another_schema_is_passed_over: "7.2", "19.4";
    a_snapshot_that_cannot_be_read_is_passed_over: "19.4";
    a_command_lands_where_its_state_cannot_be_written: "19.4";
    a_command_lands_where_snapshots_cannot_be_kept: "19.4" if Sql;
    deleting_every_snapshot_changes_no_state: "7.3", "19.4";
    a_state_of_another_life_is_not_continued: "8.3", "19.4", "19.8";
    snapshots_show_no_state_of_a_time_when_the_stream_was_deleted: "7.3", "19.4", "19.7";
    events_of_earlier_versions_are_upcast: "19.5";
    upcasting_leaves_what_is_stored: "19.5";
    a_gap_in_the_upcasters_is_named_before_anything_is_read: "19.5";
    an_unknown_event_is_an_error_that_names_it: "19.6";
    an_event_of_a_later_version_is_unknown: "19.6";
    unknown_events_can_be_passed_over: "19.6";
    unknown_events_can_be_kept_raw: "19.6";
    data_of_another_shape_is_an_error_that_names_the_event: "19.5";
    a_state_as_of_a_version_is_that_of_then: "19.7";
    a_state_as_of_a_time_is_that_of_then: "19.7";
];

/// Executes commands about counter `a`, one by one.
async fn add<const EVERY: u64>(store: &Store, numbers: impl IntoIterator<Item = i64>) -> Verdict {
    for number in numbers {
        store.execute::<Counter<EVERY>>("a", Command::Add(number)).await?;
    }
    Ok(())
}

/// Saves a snapshot of stream `a` with a state of one's choice.
async fn forge(f: &Fixture, version: i64, schema: i32, state: &str) -> Verdict {
    let snapshot = NewSnapshot::new(f.stream("a")?, Version::new(version), Json::parse(state)?).with_schema(schema)?;
    ensure!(f.store.save_snapshot(&snapshot).await?, "the snapshot at {version} was not stored");
    Ok(())
}

async fn newest(f: &Fixture) -> Result<Option<i64>> {
    Ok(f.store.snapshot("a", SnapshotQuery::default()).await?.map(|found| found.aggregate_version.get()))
}

fn seen<const EVERY: u64, const SCHEMA: i32>(loaded: &Loaded<Counter<EVERY, SCHEMA>>) -> (i64, i64) {
    (loaded.state.count, loaded.version.get())
}

async fn a_stream_that_does_not_exist_is_the_default_state(f: &Fixture) -> Verdict {
    ensure_eq!(seen(&f.store.load::<Counter<3>>("a").await?), (0, 0), "count and version of no stream");
    ensure_eq!(seen(&f.store.load_as_of::<Counter>("a", Utc::now()).await?), (0, 0), "and as of a time");
    Ok(())
}

async fn a_state_of_thousands_of_events_is_complete(f: &Fixture) -> Verdict {
    for _ in 0..5 {
        f.store.execute::<Counter<2_000>>("a", Command::AddOnes(501)).await?;
    }
    ensure_eq!(seen(&f.store.load::<Counter>("a").await?), (2_505, 2_505), "count and version, from the beginning");
    ensure_eq!(seen(&f.store.load::<Counter<2_000>>("a").await?), (2_505, 2_505), "and from a snapshot");
    Ok(())
}

async fn snapshots_are_saved_every_so_many_events(f: &Fixture) -> Verdict {
    for (number, expected) in [None, None, Some(3), Some(3), Some(3), Some(6), Some(6)].into_iter().enumerate() {
        add::<3>(&f.store, [1]).await?;
        ensure_eq!(newest(f).await?, expected, "snapshot after {} events", number + 1);
    }
    f.store.execute::<Counter<3>>("a", Command::AddOnes(4)).await?;
    ensure_eq!(newest(f).await?, Some(11), "snapshot after a command of four events");
    add::<0>(&f.store, [1; 4]).await?;
    ensure_eq!(newest(f).await?, Some(11), "snapshot after commands without a policy");
    Ok(())
}

async fn snapshots_are_saved_where_the_newest_is_older_than_a_time(f: &Fixture) -> Verdict {
    let add = || f.store.execute::<Aging>("a", Command::Add(1));
    add().await?;
    add().await?;
    ensure_eq!(newest(f).await?, None, "snapshot of a stream that has just begun");
    forge(f, 1, 1, "1").await?;
    add().await?;
    ensure_eq!(newest(f).await?, Some(1), "snapshot, where the newest one is of now");
    let yesterday = moment(f, Utc::now() - TimeDelta::days(1));
    let set_back = format!("UPDATE {} SET snapshot_timestamp = {yesterday}", table(f, "snapshots"));
    f.store.backend().session().await?.execute(&set_back).await?;
    add().await?;
    ensure_eq!(newest(f).await?, Some(4), "snapshot, where the newest one was of yesterday");
    Ok(())
}

async fn a_state_begins_with_its_newest_snapshot(f: &Fixture) -> Verdict {
    add::<0>(&f.store, [1, 1, 1, 1]).await?;
    forge(f, 1, 1, r#"{"count": 1000}"#).await?;
    forge(f, 3, 1, r#"{"count": 3000}"#).await?;
    ensure_eq!(seen(&f.store.load::<Counter<100>>("a").await?), (3_001, 4), "count, on top of the forged one");
    ensure_eq!(seen(&f.store.load_as_of::<Counter<100>>("a", Version::new(2)).await?), (1_001, 2), "and as of 2");
    let done = f.store.execute::<Counter<100>>("a", Command::Add(1)).await?;
    ensure_eq!((done.state.count, done.version.get()), (3_002, 5), "count that a command decides over");
    ensure_eq!(seen(&f.store.load::<Counter>("a").await?), (5, 5), "count, where no snapshots are looked for");
    Ok(())
}

async fn a_snapshot_of_another_schema_is_passed_over(f: &Fixture) -> Verdict {
    add::<0>(&f.store, [1, 1, 1]).await?;
    forge(f, 1, 2, r#"{"count": 1000}"#).await?;
    forge(f, 2, 3, r#"{"count": 2000}"#).await?;
    ensure_eq!(seen(&f.store.load::<Counter<100, 1>>("a").await?), (3, 3), "count by the first schema");
    ensure_eq!(seen(&f.store.load::<Counter<100, 2>>("a").await?), (1_002, 3), "count by the second schema");
    Ok(())
}

async fn a_snapshot_that_cannot_be_read_is_passed_over(f: &Fixture) -> Verdict {
    add::<0>(&f.store, [1, 1, 1]).await?;
    forge(f, 2, 1, r#"{"total": 1000}"#).await?;
    ensure_eq!(seen(&f.store.load::<Counter<100>>("a").await?), (3, 3), "count beside a snapshot of another shape");
    let done = f.store.execute::<Counter<100>>("a", Command::Add(1)).await?;
    ensure_eq!(done.state.count, 4, "count that a command decides over");
    Ok(())
}

async fn a_command_lands_where_its_state_cannot_be_written(f: &Fixture) -> Verdict {
    for count in 1..=3 {
        let done = f.store.execute::<Stubborn>("a", Command::Add(1)).await?;
        ensure_eq!((done.state.0, done.version.get()), (count, count), "count and version");
    }
    ensure_eq!(newest(f).await?, None, "snapshot");
    Ok(())
}

async fn a_command_lands_where_snapshots_cannot_be_kept(f: &Fixture) -> Verdict {
    add::<1>(&f.store, [1]).await?;
    ensure_eq!(newest(f).await?, Some(1), "snapshot");
    rename(f, "snapshots", "elsewhere").await?;
    ensure!(newest(f).await.is_err(), "there is still a table of snapshots");
    add::<1>(&f.store, [1, 1]).await?;
    ensure_eq!(seen(&f.store.load::<Counter<1>>("a").await?), (3, 3), "count and version");
    // Who removes the database looks for it.
    rename(f, "elsewhere", "snapshots").await?;
    Ok(())
}

async fn rename(f: &Fixture, from: &str, to: &str) -> Verdict {
    let sql = match dialect(f) {
        Dialect::Sqlite | Dialect::Postgres => format!("ALTER TABLE {from} RENAME TO {to}"),
        Dialect::Mssql => format!("EXEC sp_rename N'{}', N'{to}', N'OBJECT'", table(f, from)),
    };
    Ok(f.store.backend().session().await?.execute(&sql).await?)
}

async fn deleting_every_snapshot_changes_no_state(f: &Fixture) -> Verdict {
    add::<2>(&f.store, 1..=9).await?;
    let mut with = vec![f.store.load::<Counter<2>>("a").await?.state];
    for version in 0..=10 {
        with.push(f.store.load_as_of::<Counter<2>>("a", Version::new(version)).await?.state);
    }
    ensure!(f.store.prune_snapshots("a", Version::MAX).await? >= 4, "there were too few snapshots");
    ensure_eq!(newest(f).await?, None, "snapshot");
    let mut without = vec![f.store.load::<Counter<2>>("a").await?.state];
    for version in 0..=10 {
        without.push(f.store.load_as_of::<Counter<2>>("a", Version::new(version)).await?.state);
    }
    ensure_eq!(with, without, "states with and without snapshots");
    ensure_eq!(with[0].count, 45, "count");
    Ok(())
}

async fn a_state_of_another_life_is_not_continued(f: &Fixture) -> Verdict {
    let stream = f.stream("a")?;
    add::<1>(&f.store, [10, 20]).await?;
    f.store.delete(&stream, Expected::Any).await?;
    f.store.reuse(&stream, Expected::Any).await?;
    ensure_eq!(seen(&f.store.load::<Counter<1>>("a").await?), (0, 4), "count and version of the new life");
    add::<1>(&f.store, [1]).await?;
    ensure_eq!(seen(&f.store.load::<Counter<1>>("a").await?), (1, 5), "count and version after a command");
    ensure_eq!(seen(&f.store.load_as_of::<Counter<1>>("a", Version::new(2)).await?), (30, 2), "those of the old life");
    Ok(())
}

async fn snapshots_show_no_state_of_a_time_when_the_stream_was_deleted(f: &Fixture) -> Verdict {
    let stream = f.stream("a")?;
    add::<1>(&f.store, [10, 20]).await?;
    f.store.delete(&stream, Expected::Any).await?;
    f.store.undelete(&stream, Expected::Any).await?;
    ensure_eq!(newest(f).await?, Some(2), "snapshot");
    for (version, count) in [(1, 10), (2, 30), (3, 0), (4, 30)] {
        let then = f.store.load_as_of::<Counter<1>>("a", Version::new(version)).await?;
        ensure_eq!(then.state.count, count, "count as of version {version}");
    }
    Ok(())
}

async fn events_of_earlier_versions_are_upcast(f: &Fixture) -> Verdict {
    let events = [("Increased", 1, "1"), ("Added", 1, r#"{"by": 10}"#), ("Added", 2, r#"{"n": 100}"#)];
    put(f, "a", &events).await?;
    ensure_eq!(seen(&f.store.load::<Counter>("a").await?), (111, 3), "count and version");
    let done = f.store.execute::<Counter>("a", Command::Triple).await?;
    ensure_eq!(done.state.count, 333, "count that a command decides over");
    let newest = f.store.recent(1).await?.pop().map(|event| (event.event_type, event.event_version));
    ensure_eq!(newest, Some(("Added".to_owned(), 2)), "type and version of a new event");
    Ok(())
}

async fn upcasting_leaves_what_is_stored(f: &Fixture) -> Verdict {
    put(f, "a", &[("Increased", 1, "1"), ("Added", 1, r#"{"by":  10}"#)]).await?;
    let before = f.store.query(crate::Query::new()).await?;
    f.store.load::<Counter<1>>("a").await?;
    let after = f.store.query(crate::Query::new()).await?;
    ensure_eq!(after, before, "events");
    let data = after[1].payload.as_json().map(Json::as_str);
    ensure_eq!(data, Some(r#"{"by":  10}"#), "data");
    Ok(())
}

async fn a_gap_in_the_upcasters_is_named_before_anything_is_read(f: &Fixture) -> Verdict {
    let named = |reason: &str| reason.contains("no upcaster begins with Cleared version 1");
    ensure_err!(f.store.load::<Mistaken>("a").await, Error::Invalid { reason, .. } if named(&reason));
    let then = f.store.load_as_of::<Mistaken>("a", Version::new(1)).await;
    ensure_err!(then, Error::Invalid { reason, .. } if named(&reason));
    let answer = f.store.execute::<Mistaken>("a", ()).await;
    ensure_err!(answer, ExecuteError::Store(Error::Invalid { reason, .. }) if named(&reason));
    ensure!(!f.store.exists("a").await?, "something was stored");
    Ok(())
}

async fn an_unknown_event_is_an_error_that_names_it(f: &Fixture) -> Verdict {
    put(f, "a", &[("Added", 2, r#"{"n": 1}"#), ("Painted", 7, "{}")]).await?;
    let named = |reason: &str| reason.starts_with("Painted version 7, which is event 2 of stream \"a\"");
    ensure_err!(f.store.load::<Counter>("a").await, Error::Invalid { what: "event", reason } if named(&reason));
    let before = f.store.load_as_of::<Counter>("a", Version::new(1)).await?;
    ensure_eq!(before.state.count, 1, "count before the unknown event");
    let answer = f.store.execute::<Counter>("a", Command::Add(1)).await;
    ensure!(answer.is_err(), "a command was decided without knowing what happened");
    ensure_eq!(f.store.version("a").await?.get(), 2, "version");
    Ok(())
}

async fn an_event_of_a_later_version_is_unknown(f: &Fixture) -> Verdict {
    put(f, "a", &[("Added", 3, r#"{"n": 1}"#)]).await?;
    let named = |reason: &str| reason.starts_with("Added version 3");
    ensure_err!(f.store.load::<Counter>("a").await, Error::Invalid { what: "event", reason } if named(&reason));
    Ok(())
}

async fn unknown_events_can_be_passed_over(f: &Fixture) -> Verdict {
    put(f, "a", &[("Painted", 1, "{}"), ("Cleared", 1, "{}"), ("Cleared", 2, "{}")]).await?;
    let loaded = f.store.load::<Watcher<false>>("a").await?;
    ensure_eq!((loaded.state.cleared, loaded.version.get()), (1, 3), "events that are known, and version");
    ensure!(loaded.state.others.is_empty(), "others were kept: {:?}", loaded.state.others);
    Ok(())
}

async fn unknown_events_can_be_kept_raw(f: &Fixture) -> Verdict {
    put(f, "a", &[("Painted", 1, r#"{"by":  1e400}"#), ("Cleared", 1, "{}"), ("Cleared", 2, "[]")]).await?;
    f.store.delete(&f.stream("a")?, Expected::Any).await?;
    f.store.undelete(&f.stream("a")?, Expected::Any).await?;
    let loaded = f.store.load::<Watcher<true>>("a").await?;
    ensure_eq!((loaded.state.cleared, loaded.version.get()), (1, 5), "events that are known, and version");
    ensure_eq!(loaded.state.others, [r#"{"by":  1e400}"#, "[]"], "data of the others");
    Ok(())
}

async fn data_of_another_shape_is_an_error_that_names_the_event(f: &Fixture) -> Verdict {
    for (number, (version, data)) in [(1, r#"{"n": 1}"#), (2, r#"{"by": 1}"#), (2, "1")].into_iter().enumerate() {
        let id = format!("s{number}");
        put(f, &id, &[("Added", version, data)]).await?;
        let named =
            |reason: &str| reason.contains(&format!("Added version {version}, which is event 1 of stream {id:?}"));
        let answer = f.store.load::<Counter>(&id).await;
        ensure_err!(answer, Error::Invalid { what: "event", reason } if named(&reason));
    }
    Ok(())
}

async fn a_state_as_of_a_version_is_that_of_then(f: &Fixture) -> Verdict {
    add::<3>(&f.store, [1, 2, 4, 8, 16]).await?;
    for (version, count) in [(0, 0), (1, 1), (2, 3), (3, 7), (4, 15), (5, 31)] {
        let then = f.store.load_as_of::<Counter<3>>("a", Version::new(version)).await?;
        ensure_eq!(seen(&then), (count, version), "count and version as of {version}");
    }
    let beyond = f.store.load_as_of::<Counter<3>>("a", Version::new(9)).await?;
    ensure_eq!(seen(&beyond), (31, 5), "count and version as of a version to come");
    Ok(())
}

async fn a_state_as_of_a_time_is_that_of_then(f: &Fixture) -> Verdict {
    add::<3>(&f.store, [1, 2, 4, 8, 16]).await?;
    let events = f.store.read_stream("a").await?;
    for event in &events {
        // Events of one time show together.
        let last = events.iter().rfind(|other| other.event_timestamp == event.event_timestamp).unwrap_or(event);
        let expected = f.store.load_as_of::<Counter<3>>("a", last.aggregate_version).await?;
        let then = f.store.load_as_of::<Counter<3>>("a", event.event_timestamp).await?;
        ensure_eq!(seen(&then), seen(&expected), "count and version as of {}", event.event_timestamp);
    }
    let before = f.store.load_as_of::<Counter<3>>("a", events[0].event_timestamp - TimeDelta::microseconds(1)).await?;
    ensure_eq!(seen(&before), (0, 0), "count and version as of before the first event");
    Ok(())
}
