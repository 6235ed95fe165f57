//! Contract section 5: positions are in commit order, and nobody sees one before the one below it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::prompt::{put_event, table};
use super::together::{Follower, close, events_of, sound_log, stores, together};
use crate::append::Appended;
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::limits::PAGE_ROWS;
use crate::position::Position;
use crate::read::Query;
use crate::sql::Dialect;
use crate::store::Store;
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    a_polling_reader_sees_contiguous_positions: "5.1", "5.2" if OneLane;
    a_polling_reader_of_another_store_sees_contiguous_positions: "5.1", "5.2" if Durable, OneLane;
    a_polling_reader_of_4_writing_stores_sees_contiguous_positions: "5.1", "5.2", "3.10" if Durable, OneLane;
    a_polling_reader_catches_a_skip_of_a_naive_sequence: "5.1", "13.3" if Sql;
    a_large_request_shows_whole_or_not_at_all: "3.1", "5.1";
    the_log_is_what_was_acknowledged: "5.1", "3.9";
    the_log_of_4_stores_is_what_was_acknowledged: "5.1", "3.9" if Durable;
    what_was_acknowledged_before_another_began_has_the_smaller_position: "5.1" if OneLane;
    what_one_store_acknowledged_before_another_began_has_the_smaller_position: "5.1" if Durable, OneLane;
    what_was_acknowledged_is_read_at_once: "3.9", "5.1";
    what_was_acknowledged_is_read_by_other_stores_at_once: "3.9", "5.1" if Durable;
    the_head_is_never_ahead_of_what_can_be_read: "5.1", "3.7" if OneLane;
    the_head_of_a_page_is_not_behind_its_events: "3.7", "6.2" if OneLane;
    the_head_never_moves_backwards: "5.1" if Durable, OneLane;
    a_hole_in_the_log_is_answered_with_gap: "5.1" if Sql;
    an_open_snapshot_of_another_session_delays_nobody: "5.4" if Durable, Sql;
    an_open_transaction_that_writes_elsewhere_delays_nobody: "5.4" if Durable, Sql;
];

/// Appends a number of requests, or until told to stop: every third racer large requests, the others of one event.
async fn write_until(
    store: Store,
    number: usize,
    requests: usize,
    large: usize,
    stop: Arc<AtomicBool>,
) -> Result<Vec<Appended>> {
    let stream = Stream::new("thing", format!("writer-{number}"))?;
    let size = if number.is_multiple_of(3) { large } else { 1 };
    let mut outcomes = Vec::new();
    while !stop.load(Ordering::Relaxed) && outcomes.len() < requests {
        let events = (0..size).map(|_| NewEvent::json("Written", &number)).collect::<Result<Vec<_>>>()?;
        outcomes.push(store.append(&stream, Expected::Any, events).await?);
    }
    Ok(outcomes)
}

/// Polls the log from where it ended, until the writers stop or it has seen much in many polls, and returns how many
/// found something. A page holds all that there is, so that each poll looks at the head, where a skip shows.
async fn poll(reader: &Store, stop: &AtomicBool) -> Result<usize, Failure> {
    let (mut follower, mut found) = (Follower::default(), 0);
    loop {
        tokio::task::yield_now().await;
        let stopped = stop.load(Ordering::Relaxed);
        let page = reader.page(reader.lane("a"), &Query::new().after(follower.last), PAGE_ROWS).await?;
        found += usize::from(!page.events.is_empty());
        follower.saw(page.events.iter().map(|event| event.position))?;
        ensure!(page.scanned <= page.head, "scanned to {}, beyond the head {}", page.scanned, page.head);
        if stopped || (follower.last >= Position::new(3_000) && found > 20) {
            return Ok(found);
        }
    }
}

/// Follows the log while slow and fast writers append to it.
async fn follow_writers(reader: &Store, writers: &[Store]) -> Verdict {
    let stop = Arc::new(AtomicBool::new(false));
    let polls = {
        let (reader, stop) = (reader.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let found = poll(&reader, &stop).await;
            stop.store(true, Ordering::Relaxed);
            found
        })
    };
    let written =
        together(6, |number| write_until(writers[number % writers.len()].clone(), number, 400, 100, Arc::clone(&stop)));
    let written = written.await;
    stop.store(true, Ordering::Relaxed);
    for outcomes in written? {
        outcomes?;
    }
    let found = polls.await??;
    ensure!(found > 5, "the reader found something in {found} polls only: the case proves nothing");
    sound_log(reader).await.map(drop)
}

