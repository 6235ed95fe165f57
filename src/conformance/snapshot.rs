//! Contract section 7: snapshots shorten replays, and change no result.

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use crate::error::{Error, Result};
use crate::json::Json;
use crate::position::Version;
use crate::read::Query;
use crate::snapshot::{NewSnapshot, Snapshot, SnapshotQuery};
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    a_saved_snapshot_comes_back: "7.1";
    a_state_comes_back_byte_for_byte: "2.5", "7.1";
    the_latest_snapshot_is_that_of_the_highest_version: "7.1";
    a_stream_without_snapshots_has_none: "7.1";
    a_snapshot_at_or_before_a_version_is_found: "7.1";
    a_snapshot_never_moves_backwards: "7.1";
    a_snapshot_of_the_same_version_is_not_replaced: "7.1";
    a_later_schema_replaces_an_earlier_one_of_the_same_version: "7.1", "7.2";
    an_earlier_schema_does_not_replace_a_later_one: "7.1", "7.2";
    a_snapshot_that_is_refused_leaves_the_one_of_its_version: "7.1", "7.2";
    a_snapshot_of_another_schema_is_ignored: "7.2";
    the_newest_of_a_schema_is_found_behind_a_newer_one_of_another: "7.2";
    a_schema_below_1_is_refused: "7.2";
    pruning_removes_what_is_before_a_version: "7.1";
    pruning_says_how_many_it_removed: "7.1";
    snapshots_are_of_one_stream_only: "7.1";
    a_snapshot_of_a_version_that_does_not_exist_is_refused: "7.1";
    a_snapshot_of_no_stream_is_refused: "7.1";
    a_snapshot_of_another_category_is_refused: "1.3", "7.1";
    deleting_every_snapshot_changes_no_result: "7.3";
    snapshots_leave_the_log_and_the_version: "7.3";
    snapshots_from_before_a_reuse_are_ignored: "8.3";
    a_snapshot_from_after_a_reuse_is_found: "7.1", "8.3";
    a_deleted_stream_has_no_snapshots_to_read: "8.2";
    snapshots_show_again_after_undeletion: "7.1", "8.2";
    snapshots_outlive_the_store: "7.1" if Durable;
];

const LATEST: SnapshotQuery = SnapshotQuery { at_or_before: None, snapshot_version: None };

/// Makes a snapshot of stream `a` at a version, with a state that names it.
fn snapshot(f: &Fixture, version: i64) -> Result<NewSnapshot> {
    let state = Json::from_value(&serde_json::json!({"at": version}))?;
    Ok(NewSnapshot::new(f.stream("a")?, Version::new(version), state))
}

/// Saves snapshots of stream `a` at some versions; each must be stored.
async fn save(f: &Fixture, versions: impl IntoIterator<Item = i64>) -> Verdict {
    for version in versions {
        ensure!(f.store.save_snapshot(&snapshot(f, version)?).await?, "the snapshot at {version} was not stored");
    }
    Ok(())
}

/// Returns the version of the snapshot of stream `a` that answers a query.
async fn found(f: &Fixture, query: SnapshotQuery) -> Result<Option<i64>> {
    Ok(f.store.snapshot("a", query).await?.map(|snapshot| snapshot.aggregate_version.get()))
}

async fn latest(f: &Fixture) -> Result<Snapshot, Failure> {
    f.store.snapshot("a", LATEST).await?.ok_or_else(|| Failure("there is no snapshot".to_owned()))
}

const fn at_or_before(version: i64) -> SnapshotQuery {
    SnapshotQuery { at_or_before: Some(Version::new(version)), snapshot_version: None }
}

const fn of_schema(schema: i32) -> SnapshotQuery {
    SnapshotQuery { at_or_before: None, snapshot_version: Some(schema) }
}

async fn a_snapshot_that_is_refused_leaves_the_one_of_its_version(f: &Fixture) -> Verdict {
    f.filled("a", 3).await?;
    save(f, [2]).await?;
    ensure!(f.store.save_snapshot(&snapshot(f, 3)?.with_schema(2)?).await?, "the snapshot at 3 was not stored");
    let later = snapshot(f, 2)?.with_schema(2)?;
    ensure!(!f.store.save_snapshot(&later).await?, "a snapshot went behind one of the same schema");
    ensure_eq!(found(f, of_schema(1)).await?, Some(2), "version of the snapshot of the earlier schema");
    Ok(())
}

