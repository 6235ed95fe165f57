//! Contract section 6: a long read comes in pages, and ends at the head that its first page saw.

use std::pin::pin;
use std::time::Duration;

use futures::TryStreamExt;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq};
use super::harness::Fixture;
use crate::event::{NewEvent, RecordedEvent};
use crate::limits;
use crate::position::{Position, Version};
use crate::read::{Direction, Query, StreamFilter};
use crate::stream::Expected;
use crate::subscription::Start;

pub(super) const CASES: &[Case] = cases![
    pages_of_one_event_are_the_whole_log: "6.2";
    pages_of_two_events_are_the_whole_log: "6.2";
    pages_that_divide_the_log_exactly_are_the_whole_log: "6.2";
    pages_that_are_one_short_of_the_log_are_the_whole_log: "6.2";
    pages_backward_are_the_whole_log: "6.2";
    pages_of_a_stream_are_the_whole_stream: "6.2";
    pages_of_a_filtered_read_hold_every_match_once: "6.2";
    pages_backward_of_a_filtered_read_hold_every_match_once: "6.2";
    a_page_holds_ten_thousand_events: "6.2", "9.1";
    a_page_of_long_events_ends_with_8_mebibytes: "6.2", "9.1";
    an_event_longer_than_a_page_stops_nobody: "6.2", "9.1" if Durable;
    a_long_read_goes_over_many_pages: "6.2";
    a_long_read_goes_backward_over_many_pages: "6.2";
    a_limit_counts_over_pages: "6.2";
    a_limit_of_exactly_a_page_reads_a_page: "6.2";
    a_read_ends_at_the_head_that_its_first_page_saw: "6.2";
    a_filtered_read_ends_at_the_head_that_its_first_page_saw: "6.2";
    a_backward_read_does_not_show_what_is_appended_meanwhile: "6.2";
    a_read_goes_on_while_its_stream_is_deleted: "6.2", "8.2";
    two_reads_at_once_do_not_disturb_each_other: "6.2";
    a_read_that_is_dropped_half_way_holds_nothing: "6.2";
    many_paused_reads_hold_no_connection: "6.2";
    lists_of_streams_come_in_pages: "6.3";
];

/// Reads a query page by page, and returns the positions and the number of pages.
async fn in_pages(f: &Fixture, query: &Query, rows: usize) -> Result<(Vec<i64>, usize), Failure> {
    let lane = f.store.lane("a");
    let (mut query, mut positions, mut pages) = (query.clone(), Vec::new(), 0);
    loop {
        let page = f.store.page(lane, &query, rows).await?;
        pages += 1;
        ensure!(page.events.len() <= rows, "a page of {} events where {rows} were asked for", page.events.len());
        let beyond = |event: &RecordedEvent| match query.direction {
            Direction::Forward => event.position > page.scanned,
            Direction::Backward => event.position < page.scanned,
        };
        ensure!(!page.events.iter().any(beyond), "a page has events beyond {}, how far it looked", page.scanned);
        positions.extend(page.events.iter().map(|event| event.position.get()));
        if !page.more {
            return Ok((positions, pages));
        }
        ensure!(pages < 1_000, "the pages have no end");
        query.after = Some(page.scanned);
    }
}

/// Reads a log of twelve events page by page.
async fn twelve(f: &Fixture, rows: usize, least_pages: usize) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(12)?).await?;
    let (positions, pages) = in_pages(f, &Query::new(), rows).await?;
    ensure_eq!(positions, (1..=12).collect::<Vec<i64>>(), "positions of all pages of {rows}");
    ensure!((least_pages..=least_pages + 1).contains(&pages), "{pages} pages of {rows} events");
    Ok(())
}

async fn pages_of_one_event_are_the_whole_log(f: &Fixture) -> Verdict {
    twelve(f, 1, 12).await
}

async fn pages_of_two_events_are_the_whole_log(f: &Fixture) -> Verdict {
    twelve(f, 2, 6).await
}

async fn pages_that_divide_the_log_exactly_are_the_whole_log(f: &Fixture) -> Verdict {
    twelve(f, 4, 3).await
}

