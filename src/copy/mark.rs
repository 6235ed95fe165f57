//! The mark that keeps a topic from taking events: for some time while it is moved or purged, and for ever once it was moved.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};

use super::claim;
use crate::error::{Error, Result};
use crate::position::{LaneId, Position};
use crate::sql::holds::{self, HoldRow};
use crate::sql::rows::HeadRow;
use crate::sql::statements;
use crate::store::Store;
use crate::topics::adapter::is_same_place;
use crate::transaction::Transaction;

/// Has a topic take no events for some time, and returns until when, which tells this lease from all others. Who copies or
/// restores something onto it is refused from then on: it is no copy.
///
/// # Errors
/// [`Error::Held`] where somebody else does that already, [`Error::Moved`] where it was moved.
pub(crate) async fn hold(store: &Store, lease: Duration, reason: &str) -> Result<DateTime<Utc>> {
    let mut transaction = store.begin().await?;
    let mut until = None;
    for lane in &store.topic().lanes {
        let head = locked_head(&mut transaction, *lane).await?;
        head.check_hold()?;
        let until = *until.get_or_insert((head.clock + lease).trunc_subsecs(6));
        set(&mut transaction, *lane, until, reason).await?;
        transaction.write(holds::end(transaction.dialect(), *lane, holds::COPY)).await?;
    }
    transaction.commit().await?;
    until.ok_or(Error::Closed)
}

/// Ends a lease, and no other. Where that fails, the topic takes events once the lease's time is over.
pub(crate) async fn end_lease(store: &Store, until: DateTime<Utc>) {
    if let Err(error) =
        store.under_locks(|dialect, lane| vec![holds::end_lease(dialect, lane, holds::MOVE, until)]).await
    {
        tracing::warn!(error = error.report(), "the topic takes events again once the lease ends");
    }
}

/// Has a topic that was moved to a place take no events ever again, if it has taken none beyond some positions, and is held until
/// a time still. Returns since when, by which [`undo`] knows the mark, or `None` where that is not so.
pub(crate) async fn close(
    store: &Store,
    until: DateTime<Utc>,
    ends: &[Position],
    place: &str,
) -> Result<Option<DateTime<Utc>>> {
    let mut transaction = store.begin().await?;
    for (lane, last) in store.topic().lanes.iter().zip(ends) {
        let head = locked_head(&mut transaction, *lane).await?;
        let is_ours = matches!(head.check_hold(), Err(Error::Held { until: end }) if end == until);
        if head.head > *last || !is_ours {
            return Ok(None);
        }
        set(&mut transaction, *lane, holds::FOR_EVER, place).await?;
    }
    let since = marked_at(&mut transaction, store).await?;
    match transaction.commit().await {
        // It may be carried out all the same.
        Err(error) => match moved_to(store).await {
            Ok(Some(to)) if is_same_place(&to, place) => Ok(since),
            _ => Err(error),
        },
        Ok(()) => Ok(since),
    }
}

/// Makes the mark of a topic that was moved to a place one's own: whoever set it can't [`undo`] it any more. Returns whether the
/// topic was moved there.
pub(super) async fn take_over(store: &Store, place: &str) -> Result<bool> {
    let mut transaction = store.begin().await?;
    for lane in &store.topic().lanes {
        match locked_head(&mut transaction, *lane).await?.check_hold() {
            Err(Error::Moved { to }) if is_same_place(&to, place) => {
                set(&mut transaction, *lane, holds::FOR_EVER, &to).await?;
            }
            _ => return Ok(false),
        }
    }
    transaction.commit().await?;
    Ok(true)
}

/// Lets a topic take events again that [`close`] has closed, unless somebody has taken that over; returns whether it does.
pub(super) async fn undo(store: &Store, since: DateTime<Utc>) -> Result<bool> {
    let mut transaction = store.begin().await?;
    for lane in &store.topic().lanes {
        lock(&mut transaction, *lane).await?;
    }
    if marked_at(&mut transaction, store).await? != Some(since) {
        return Ok(false);
    }
    for lane in &store.topic().lanes {
        transaction.write(holds::end(transaction.dialect(), *lane, holds::MOVE)).await?;
    }
    transaction.commit().await?;
    Ok(true)
}

