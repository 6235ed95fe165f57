//! The end of a move: writers wait while the last events are copied, and then the copy is the topic.

use std::time::{Duration, Instant};

use chrono::TimeDelta;

use super::{Copied, TopicCopy};
use crate::error::{Error, Result};
use crate::position::{LaneId, Position};
use crate::sql::rows::HeadRow;
use crate::sql::{holds, statements};
use crate::store::Store;
use crate::transaction::Transaction;

/// For how long the original takes no events at a time. Where whoever moves it dies, its writers go on after this.
const LEASE: TimeDelta = TimeDelta::seconds(10);

/// Events that are left to be copied while writers wait, where so few are left after some rounds.
const FEW: u64 = 500;

/// Rounds of copying what came in meanwhile, before writers are made to wait.
const ROUNDS: u32 = 10;

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
    /// It copies what it lacks until little is left. Then writers of the original, of whatever process, wait while the rest is
    /// copied. Those who write to the original afterwards are told [`Error::Moved`]. Nothing that was acknowledged is lost:
    /// under the locks of all lanes it is checked that the copy ends where the original does. Where it fails or is killed, the
    /// original takes events again after 10 s at most, and calling it again goes on.
    ///
    /// Whoever configures where the topic is has to be told; [`Topics::relocate`](crate::Topics::relocate) does both.
    ///
    /// # Errors
    /// As [`TopicCopy::run`], and what the backends answer.
    pub async fn cutover(&self, mut progress: impl FnMut(u64) + Send) -> Result<Cutover> {
        let mut copied = Copied::default();
        for round in 0.. {
            let last = self.more(&mut copied, &mut progress).await?;
            if last <= FEW || round == ROUNDS {
                break;
            }
        }
        loop {
            self.hold().await?;
            let start = Instant::now();
            let last = async {
                let last_events = self.more(&mut copied, &mut progress).await?;
                Ok((last_events, self.close_original().await?))
            };
            match last.await {
                Ok((last_events, true)) => {
                    release(&self.to).await?;
                    return Ok(Cutover { copied, last_events, pause: start.elapsed() });
                }
                // It took longer than the lease, and writers went on.
                Ok((_, false)) => {}
                Err(error) => {
                    if let Err(error) = release(&self.from).await {
                        tracing::warn!(error = error.report(), "the original takes events again after 10 s");
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Lets the original take events again, after a cutover that is not wanted any more. What was written to the copy meanwhile
    /// stays there.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn reopen(&self) -> Result<()> {
        release(&self.from).await
    }

    /// Copies what the copy lacks, and returns how many events that were.
    async fn more(&self, copied: &mut Copied, progress: &mut (impl FnMut(u64) + Send)) -> Result<u64> {
        let before = copied.events;
        let last = self.run(|events| progress(before + events)).await?;
        copied.events += last.events;
        copied.rows += last.rows;
        Ok(last.events)
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

    /// Has the original take no events for the time of a lease.
    pub(crate) async fn hold(&self) -> Result<()> {
        let mut transaction = self.from.begin().await?;
        for lane in &self.from.topic().lanes {
            let head = locked_head(&mut transaction, *lane).await?;
            // Who has moved it already needs no lease.
            if !matches!(head.check_hold(), Err(Error::Moved { .. })) {
                self.set(&mut transaction, *lane, head.clock + LEASE).await?;
            }
        }
        transaction.commit().await
    }

    /// Has the original take no events ever again, if the copy has all of them; returns whether it has.
    async fn close_original(&self) -> Result<bool> {
        let mut ends = Vec::new();
        for (_, to) in self.lanes() {
            ends.push(self.to.head(to).await?);
        }
        let mut transaction = self.from.begin().await?;
        for (lane, end) in self.from.topic().lanes.iter().zip(ends) {
            if locked_head(&mut transaction, *lane).await?.head != end {
                return Ok(false);
            }
            self.set(&mut transaction, *lane, holds::FOR_EVER).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    async fn set(
        &self,
        transaction: &mut Transaction,
        lane: LaneId,
        until: chrono::DateTime<chrono::Utc>,
    ) -> Result<()> {
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

/// Lets a topic take events.
pub(crate) async fn release(store: &Store) -> Result<()> {
    let mut transaction = store.begin().await?;
    for lane in &store.topic().lanes {
        let dialect = transaction.dialect();
        transaction.write(holds::lock(dialect, *lane)).await?;
        transaction.write(holds::end(dialect, *lane, holds::MOVE)).await?;
    }
    transaction.commit().await
}