async fn pages_that_are_one_short_of_the_log_are_the_whole_log(f: &Fixture) -> Verdict {
    twelve(f, 11, 2).await
}

async fn pages_backward_are_the_whole_log(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(12)?).await?;
    for rows in [1, 4, 5, 11, 12, 13] {
        let (positions, _) = in_pages(f, &Query::new().backward(), rows).await?;
        ensure_eq!(positions, (1..=12).rev().collect::<Vec<i64>>(), "positions of all pages of {rows}, backward");
    }
    Ok(())
}

async fn pages_of_a_stream_are_the_whole_stream(f: &Fixture) -> Verdict {
    interleave(f, 10).await?;
    let query = Query::stream("b").from_version(Version::new(2)).to_version(Version::new(9));
    for rows in [1, 3, 4, 8, 9] {
        let (positions, _) = in_pages(f, &query, rows).await?;
        ensure_eq!(positions, (2..=9).map(|n| 2 * n).collect::<Vec<i64>>(), "positions of all pages of {rows}");
    }
    Ok(())
}

/// Appends to stream `a` at the odd positions, and to stream `b` at the even ones.
async fn interleave(f: &Fixture, times: usize) -> Verdict {
    for _ in 0..times {
        f.store.append(&f.stream("a")?, Expected::Any, [f.event("Odd")?.with_tags(["t"])?]).await?;
        f.store.append(&f.stream("b")?, Expected::Any, [f.event("Even")?]).await?;
    }
    Ok(())
}

async fn pages_of_a_filtered_read_hold_every_match_once(f: &Fixture) -> Verdict {
    interleave(f, 9).await?;
    let odd: Vec<i64> = (0..9).map(|n| 2 * n + 1).collect();
    for rows in [1, 2, 3, 8, 9, 10] {
        for query in [Query::new().event_types(["Odd"])?, Query::new().tags(["t"])?] {
            ensure_eq!(in_pages(f, &query, rows).await?.0, odd, "positions of all pages of {rows} of {query:?}");
        }
    }
    Ok(())
}

async fn pages_backward_of_a_filtered_read_hold_every_match_once(f: &Fixture) -> Verdict {
    interleave(f, 9).await?;
    let odd: Vec<i64> = (0..9).rev().map(|n| 2 * n + 1).collect();
    for rows in [1, 2, 3, 8, 9, 10] {
        for query in [Query::new().event_types(["Odd"])?, Query::new().tags(["t"])?] {
            let query = query.backward();
            ensure_eq!(in_pages(f, &query, rows).await?.0, odd, "positions of all pages of {rows} of {query:?}");
        }
    }
    Ok(())
}

async fn a_page_holds_ten_thousand_events(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(limits::PAGE_ROWS)?).await?;
    f.store.append(&f.stream("a")?, Expected::Any, f.events(1)?).await?;
    let page = f.store.page(f.store.lane("a"), &Query::new(), limits::PAGE_ROWS).await?;
    ensure_eq!(page.events.len(), 10_000, "events of the page");
    ensure_eq!((page.scanned, page.more), (Position::new(10_000), true), "scanned and more");
    Ok(())
}

/// Makes events of a mebibyte each.
fn long_events(events: usize) -> Result<Vec<NewEvent>, Failure> {
    let long = |_| NewEvent::bytes("Long", "application/octet-stream", vec![7; 1024 * 1024]);
    Ok((0..events).map(long).collect::<Result<_, _>>()?)
}

