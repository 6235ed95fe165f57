//! Contract section 6: reading streams and the log, forward and backward, from here to there.

use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use crate::append::Append;
use crate::error::Error;
use crate::event::RecordedEvent;
use crate::limits;
use crate::position::{Position, Version};
use crate::read::{Page, Query};
use crate::stream::Expected;

pub(super) const CASES: &[Case] = cases![
    a_stream_is_read_forward: "6.1";
    a_stream_is_read_backward: "6.1";
    a_stream_is_read_from_a_version_inclusive: "6.1";
    a_stream_is_read_to_a_version_inclusive: "6.1";
    a_stream_is_read_since_a_version_exclusive: "6.1";
    a_stream_is_read_backward_between_versions: "6.1";
    a_stream_is_read_up_to_a_limit: "6.1", "6.2";
    a_stream_that_does_not_exist_has_no_events: "6.1";
    versions_beyond_the_end_have_no_events: "6.1";
    a_range_of_versions_that_ends_before_it_begins_is_empty: "6.1";
    a_read_of_one_stream_shows_no_other: "6.1";
    the_log_is_read_forward: "6.1";
    the_log_is_read_backward: "6.1";
    the_log_is_read_forward_after_a_position_exclusive: "6.1";
    the_log_is_read_backward_before_a_position_exclusive: "6.1";
    the_log_is_read_forward_until_a_position_inclusive: "6.1";
    the_log_is_read_backward_until_a_position_inclusive: "6.1";
    the_log_is_read_up_to_a_limit: "6.1", "6.2";
    a_limit_of_zero_reads_nothing: "6.2";
    an_empty_log_has_no_events: "6.1", "6.2";
    positions_after_the_end_have_no_events: "6.1";
    an_event_is_found_by_its_id: "6.1";
    an_id_that_is_not_there_finds_no_event: "6.1";
    a_generated_id_finds_its_event: "4.4", "6.1";
    the_latest_version_is_that_of_the_last_event: "6.3";
    a_stream_exists_once_it_has_an_event: "6.3";
    the_count_is_that_of_the_streams_events: "6.3";
    the_newest_events_come_newest_first: "6.1";
    the_head_is_the_last_position: "6.3" if OneLane;
    a_page_says_the_head_and_how_far_it_looked: "3.7", "6.2";
    a_page_that_reaches_the_head_says_that_there_is_no_more: "6.2";
    a_page_until_a_position_says_that_it_looked_so_far: "6.2";
    a_backward_page_says_how_far_down_it_looked: "6.2";
    a_page_without_rows_or_beyond_the_limit_is_refused: "9.1", "9.2";
];

/// Fills the log: stream `a` has the odd positions 1 to 19, stream `b` the even ones.
async fn fill(f: &Fixture) -> Verdict {
    for _ in 0..10 {
        f.store.append(&f.stream("a")?, Expected::Any, f.events(1)?).await?;
        f.store.append(&f.stream("b")?, Expected::Any, f.events(1)?).await?;
    }
    Ok(())
}

fn positions(events: &[RecordedEvent]) -> Vec<i64> {
    events.iter().map(|event| event.position.get()).collect()
}

/// Fills the log and checks which positions a query reads.
async fn reads(f: &Fixture, query: Query, expected: impl IntoIterator<Item = i64>) -> Verdict {
    fill(f).await?;
    let expected: Vec<i64> = expected.into_iter().collect();
    ensure_eq!(positions(&f.store.query(query.clone()).await?), expected, "positions that were read");
    Ok(())
}

/// Fills the log and checks which versions of stream `b` a query reads.
async fn reads_versions(f: &Fixture, query: Query, expected: impl IntoIterator<Item = i64>) -> Verdict {
    fill(f).await?;
    let events = f.store.query(query).await?;
    let versions: Vec<i64> = events.iter().map(|event| event.aggregate_version.get()).collect();
    ensure_eq!(versions, expected.into_iter().collect::<Vec<i64>>(), "versions that were read");
    ensure!(events.iter().all(|event| event.aggregate_id == "b"), "events of another stream were read");
    Ok(())
}

