//! Contract sections 2 and 6: the time of an event, ranges of time, and the log as it was.

use chrono::{DateTime, TimeDelta, Utc};

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq};
use super::harness::Fixture;
use super::prompt::put_event;
use super::together::{close, sound_log, stores, together};
use crate::append::Append;
use crate::error::{Error, Result};
use crate::event::{NewEvent, RecordedEvent};
use crate::position::Version;
use crate::read::Query;
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    times_are_whole_microseconds: "2.4";
    times_are_those_of_the_append: "2.4";
    times_never_go_back_in_a_lane: "2.4" if OneLane;
    times_never_go_back_under_races_of_4_stores: "2.4", "3.10" if Durable, OneLane;
    times_never_go_back_where_the_clock_did: "2.4" if Sql;
    the_events_of_a_request_are_in_order_of_time: "2.4";
    a_range_begins_at_its_first_time_inclusive: "6.1";
    a_range_ends_at_its_last_time_exclusive: "6.1";
    a_range_of_no_length_is_empty: "6.1";
    a_range_before_the_first_event_is_empty: "6.1";
    a_range_after_the_last_event_is_empty: "6.1";
    a_range_without_a_beginning_begins_with_the_log: "6.1";
    a_range_without_an_end_goes_to_the_head: "6.1";
    a_range_is_read_backward: "6.1";
    a_range_combines_with_filters: "6.1", "6.2";
    a_range_that_ends_within_a_request_of_one_time_splits_nothing: "6.1";
    the_log_as_of_a_time_holds_what_was_stamped_until_then: "6.4";
    the_log_as_of_a_time_is_stable: "6.4";
    a_stream_as_of_a_time_holds_what_was_stamped_until_then: "6.4";
    a_stream_as_of_a_version_is_stable: "6.4";
    a_stream_as_of_before_its_deletion_still_shows: "6.4", "8.1";
    a_stream_as_of_after_its_deletion_is_hidden: "6.4", "8.1";
    the_times_of_a_stream_are_those_of_its_events: "2.4", "6.3";
];

/// Appends events one by one to streams `a` and `b` in turns, each at a time of its own, and returns them.
async fn fill(f: &Fixture, count: usize) -> Result<Vec<RecordedEvent>, Failure> {
    let head = f.store.backend().head(f.store.lane("a")).await?;
    for number in 0..count {
        let stream = f.stream(if number.is_multiple_of(2) { "a" } else { "b" })?;
        f.store.append(&stream, Expected::Any, [f.event(&format!("T{}", number % 2))?]).await?;
    }
    let events = f.store.query(Query::new().after(head)).await?;
    let differ = events.windows(2).all(|pair| pair[0].event_timestamp < pair[1].event_timestamp);
    ensure!(differ, "events that were appended one after the other have the same time, or go back in it");
    Ok(events)
}

/// Reads a query and returns the positions.
async fn positions(f: &Fixture, query: Query) -> Result<Vec<i64>, Failure> {
    Ok(f.store.query(query).await?.iter().map(|event| event.position.get()).collect())
}

/// Checks at which positions a query finds events.
async fn finds(f: &Fixture, query: Query, expected: &[i64], what: &str) -> Verdict {
    ensure_eq!(positions(f, query).await?, expected, "{what}");
    Ok(())
}

const fn microsecond() -> TimeDelta {
    TimeDelta::microseconds(1)
}

async fn times_are_whole_microseconds(f: &Fixture) -> Verdict {
    let events = fill(f, 12).await?;
    let digits = |divisor: i64| events.iter().all(|event| event.event_timestamp.timestamp_micros() % divisor == 0);
    ensure!(events.iter().all(|event| event.event_timestamp.timestamp_subsec_nanos() % 1_000 == 0), "nanoseconds");
    ensure!(!digits(10), "the times are coarser than microseconds");
    Ok(())
}