async fn a_page_of_long_events_ends_with_8_mebibytes(f: &Fixture) -> Verdict {
    let stream = f.stream("a")?;
    for events in [long_events(9)?, f.events(2)?, long_events(1)?] {
        f.store.append(&stream, Expected::Any, events).await?;
    }
    let page = f.store.page(f.store.lane("a"), &Query::new(), 100).await?;
    ensure_eq!((page.events.len(), page.scanned, page.more), (8, Position::new(8), true), "events, scanned and more");
    ensure_eq!(in_pages(f, &Query::new(), 100).await?, ((1..=12).collect(), 2), "positions and pages");
    let backward = Query::new().event_types(["Long"])?.backward();
    let positions = async |query| {
        let events = f.store.query(query).await?;
        Ok::<_, Failure>(events.iter().map(|event| event.position.get()).collect::<Vec<_>>())
    };
    ensure_eq!(positions(backward).await?, [12, 9, 8, 7, 6, 5, 4, 3, 2, 1], "positions backward");
    ensure_eq!(positions(Query::stream("a")).await?, (1..=12).collect::<Vec<_>>(), "positions of the stream");
    ensure_eq!(f.store.recent(12).await?.len(), 12, "recent events");
    Ok(())
}

async fn an_event_longer_than_a_page_stops_nobody(f: &Fixture) -> Verdict {
    let long = limits::PAGE_BYTES + 1;
    let store = f.database.open(&[("max_event_bytes", &long.to_string())]).await?;
    for _ in 0..3 {
        let event = NewEvent::bytes("Long", "application/octet-stream", vec![7; long])?;
        store.append(&f.stream("a")?, Expected::Any, [event]).await?;
    }
    let page = store.page(store.lane("a"), &Query::new(), 100).await?;
    ensure_eq!((page.events.len(), page.more), (2, true), "events of a page, and whether there are more");
    let other = f.database.open(&[]).await?;
    let mut subscription = other.subscribe(Start::Beginning, Query::new()).await?;
    for position in 1..=3 {
        let event = tokio::time::timeout(Duration::from_secs(30), subscription.next()).await;
        let event = event.map_err(|_| Failure(format!("event {position} did not come within 30 s")))??;
        ensure_eq!(event.position.get(), position, "position");
    }
    drop(subscription);
    store.close().await;
    other.close().await;
    Ok(())
}

async fn a_long_read_goes_over_many_pages(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(3_001)?).await?;
    let positions: Vec<i64> = f.store.query(Query::new()).await?.iter().map(|event| event.position.get()).collect();
    ensure_eq!(positions, (1..=3_001).collect::<Vec<i64>>(), "positions");
    Ok(())
}

async fn a_long_read_goes_backward_over_many_pages(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(3_001)?).await?;
    let events = f.store.query(Query::stream("a").backward()).await?;
    let versions: Vec<i64> = events.iter().map(|event| event.aggregate_version.get()).collect();
    ensure_eq!(versions, (1..=3_001).rev().collect::<Vec<i64>>(), "versions");
    Ok(())
}

async fn a_limit_counts_over_pages(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(2_600)?).await?;
    for limit in [1_001, 1_999, 2_500] {
        let events = f.store.query(Query::new().limit(limit)).await?;
        ensure_eq!(events.len() as u64, limit, "events of a read with a limit");
        let filtered = f.store.query(Query::new().event_types(["Happened"])?.backward().limit(limit)).await?;
        ensure_eq!(filtered.len() as u64, limit, "events of a filtered backward read with a limit");
    }
    Ok(())
}

async fn a_limit_of_exactly_a_page_reads_a_page(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(2_001)?).await?;
    for limit in [1_000, 2_000] {
        let last = f.store.query(Query::new().limit(limit)).await?.last().map(|event| event.position.get());
        ensure_eq!(last, i64::try_from(limit).ok(), "last position of a read with a limit");
    }
    Ok(())
}

/// Begins a read of 1,500 events, appends 200 more after its first event, and returns how many it read in all.
async fn append_during(f: &Fixture, query: Query) -> Result<usize, Failure> {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(1_500)?).await?;
    let mut read = pin!(f.store.read(query));
    ensure!(read.try_next().await?.is_some(), "the read has no first event");
    for _ in 0..10 {
        f.store.append(&f.stream("a")?, Expected::Any, f.events(20)?).await?;
    }
    Ok(1 + read.try_collect::<Vec<_>>().await?.len())
}

async fn a_read_ends_at_the_head_that_its_first_page_saw(f: &Fixture) -> Verdict {
    ensure_eq!(append_during(f, Query::new()).await?, 1_500, "events that the read returned");
    Ok(())
}

