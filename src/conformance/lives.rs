//! Contract section 8: streams are deleted, undeleted and reused; the log keeps everything.

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use crate::append::Append;
use crate::error::{Error, Result};
use crate::event::{NewEvent, marker};
use crate::position::{Position, Version};
use crate::read::{Query, StreamFilter};
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    a_deleted_stream_has_no_events_to_read: "8.2";
    a_deleted_stream_does_not_exist: "6.3", "8.2";
    a_deleted_stream_is_not_listed: "6.3", "8.2";
    a_deleted_stream_keeps_its_row: "8.2";
    a_deleted_stream_leaves_others_alone: "8.2";
    deleted_streams_are_read_on_request: "8.2";
    the_log_delivers_what_a_deleted_stream_held: "8.2";
    deleting_appends_a_marker_event: "8.1";
    undeleting_appends_a_marker_event: "8.1";
    reusing_appends_a_marker_event: "8.3";
    every_expectation_is_refused_on_a_deleted_stream: "3.4";
    an_assertion_is_refused_on_a_deleted_stream: "3.4", "3.5";
    a_guard_of_a_deleted_stream_is_refused: "3.4", "3.6";
    a_refused_append_to_a_deleted_stream_stores_nothing: "3.1", "3.4";
    undeleting_shows_all_again: "8.1", "8.2";
    an_undeleted_stream_continues_its_versions: "8.1";
    undeleting_after_a_reuse_shows_what_showed_before: "8.1", "8.3";
    reusing_continues_the_versions: "8.3";
    reusing_hides_what_was_before: "8.3";
    what_a_reuse_hides_is_read_on_request: "8.2", "8.3";
    a_stream_can_be_deleted_again_and_again: "8.1";
    deleting_nothing_is_refused: "8.1";
    undeleting_nothing_is_refused: "8.1";
    deleting_twice_is_refused: "3.4", "8.1";
    undeleting_a_live_stream_is_refused: "8.1";
    reusing_a_live_stream_is_refused: "8.3";
    deleting_checks_the_expected_version: "3.2", "8.1";
    undeleting_checks_the_expected_version: "3.2", "8.1";
    deleting_checks_the_category: "1.3", "8.1";
    a_version_from_before_the_deletion_can_be_read: "6.4", "8.1";
    a_time_before_the_deletion_can_be_read: "6.4", "8.1";
    the_version_of_the_deletion_shows_nothing: "6.4", "8.1";
    a_version_from_before_a_reuse_can_be_read: "6.4", "8.3";
    marker_types_are_kept_for_the_store: "8.1";
];

/// Makes a deleted stream that held a number of events.
async fn deleted(f: &Fixture, id: &str, events: usize) -> Result<Stream> {
    let stream = f.filled(id, events).await?;
    f.store.delete(&stream, Expected::Any).await?;
    Ok(stream)
}

/// Returns the versions and types of a query's events.
async fn shown(f: &Fixture, query: Query) -> Result<Vec<(i64, String)>> {
    let events = f.store.query(query).await?;
    Ok(events.into_iter().map(|event| (event.aggregate_version.get(), event.event_type)).collect())
}

/// Writes down versions and types, for comparison with what is [`shown`].
fn listed<const N: usize>(events: [(i64, &str); N]) -> Vec<(i64, String)> {
    events.map(|(version, event_type)| (version, event_type.to_owned())).into()
}

async fn a_deleted_stream_has_no_events_to_read(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    ensure_eq!(f.store.read_stream("a").await?.len(), 2, "events before the deletion");
    f.store.delete(&stream, Expected::Any).await?;
    ensure_eq!(f.store.read_stream("a").await?, [], "events of the stream, forward");
    ensure_eq!(f.store.query(Query::stream("a").backward()).await?, [], "events of the stream, backward");
    ensure_eq!(f.store.query(Query::stream("a").from_version(Version::new(2))).await?, [], "events from version 2 on");
    Ok(())
}