async fn a_polling_reader_sees_contiguous_positions(f: &Fixture) -> Verdict {
    follow_writers(&f.store, std::slice::from_ref(&f.store)).await
}

async fn a_polling_reader_of_another_store_sees_contiguous_positions(f: &Fixture) -> Verdict {
    let other = f.another().await?;
    follow_writers(&other, std::slice::from_ref(&f.store)).await?;
    other.close().await;
    Ok(())
}

async fn a_polling_reader_of_4_writing_stores_sees_contiguous_positions(f: &Fixture) -> Verdict {
    let stores = stores(f, 4).await?;
    follow_writers(&f.store, &stores).await?;
    close(stores).await;
    Ok(())
}

/// The naive way, which the store must not take: a number is taken in one transaction and used in a later one, as
/// sequences do. The reader of the cases above must notice what it skips.
async fn a_polling_reader_catches_a_skip_of_a_naive_sequence(f: &Fixture) -> Verdict {
    let (log, sequence) = (table(f, "naive_log"), table(f, "naive_sequence"));
    let mut session = f.store.backend().session().await?;
    session.execute(&format!("CREATE TABLE {log} (place bigint NOT NULL PRIMARY KEY)")).await?;
    session.execute(&format!("CREATE TABLE {sequence} (last bigint NOT NULL)")).await?;
    session.execute(&format!("INSERT INTO {sequence} (last) VALUES (0)")).await?;
    let mut taken = Vec::new();
    for _ in 0..2 {
        session.execute(&format!("UPDATE {sequence} SET last = last + 1")).await?;
        taken.extend(session.query(&format!("SELECT last FROM {sequence}")).await?.concat().into_iter().flatten());
    }
    ensure_eq!(taken, ["1", "2"], "numbers that the writers took");
    let mut follower = Follower::default();
    let mut caught = false;
    for slow_writer_commits_last in taken.iter().rev() {
        session.execute(&format!("INSERT INTO {log} (place) VALUES ({slow_writer_commits_last})")).await?;
        let poll = format!("SELECT place FROM {log} WHERE place > {} ORDER BY place", follower.last);
        let found = session.query(&poll).await?.concat();
        let places = found.into_iter().flatten().filter_map(|place| place.parse().ok()).map(Position::new);
        caught |= follower.saw(places.collect::<Vec<_>>()).is_err();
    }
    // The schema can only be removed without tables of others.
    session.execute(&format!("DROP TABLE {log}")).await?;
    session.execute(&format!("DROP TABLE {sequence}")).await?;
    ensure!(caught, "the reader did not notice that it skipped position 1");
    Ok(())
}

/// Polls the log while large requests are appended, until it has fallen between several of them.
async fn a_large_request_shows_whole_or_not_at_all(f: &Fixture) -> Verdict {
    let stop = Arc::new(AtomicBool::new(false));
    let polls = {
        let (store, lane, stop) = (f.store.clone(), f.store.lane("a"), Arc::clone(&stop));
        tokio::spawn(async move {
            let (mut last, mut found) = (Position::ZERO, 0);
            loop {
                tokio::task::yield_now().await;
                let stopped = stop.load(Ordering::Relaxed);
                let head = store.backend().head(lane).await?;
                let page = store.page(lane, &Query::new().after(last), PAGE_ROWS).await?;
                let end = page.events.last().map_or(last, |event| event.position);
                for seen in [head, page.head, end] {
                    ensure_eq!(seen.get() % 500, 0, "events that a reader saw of a part of a request of 500");
                }
                found += usize::from(end > last);
                last = end;
                if stopped || found > 5 {
                    stop.store(true, Ordering::Relaxed);
                    return Ok::<_, Failure>(found);
                }
            }
        })
    };
    let mut requests = 0;
    while !stop.load(Ordering::Relaxed) && requests < 60 {
        f.store.append(&f.stream("a")?, Expected::Any, f.events(500)?).await?;
        requests += 1;
    }
    stop.store(true, Ordering::Relaxed);
    let found = polls.await??;
    ensure!(found > 5, "the reader found something in {found} polls only: the case proves nothing");
    Ok(())
}

