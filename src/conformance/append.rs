//! Contract section 3: appends are atomic, ordered, and checked against the expected version.

use uuid::Uuid;

use super::case::{Case, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use crate::append::Append;
use crate::error::Error;
use crate::position::{Position, Version};
use crate::read::Query;
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    the_first_event_of_a_stream_has_version_1: "1.5", "1.6", "3.1";
    versions_and_positions_of_a_request_are_consecutive: "1.5", "1.6", "3.1" if OneLane;
    events_of_a_request_keep_their_order: "3.1";
    a_request_of_several_streams_is_stored_whole: "3.1", "3.6";
    a_refused_request_of_two_streams_stores_nothing: "3.1", "3.3";
    a_refused_request_uses_no_position: "1.6", "3.1";
    each_stream_has_versions_of_its_own: "1.5";
    the_outcome_names_the_lane_of_the_stream: "1.2", "3.8";
    exact_holds_at_the_current_version: "3.2";
    exact_0_creates_a_stream: "3.2";
    no_stream_creates_a_stream: "3.2";
    exists_appends_to_a_stream_of_any_version: "3.2";
    any_creates_a_stream: "3.4";
    any_appends_to_a_stream_of_any_version: "3.4";
    an_empty_request_asserts_the_version: "3.5";
    an_empty_request_with_a_stale_version_conflicts: "3.3", "3.5";
    an_empty_request_never_creates_a_stream: "3.5";
    an_empty_request_leaves_the_head: "3.5";
    a_guard_that_holds_lets_the_request_pass: "3.6";
    a_guard_that_does_not_hold_refuses_the_request: "3.6";
    a_guard_appends_nothing_to_its_stream: "3.6";
    a_guard_of_a_stream_that_must_not_exist_does_not_create_it: "3.5", "3.6";
    streams_of_a_request_can_take_turns: "3.1", "3.6";
    a_stream_named_twice_with_two_expectations_is_refused: "3.6";
    an_event_id_that_a_request_gives_twice_is_refused: "4.4";
    a_stream_keeps_the_category_of_its_first_event: "1.3";
    two_streams_of_one_category_do_not_mix: "1.3";
];

async fn the_first_event_of_a_stream_has_version_1(f: &Fixture) -> Verdict {
    let appended = f.store.append(&f.stream("a")?, Expected::NoStream, [f.event("Begun")?]).await?;
    ensure_eq!(appended.version(), Version::new(1), "version");
    ensure_eq!(appended.positions, Some((Position::new(1), Position::new(1))), "positions");
    ensure_eq!(f.store.version("a").await?, Version::new(1), "version of the stream");
    Ok(())
}

async fn versions_and_positions_of_a_request_are_consecutive(f: &Fixture) -> Verdict {
    f.filled("other", 3).await?;
    f.filled("a", 5).await?;
    let events = f.store.read_stream("a").await?;
    let places: Vec<_> = events.iter().map(|event| (event.aggregate_version.get(), event.position.get())).collect();
    ensure_eq!(places, [(1, 4), (2, 5), (3, 6), (4, 7), (5, 8)], "versions and positions");
    Ok(())
}

async fn events_of_a_request_keep_their_order(f: &Fixture) -> Verdict {
    let types = ["E", "A", "D", "B", "C"];
    let events = types.iter().map(|name| f.event(name)).collect::<Result<Vec<_>, _>>()?;
    f.store.append(&f.stream("a")?, Expected::NoStream, events).await?;
    let read = f.store.read_stream("a").await?;
    let read: Vec<&str> = read.iter().map(|event| event.event_type.as_str()).collect();
    ensure_eq!(read, types, "types in the order of the stream");
    Ok(())
}

