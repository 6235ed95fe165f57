//! Who copies onto a topic: whoever has begun last. What he finds is his; what an earlier one sends still is refused.
//!
//! A row in the holds of each lane says so, which is over from the beginning and thus keeps nobody from anything. Making the copy
//! the topic removes it: while it is there, the copy is none yet, or not all of it.

use super::mark;
use crate::error::{Error, Result};
use crate::position::LaneId;
use crate::sql::holds::{self, COPY, Reason};
use crate::store::Store;
use crate::transaction::Transaction;

/// Makes somebody the one who restores a log into a topic, which is a copy from then on, until [`end`].
///
/// # Errors
/// [`Error::Held`] and [`Error::Moved`] where the topic is being moved, or was.
#[cfg(any(feature = "cli", feature = "conformance"))]
pub(crate) async fn begin(topic: &Store, owner: &str) -> Result<()> {
    let mut transaction = topic.begin().await?;
    for lane in &topic.topic().lanes {
        let head = mark::locked_head(&mut transaction, *lane).await?;
        if !set(&mut transaction, *lane, owner).await? {
            head.check_hold()?;
        }
    }
    transaction.commit().await
}

/// Makes somebody the one who copies onto a topic, if somebody was before, or anew. Returns whether somebody was.
pub(super) async fn take(copy: &Store, owner: &str, anew: bool) -> Result<bool> {
    let mut transaction = copy.begin().await?;
    let mut was_copy = true;
    for lane in &copy.topic().lanes {
        mark::lock(&mut transaction, *lane).await?;
        was_copy &= set(&mut transaction, *lane, owner).await?;
    }
    if was_copy || anew {
        transaction.commit().await?;
    }
    Ok(was_copy)
}

/// Ends what [`take`] or [`begin`] began, unless somebody else has taken it since.
pub(crate) async fn end(copy: &Store, owner: &str) -> Result<()> {
    let mut transaction = copy.begin().await?;
    for lane in &copy.topic().lanes {
        check(&mut transaction, *lane, owner).await?;
        transaction.write(holds::end(transaction.dialect(), *lane, COPY)).await?;
    }
    transaction.commit().await
}

/// Makes somebody the one who copies onto a lane, whose lock a transaction has; returns whether somebody was.
pub(super) async fn set(transaction: &mut Transaction, lane: LaneId, owner: &str) -> Result<bool> {
    let dialect = transaction.dialect();
    let was_copy = transaction.write(holds::end(dialect, lane, COPY)).await? > 0;
    transaction.write(holds::begin(dialect, lane, COPY, holds::LONG_AGO, owner)).await?;
    Ok(was_copy)
}

/// Returns who copies onto a lane.
pub(super) async fn owner(store: &Store, lane: LaneId) -> Result<Option<String>> {
    let owners: Vec<Reason> = store.fetch(holds::reason(store.dialect()?, lane, COPY)).await?;
    Ok(owners.into_iter().next().map(|Reason(owner)| owner))
}

/// Checks, and sees to it until a transaction ends, that somebody is the one who copies onto a lane.
pub(super) async fn check(transaction: &mut Transaction, lane: LaneId, owner: &str) -> Result<()> {
    mark::lock(transaction, lane).await?;
    let owners: Vec<Reason> = transaction.fetch(holds::reason(transaction.dialect(), lane, COPY)).await?;
    if owners.first().is_some_and(|Reason(found)| found == owner) {
        return Ok(());
    }
    let reason =
        "another run has begun to copy onto it since, or has made it the topic: let that end, and run this again";
    Err(Error::invalid("target", reason))
}
