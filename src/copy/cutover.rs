//! The end of a move: writers wait while the last events are copied, and then the copy is the topic.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::rows::Lane;
use super::{Copied, TopicCopy};
use crate::error::{Error, Result};
use crate::position::{LaneId, Position};
use crate::schema::model;
use crate::sql::rows::HeadRow;
use crate::sql::{holds, statements};
use crate::store::Store;
use crate::transaction::Transaction;

/// For how long the original takes no events at first. Where whoever moves it dies, its writers go on after this.
const LEASE: TimeDelta = TimeDelta::seconds(10);

/// How often it is tried to copy the rest within the lease, which is twice as long each time.
const TRIES: u32 = 4;

/// A round of copying what came in meanwhile that takes no longer is followed by one for which writers may wait.
const BRIEF: Duration = Duration::from_millis(200);

/// How far the original's clock may have gone back since a round began, without the next one reading all rows anew.
const SLACK: TimeDelta = TimeDelta::seconds(60);

/// What a cutover has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cutover {
    /// All that was copied, before and meanwhile.
    pub copied: Copied,
    /// Events that were copied while writers waited.
    pub last_events: u64,
    /// How long writers waited.
    pub pause: Duration,
}

impl TopicCopy {
    /// Goes on copying what is written to the original, until `end` is ready; then copies once more what there is by then.
    ///
    /// # Errors
    /// As [`TopicCopy::run`].
    pub async fn follow(
        &self,
        end: impl Future<Output = ()> + Send,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<Copied> {
        let mut copied = self.run(&mut progress).await?;
        let mut end = std::pin::pin!(end);
        loop {
            let is_over = tokio::select! {
                () = &mut end => true,
                () = self.news() => false,
            };
            let before = copied.events;
            // The rows beside the events are many and small: they are copied with the last events.
            if is_over {
                let last = self.run(|events| progress(before + events)).await?;
                return Ok(Copied { events: before + last.events, rows: copied.rows + last.rows });
            }
            for (from, to) in self.lanes() {
                self.events(from, to, &mut copied.events, &mut progress).await?;
            }
        }
    }

    /// Makes the copy the topic: the original takes no events from then on, nor does it ever again, and the copy does.
    ///
    /// It copies what it lacks until little is left, or writers are faster than it is. Then writers of the original, of whatever
    /// process, wait while the rest is copied. Those who write to the original afterwards are told [`Error::Moved`]. Nothing that was acknowledged is lost:
    /// under the locks of all lanes it is checked that the copy ends where the original does. Where it fails or is killed, the
    /// original takes events again after 10 s, or a few times as long where so much is left to be copied; calling it again goes
    /// on.
    ///
    /// Whoever configures where the topic is has to be told; [`Topics::relocate`](crate::Topics::relocate) does both.
    ///
    /// # Errors
    /// [`Error::Moved`] where the original was moved to another place before, [`Error::Held`] where copying the rest takes too
    /// long again and again, as [`TopicCopy::run`], and what the backends answer.
    pub async fn cutover(&self, mut progress: impl FnMut(u64) + Send) -> Result<Cutover> {
        let mut copied = Copied::default();
        let (mut since, mut before, mut took) = (None, u64::MAX, Duration::MAX);
        // Where writers are faster than this, each round takes longer than the one before.
        while took > BRIEF {
            let (clock, start) = (self.clock().await?, Instant::now());
            let last = self.more(since, &mut copied, &mut progress).await?;
            (since, took) = (Some(clock - SLACK), start.elapsed());
            if last >= before {
                break;
            }
            before = last;
        }
        let lease = LEASE.max(TimeDelta::from_std(took * 2).unwrap_or(LEASE));
        let mut held_until = DateTime::UNIX_EPOCH;
        for round in 0..TRIES {
            held_until = self.hold(lease * 2_i32.pow(round)).await?;
            let start = Instant::now();
            let last = async {
                let last_events = self.rest(since, &mut copied, &mut progress).await?;
                // It may have been the original of an earlier move.
                release(&self.to).await?;
                Ok((last_events, self.close_original().await?))
            };
            match last.await {
                Ok((last_events, true)) => return Ok(Cutover { copied, last_events, pause: start.elapsed() }),
                // It took longer than the lease, and writers went on.
                Ok((_, false)) => {}
                Err(error) => {
                    if let Err(error) = end_lease(&self.from).await {
                        tracing::warn!(error = error.report(), "the original takes events again once the lease ends");
                    }
                    return Err(error);
                }
            }
        }
        Err(Error::Held { until: held_until })
    }

    /// Lets the original take events again, after a cutover that is not wanted any more. What was written to the copy meanwhile
    /// stays there.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn reopen(&self) -> Result<()> {
        release(&self.from).await
    }

