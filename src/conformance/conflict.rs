//! Contract sections 3.2 and 3.3: a stale expectation is a conflict that tells the truth and stores nothing.

use super::case::{Case, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use crate::append::Append;
use crate::error::Error;
use crate::position::{Position, Version};
use crate::read::Query;
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    a_version_behind_conflicts: "3.2", "3.3";
    a_version_ahead_conflicts: "3.2", "3.3";
    a_version_below_0_is_refused: "3.2", "10.1";
    a_free_slot_is_not_enough: "3.2";
    no_stream_conflicts_with_a_stream: "3.2", "3.3";
    exact_conflicts_where_there_is_no_stream: "3.2", "3.3";
    exists_conflicts_where_there_is_no_stream: "3.2", "3.3";
    a_conflict_names_the_stream_the_expected_and_the_actual_version: "3.3";
    a_conflict_stores_nothing: "3.1", "3.3";
    a_conflict_creates_no_stream: "3.1", "3.3";
    what_was_missed_can_be_read_and_the_retry_succeeds: "3.3";
    a_guard_conflict_names_the_guarded_stream: "3.3", "3.6";
    the_first_stream_in_conflict_is_named: "3.3", "3.6";
    another_category_is_told_before_the_version: "1.3", "3.3";
    a_conflict_leaves_other_streams_writable: "3.3";
    a_refused_event_id_can_be_used_again: "3.1", "4.4";
    an_append_between_read_and_write_is_a_conflict: "3.2";
];

async fn a_version_behind_conflicts(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 3).await?;
    for version in [1, 2] {
        let stale = f.store.append(&stream, Expected::exact(version), f.events(1)?).await;
        ensure_err!(stale, Error::Conflict { actual, .. } if actual == Version::new(3));
    }
    ensure_eq!(f.store.count("a").await?, 3, "events of the stream");
    Ok(())
}

async fn a_version_ahead_conflicts(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    let ahead = f.store.append(&stream, Expected::exact(3), f.events(1)?).await;
    ensure_err!(ahead, Error::Conflict { actual, .. } if actual == Version::new(2));
    ensure_eq!(f.store.count("a").await?, 2, "events of the stream");
    Ok(())
}

async fn a_version_below_0_is_refused(f: &Fixture) -> Verdict {
    let (stream, absent) = (f.filled("{x}a", 1).await?, f.stream("{x}b")?);
    for version in [-1, -2, i64::MIN] {
        let expected = Expected::exact(version);
        ensure_err!(f.store.append(&stream, expected, f.events(1)?).await, Error::Invalid { .. });
        ensure_err!(f.store.append(&absent, expected, f.events(1)?).await, Error::Invalid { .. });
        let guarded = Append::new().to(stream.clone(), Expected::Any, f.events(1)?).guard(absent.clone(), expected);
        ensure_err!(f.store.commit(guarded).await, Error::Invalid { .. });
        ensure_err!(f.store.delete(&stream, expected).await, Error::Invalid { .. });
    }
    ensure_eq!(f.store.query(Query::new()).await?.len(), 1, "events");
    Ok(())
}

/// The slot after version 10 is free, and yet version 10 is not there.
async fn a_free_slot_is_not_enough(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    ensure_err!(f.store.append(&stream, Expected::exact(10), f.events(1)?).await, Error::Conflict { .. });
    let events = f.store.query(Query::new()).await?;
    let versions: Vec<i64> = events.iter().map(|event| event.aggregate_version.get()).collect();
    ensure_eq!(versions, [1], "versions of the log's events");
    Ok(())
}

async fn no_stream_conflicts_with_a_stream(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    let stale = f.store.append(&stream, Expected::NoStream, f.events(1)?).await;
    ensure_err!(stale, Error::Conflict { expected: Expected::NoStream, actual, .. } if actual == Version::new(2));
    ensure_eq!(f.store.count("a").await?, 2, "events of the stream");
    Ok(())
}

async fn exact_conflicts_where_there_is_no_stream(f: &Fixture) -> Verdict {
    let stale = f.store.append(&f.stream("a")?, Expected::exact(1), f.events(1)?).await;
    ensure_err!(stale, Error::Conflict { actual: Version::ZERO, .. });
    Ok(())
}

async fn exists_conflicts_where_there_is_no_stream(f: &Fixture) -> Verdict {
    let stale = f.store.append(&f.stream("a")?, Expected::Exists, f.events(1)?).await;
    ensure_err!(stale, Error::Conflict { expected: Expected::Exists, actual: Version::ZERO, .. });
    Ok(())
}

async fn a_conflict_names_the_stream_the_expected_and_the_actual_version(f: &Fixture) -> Verdict {
    let stream = f.filled("order-17", 5).await?;
    let stale = f.store.append(&stream, Expected::exact(4), f.events(1)?).await;
    ensure_err!(stale, Error::Conflict { ref stream, expected, actual }
        if stream == "order-17" && expected == Expected::exact(4) && actual == Version::new(5));
    Ok(())
}