async fn a_request_of_several_streams_is_stored_whole(f: &Fixture) -> Verdict {
    let append = Append::new().to(f.stream("{x}a")?, Expected::NoStream, f.events(2)?).to(
        f.stream("{x}b")?,
        Expected::NoStream,
        f.events(3)?,
    );
    let appended = f.store.commit(append).await?;
    ensure_eq!(appended.version_of("{x}a"), Some(Version::new(2)), "version of the first stream");
    ensure_eq!(appended.version_of("{x}b"), Some(Version::new(3)), "version of the second stream");
    let events = f.store.query(Query::new()).await?;
    let places: Vec<_> = events.iter().map(|event| (&*event.aggregate_id, event.aggregate_version.get())).collect();
    ensure_eq!(places, [("{x}a", 1), ("{x}a", 2), ("{x}b", 1), ("{x}b", 2), ("{x}b", 3)], "events of the log");
    Ok(())
}

async fn a_refused_request_of_two_streams_stores_nothing(f: &Fixture) -> Verdict {
    f.filled("{x}b", 1).await?;
    let append = Append::new().to(f.stream("{x}a")?, Expected::NoStream, f.events(2)?).to(
        f.stream("{x}b")?,
        Expected::NoStream,
        f.events(2)?,
    );
    ensure_err!(f.store.commit(append).await, Error::Conflict { ref stream, .. } if stream == "{x}b");
    ensure!(!f.store.exists("{x}a").await?, "the stream that was not in conflict was written");
    ensure_eq!(f.store.version("{x}b").await?, Version::new(1), "version of the stream in conflict");
    Ok(())
}

async fn a_refused_request_uses_no_position(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    for _ in 0..3 {
        ensure_err!(f.store.append(&stream, Expected::NoStream, f.events(2)?).await, Error::Conflict { .. });
    }
    let appended = f.store.append(&stream, Expected::exact(1), f.events(1)?).await?;
    ensure_eq!(appended.position(), Position::new(2), "position of the next event that was stored");
    Ok(())
}

async fn each_stream_has_versions_of_its_own(f: &Fixture) -> Verdict {
    for _ in 0..3 {
        f.filled("a", 1).await?;
        f.filled("b", 2).await?;
    }
    ensure_eq!(f.store.version("a").await?, Version::new(3), "version of the one stream");
    ensure_eq!(f.store.version("b").await?, Version::new(6), "version of the other stream");
    let versions: Vec<i64> =
        f.store.read_stream("b").await?.iter().map(|event| event.aggregate_version.get()).collect();
    ensure_eq!(versions, [1, 2, 3, 4, 5, 6], "versions of the other stream's events");
    Ok(())
}

async fn the_outcome_names_the_lane_of_the_stream(f: &Fixture) -> Verdict {
    let appended = f.store.append(&f.stream("a")?, Expected::Any, f.events(1)?).await?;
    ensure_eq!(appended.lane, f.store.lane("a"), "lane of the outcome");
    let events = f.store.read_stream("a").await?;
    ensure_eq!(events.first().map(|event| event.lane), Some(appended.lane), "lane of the event");
    Ok(())
}

async fn exact_holds_at_the_current_version(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 3).await?;
    let appended = f.store.append(&stream, Expected::exact(3), f.events(2)?).await?;
    ensure_eq!(appended.version(), Version::new(5), "version");
    ensure_eq!(f.store.count("a").await?, 5, "events of the stream");
    Ok(())
}

async fn exact_0_creates_a_stream(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::exact(0), f.events(1)?).await?;
    ensure_eq!(f.store.count("a").await?, 1, "events of the stream");
    Ok(())
}

async fn no_stream_creates_a_stream(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(1)?).await?;
    ensure_eq!(f.store.count("a").await?, 1, "events of the stream");
    Ok(())
}

async fn exists_appends_to_a_stream_of_any_version(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 4).await?;
    let appended = f.store.append(&stream, Expected::Exists, f.events(1)?).await?;
    ensure_eq!(appended.version(), Version::new(5), "version");
    ensure_eq!(f.store.count("a").await?, 5, "events of the stream");
    Ok(())
}

async fn any_creates_a_stream(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(2)?).await?;
    ensure_eq!(f.store.count("a").await?, 2, "events of the stream");
    Ok(())
}

