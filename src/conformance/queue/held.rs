//! Requests that wait for a lock that somebody else holds.

use std::pin::Pin;
use std::time::Duration;

use futures::future::join_all;
use futures::poll;
use tokio::task::unconstrained;
use uuid::Uuid;

use super::super::case::{Failure, Verdict, ensure, ensure_eq, ensure_err};
use super::super::harness::Fixture;
use super::super::prompt::table;
use super::super::together::sound_log;
use crate::append::Appended;
use crate::backend::Session;
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::json::Json;
use crate::limits;
use crate::read::Query;
use crate::sql::Dialect;
use crate::store::Store;
use crate::stream::{Expected, Stream};

/// Opens a session that holds the lock of the lane, as an append does, until it ends.
async fn hold_the_lock(f: &Fixture) -> Result<Box<dyn Session>> {
    let lanes = table(f, "lanes");
    let mut session = f.store.backend().session().await?;
    match f.store.capabilities().sql {
        Some(Dialect::Postgres) => {
            session.execute("BEGIN").await?;
            session.query(&format!("SELECT 1 FROM {lanes} FOR NO KEY UPDATE")).await?;
        }
        Some(Dialect::Mssql) => {
            session.execute(&format!("BEGIN TRANSACTION; UPDATE {lanes} SET floor = floor")).await?;
        }
        Some(Dialect::Sqlite) | None => session.execute("BEGIN IMMEDIATE").await?,
    }
    Ok(session)
}

type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Appended>> + Send + 'a>>;

/// Sends a request and leaves it waiting, behind those that were sent before.
async fn send<'a>(store: &'a Store, stream: &'a Stream, events: Vec<NewEvent>) -> Result<Waiting<'a>, Failure> {
    let mut request: Waiting<'a> = Box::pin(unconstrained(store.append(stream, Expected::Any, events)));
    match poll!(&mut request) {
        std::task::Poll::Pending => Ok(request),
        std::task::Poll::Ready(answer) => Err(Failure(format!("a request did not wait: {answer:?}"))),
    }
}

pub(super) async fn a_request_that_waits_can_be_taken_back(f: &Fixture) -> Verdict {
    let (kept, dropped) = (f.stream("kept")?, f.stream("dropped")?);
    let mut holder = hold_the_lock(f).await?;
    let mut waiting = Vec::new();
    // However many the writer has taken and tries to commit: it did not take all of these.
    for _ in 0..1_000 {
        waiting.push(send(&f.store, &kept, f.events(1)?).await?);
    }
    drop(send(&f.store, &dropped, f.events(1)?).await?);
    waiting.push(send(&f.store, &kept, f.events(1)?).await?);
    holder.execute("ROLLBACK").await?;
    for answer in join_all(waiting).await {
        answer?;
    }
    ensure_eq!(f.store.count(&kept).await?, 1_001, "events of those who waited");
    ensure!(f.store.stream(&dropped).await?.is_none(), "a request that was taken back while it waited is stored");
    Ok(())
}

pub(super) async fn a_taken_request_is_stored_though_its_caller_left(f: &Fixture) -> Verdict {
    let (left, later) = (f.stream("{a}left")?, f.stream("{a}later")?);
    for round in 0..30 {
        let mut holder = hold_the_lock(f).await?;
        let request = send(&f.store, &left, f.events(1)?).await?;
        // Nothing shows that the writer has taken it: it has more and more time to.
        for _ in 0..round {
            f.store.health().await?;
        }
        drop(request);
        holder.execute("ROLLBACK").await?;
        // By the time that a later request is answered, this one is stored or was taken back.
        f.store.append(&later, Expected::Any, f.events(1)?).await?;
        if f.store.count(&left).await? > 0 {
            return sound_log(&f.store).await.map(drop);
        }
    }
    Err(Failure("no request was stored whose caller left while the writer waited for the lock".to_owned()))
}

pub(super) async fn closing_with_an_append_that_nobody_polls_ends(f: &Fixture) -> Verdict {
    // More of them than a queue has room for.
    for appends in [1, 1_100] {
        let store = f.another().await?;
        let stream = f.stream(&format!("left-{appends}"))?;
        let mut holder = hold_the_lock(f).await?;
        let mut left = Vec::new();
        for _ in 0..appends {
            left.push(send(&store, &stream, f.events(1)?).await?);
        }
        holder.execute("ROLLBACK").await?;
        let closed = tokio::time::timeout(Duration::from_secs(20), store.close()).await;
        ensure!(closed.is_ok(), "a store did not close while {appends} appends were not polled");
        let mut acknowledged = 0;
        for answer in join_all(left).await {
            match answer {
                Ok(_) => acknowledged += 1,
                Err(Error::Closed) => {}
                Err(error) => return Err(error.into()),
            }
        }
        ensure!(acknowledged > 0, "none of {appends} appends that were taken before closing was carried out");
        ensure_eq!(f.store.count(&stream).await?, acknowledged, "events that are stored, and those acknowledged");
    }
    Ok(())
}

/// An event nearly as large as one may be.
fn large() -> Result<NewEvent> {
    NewEvent::json("Large", &"x".repeat(limits::EVENT_BYTES - 1_024))
}