async fn a_conflict_stores_nothing(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    let before = f.store.query(Query::new()).await?;
    ensure_eq!(before.len(), 2, "events of the log before");
    ensure_err!(f.store.append(&stream, Expected::exact(1), f.events(3)?).await, Error::Conflict { .. });
    ensure_eq!(f.store.query(Query::new()).await?, before, "the log after the conflict");
    Ok(())
}

async fn a_conflict_creates_no_stream(f: &Fixture) -> Verdict {
    let stale = f.store.append(&f.stream("a")?, Expected::exact(1), f.events(1)?).await;
    ensure_err!(stale, Error::Conflict { .. });
    ensure!(f.store.stream("a").await?.is_none(), "the stream exists");
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(1)?).await?;
    ensure!(f.store.exists("a").await?, "the stream can't be created any more");
    Ok(())
}

async fn what_was_missed_can_be_read_and_the_retry_succeeds(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    f.filled("a", 2).await?;
    let stale = f.store.append(&stream, Expected::exact(2), f.events(1)?).await;
    ensure_err!(stale, Error::Conflict { actual, .. } if actual == Version::new(4));
    let missed = f.store.query(Query::stream("a").since_version(Version::new(2))).await?;
    let versions: Vec<i64> = missed.iter().map(|event| event.aggregate_version.get()).collect();
    ensure_eq!(versions, [3, 4], "versions after the expected one");
    let appended = f.store.append(&stream, Expected::exact(4), f.events(1)?).await?;
    ensure_eq!(appended.version(), Version::new(5), "version after the retry");
    Ok(())
}

async fn a_guard_conflict_names_the_guarded_stream(f: &Fixture) -> Verdict {
    let guarded = f.filled("{x}guarded", 1).await?;
    let append = Append::new().to(f.stream("{x}a")?, Expected::Any, f.events(1)?).guard(guarded, Expected::NoStream);
    ensure_err!(f.store.commit(append).await, Error::Conflict { ref stream, expected: Expected::NoStream, actual }
        if stream == "{x}guarded" && actual == Version::new(1));
    Ok(())
}

async fn the_first_stream_in_conflict_is_named(f: &Fixture) -> Verdict {
    let (first, second) = (f.filled("{x}b", 1).await?, f.filled("{x}a", 1).await?);
    let append = Append::new().to(first, Expected::exact(7), f.events(1)?).to(second, Expected::exact(8), f.events(1)?);
    ensure_err!(f.store.commit(append).await, Error::Conflict { ref stream, expected, .. }
        if stream == "{x}b" && expected == Expected::exact(7));
    Ok(())
}

async fn another_category_is_told_before_the_version(f: &Fixture) -> Verdict {
    f.filled("a", 2).await?;
    let other = Stream::new("other", "a")?;
    ensure_err!(f.store.append(&other, Expected::exact(1), f.events(1)?).await, Error::TypeMismatch { .. });
    ensure_err!(f.store.append(&other, Expected::NoStream, []).await, Error::TypeMismatch { .. });
    Ok(())
}

async fn a_conflict_leaves_other_streams_writable(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    ensure_err!(f.store.append(&stream, Expected::exact(1), f.events(1)?).await, Error::Conflict { .. });
    let appended = f.store.append(&f.stream("b")?, Expected::NoStream, f.events(1)?).await?;
    ensure_eq!(appended.position(), Position::new(3), "position of the other stream's event");
    ensure_eq!(f.store.count("b").await?, 1, "events of the other stream");
    Ok(())
}

async fn a_refused_event_id_can_be_used_again(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    let id = uuid::Uuid::new_v4();
    let stale = f.store.append(&stream, Expected::NoStream, [f.event("Late")?.with_id(id)]).await;
    ensure_err!(stale, Error::Conflict { .. });
    f.store.append(&stream, Expected::exact(1), [f.event("Late")?.with_id(id)]).await?;
    let stored = f.store.event(id).await?;
    ensure_eq!(stored.map(|event| event.aggregate_version), Some(Version::new(2)), "version of the event");
    Ok(())
}

async fn an_append_between_read_and_write_is_a_conflict(f: &Fixture) -> Verdict {
    let stream = f.filled("account", 1).await?;
    let (mine, theirs) = (f.store.version("account").await?, f.store.version("account").await?);
    f.store.append(&stream, theirs, f.events(1)?).await?;
    let stale = f.store.append(&stream, mine, f.events(1)?).await;
    ensure_err!(stale, Error::Conflict { actual, .. } if actual == Version::new(2));
    ensure_eq!(f.store.count("account").await?, 2, "events of the stream");
    Ok(())
}