/// Compares the log with what the writers were told.
async fn compare_with_the_log(writers: &[Store]) -> Verdict {
    let stop = Arc::new(AtomicBool::new(false));
    let answers =
        together(6, |number| write_until(writers[number % writers.len()].clone(), number, 8, 300, Arc::clone(&stop)))
            .await?;
    let log = sound_log(&writers[0]).await?;
    let mut acknowledged = 0;
    for (number, outcomes) in answers.into_iter().enumerate() {
        for outcome in outcomes? {
            let events = events_of(&log, &outcome);
            acknowledged += events.len();
            let Some(last) = events.last() else {
                return Err(Failure(format!("writer {number} was told of {outcome:?}, which the log lacks")));
            };
            ensure!(
                events.iter().all(|event| event.aggregate_id == format!("writer-{number}")),
                "the log has events of others where writer {number} was told that its own are"
            );
            ensure_eq!(last.aggregate_version, outcome.version(), "version that writer {number} was told");
        }
    }
    ensure_eq!(acknowledged, log.len(), "events that were acknowledged, and events of the log");
    Ok(())
}

async fn the_log_is_what_was_acknowledged(f: &Fixture) -> Verdict {
    compare_with_the_log(std::slice::from_ref(&f.store)).await
}

async fn the_log_of_4_stores_is_what_was_acknowledged(f: &Fixture) -> Verdict {
    let stores = stores(f, 4).await?;
    compare_with_the_log(&stores).await?;
    close(stores).await;
    Ok(())
}

/// Appends in turns, while others append all the while.
async fn append_in_turns(f: &Fixture, stores: &[Store]) -> Verdict {
    let stop = Arc::new(AtomicBool::new(false));
    let others = tokio::spawn(write_until(f.store.clone(), 1, 200, 1, Arc::clone(&stop)));
    let mut last = Position::ZERO;
    for turn in 0..30 {
        let stream = f.stream(&format!("s{}", turn % 7))?;
        let outcome = stores[turn % stores.len()].append(&stream, Expected::Any, f.events(1)?).await?;
        let position = outcome.position();
        ensure!(position > last, "position {position} was given after {last} was acknowledged");
        last = position;
    }
    stop.store(true, Ordering::Relaxed);
    others.await??;
    Ok(())
}

async fn what_was_acknowledged_before_another_began_has_the_smaller_position(f: &Fixture) -> Verdict {
    append_in_turns(f, std::slice::from_ref(&f.store)).await
}

async fn what_one_store_acknowledged_before_another_began_has_the_smaller_position(f: &Fixture) -> Verdict {
    let stores = stores(f, 3).await?;
    append_in_turns(f, &stores).await?;
    close(stores).await;
    Ok(())
}

/// Lets racers append, and read from the next store what they were told is stored.
async fn read_what_was_written(stores: &[Store]) -> Verdict {
    let answers = together(4, |number| {
        let (writer, reader) = (stores[number % stores.len()].clone(), stores[(number + 1) % stores.len()].clone());
        async move {
            let stream = Stream::new("thing", format!("s{number}"))?;
            for round in 1..=15 {
                let outcome = writer.append(&stream, Expected::Any, [NewEvent::json("Written", &round)?]).await?;
                let version = reader.version(&stream).await?;
                ensure_eq!(version.get(), round, "version that was read after round {round}");
                let page = reader.page(outcome.lane, &Query::stream(stream.id()).backward(), 1).await?;
                let found = page.events.first().map(|event| event.position);
                ensure_eq!(found, Some(outcome.position()), "position of the event that was read");
                ensure!(page.head >= outcome.position(), "the head {} lacks {}", page.head, outcome.position());
            }
            Ok(())
        }
    })
    .await?;
    answers.into_iter().collect::<Verdict>()
}

async fn what_was_acknowledged_is_read_at_once(f: &Fixture) -> Verdict {
    read_what_was_written(std::slice::from_ref(&f.store)).await
}

async fn what_was_acknowledged_is_read_by_other_stores_at_once(f: &Fixture) -> Verdict {
    let stores = stores(f, 2).await?;
    read_what_was_written(&stores).await?;
    close(stores).await;
    Ok(())
}

/// Runs a check over and over while a writer appends.
async fn while_writing<F>(f: &Fixture, check: impl Fn(Position) -> F) -> Verdict
where
    F: Future<Output = Result<Position, Failure>>,
{
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write_until(f.store.clone(), 1, 200, 1, Arc::clone(&stop)));
    let mut last = Position::ZERO;
    while last < Position::new(20) {
        tokio::task::yield_now().await;
        last = check(last).await?;
    }
    stop.store(true, Ordering::Relaxed);
    writer.await??;
    Ok(())
}