async fn a_deleted_stream_does_not_exist(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    ensure!(f.store.exists("a").await?, "the stream does not exist before its deletion");
    f.store.delete(&stream, Expected::Any).await?;
    ensure!(!f.store.exists("a").await?, "the stream exists");
    ensure_eq!(f.store.version("a").await?, Version::ZERO, "version of the stream");
    ensure_eq!(f.store.count("a").await?, 0, "events of the stream");
    Ok(())
}

async fn a_deleted_stream_is_not_listed(f: &Fixture) -> Verdict {
    f.filled("b", 1).await?;
    deleted(f, "a", 1).await?;
    let mut filter = StreamFilter { limit: 10, ..StreamFilter::default() };
    let ids = |streams: Vec<crate::stream::StreamInfo>| -> Vec<String> {
        streams.into_iter().map(|stream| stream.aggregate_id).collect()
    };
    ensure_eq!(ids(f.store.streams(&filter).await?), ["b"], "streams");
    filter.include_deleted = true;
    ensure_eq!(ids(f.store.streams(&filter).await?), ["a", "b"], "streams with deleted ones");
    Ok(())
}

async fn a_deleted_stream_keeps_its_row(f: &Fixture) -> Verdict {
    f.filled("a", 2).await?;
    let before = f.store.stream("a").await?.and_then(|stream| stream.deleted_at);
    ensure_eq!(before, None, "time of the deletion, before it");
    f.store.delete(&f.stream("a")?, Expected::Any).await?;
    let Some(info) = f.store.stream("a").await? else { return Err(Failure("the stream has no row".into())) };
    ensure_eq!(info.version, Version::new(3), "version of the last event, the marker");
    ensure_eq!(info.deleted_at, Some(info.last_event_at), "time of the deletion");
    Ok(())
}

async fn a_deleted_stream_leaves_others_alone(f: &Fixture) -> Verdict {
    f.filled("ab", 2).await?;
    deleted(f, "a", 1).await?;
    ensure_eq!(f.store.count("ab").await?, 2, "events of the other stream");
    f.filled("ab", 1).await?;
    ensure_eq!(f.store.version("ab").await?, Version::new(3), "version of the other stream");
    Ok(())
}

async fn deleted_streams_are_read_on_request(f: &Fixture) -> Verdict {
    deleted(f, "a", 1).await?;
    let all = shown(f, Query::stream("a").include_deleted()).await?;
    ensure_eq!(all, listed([(1, "Happened"), (2, marker::DELETED)]), "events of the deleted stream");
    Ok(())
}

async fn the_log_delivers_what_a_deleted_stream_held(f: &Fixture) -> Verdict {
    deleted(f, "a", 2).await?;
    let log = shown(f, Query::new()).await?;
    ensure_eq!(log, listed([(1, "Happened"), (2, "Happened"), (3, marker::DELETED)]), "events of the log");
    let of_a_type = shown(f, Query::new().event_types(["Happened"])?).await?;
    ensure_eq!(of_a_type.len(), 2, "events of a type");
    Ok(())
}

async fn deleting_appends_a_marker_event(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    let outcome = f.store.delete(&stream, Expected::exact(2)).await?;
    ensure_eq!((outcome.version(), outcome.position()), (Version::new(3), Position::new(3)), "version and position");
    let log = f.store.query(Query::new().after(Position::new(2))).await?;
    let log: Vec<_> =
        log.iter().map(|event| (&*event.aggregate_id, &*event.aggregate_type, &*event.event_type)).collect();
    ensure_eq!(log, [("a", "thing", marker::DELETED)], "the marker");
    Ok(())
}

async fn undeleting_appends_a_marker_event(f: &Fixture) -> Verdict {
    let stream = deleted(f, "a", 2).await?;
    let outcome = f.store.undelete(&stream, Expected::Any).await?;
    ensure_eq!((outcome.version(), outcome.position()), (Version::new(4), Position::new(4)), "version and position");
    let log = shown(f, Query::new().after(Position::new(3))).await?;
    ensure_eq!(log, listed([(4, marker::UNDELETED)]), "the marker");
    Ok(())
}