async fn a_saved_snapshot_comes_back(f: &Fixture) -> Verdict {
    f.filled("a", 3).await?;
    let state = Json::parse(r#"{"total":12}"#)?;
    let new = NewSnapshot::new(f.stream("a")?, Version::new(2), state.clone()).with_schema(4)?;
    ensure!(f.store.save_snapshot(&new).await?, "the snapshot was not stored");
    let found = latest(f).await?;
    ensure_eq!((found.aggregate_id.as_str(), found.aggregate_type.as_str()), ("a", "thing"), "stream");
    ensure_eq!((found.aggregate_version, found.snapshot_version), (Version::new(2), 4), "version and schema");
    ensure_eq!(found.state, state, "state");
    let event = f.store.recent(1).await?.pop().map(|event| event.event_timestamp);
    ensure!(event.is_some_and(|time| time <= found.snapshot_timestamp), "it was saved before its event: {found:?}");
    Ok(())
}

async fn a_state_comes_back_byte_for_byte(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    let text = "[ 1e400, 0.10, {\"b\":1,\"a\":2,\"a\":3}, \"\\u00e9\u{1f980}\" ]";
    f.store.save_snapshot(&NewSnapshot::new(f.stream("a")?, Version::new(1), Json::parse(text)?)).await?;
    ensure_eq!(latest(f).await?.state.as_str(), text, "state");
    Ok(())
}

async fn the_latest_snapshot_is_that_of_the_highest_version(f: &Fixture) -> Verdict {
    f.filled("a", 12).await?;
    save(f, [2, 9, 10]).await?;
    ensure_eq!(found(f, LATEST).await?, Some(10), "version of the latest");
    ensure_eq!(latest(f).await?.state.as_str(), r#"{"at":10}"#, "its state");
    Ok(())
}

async fn a_stream_without_snapshots_has_none(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    ensure_eq!(found(f, LATEST).await?, None, "version of the latest");
    save(f, [1]).await?;
    ensure_eq!(f.store.snapshot("b", LATEST).await?, None, "snapshot of a stream that does not exist");
    ensure_eq!(found(f, LATEST).await?, Some(1), "version of the latest, after one was saved");
    Ok(())
}

async fn a_snapshot_at_or_before_a_version_is_found(f: &Fixture) -> Verdict {
    f.filled("a", 10).await?;
    save(f, [3, 6]).await?;
    for (version, expected) in [(2, None), (3, Some(3)), (5, Some(3)), (6, Some(6)), (100, Some(6))] {
        ensure_eq!(found(f, at_or_before(version)).await?, expected, "snapshot at or before {version}");
    }
    Ok(())
}

async fn a_snapshot_never_moves_backwards(f: &Fixture) -> Verdict {
    f.filled("a", 5).await?;
    save(f, [4]).await?;
    ensure!(!f.store.save_snapshot(&snapshot(f, 3)?).await?, "an earlier snapshot counts as stored");
    ensure_eq!(found(f, LATEST).await?, Some(4), "version of the latest");
    ensure_eq!(found(f, at_or_before(3)).await?, None, "snapshot at or before 3");
    Ok(())
}

async fn a_snapshot_of_the_same_version_is_not_replaced(f: &Fixture) -> Verdict {
    f.filled("a", 5).await?;
    save(f, [4]).await?;
    let other = NewSnapshot::new(f.stream("a")?, Version::new(4), Json::parse("0")?);
    ensure!(!f.store.save_snapshot(&other).await?, "a second snapshot of the version counts as stored");
    ensure_eq!(latest(f).await?.state.as_str(), r#"{"at":4}"#, "state");
    Ok(())
}

async fn a_later_schema_replaces_an_earlier_one_of_the_same_version(f: &Fixture) -> Verdict {
    f.filled("a", 5).await?;
    save(f, [4]).await?;
    ensure!(f.store.save_snapshot(&snapshot(f, 4)?.with_schema(2)?).await?, "the later schema was not stored");
    ensure_eq!(latest(f).await?.snapshot_version, 2, "schema of the latest");
    Ok(())
}

async fn an_earlier_schema_does_not_replace_a_later_one(f: &Fixture) -> Verdict {
    f.filled("a", 5).await?;
    ensure!(f.store.save_snapshot(&snapshot(f, 4)?.with_schema(2)?).await?, "the later schema was not stored");
    ensure!(!f.store.save_snapshot(&snapshot(f, 4)?).await?, "the earlier schema counts as stored");
    ensure_eq!(latest(f).await?.snapshot_version, 2, "schema of the latest");
    Ok(())
}

async fn a_snapshot_of_another_schema_is_ignored(f: &Fixture) -> Verdict {
    f.filled("a", 5).await?;
    ensure!(f.store.save_snapshot(&snapshot(f, 4)?.with_schema(2)?).await?, "the snapshot was not stored");
    for (schema, expected) in [(1, None), (2, Some(4)), (3, None)] {
        ensure_eq!(found(f, of_schema(schema)).await?, expected, "snapshot of schema {schema}");
    }
    Ok(())
}

async fn the_newest_of_a_schema_is_found_behind_a_newer_one_of_another(f: &Fixture) -> Verdict {
    f.filled("a", 5).await?;
    save(f, [2, 3]).await?;
    ensure!(f.store.save_snapshot(&snapshot(f, 5)?.with_schema(2)?).await?, "the later schema was not stored");
    ensure_eq!(found(f, of_schema(1)).await?, Some(3), "newest of schema 1");
    ensure_eq!(found(f, LATEST).await?, Some(5), "newest of any schema");
    Ok(())
}

async fn a_schema_below_1_is_refused(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    for schema in [0, -1] {
        ensure_err!(snapshot(f, 1)?.with_schema(schema), Error::Invalid { what: "snapshot_version", .. });
    }
    ensure!(f.store.save_snapshot(&snapshot(f, 1)?.with_schema(i32::MAX)?).await?, "the largest was not stored");
    ensure_eq!(latest(f).await?.snapshot_version, i32::MAX, "schema of the latest");
    Ok(())
}

async fn pruning_removes_what_is_before_a_version(f: &Fixture) -> Verdict {
    f.filled("a", 9).await?;
    save(f, [2, 4, 6]).await?;
    f.store.prune_snapshots("a", Version::new(4)).await?;
    ensure_eq!(found(f, at_or_before(3)).await?, None, "snapshot at or before 3");
    ensure_eq!(found(f, at_or_before(4)).await?, Some(4), "snapshot at or before 4");
    ensure_eq!(found(f, LATEST).await?, Some(6), "version of the latest");
    Ok(())
}

async fn pruning_says_how_many_it_removed(f: &Fixture) -> Verdict {
    f.filled("a", 9).await?;
    save(f, [2, 4, 6]).await?;
    for (before, expected) in [(2, 0), (5, 2), (5, 0), (i64::MAX, 1)] {
        ensure_eq!(f.store.prune_snapshots("a", Version::new(before)).await?, expected, "removed before {before}");
    }
    Ok(())
}

async fn snapshots_are_of_one_stream_only(f: &Fixture) -> Verdict {
    let other = f.filled("b", 3).await?;
    f.filled("a", 3).await?;
    save(f, [2]).await?;
    ensure!(f.store.save_snapshot(&NewSnapshot::new(other, Version::new(1), Json::parse("1")?)).await?, "not stored");
    ensure_eq!(f.store.prune_snapshots("b", Version::MAX).await?, 1, "removed of the other stream");
    ensure_eq!(found(f, LATEST).await?, Some(2), "version of the latest");
    Ok(())
}

async fn a_snapshot_of_a_version_that_does_not_exist_is_refused(f: &Fixture) -> Verdict {
    f.filled("a", 2).await?;
    for version in [0, -1, 3, i64::MAX] {
        let refused = f.store.save_snapshot(&snapshot(f, version)?).await;
        ensure_err!(refused, Error::Invalid { what: "snapshot", .. });
    }
    ensure_eq!(found(f, LATEST).await?, None, "version of the latest");
    save(f, [2]).await
}

async fn a_snapshot_of_no_stream_is_refused(f: &Fixture) -> Verdict {
    let refused = f.store.save_snapshot(&snapshot(f, 1)?).await;
    ensure_err!(refused, Error::StreamNotFound { ref stream } if stream == "a");
    f.filled("a", 1).await?;
    save(f, [1]).await
}

async fn a_snapshot_of_another_category_is_refused(f: &Fixture) -> Verdict {
    f.filled("a", 2).await?;
    save(f, [1]).await?;
    for version in [1, 2] {
        let other = NewSnapshot::new(Stream::new("other", "a")?, Version::new(version), Json::parse("0")?);
        let refused = f.store.save_snapshot(&other.with_schema(2)?).await;
        ensure_err!(refused, Error::TypeMismatch { ref actual, .. } if actual == "thing");
    }
    ensure_eq!(found(f, LATEST).await?, Some(1), "version of the latest");
    Ok(())
}

async fn deleting_every_snapshot_changes_no_result(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 4).await?;
    save(f, [2, 4]).await?;
    let before = (f.store.read_stream("a").await?, f.store.stream("a").await?, f.store.statistics().await?);
    ensure_eq!(before.0.len(), 4, "events of the stream");
    ensure_eq!(f.store.prune_snapshots("a", Version::MAX).await?, 2, "snapshots that were removed");
    let after = (f.store.read_stream("a").await?, f.store.stream("a").await?, f.store.statistics().await?);
    ensure_eq!(after, before, "events, stream and statistics");
    f.store.append(&stream, Expected::exact(4), f.events(1)?).await?;
    Ok(())
}

async fn snapshots_leave_the_log_and_the_version(f: &Fixture) -> Verdict {
    f.filled("a", 2).await?;
    let before = f.store.stream("a").await?;
    save(f, [1, 2]).await?;
    ensure_eq!(f.store.query(Query::new()).await?.len(), 2, "events of the log");
    ensure_eq!(f.store.stream("a").await?, before, "the stream");
    Ok(())
}

async fn snapshots_from_before_a_reuse_are_ignored(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 3).await?;
    save(f, [3]).await?;
    f.store.delete(&stream, Expected::Any).await?;
    f.store.reuse(&stream, Expected::Any).await?;
    ensure_eq!(found(f, LATEST).await?, None, "version of the latest");
    ensure_eq!(found(f, at_or_before(3)).await?, None, "snapshot at or before 3");
    Ok(())
}

async fn a_snapshot_from_after_a_reuse_is_found(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    save(f, [2]).await?;
    f.store.delete(&stream, Expected::Any).await?;
    f.store.reuse(&stream, Expected::Any).await?;
    f.filled("a", 1).await?;
    save(f, [5]).await?;
    ensure_eq!(found(f, LATEST).await?, Some(5), "version of the latest");
    ensure_eq!(found(f, at_or_before(4)).await?, None, "snapshot at or before 4");
    Ok(())
}

/// With a state, but no events after it, a deleted stream would look alive.
async fn a_deleted_stream_has_no_snapshots_to_read(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 3).await?;
    save(f, [3]).await?;
    f.store.delete(&stream, Expected::Any).await?;
    ensure_eq!(found(f, LATEST).await?, None, "version of the latest");
    Ok(())
}

async fn snapshots_show_again_after_undeletion(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 3).await?;
    save(f, [3]).await?;
    f.store.delete(&stream, Expected::Any).await?;
    f.store.undelete(&stream, Expected::Any).await?;
    ensure_eq!(found(f, LATEST).await?, Some(3), "version of the latest");
    Ok(())
}

async fn snapshots_outlive_the_store(f: &Fixture) -> Verdict {
    f.filled("a", 3).await?;
    save(f, [2]).await?;
    f.store.close().await;
    let reopened = f.another().await?;
    let found = reopened.snapshot("a", LATEST).await?;
    ensure_eq!(found.map(|snapshot| snapshot.state), Some(Json::parse(r#"{"at":2}"#)?), "state");
    reopened.close().await;
    Ok(())
}