async fn times_are_those_of_the_append(f: &Fixture) -> Verdict {
    // The clock may be that of another machine, so that only its pace is compared, and roughly.
    let here = Utc::now();
    let first = fill(f, 1).await?;
    let offset = first[0].event_timestamp - here;
    ensure!(offset.abs() < TimeDelta::hours(1), "the database's clock is off by {offset}, or is not in UTC");
    let start = std::time::Instant::now();
    let mut last = first[0].event_timestamp;
    let mut passed = start.elapsed();
    while passed.as_millis() < 50 {
        passed = start.elapsed();
        last = fill(f, 1).await?[0].event_timestamp;
    }
    ensure!(last - first[0].event_timestamp >= TimeDelta::milliseconds(40), "the events' time does not pass");
    Ok(())
}

fn monotone(events: &[RecordedEvent]) -> Verdict {
    ensure!(events.is_sorted_by_key(|event| event.event_timestamp), "the time goes back in the log");
    Ok(())
}

async fn times_never_go_back_in_a_lane(f: &Fixture) -> Verdict {
    let answers = together(16, |number| {
        let store = f.store.clone();
        async move {
            let stream = Stream::new("thing", format!("s{number}"))?;
            for _ in 0..10 {
                store.append(&stream, Expected::Any, [NewEvent::json("Happened", &number)?]).await?;
            }
            Ok::<_, Error>(())
        }
    })
    .await?;
    answers.into_iter().collect::<Result<()>>()?;
    let log = sound_log(&f.store).await?;
    ensure_eq!(log.len(), 160, "events");
    monotone(&log)
}

async fn times_never_go_back_under_races_of_4_stores(f: &Fixture) -> Verdict {
    let stores = stores(f, 4).await?;
    let answers = together(8, |number| {
        let store = stores[number % 4].clone();
        async move {
            let stream = Stream::new("thing", format!("s{number}"))?;
            for _ in 0..10 {
                store.append(&stream, Expected::Any, [NewEvent::json("Happened", &number)?]).await?;
            }
            Ok::<_, Error>(())
        }
    })
    .await?;
    answers.into_iter().collect::<Result<()>>()?;
    close(stores).await;
    let log = sound_log(&f.store).await?;
    ensure_eq!(log.len(), 80, "events");
    monotone(&log)
}

/// A row of tomorrow stands for a clock that was set back since.
async fn times_never_go_back_where_the_clock_did(f: &Fixture) -> Verdict {
    let tomorrow = (Utc::now() + TimeDelta::days(1)).timestamp_micros();
    let tomorrow = DateTime::from_timestamp_micros(tomorrow).unwrap_or_default();
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(1)?).await?;
    put_event(f, 2, 2, tomorrow).await?;
    f.store.append(&f.stream("a")?, Expected::exact(2), f.events(1)?).await?;
    let log = sound_log(&f.store).await?;
    ensure_eq!(log.len(), 3, "events");
    ensure_eq!(log[2].event_timestamp, tomorrow, "time of the event that was appended after the clock was set back");
    Ok(())
}

async fn the_events_of_a_request_are_in_order_of_time(f: &Fixture) -> Verdict {
    let append = Append::new().to(f.stream("a")?, Expected::Any, f.events(300)?).to(
        f.stream("b")?,
        Expected::Any,
        f.events(300)?,
    );
    f.store.commit(append).await?;
    let log = sound_log(&f.store).await?;
    ensure_eq!(log.len(), 600, "events");
    monotone(&log)
}

async fn a_range_begins_at_its_first_time_inclusive(f: &Fixture) -> Verdict {
    let events = fill(f, 5).await?;
    let time = events[2].event_timestamp;
    finds(f, Query::new().between(Some(time), None), &[3, 4, 5], "from the third event's time").await?;
    let after = Query::new().between(Some(time + microsecond()), None);
    finds(f, after, &[4, 5], "from a microsecond after the third event's time").await?;
    Ok(())
}