async fn reusing_appends_a_marker_event(f: &Fixture) -> Verdict {
    let stream = deleted(f, "a", 2).await?;
    let outcome = f.store.reuse(&stream, Expected::Any).await?;
    ensure_eq!((outcome.version(), outcome.position()), (Version::new(4), Position::new(4)), "version and position");
    let log = shown(f, Query::new().after(Position::new(3))).await?;
    ensure_eq!(log, listed([(4, marker::REUSED)]), "the marker");
    Ok(())
}

async fn every_expectation_is_refused_on_a_deleted_stream(f: &Fixture) -> Verdict {
    let stream = deleted(f, "a", 2).await?;
    for expected in [Expected::Any, Expected::Exists, Expected::NoStream, Expected::exact(3), Expected::exact(2)] {
        let refused = f.store.append(&stream, expected, f.events(1)?).await;
        ensure_err!(refused, Error::StreamDeleted { ref stream } if stream == "a");
    }
    Ok(())
}

async fn an_assertion_is_refused_on_a_deleted_stream(f: &Fixture) -> Verdict {
    let stream = deleted(f, "a", 2).await?;
    ensure_err!(f.store.append(&stream, Expected::exact(3), []).await, Error::StreamDeleted { .. });
    ensure_err!(f.store.append(&stream, Expected::NoStream, []).await, Error::StreamDeleted { .. });
    Ok(())
}

async fn a_guard_of_a_deleted_stream_is_refused(f: &Fixture) -> Verdict {
    let guarded = deleted(f, "{x}guarded", 1).await?;
    let append = Append::new().to(f.stream("{x}a")?, Expected::Any, f.events(1)?).guard(guarded, Expected::Any);
    ensure_err!(f.store.commit(append).await, Error::StreamDeleted { ref stream } if stream == "{x}guarded");
    ensure!(!f.store.exists("{x}a").await?, "the request was stored");
    Ok(())
}

async fn a_refused_append_to_a_deleted_stream_stores_nothing(f: &Fixture) -> Verdict {
    let stream = deleted(f, "a", 2).await?;
    ensure_err!(f.store.append(&stream, Expected::Any, f.events(1)?).await, Error::StreamDeleted { .. });
    ensure_eq!(f.store.query(Query::new()).await?.len(), 3, "events of the log");
    Ok(())
}

async fn undeleting_shows_all_again(f: &Fixture) -> Verdict {
    let stream = deleted(f, "a", 2).await?;
    f.store.undelete(&stream, Expected::Any).await?;
    let events = shown(f, Query::stream("a")).await?;
    let expected = listed([(1, "Happened"), (2, "Happened"), (3, marker::DELETED), (4, marker::UNDELETED)]);
    ensure_eq!(events, expected, "events of the stream");
    ensure!(f.store.exists("a").await?, "the stream does not exist");
    ensure_eq!(f.store.stream("a").await?.and_then(|stream| stream.deleted_at), None, "time of the deletion");
    Ok(())
}

async fn an_undeleted_stream_continues_its_versions(f: &Fixture) -> Verdict {
    let stream = deleted(f, "a", 1).await?;
    f.store.undelete(&stream, Expected::exact(2)).await?;
    let appended = f.store.append(&stream, Expected::exact(3), f.events(1)?).await?;
    ensure_eq!(appended.version(), Version::new(4), "version");
    ensure_eq!(f.store.count("a").await?, 4, "events of the stream, markers included");
    Ok(())
}

/// A snapshot that was taken after the reuse would be wrong if earlier events showed again.
async fn undeleting_after_a_reuse_shows_what_showed_before(f: &Fixture) -> Verdict {
    let stream = deleted(f, "a", 1).await?;
    f.store.reuse(&stream, Expected::Any).await?;
    f.store.append(&stream, Expected::Any, f.events(1)?).await?;
    f.store.delete(&stream, Expected::Any).await?;
    f.store.undelete(&stream, Expected::Any).await?;
    let events = shown(f, Query::stream("a")).await?;
    let expected = listed([(3, marker::REUSED), (4, "Happened"), (5, marker::DELETED), (6, marker::UNDELETED)]);
    ensure_eq!(events, expected, "events of the stream");
    let as_of = shown(f, Query::stream("a").to_version(Version::new(6))).await?;
    ensure_eq!(as_of, expected, "events as of the last version");
    Ok(())
}

