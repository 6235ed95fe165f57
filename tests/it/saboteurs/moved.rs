//! The faults of a topic that is moved, or was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals::backend::{BackendTransaction, Request};
use annals::{Appended, Json, LaneId, Result, Value};
use chrono::{TimeDelta, Utc};

use super::backend::Saboteur;
use super::fault::Fault;

/// For how long a saboteur believes that a lane is not held.
const BELIEF: Duration = Duration::from_secs(2);

/// How long a saboteur waits for the lock after it has looked, where nobody moves the topic.
const LATE: Duration = Duration::from_millis(15);

/// How long it waits for the end of a move that has begun meanwhile.
const VERY_LATE: Duration = Duration::from_secs(2);

/// Commits a batch where the lane is held, if the saboteur has not seen it, or does not care.
pub async fn commit(saboteur: &Saboteur, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
    let is_free = match saboteur.fault {
        Fault::RemembersHolds => believes_free(saboteur, lane).await?,
        Fault::ChecksHoldsEarly => {
            let is_free = !is_held(saboteur, lane).await?;
            if is_free {
                wait_for_the_lock(saboteur, lane).await?;
            }
            is_free
        }
        _ => true,
    };
    if !is_free || !is_held(saboteur, lane).await? {
        return saboteur.inner.commit(lane, batch).await;
    }
    let mut open = saboteur.inner.begin().await?;
    let mut answers = Vec::with_capacity(batch.len());
    for request in batch {
        answers.push(append(&mut *open, lane, request).await?);
    }
    open.commit().await?;
    Ok(answers)
}

async fn believes_free(saboteur: &Saboteur, lane: LaneId) -> Result<bool> {
    let known = saboteur.free.lock().unwrap().get(&lane).is_some_and(|seen| seen.elapsed() < BELIEF);
    if known {
        return Ok(true);
    }
    let is_free = !is_held(saboteur, lane).await?;
    if is_free {
        saboteur.free.lock().unwrap().insert(lane, Instant::now());
    }
    Ok(is_free)
}

/// Gets the lock once the move that begins meanwhile is over, if one does.
async fn wait_for_the_lock(saboteur: &Saboteur, lane: LaneId) -> Result<()> {
    let start = Instant::now();
    tokio::time::sleep(LATE).await;
    while start.elapsed() < VERY_LATE && is_held(saboteur, lane).await? && !is_closed(saboteur, lane).await? {
        tokio::time::sleep(LATE / 5).await;
    }
    Ok(())
}

async fn is_held(saboteur: &Saboteur, lane: LaneId) -> Result<bool> {
    let sql = "SELECT name FROM holds WHERE lane_id = ?1 AND kind = 'append'";
    Ok(!saboteur.inner.select(sql, &[lane.get().into()]).await?.is_empty())
}

async fn is_closed(saboteur: &Saboteur, lane: LaneId) -> Result<bool> {
    let sql = "SELECT name FROM holds WHERE lane_id = ?1 AND kind = 'append' AND until > ?2";
    let in_a_year = Value::Time(Some(Utc::now() + TimeDelta::days(365)));
    Ok(!saboteur.inner.select(sql, &[lane.get().into(), in_a_year]).await?.is_empty())
}

/// Appends in a transaction, whatever holds the lane.
pub async fn append(
    open: &mut dyn BackendTransaction,
    lane: LaneId,
    request: &Arc<Request>,
) -> Result<Result<Appended>> {
    hide(open, lane).await?;
    let answer = open.append(lane, request).await?;
    show(open, lane).await?;
    Ok(answer)
}

/// Sets metadata, whatever holds the lane.
pub async fn set_metadata(
    saboteur: &Saboteur,
    lane: LaneId,
    id: &str,
    expected: Option<i64>,
    metadata: &Json,
) -> Result<i64> {
    if !is_held(saboteur, lane).await? {
        return saboteur.inner.set_metadata(lane, id, expected, metadata).await;
    }
    let mut open = saboteur.inner.begin().await?;
    hide(&mut *open, lane).await?;
    open.commit().await?;
    let version = saboteur.inner.set_metadata(lane, id, expected, metadata).await;
    let mut open = saboteur.inner.begin().await?;
    show(&mut *open, lane).await?;
    open.commit().await?;
    version
}

/// Makes the hold of a lane's appends one of something else.
async fn hide(open: &mut dyn BackendTransaction, lane: LaneId) -> Result<u64> {
    let sql = "UPDATE holds SET kind = 'purge' WHERE lane_id = ?1 AND kind = 'append' AND name = 'move'";
    open.execute(sql, &[lane.get().into()]).await
}

async fn show(open: &mut dyn BackendTransaction, lane: LaneId) -> Result<u64> {
    let sql = "UPDATE holds SET kind = 'append' WHERE lane_id = ?1 AND kind = 'purge' AND name = 'move'";
    open.execute(sql, &[lane.get().into()]).await
}