async fn the_head_is_never_ahead_of_what_can_be_read(f: &Fixture) -> Verdict {
    let lane = f.store.lane("a");
    while_writing(f, |_| async move {
        let head = f.store.backend().head(lane).await?;
        let read = f.store.query(Query::new().until(head)).await?;
        let last = read.last().map_or(Position::ZERO, |event| event.position);
        ensure_eq!(last, head, "last event that could be read up to the head");
        Ok(head)
    })
    .await
}

async fn the_head_of_a_page_is_not_behind_its_events(f: &Fixture) -> Verdict {
    let lane = f.store.lane("a");
    while_writing(f, |_| async move {
        let page = f.store.page(lane, &Query::new().backward(), 5).await?;
        let newest = page.events.first().map_or(Position::ZERO, |event| event.position);
        ensure_eq!(newest, page.head, "newest event of a page, and the head that came with it");
        Ok(newest)
    })
    .await
}

async fn the_head_never_moves_backwards(f: &Fixture) -> Verdict {
    let other = f.another().await?;
    let (lane, stores) = (f.store.lane("a"), [&f.store, &other]);
    while_writing(f, |last| async move {
        let mut head = last;
        for store in stores {
            let seen = store.backend().head(lane).await?;
            ensure!(seen >= head, "the head was {head} and is {seen}");
            head = seen;
        }
        Ok(head)
    })
    .await?;
    other.close().await;
    Ok(())
}

async fn a_hole_in_the_log_is_answered_with_gap(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(2)?).await?;
    put_event(f, 4, 3, chrono::Utc::now()).await?;
    let is_the_hole = |expected: Position, found: Position| [(3, 4), (3, 2)].contains(&(expected.get(), found.get()));
    for query in [Query::new(), Query::new().after(Position::new(2)), Query::new().backward()] {
        ensure_err!(f.store.query(query).await, Error::Gap { expected, found, .. } if is_the_hole(expected, found));
    }
    ensure_eq!(f.store.query(Query::new().until(Position::new(2))).await?.len(), 2, "events before the hole");
    ensure_eq!(f.store.query(Query::new().event_types(["Happened"])?).await?.len(), 3, "events of a type");
    Ok(())
}

/// Appends and reads while another session holds something open.
async fn go_on_beside(f: &Fixture, preparation: &[&str], held: &[&str]) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(1)?).await?;
    let mut session = f.store.backend().session().await?;
    for statement in preparation.iter().chain(held) {
        session.execute(statement).await?;
    }
    let other = f.another().await?;
    for round in 2..=20 {
        let outcome = f.store.append(&f.stream("a")?, Expected::exact(round - 1), f.events(1)?).await?;
        for store in [&f.store, &other] {
            let seen = store.query(Query::new()).await?.last().map(|event| event.position);
            ensure_eq!(seen, Some(outcome.position()), "last event that is read beside the open transaction");
        }
    }
    session.execute("ROLLBACK").await?;
    other.close().await;
    sound_log(&f.store).await.map(drop)
}

async fn an_open_snapshot_of_another_session_delays_nobody(f: &Fixture) -> Verdict {
    let begin = match f.store.capabilities().sql {
        Some(Dialect::Postgres) => "BEGIN ISOLATION LEVEL REPEATABLE READ",
        Some(Dialect::Mssql) => "BEGIN TRANSACTION",
        Some(Dialect::Sqlite) | None => "BEGIN",
    };
    let read = format!("SELECT COUNT(*) FROM {}", table(f, "events"));
    go_on_beside(f, &[], &[begin, &read]).await
}

async fn an_open_transaction_that_writes_elsewhere_delays_nobody(f: &Fixture) -> Verdict {
    let (create, insert) = match f.store.capabilities().sql {
        Some(Dialect::Mssql) => ("CREATE TABLE #elsewhere (n int)", "INSERT INTO #elsewhere (n) VALUES (1)"),
        Some(Dialect::Postgres) => ("CREATE TABLE elsewhere (n int)", "INSERT INTO elsewhere (n) VALUES (1)"),
        Some(Dialect::Sqlite) | None => ("CREATE TEMP TABLE elsewhere (n int)", "INSERT INTO elsewhere (n) VALUES (1)"),
    };
    let begin = if f.store.capabilities().sql == Some(Dialect::Mssql) { "BEGIN TRANSACTION" } else { "BEGIN" };
    go_on_beside(f, &[create], &[begin, insert]).await
}