async fn any_appends_to_a_stream_of_any_version(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    for expected in 2..6 {
        let appended = f.store.append(&stream, Expected::Any, f.events(1)?).await?;
        ensure_eq!(appended.version(), Version::new(expected), "version");
    }
    ensure_eq!(f.store.count("a").await?, 5, "events of the stream");
    Ok(())
}

async fn an_empty_request_asserts_the_version(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    for expected in [Expected::exact(2), Expected::Exists, Expected::Any] {
        let appended = f.store.append(&stream, expected, []).await?;
        ensure_eq!(appended.positions, None, "positions of an assertion");
        ensure!(appended.versions.is_empty(), "an assertion wrote {:?}", appended.versions);
    }
    f.store.append(&f.stream("none")?, Expected::NoStream, []).await?;
    ensure_eq!(f.store.version("a").await?, Version::new(2), "version of the stream");
    Ok(())
}

async fn an_empty_request_with_a_stale_version_conflicts(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    for expected in [Expected::exact(1), Expected::exact(3), Expected::NoStream] {
        let stale = f.store.append(&stream, expected, []).await;
        ensure_err!(stale, Error::Conflict { actual, .. } if actual == Version::new(2));
    }
    Ok(())
}

async fn an_empty_request_never_creates_a_stream(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, []).await?;
    f.store.append(&f.stream("a")?, Expected::NoStream, []).await?;
    ensure!(f.store.stream("a").await?.is_none(), "the stream exists");
    let later = Stream::new("another category", "a")?;
    f.store.append(&later, Expected::NoStream, f.events(1)?).await?;
    ensure_eq!(f.store.count("a").await?, 1, "events of a stream of another category by the same id");
    Ok(())
}

async fn an_empty_request_leaves_the_head(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    let before = f.store.heads().await?;
    f.store.append(&stream, Expected::exact(2), []).await?;
    ensure_eq!(f.store.heads().await?, before, "heads");
    ensure_eq!(before.iter().map(|(_, head)| head.get()).sum::<i64>(), 2, "events of the log");
    Ok(())
}

async fn a_guard_that_holds_lets_the_request_pass(f: &Fixture) -> Verdict {
    let guarded = f.filled("{x}guarded", 2).await?;
    let append = Append::new()
        .to(f.stream("{x}a")?, Expected::NoStream, f.events(1)?)
        .guard(guarded, Expected::exact(2))
        .guard(f.stream("{x}none")?, Expected::NoStream);
    f.store.commit(append).await?;
    ensure_eq!(f.store.count("{x}a").await?, 1, "events of the stream");
    Ok(())
}

async fn a_guard_that_does_not_hold_refuses_the_request(f: &Fixture) -> Verdict {
    let guarded = f.filled("{x}guarded", 2).await?;
    let append =
        Append::new().to(f.stream("{x}a")?, Expected::NoStream, f.events(1)?).guard(guarded, Expected::exact(1));
    let refused = f.store.commit(append).await;
    ensure_err!(refused, Error::Conflict { ref stream, actual, .. } if stream == "{x}guarded" && actual.get() == 2);
    ensure!(!f.store.exists("{x}a").await?, "the request was stored");
    Ok(())
}

async fn a_guard_appends_nothing_to_its_stream(f: &Fixture) -> Verdict {
    let guarded = f.filled("{x}guarded", 2).await?;
    let append = Append::new().to(f.stream("{x}a")?, Expected::Any, f.events(1)?).guard(guarded, Expected::Exists);
    let appended = f.store.commit(append).await?;
    ensure_eq!(appended.versions, [("{x}a".to_owned(), Version::new(1))], "the streams that were written");
    ensure_eq!(f.store.version("{x}guarded").await?, Version::new(2), "version of the guarded stream");
    Ok(())
}