async fn reusing_continues_the_versions(f: &Fixture) -> Verdict {
    let stream = deleted(f, "a", 2).await?;
    f.store.reuse(&stream, Expected::exact(3)).await?;
    let appended = f.store.append(&stream, Expected::exact(4), f.events(1)?).await?;
    ensure_eq!(appended.version(), Version::new(5), "version");
    ensure_eq!(f.store.version("a").await?, Version::new(5), "version of the stream");
    Ok(())
}

async fn reusing_hides_what_was_before(f: &Fixture) -> Verdict {
    let stream = deleted(f, "a", 2).await?;
    f.store.reuse(&stream, Expected::Any).await?;
    f.store.append(&stream, Expected::Any, f.events(1)?).await?;
    let events = shown(f, Query::stream("a")).await?;
    ensure_eq!(events, listed([(4, marker::REUSED), (5, "Happened")]), "events of the stream");
    ensure_eq!(f.store.count("a").await?, 2, "events counted");
    Ok(())
}

async fn what_a_reuse_hides_is_read_on_request(f: &Fixture) -> Verdict {
    let stream = deleted(f, "a", 2).await?;
    f.store.reuse(&stream, Expected::Any).await?;
    let events = shown(f, Query::stream("a").include_deleted()).await?;
    let expected = listed([(1, "Happened"), (2, "Happened"), (3, marker::DELETED), (4, marker::REUSED)]);
    ensure_eq!(events, expected, "events of the stream with what is hidden");
    ensure_eq!(f.store.query(Query::new()).await?.len(), 4, "events of the log");
    Ok(())
}

async fn a_stream_can_be_deleted_again_and_again(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    for round in 0..3 {
        f.store.delete(&stream, Expected::exact(1 + 2 * round)).await?;
        ensure!(!f.store.exists("a").await?, "the stream exists after deletion {round}");
        f.store.undelete(&stream, Expected::exact(2 + 2 * round)).await?;
        ensure!(f.store.exists("a").await?, "the stream does not exist after undeletion {round}");
    }
    ensure_eq!(f.store.version("a").await?, Version::new(7), "version of the stream");
    Ok(())
}

async fn deleting_nothing_is_refused(f: &Fixture) -> Verdict {
    let refused = f.store.delete(&f.stream("a")?, Expected::Any).await;
    ensure_err!(refused, Error::StreamNotFound { ref stream } if stream == "a");
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(1)?).await?;
    ensure_eq!(f.store.count("a").await?, 1, "events of a stream that was created after it");
    Ok(())
}

async fn undeleting_nothing_is_refused(f: &Fixture) -> Verdict {
    ensure_err!(f.store.undelete(&f.stream("a")?, Expected::Any).await, Error::StreamNotFound { .. });
    ensure_err!(f.store.reuse(&f.stream("a")?, Expected::Any).await, Error::StreamNotFound { .. });
    ensure!(f.store.stream("a").await?.is_none(), "the stream exists");
    Ok(())
}

async fn deleting_twice_is_refused(f: &Fixture) -> Verdict {
    let stream = deleted(f, "a", 1).await?;
    ensure_err!(f.store.delete(&stream, Expected::Any).await, Error::StreamDeleted { .. });
    ensure_eq!(f.store.query(Query::new()).await?.len(), 2, "events of the log");
    Ok(())
}

async fn undeleting_a_live_stream_is_refused(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    ensure_err!(f.store.undelete(&stream, Expected::Any).await, Error::StreamNotDeleted { ref stream } if stream == "a");
    ensure_eq!(f.store.query(Query::new()).await?.len(), 1, "events of the log");
    Ok(())
}

async fn reusing_a_live_stream_is_refused(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    ensure_err!(f.store.reuse(&stream, Expected::Any).await, Error::StreamNotDeleted { ref stream } if stream == "a");
    ensure_eq!(f.store.count("a").await?, 1, "events of the stream");
    Ok(())
}

async fn deleting_checks_the_expected_version(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    for expected in [Expected::exact(1), Expected::exact(3), Expected::NoStream] {
        let stale = f.store.delete(&stream, expected).await;
        ensure_err!(stale, Error::Conflict { actual, .. } if actual == Version::new(2));
    }
    ensure!(f.store.exists("a").await?, "the stream was deleted");
    Ok(())
}