const fn version(number: i64) -> Version {
    Version::new(number)
}

const fn position(number: i64) -> Position {
    Position::new(number)
}

async fn a_stream_is_read_forward(f: &Fixture) -> Verdict {
    reads_versions(f, Query::stream("b"), 1..=10).await
}

async fn a_stream_is_read_backward(f: &Fixture) -> Verdict {
    reads_versions(f, Query::stream("b").backward(), (1..=10).rev()).await
}

async fn a_stream_is_read_from_a_version_inclusive(f: &Fixture) -> Verdict {
    reads_versions(f, Query::stream("b").from_version(version(4)), 4..=10).await
}

async fn a_stream_is_read_to_a_version_inclusive(f: &Fixture) -> Verdict {
    reads_versions(f, Query::stream("b").to_version(version(4)), 1..=4).await
}

async fn a_stream_is_read_since_a_version_exclusive(f: &Fixture) -> Verdict {
    reads_versions(f, Query::stream("b").since_version(version(4)), 5..=10).await
}

async fn a_stream_is_read_backward_between_versions(f: &Fixture) -> Verdict {
    let query = Query::stream("b").from_version(version(3)).to_version(version(6)).backward();
    reads_versions(f, query, [6, 5, 4, 3]).await
}

async fn a_stream_is_read_up_to_a_limit(f: &Fixture) -> Verdict {
    reads_versions(f, Query::stream("b").from_version(version(2)).limit(3), [2, 3, 4]).await
}

async fn a_stream_that_does_not_exist_has_no_events(f: &Fixture) -> Verdict {
    reads(f, Query::stream("c"), []).await?;
    ensure_eq!(f.store.read_stream("a").await?.len(), 10, "events of a stream that exists");
    Ok(())
}

async fn versions_beyond_the_end_have_no_events(f: &Fixture) -> Verdict {
    reads_versions(f, Query::stream("b").from_version(version(11)), []).await?;
    ensure_eq!(f.store.query(Query::stream("b").from_version(version(10))).await?.len(), 1, "events from the end");
    Ok(())
}

async fn a_range_of_versions_that_ends_before_it_begins_is_empty(f: &Fixture) -> Verdict {
    reads_versions(f, Query::stream("b").from_version(version(5)).to_version(version(4)), []).await?;
    let one = Query::stream("b").from_version(version(5)).to_version(version(5));
    ensure_eq!(f.store.query(one).await?.len(), 1, "events of a range of one version");
    Ok(())
}

async fn a_read_of_one_stream_shows_no_other(f: &Fixture) -> Verdict {
    for id in ["a", "A", "a ", "ab", "a/b", "%", "_"].into_iter().filter(|id| id.trim() == *id) {
        f.store.append(&f.stream(id)?, Expected::NoStream, [f.event("Made")?]).await?;
    }
    for id in ["a", "A", "ab", "%", "_"] {
        let events = f.store.read_stream(id).await?;
        ensure_eq!(events.len(), 1, "events of stream {id:?}");
        ensure_eq!(events[0].aggregate_id, id, "stream of the event");
    }
    Ok(())
}

async fn the_log_is_read_forward(f: &Fixture) -> Verdict {
    reads(f, Query::new(), 1..=20).await
}

async fn the_log_is_read_backward(f: &Fixture) -> Verdict {
    reads(f, Query::new().backward(), (1..=20).rev()).await
}

async fn the_log_is_read_forward_after_a_position_exclusive(f: &Fixture) -> Verdict {
    reads(f, Query::new().after(position(17)), [18, 19, 20]).await
}

async fn the_log_is_read_backward_before_a_position_exclusive(f: &Fixture) -> Verdict {
    reads(f, Query::new().backward().after(position(4)), [3, 2, 1]).await
}