/// Sends large requests until some of them wait for room.
async fn send_more_than_fits<'a>(f: &'a Fixture, stream: &'a Stream) -> Result<Vec<Waiting<'a>>, Failure> {
    let (event, mut waiting) = (large()?, Vec::new());
    for _ in 0..36 {
        waiting.push(send(&f.store, stream, vec![event.clone()]).await?);
    }
    Ok(waiting)
}

pub(super) async fn a_request_beyond_a_limit_is_refused_while_others_wait(f: &Fixture) -> Verdict {
    let stream = f.stream("a")?;
    let mut holder = hold_the_lock(f).await?;
    let waiting = send_more_than_fits(f, &stream).await?;
    let many = f.store.append(&stream, Expected::Any, f.events(limits::EVENTS_PER_REQUEST + 1)?).await;
    ensure_err!(many, Error::Limit { limit: 10_000, actual: 10_001, .. });
    let heavy = f.store.append(&stream, Expected::Any, vec![large()?; 17]).await;
    ensure_err!(heavy, Error::Limit { limit: 67_108_864, .. });
    drop(waiting);
    holder.execute("ROLLBACK").await?;
    f.store.append(&stream, Expected::Any, f.events(1)?).await?;
    Ok(())
}

pub(super) async fn requests_beyond_the_bytes_wait_and_then_land(f: &Fixture) -> Verdict {
    let stream = f.stream("a")?;
    let lane = f.store.lane(stream.id());
    let mut holder = hold_the_lock(f).await?;
    let waiting = send_more_than_fits(f, &stream).await?;
    // Nothing is looked at before there is room for it; else this one would be refused at once.
    let named_twice = vec![f.event("Named")?.with_id(Uuid::from_u128(7)); 2];
    let malformed = send(&f.store, &stream, named_twice).await?;
    let metrics = f.store.metrics().into_iter().find(|metrics| metrics.lane == lane);
    ensure_eq!(metrics.map(|metrics| metrics.waiting), Some(waiting.len() + 1), "requests that wait");
    holder.execute("ROLLBACK").await?;
    let requests = waiting.len();
    for answer in join_all(waiting).await {
        answer?;
    }
    ensure_err!(malformed.await, Error::Invalid { .. });
    ensure_eq!(f.store.count(&stream).await?, requests as u64, "events of requests beyond the bytes");
    Ok(())
}

pub(super) async fn beyond_the_number_of_waiting_requests_the_answer_is_overloaded(f: &Fixture) -> Verdict {
    let stream = f.stream("a")?;
    let mut holder = hold_the_lock(f).await?;
    let mut waiting = Vec::new();
    for _ in 0..limits::WAITING_REQUESTS {
        waiting.push(send(&f.store, &stream, f.events(1)?).await?);
    }
    let beyond = f.store.append(&stream, Expected::Any, f.events(1)?).await;
    ensure!(beyond.as_ref().is_err_and(Error::is_retryable), "{beyond:?} is not to be tried again");
    ensure_err!(beyond, Error::Overloaded { waiting } if waiting == limits::WAITING_REQUESTS);
    drop(waiting);
    holder.execute("ROLLBACK").await?;
    f.store.append(&stream, Expected::Any, f.events(1)?).await?;
    Ok(())
}

pub(super) async fn a_writer_that_waits_for_the_lock_is_answered_at_its_deadline(f: &Fixture) -> Verdict {
    let (stream, gone) = (f.filled("a", 1).await?, f.filled("gone", 1).await?);
    f.store.delete(&gone, Expected::Any).await?;
    let store = f.database.open(&[("statement_timeout", "1s")]).await?;
    let mut holder = hold_the_lock(f).await?;
    let answers = [
        store.append(&stream, Expected::Any, f.events(1)?).await.map(drop),
        store.delete(&stream, Expected::Any).await.map(drop),
        store.undelete(&gone, Expected::Any).await.map(drop),
        store.reuse(&gone, Expected::Any).await.map(drop),
        store.set_metadata(&stream, None, Json::parse("{}")?).await.map(drop),
    ];
    for answer in answers {
        ensure!(
            answer.as_ref().is_err_and(|error| {
                error.is_retryable() || matches!(error, Error::Deadline { .. } | Error::Ambiguous { .. })
            }),
            "a request that met the lock of another was answered by {answer:?}"
        );
    }
    ensure_eq!(f.store.query(Query::new()).await?.len(), 3, "events that can be read while the lock is held");
    holder.execute("ROLLBACK").await?;
    f.store.append(&stream, Expected::exact(1), f.events(1)?).await?;
    ensure_eq!(sound_log(&f.store).await?.len(), 4, "events after the lock was free");
    store.close().await;
    Ok(())
}

pub(super) async fn the_lock_of_a_session_that_vanished_is_free(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    for version in 1..=3 {
        let mut holder = hold_the_lock(f).await?;
        holder.execute(&format!("DELETE FROM {}", table(f, "snapshots"))).await?;
        drop(holder);
        f.store.append(&stream, Expected::exact(version), f.events(1)?).await?;
    }
    ensure_eq!(sound_log(&f.store).await?.len(), 4, "events");
    Ok(())
}