async fn a_filtered_read_ends_at_the_head_that_its_first_page_saw(f: &Fixture) -> Verdict {
    ensure_eq!(append_during(f, Query::stream("a").event_types(["Happened"])?).await?, 1_500, "events that were read");
    Ok(())
}

async fn a_backward_read_does_not_show_what_is_appended_meanwhile(f: &Fixture) -> Verdict {
    ensure_eq!(append_during(f, Query::new().backward()).await?, 1_500, "events that the read returned");
    Ok(())
}

async fn a_read_goes_on_while_its_stream_is_deleted(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(2_500)?).await?;
    let mut log = pin!(f.store.read(Query::new()));
    let mut stream = pin!(f.store.read(Query::stream("a")));
    ensure!(log.try_next().await?.is_some() && stream.try_next().await?.is_some(), "a read has no first event");
    f.store.delete(&f.stream("a")?, Expected::Any).await?;
    ensure_eq!(1 + log.try_collect::<Vec<_>>().await?.len(), 2_500, "events that the read of the log returned");
    let versions: Vec<i64> = stream.map_ok(|event| event.aggregate_version.get()).try_collect().await?;
    ensure!((2..).zip(&versions).all(|(expected, found)| expected == *found), "the read of the stream has a hole");
    Ok(())
}

async fn two_reads_at_once_do_not_disturb_each_other(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(1_200)?).await?;
    let mut forward = pin!(f.store.read(Query::new()));
    let mut backward = pin!(f.store.read(Query::stream("a").backward()));
    for position in 1..=1_200 {
        let pair = (forward.try_next().await?, backward.try_next().await?);
        let positions = (pair.0.map(|event| event.position.get()), pair.1.map(|event| event.position.get()));
        ensure_eq!(positions, (Some(position), Some(1_201 - position)), "positions of the two reads");
    }
    ensure!(forward.try_next().await?.is_none() && backward.try_next().await?.is_none(), "a read has more events");
    Ok(())
}

async fn a_read_that_is_dropped_half_way_holds_nothing(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(1_100)?).await?;
    for _ in 0..20 {
        let mut read = Box::pin(f.store.read(Query::new()));
        ensure!(read.try_next().await?.is_some(), "a read has no first event");
        drop(read);
    }
    f.store.append(&f.stream("a")?, Expected::exact(1_100), f.events(1)?).await?;
    ensure_eq!(f.store.query(Query::new()).await?.len(), 1_101, "events");
    Ok(())
}

async fn many_paused_reads_hold_no_connection(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(1_100)?).await?;
    let mut paused = Vec::new();
    for _ in 0..20 {
        let mut read = Box::pin(f.store.read(Query::new()));
        ensure!(read.try_next().await?.is_some(), "a read has no first event");
        paused.push(read);
    }
    f.store.append(&f.stream("a")?, Expected::exact(1_100), f.events(1)?).await?;
    for read in paused {
        ensure_eq!(read.try_collect::<Vec<_>>().await?.len(), 1_099, "events that a paused read had left");
    }
    Ok(())
}

async fn lists_of_streams_come_in_pages(f: &Fixture) -> Verdict {
    for number in (0..7).rev() {
        f.store.append(&f.stream(&format!("s{number}"))?, Expected::NoStream, f.events(1)?).await?;
    }
    let mut filter = StreamFilter { limit: 3, ..StreamFilter::default() };
    let mut sizes = Vec::new();
    let mut ids = Vec::new();
    while sizes.last() != Some(&0) {
        let page = f.store.streams(&filter).await?;
        sizes.push(page.len());
        ids.extend(page.into_iter().map(|stream| stream.aggregate_id));
        filter.after = ids.last().cloned();
    }
    ensure_eq!(sizes, [3, 3, 1, 0], "sizes of the pages");
    ensure_eq!(ids, ["s0", "s1", "s2", "s3", "s4", "s5", "s6"], "streams of all pages");
    Ok(())
}