async fn the_log_is_read_forward_until_a_position_inclusive(f: &Fixture) -> Verdict {
    reads(f, Query::new().after(position(3)).until(position(6)), [4, 5, 6]).await
}

async fn the_log_is_read_backward_until_a_position_inclusive(f: &Fixture) -> Verdict {
    reads(f, Query::new().backward().until(position(18)), [20, 19, 18]).await
}

async fn the_log_is_read_up_to_a_limit(f: &Fixture) -> Verdict {
    reads(f, Query::new().after(position(5)).limit(4), [6, 7, 8, 9]).await
}

async fn a_limit_of_zero_reads_nothing(f: &Fixture) -> Verdict {
    reads(f, Query::new().limit(0), []).await?;
    ensure_eq!(f.store.query(Query::new().limit(1)).await?.len(), 1, "events up to a limit of one");
    Ok(())
}

async fn an_empty_log_has_no_events(f: &Fixture) -> Verdict {
    ensure_eq!(f.store.query(Query::new()).await?, [], "events of an empty log");
    ensure_eq!(f.store.query(Query::new().backward()).await?, [], "events of an empty log, backward");
    let page = f.store.page(f.store.lane("a"), &Query::new(), 10).await?;
    ensure_eq!((page.head, page.scanned, page.more), (Position::ZERO, Position::ZERO, false), "page of an empty log");
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(1)?).await?;
    ensure_eq!(f.store.query(Query::new()).await?.len(), 1, "events once there is one");
    Ok(())
}

async fn positions_after_the_end_have_no_events(f: &Fixture) -> Verdict {
    reads(f, Query::new().after(position(20)), []).await?;
    ensure_eq!(positions(&f.store.query(Query::new().after(position(19))).await?), [20], "positions up to the end");
    Ok(())
}

async fn an_event_is_found_by_its_id(f: &Fixture) -> Verdict {
    fill(f).await?;
    let id = Uuid::new_v4();
    f.store.append(&f.stream("a")?, Expected::Any, [f.event("Named")?.with_id(id)]).await?;
    fill(f).await?;
    let event = found(f, id).await?;
    ensure_eq!((event.event_id, event.event_type.as_str()), (id, "Named"), "event of the id");
    Ok(())
}

async fn found(f: &Fixture, id: Uuid) -> Result<RecordedEvent, Failure> {
    f.store.event(id).await?.ok_or_else(|| Failure(format!("no event has the id {id}")))
}

async fn an_id_that_is_not_there_finds_no_event(f: &Fixture) -> Verdict {
    fill(f).await?;
    ensure_eq!(f.store.event(Uuid::new_v4()).await?, None, "event of an id that is not there");
    let there = f.store.read_stream("a").await?;
    ensure_eq!(found(f, there[0].event_id).await?, there[0], "event of an id that is there");
    Ok(())
}

async fn a_generated_id_finds_its_event(f: &Fixture) -> Verdict {
    fill(f).await?;
    let mut ids = std::collections::HashSet::new();
    for event in f.store.query(Query::new()).await? {
        ensure_eq!(found(f, event.event_id).await?, event, "event of its id");
        ensure!(ids.insert(event.event_id), "two events have the id {}", event.event_id);
    }
    ensure_eq!(ids.len(), 20, "ids");
    Ok(())
}

async fn the_latest_version_is_that_of_the_last_event(f: &Fixture) -> Verdict {
    ensure_eq!(f.store.version("a").await?, Version::ZERO, "version of a stream that does not exist");
    fill(f).await?;
    ensure_eq!(f.store.version("a").await?, version(10), "version of the stream");
    Ok(())
}

async fn a_stream_exists_once_it_has_an_event(f: &Fixture) -> Verdict {
    ensure!(!f.store.exists("a").await?, "a stream without events exists");
    f.store.append(&f.stream("a")?, Expected::NoStream, []).await?;
    ensure!(!f.store.exists("a").await?, "an assertion without events created the stream");
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(1)?).await?;
    ensure!(f.store.exists("a").await?, "a stream with an event does not exist");
    Ok(())
}