async fn a_range_ends_at_its_last_time_exclusive(f: &Fixture) -> Verdict {
    let events = fill(f, 5).await?;
    let time = events[2].event_timestamp;
    finds(f, Query::new().between(None, Some(time)), &[1, 2], "to the third event's time").await?;
    let after = Query::new().between(None, Some(time + microsecond()));
    finds(f, after, &[1, 2, 3], "to a microsecond after the third event's time").await?;
    Ok(())
}

async fn a_range_of_no_length_is_empty(f: &Fixture) -> Verdict {
    let events = fill(f, 3).await?;
    let time = Some(events[1].event_timestamp);
    finds(f, Query::new().between(time, time), &[], "range of no length").await?;
    let backwards = Query::new().between(Some(events[2].event_timestamp), Some(events[0].event_timestamp));
    finds(f, backwards, &[], "range that ends before it begins").await?;
    let one = Query::new().between(time, time.map(|time| time + microsecond()));
    finds(f, one, &[2], "range of a microsecond").await?;
    Ok(())
}

async fn a_range_before_the_first_event_is_empty(f: &Fixture) -> Verdict {
    let events = fill(f, 3).await?;
    let (long_ago, first) = (DateTime::UNIX_EPOCH, events[0].event_timestamp);
    finds(f, Query::new().between(Some(long_ago), Some(first)), &[], "range before the log").await?;
    finds(f, Query::new().between(Some(long_ago), None), &[1, 2, 3], "range from before the log").await?;
    Ok(())
}

async fn a_range_after_the_last_event_is_empty(f: &Fixture) -> Verdict {
    let events = fill(f, 3).await?;
    let after = events[2].event_timestamp + microsecond();
    finds(f, Query::new().between(Some(after), None), &[], "range after the log").await?;
    finds(f, Query::new().between(None, Some(after)), &[1, 2, 3], "range to after the log").await?;
    Ok(())
}

async fn a_range_without_a_beginning_begins_with_the_log(f: &Fixture) -> Verdict {
    let events = fill(f, 4).await?;
    let to = Some(events[3].event_timestamp);
    finds(f, Query::new().between(None, to), &[1, 2, 3], "range without a beginning").await?;
    Ok(())
}

async fn a_range_without_an_end_goes_to_the_head(f: &Fixture) -> Verdict {
    let events = fill(f, 4).await?;
    let from = Some(events[3].event_timestamp);
    finds(f, Query::new().between(from, None), &[4], "range without an end").await?;
    let page = f.store.page(f.store.lane("a"), &Query::new().between(from, None), 10).await?;
    ensure_eq!(page.scanned.get(), 4, "how far the page looked");
    Ok(())
}

async fn a_range_is_read_backward(f: &Fixture) -> Verdict {
    let events = fill(f, 6).await?;
    let range = Query::new().between(Some(events[1].event_timestamp), Some(events[4].event_timestamp));
    finds(f, range.backward(), &[4, 3, 2], "range backward").await?;
    Ok(())
}

async fn a_range_combines_with_filters(f: &Fixture) -> Verdict {
    let events = fill(f, 8).await?;
    let range = Query::new().between(Some(events[1].event_timestamp), Some(events[6].event_timestamp));
    finds(f, range.clone().event_types(["T1"])?, &[2, 4, 6], "range and type").await?;
    finds(f, range.clone().event_types(["T1"])?.limit(2), &[2, 4], "range, type and limit").await?;
    let stream = Query { stream: Query::stream("a").stream, ..range };
    finds(f, stream, &[3, 5], "range and stream").await?;
    Ok(())
}

async fn a_range_that_ends_within_a_request_of_one_time_splits_nothing(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(50)?).await?;
    for event in f.store.query(Query::new()).await? {
        let time = Some(event.event_timestamp);
        let (before, from) = (
            positions(f, Query::new().between(None, time)).await?.len(),
            positions(f, Query::new().between(time, None)).await?.len(),
        );
        ensure_eq!(before + from, 50, "events before and from the time of the event at {}", event.position);
    }
    Ok(())
}