async fn a_guard_of_a_stream_that_must_not_exist_does_not_create_it(f: &Fixture) -> Verdict {
    let append = Append::new()
        .to(f.stream("{x}a")?, Expected::Any, f.events(1)?)
        .guard(f.stream("{x}none")?, Expected::NoStream);
    f.store.commit(append).await?;
    ensure!(f.store.exists("{x}a").await?, "the request was not stored");
    ensure!(f.store.stream("{x}none").await?.is_none(), "the guard created its stream");
    Ok(())
}

async fn streams_of_a_request_can_take_turns(f: &Fixture) -> Verdict {
    let (one, other) = (f.filled("{x}a", 1).await?, f.stream("{x}b")?);
    let append = Append::new()
        .to(one.clone(), Expected::exact(1), f.events(1)?)
        .to(other.clone(), Expected::NoStream, f.events(1)?)
        .to(one, Expected::exact(1), f.events(2)?)
        .to(other, Expected::NoStream, f.events(1)?);
    let appended = f.store.commit(append).await?;
    let versions = [("{x}a".to_owned(), Version::new(4)), ("{x}b".to_owned(), Version::new(2))];
    ensure_eq!(appended.versions, versions, "versions of the outcome");
    let events = f.store.query(Query::new().after(Position::new(1))).await?;
    let places: Vec<_> = events.iter().map(|event| (&*event.aggregate_id, event.aggregate_version.get())).collect();
    ensure_eq!(places, [("{x}a", 2), ("{x}b", 1), ("{x}a", 3), ("{x}a", 4), ("{x}b", 2)], "events of the log");
    Ok(())
}

async fn a_stream_named_twice_with_two_expectations_is_refused(f: &Fixture) -> Verdict {
    let first = || -> Result<Append, Error> { Ok(Append::new().to(f.stream("a")?, Expected::Any, f.events(1)?)) };
    let append = first()?.to(f.stream("a")?, Expected::NoStream, f.events(1)?);
    ensure_err!(f.store.commit(append).await, Error::Invalid { what: "stream", .. });
    let append = first()?.guard(Stream::new("other", "a")?, Expected::Any);
    ensure_err!(f.store.commit(append).await, Error::Invalid { what: "stream", .. });
    ensure!(!f.store.exists("a").await?, "a refused request was stored");
    f.store.commit(first()?).await?;
    ensure_eq!(f.store.count("a").await?, 1, "events of the stream");
    Ok(())
}

async fn an_event_id_that_a_request_gives_twice_is_refused(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    let events = [f.event("One")?.with_id(id), f.event("Two")?.with_id(id)];
    ensure_err!(f.store.append(&f.stream("a")?, Expected::Any, events).await, Error::Invalid { what: "event_id", .. });
    ensure!(f.store.event(id).await?.is_none(), "a refused event was stored");
    f.store.append(&f.stream("a")?, Expected::NoStream, [f.event("One")?.with_id(id)]).await?;
    ensure!(f.store.event(id).await?.is_some(), "the event is not there under its id");
    Ok(())
}

async fn a_stream_keeps_the_category_of_its_first_event(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    let other = Stream::new("other", "a")?;
    for expected in [Expected::exact(1), Expected::Any, Expected::Exists] {
        let refused = f.store.append(&other, expected, f.events(1)?).await;
        ensure_err!(refused, Error::TypeMismatch { ref expected, ref actual, .. } if expected == "other" && actual == "thing");
    }
    let info = f.store.stream("a").await?;
    ensure_eq!(info.map(|info| (info.aggregate_type, info.version.get())), Some(("thing".to_owned(), 1)), "stream");
    Ok(())
}

async fn two_streams_of_one_category_do_not_mix(f: &Fixture) -> Verdict {
    f.filled("a", 2).await?;
    f.filled("b", 1).await?;
    let events = f.store.read_stream("a").await?;
    ensure_eq!(events.len(), 2, "events of the one stream");
    ensure!(events.iter().all(|event| event.aggregate_id == "a"), "events of the other stream: {events:?}");
    Ok(())
}