async fn the_count_is_that_of_the_streams_events(f: &Fixture) -> Verdict {
    ensure_eq!(f.store.count("b").await?, 0, "events of a stream that does not exist");
    fill(f).await?;
    f.store.append(&f.stream("b")?, Expected::Any, f.events(3)?).await?;
    ensure_eq!(f.store.count("b").await?, 13, "events of the stream");
    Ok(())
}

async fn the_newest_events_come_newest_first(f: &Fixture) -> Verdict {
    fill(f).await?;
    ensure_eq!(positions(&f.store.recent(3).await?), [20, 19, 18], "positions of the newest events");
    Ok(())
}

async fn the_head_is_the_last_position(f: &Fixture) -> Verdict {
    let lane = f.store.lane("a");
    ensure_eq!(f.store.heads().await?, [(lane, Position::ZERO)], "head of an empty log");
    let append =
        Append::new().to(f.stream("a")?, Expected::Any, f.events(3)?).to(f.stream("b")?, Expected::Any, f.events(4)?);
    f.store.commit(append).await?;
    ensure_eq!(f.store.heads().await?, [(lane, position(7))], "head after seven events");
    Ok(())
}

async fn page(f: &Fixture, query: &Query, rows: usize) -> Result<Page, Failure> {
    Ok(f.store.page(f.store.lane("a"), query, rows).await?)
}

async fn a_page_says_the_head_and_how_far_it_looked(f: &Fixture) -> Verdict {
    fill(f).await?;
    let page = page(f, &Query::new().after(position(2)), 5).await?;
    ensure_eq!(positions(&page.events), [3, 4, 5, 6, 7], "positions of the page");
    ensure_eq!((page.head, page.scanned, page.more), (position(20), position(7), true), "head, scanned and more");
    Ok(())
}

async fn a_page_that_reaches_the_head_says_that_there_is_no_more(f: &Fixture) -> Verdict {
    fill(f).await?;
    let page = page(f, &Query::new().after(position(17)), 5).await?;
    ensure_eq!(positions(&page.events), [18, 19, 20], "positions of the page");
    ensure_eq!((page.head, page.scanned, page.more), (position(20), position(20), false), "head, scanned and more");
    Ok(())
}

async fn a_page_until_a_position_says_that_it_looked_so_far(f: &Fixture) -> Verdict {
    fill(f).await?;
    let page = page(f, &Query::new().after(position(7)).until(position(9)), 5).await?;
    ensure_eq!(positions(&page.events), [8, 9], "positions of the page");
    ensure_eq!((page.head, page.scanned, page.more), (position(20), position(9), false), "head, scanned and more");
    Ok(())
}

async fn a_backward_page_says_how_far_down_it_looked(f: &Fixture) -> Verdict {
    fill(f).await?;
    let first = page(f, &Query::new().backward(), 4).await?;
    ensure_eq!(positions(&first.events), [20, 19, 18, 17], "positions of the first page");
    ensure_eq!((first.head, first.scanned, first.more), (position(20), position(17), true), "head, scanned and more");
    let last = page(f, &Query::new().backward().after(position(3)), 4).await?;
    ensure_eq!(positions(&last.events), [2, 1], "positions of the last page");
    ensure_eq!((last.scanned, last.more), (position(1), false), "scanned and more");
    Ok(())
}

async fn a_page_without_rows_or_beyond_the_limit_is_refused(f: &Fixture) -> Verdict {
    fill(f).await?;
    let lane = f.store.lane("a");
    ensure_err!(f.store.page(lane, &Query::new(), 0).await, Error::Invalid { .. });
    let beyond = f.store.page(lane, &Query::new(), limits::PAGE_ROWS + 1).await;
    ensure_err!(beyond, Error::Limit { limit: 10_000, actual: 10_001, .. });
    ensure_eq!(f.store.page(lane, &Query::new(), limits::PAGE_ROWS).await?.events.len(), 20, "events of a full page");
    Ok(())
}