async fn the_log_as_of_a_time_holds_what_was_stamped_until_then(f: &Fixture) -> Verdict {
    let events = fill(f, 5).await?;
    let time = events[2].event_timestamp;
    finds(f, Query::new().as_of(time), &[1, 2, 3], "the log as of the third event's time").await?;
    let before = Query::new().as_of(time - microsecond());
    finds(f, before, &[1, 2], "the log as of a microsecond earlier").await?;
    Ok(())
}

async fn the_log_as_of_a_time_is_stable(f: &Fixture) -> Verdict {
    let events = fill(f, 5).await?;
    let time = events[2].event_timestamp;
    let then = f.store.query(Query::new().as_of(time)).await?;
    fill(f, 5).await?;
    ensure_eq!(f.store.query(Query::new().as_of(time)).await?, then, "the log as of a time that has passed");
    ensure_eq!(then.len(), 3, "events as of that time");
    Ok(())
}

async fn a_stream_as_of_a_time_holds_what_was_stamped_until_then(f: &Fixture) -> Verdict {
    let events = fill(f, 6).await?;
    let as_of = |event: &RecordedEvent| Query::stream("a").as_of(event.event_timestamp);
    finds(f, as_of(&events[3]), &[1, 3], "the stream as of another stream's event").await?;
    finds(f, as_of(&events[4]), &[1, 3, 5], "the stream as of its own event").await?;
    finds(f, Query::stream("b").as_of(events[0].event_timestamp), &[], "a later stream").await?;
    Ok(())
}

async fn a_stream_as_of_a_version_is_stable(f: &Fixture) -> Verdict {
    fill(f, 6).await?;
    let then = f.store.query(Query::stream("a").to_version(Version::new(2))).await?;
    fill(f, 6).await?;
    ensure_eq!(f.store.query(Query::stream("a").to_version(Version::new(2))).await?, then, "stream as of a version");
    ensure_eq!(then.len(), 2, "events as of that version");
    Ok(())
}

async fn a_stream_as_of_before_its_deletion_still_shows(f: &Fixture) -> Verdict {
    let events = fill(f, 5).await?;
    f.store.delete(&f.stream("a")?, Expected::Any).await?;
    let as_of = Query::stream("a").as_of(events[4].event_timestamp);
    finds(f, as_of, &[1, 3, 5], "the stream as of before its deletion").await?;
    finds(f, Query::stream("a").to_version(Version::new(2)), &[1, 3], "and as of a version").await?;
    finds(f, Query::stream("a"), &[], "the stream now").await?;
    Ok(())
}

async fn a_stream_as_of_after_its_deletion_is_hidden(f: &Fixture) -> Verdict {
    fill(f, 3).await?;
    f.store.delete(&f.stream("a")?, Expected::Any).await?;
    let deleted = f.store.recent(1).await?;
    let stamp = deleted[0].event_timestamp;
    f.store.undelete(&f.stream("a")?, Expected::Any).await?;
    let undeleted = f.store.recent(1).await?[0].event_timestamp;
    if undeleted > stamp {
        finds(f, Query::stream("a").as_of(stamp), &[], "the stream as of its deletion").await?;
    }
    finds(f, Query::stream("a").as_of(undeleted), &[1, 3, 4, 5], "as of its undeletion").await?;
    Ok(())
}

async fn the_times_of_a_stream_are_those_of_its_events(f: &Fixture) -> Verdict {
    let events = fill(f, 6).await?;
    let info = f.store.stream("a").await?.ok_or_else(|| Failure("the stream is missing".to_owned()))?;
    ensure_eq!(info.created_at, events[0].event_timestamp, "when the stream was created");
    ensure_eq!(info.last_event_at, events[4].event_timestamp, "when the stream's last event was stored");
    Ok(())
}