    /// As [`TopicCopy::more`], and all commands where a clock went back: none may be unknown to the copy.
    pub(crate) async fn rest(
        &self,
        since: Option<DateTime<Utc>>,
        copied: &mut Copied,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<u64> {
        let last = self.more(since, copied, progress).await?;
        if self.has_all_commands().await? {
            return Ok(last);
        }
        Ok(last + self.more(None, copied, progress).await?)
    }

    /// Copies what the copy lacks, of the rows beside the events what was written since a time, and returns how many events
    /// that were.
    pub(crate) async fn more(
        &self,
        since: Option<DateTime<Utc>>,
        copied: &mut Copied,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<u64> {
        let before = copied.events;
        let last = self.run_since(since, |events| progress(before + events)).await?;
        copied.events += last.events;
        copied.rows += last.rows;
        Ok(last.events)
    }

    /// Returns the time by the original's clock.
    async fn clock(&self) -> Result<DateTime<Utc>> {
        let ends = self.from.ends().await?;
        Ok(ends.iter().map(|end| end.clock).min().unwrap_or(DateTime::UNIX_EPOCH))
    }

    /// Returns whether the copy has as many commands as the original.
    async fn has_all_commands(&self) -> Result<bool> {
        for (from, to) in self.lanes() {
            let original = Lane { store: &self.from, id: from };
            let copy = Lane { store: &self.to, id: to };
            if original.count(&model::COMMANDS).await? != copy.count(&model::COMMANDS).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns once the original has news, or may have.
    async fn news(&self) {
        let wait = *self.from.backend().poll_interval().end();
        let heard = self.from.topic().lanes.iter().map(|lane| self.from.backend().heard(*lane));
        let heard = futures::future::select_all(heard);
        tokio::select! {
            _ = heard => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    /// Has the original take no events for some time, and returns until when.
    pub(crate) async fn hold(&self, lease: TimeDelta) -> Result<DateTime<Utc>> {
        let mut transaction = self.from.begin().await?;
        let mut until = DateTime::UNIX_EPOCH;
        for lane in &self.from.topic().lanes {
            let head = locked_head(&mut transaction, *lane).await?;
            match head.check_hold() {
                // Who has moved it already needs no lease; who has moved it elsewhere must not do it twice.
                Err(Error::Moved { to }) if to == self.place => continue,
                Err(error @ Error::Moved { .. }) => return Err(error),
                _ => until = head.clock + lease,
            }
            self.set(&mut transaction, *lane, until).await?;
        }
        transaction.commit().await?;
        Ok(until)
    }

    /// Has the original take no events ever again, if it has taken none since it is held, and the copy has all of them;
    /// returns whether that is so.
    pub(crate) async fn close_original(&self) -> Result<bool> {
        let mut ends = Vec::new();
        for (_, to) in self.lanes() {
            ends.push(self.to.head(to).await?);
        }
        let mut transaction = self.from.begin().await?;
        for (lane, end) in self.from.topic().lanes.iter().zip(ends) {
            let head = locked_head(&mut transaction, *lane).await?;
            if head.head != end || !head.is_held_for(&self.place) {
                return Ok(false);
            }
            self.set(&mut transaction, *lane, holds::FOR_EVER).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    async fn set(&self, transaction: &mut Transaction, lane: LaneId, until: DateTime<Utc>) -> Result<()> {
        let dialect = transaction.dialect();
        transaction.write(holds::end(dialect, lane, holds::MOVE)).await?;
        transaction.write(holds::begin(dialect, lane, holds::MOVE, until, &self.place)).await?;
        Ok(())
    }
}

/// Takes a lane's lock, and returns what it protects.
async fn locked_head(transaction: &mut Transaction, lane: LaneId) -> Result<HeadRow> {
    let dialect = transaction.dialect();
    transaction.write(holds::lock(dialect, lane)).await?;
    let head: Vec<HeadRow> = transaction.fetch(statements::head_and_clock(dialect, lane)).await?;
    head.into_iter().next().ok_or(Error::LogDiverged { lane: lane.get(), position: Position::ZERO })
}

/// Lets a topic take events, also one that was moved.
pub(crate) async fn release(store: &Store) -> Result<()> {
    store.under_locks(|dialect, lane| vec![holds::end(dialect, lane, holds::MOVE)]).await
}

/// Lets a topic take events that is held for a time, and not one that was moved.
pub(crate) async fn end_lease(store: &Store) -> Result<()> {
    store.under_locks(|dialect, lane| vec![holds::end_lease(dialect, lane, holds::MOVE)]).await
}