async fn undeleting_checks_the_expected_version(f: &Fixture) -> Verdict {
    let stream = deleted(f, "a", 2).await?;
    let stale = f.store.undelete(&stream, Expected::exact(2)).await;
    ensure_err!(stale, Error::Conflict { actual, .. } if actual == Version::new(3));
    ensure_err!(f.store.reuse(&stream, Expected::exact(2)).await, Error::Conflict { .. });
    ensure!(!f.store.exists("a").await?, "the stream was undeleted");
    Ok(())
}

async fn deleting_checks_the_category(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    let other = Stream::new("other", "a")?;
    ensure_err!(f.store.delete(&other, Expected::Any).await, Error::TypeMismatch { .. });
    ensure!(f.store.exists("a").await?, "the stream was deleted");
    Ok(())
}

async fn a_version_from_before_the_deletion_can_be_read(f: &Fixture) -> Verdict {
    deleted(f, "a", 3).await?;
    let events = shown(f, Query::stream("a").to_version(Version::new(2))).await?;
    ensure_eq!(events, listed([(1, "Happened"), (2, "Happened")]), "events as of version 2");
    Ok(())
}

async fn a_time_before_the_deletion_can_be_read(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    let Some(last) = f.store.read_stream("a").await?.pop() else { return Err(Failure("no event".into())) };
    // The deletion's stamp is at or after that of another event, which is later than the stream's last one.
    loop {
        f.filled("clock", 1).await?;
        let newest = f.store.recent(1).await?;
        if newest.first().is_some_and(|event| event.event_timestamp > last.event_timestamp) {
            break;
        }
    }
    f.store.delete(&stream, Expected::Any).await?;
    let events = shown(f, Query::stream("a").as_of(last.event_timestamp)).await?;
    ensure_eq!(events, listed([(1, "Happened"), (2, "Happened")]), "events as of the time of the last one");
    let deleted_at = f.store.stream("a").await?.map_or(last.event_timestamp, |stream| stream.last_event_at);
    ensure_eq!(shown(f, Query::stream("a").as_of(deleted_at)).await?, [], "events as of the deletion");
    Ok(())
}

async fn the_version_of_the_deletion_shows_nothing(f: &Fixture) -> Verdict {
    let stream = deleted(f, "a", 2).await?;
    ensure_eq!(shown(f, Query::stream("a").to_version(Version::new(3))).await?, [], "events as of the deletion");
    f.store.undelete(&stream, Expected::Any).await?;
    ensure_eq!(shown(f, Query::stream("a").to_version(Version::new(3))).await?, [], "the same after the undeletion");
    let undeleted = shown(f, Query::stream("a").to_version(Version::new(4))).await?;
    ensure_eq!(undeleted.len(), 4, "events as of the undeletion");
    Ok(())
}

async fn a_version_from_before_a_reuse_can_be_read(f: &Fixture) -> Verdict {
    let stream = deleted(f, "a", 2).await?;
    f.store.reuse(&stream, Expected::Any).await?;
    f.store.append(&stream, Expected::Any, f.events(1)?).await?;
    let first_life = shown(f, Query::stream("a").to_version(Version::new(2))).await?;
    ensure_eq!(first_life, listed([(1, "Happened"), (2, "Happened")]), "events as of version 2");
    let second_life = shown(f, Query::stream("a").to_version(Version::new(5))).await?;
    ensure_eq!(second_life, listed([(4, marker::REUSED), (5, "Happened")]), "events as of version 5");
    Ok(())
}

async fn marker_types_are_kept_for_the_store(f: &Fixture) -> Verdict {
    for event_type in [marker::DELETED, marker::UNDELETED, marker::REUSED] {
        ensure_err!(NewEvent::json(event_type, &1), Error::Invalid { what: "event_type", .. });
    }
    f.store.append(&f.stream("a")?, Expected::Any, [f.event("$deleted2")?, f.event("deleted")?]).await?;
    ensure_eq!(f.store.count("a").await?, 2, "events of types that only resemble a marker's");
    Ok(())
}