/// Returns when a topic's mark was set, by its first lane.
async fn marked_at(transaction: &mut Transaction, store: &Store) -> Result<Option<DateTime<Utc>>> {
    let marks = holds::of(transaction.dialect(), store.topic().lanes[0], holds::MOVE.kind);
    let marks: Vec<HoldRow> = transaction.fetch(marks).await?;
    Ok(marks.first().map(|mark| mark.created_at))
}

/// Has a topic that was moved away say that it comes back from a place, whose copy somebody makes it.
pub(super) async fn expect(store: &Store, owner: &str, place: &str) -> Result<()> {
    let mut transaction = store.begin().await?;
    for lane in &store.topic().lanes {
        claim::check(&mut transaction, *lane, owner).await?;
        if let Err(Error::Moved { to }) = locked_head(&mut transaction, *lane).await?.check_hold()
            && !is_same_place(&to, place)
        {
            set(&mut transaction, *lane, holds::FOR_EVER, place).await?;
        }
    }
    transaction.commit().await
}

/// Lets a topic take events, which is a copy no more, and whatever an earlier move of it said.
///
/// # Errors
/// [`Error::Invalid`] where somebody else copies onto it by now, or has opened it before.
pub(super) async fn open(store: &Store, owner: &str) -> Result<()> {
    let mut transaction = store.begin().await?;
    for lane in &store.topic().lanes {
        claim::check(&mut transaction, *lane, owner).await?;
        for hold in [holds::MOVE, holds::COPY] {
            transaction.write(holds::end(transaction.dialect(), *lane, hold)).await?;
        }
    }
    transaction.commit().await
}

/// Lets a topic take events again that was moved to a place; returns whether it was.
///
/// # Errors
/// [`Error::Moved`] where it was moved to another place.
pub(crate) async fn reopen(store: &Store, place: &str) -> Result<bool> {
    let mut transaction = store.begin().await?;
    let (dialect, mut was_moved) = (transaction.dialect(), false);
    for lane in &store.topic().lanes {
        match locked_head(&mut transaction, *lane).await?.check_hold() {
            Err(Error::Moved { to }) if is_same_place(&to, place) => was_moved = true,
            Err(error @ Error::Moved { .. }) => return Err(error),
            _ => continue,
        }
        transaction.write(holds::end(dialect, *lane, holds::MOVE)).await?;
    }
    transaction.commit().await?;
    Ok(was_moved)
}

/// Returns where a topic was moved to, if it was.
pub(crate) async fn moved_to(store: &Store) -> Result<Option<String>> {
    match store.ends().await?.iter().try_for_each(HeadRow::check_hold) {
        Err(Error::Moved { to }) => Ok(Some(to)),
        _ => Ok(None),
    }
}

/// Takes a lane's lock.
pub(super) async fn lock(transaction: &mut Transaction, lane: LaneId) -> Result<()> {
    transaction.write(holds::lock(transaction.dialect(), lane)).await.map(drop)
}

/// Takes a lane's lock, and returns what it protects.
pub(crate) async fn locked_head(transaction: &mut Transaction, lane: LaneId) -> Result<HeadRow> {
    lock(transaction, lane).await?;
    let head: Vec<HeadRow> = transaction.fetch(statements::head_and_clock(transaction.dialect(), lane)).await?;
    head.into_iter().next().ok_or(Error::LogDiverged { lane: lane.get(), position: Position::ZERO })
}

/// Has a lane take no events until a time, whose lock a transaction has.
pub(crate) async fn set(transaction: &mut Transaction, lane: LaneId, until: DateTime<Utc>, reason: &str) -> Result<()> {
    let dialect = transaction.dialect();
    transaction.write(holds::end(dialect, lane, holds::MOVE)).await?;
    transaction.write(holds::begin(dialect, lane, holds::MOVE, until, reason)).await?;
    Ok(())
}
