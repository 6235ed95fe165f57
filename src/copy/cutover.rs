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

/// For how long writers of the original wait at first, at most; then they have their turn, and wait again. Where whoever moves
/// it dies, they go on after twice this time.
const PAUSE: Duration = Duration::from_secs(5);

/// For how long writers have their turn between two times that they wait.
const TURN: Duration = Duration::from_secs(1);

/// How often in a row writers wait without less being left to be copied afterwards, each time for twice as long.
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
    /// How long writers waited, at a stretch: where they are faster than the copy, they wait several times.
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
    /// process, wait while the rest is copied, for 5 s at most; if that was not enough, they have their turn for a second, and wait
    /// again. Those who write to the original afterwards are told [`Error::Moved`]. Nothing that was acknowledged is lost:
    /// under the locks of all lanes it is checked that the copy ends where the original does. Where it fails or is killed, the
    /// original takes events again, after 10 s at most; calling it again goes on. Where nothing less is left after 5 s, because
    /// a server is slow, writers wait twice as long the next time, but never longer than half the original's `statement_timeout`.
    ///
    /// Whoever configures where the topic is has to be told; [`Topics::relocate`](crate::Topics::relocate) does both.
    ///
    /// # Errors
    /// [`Error::Moved`] where the original was moved to another place before, [`Error::Held`] where what is left to be copied
    /// does not become less, as [`TopicCopy::run`], and what the backends answer.
    pub async fn cutover(&self, mut progress: impl FnMut(u64) + Send) -> Result<Cutover> {
        let (mut copied, begin) = (Copied::default(), self.to.event_count().await?);
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
        let (mut longest, mut tries, mut least) = (Duration::ZERO, 0, u64::MAX);
        loop {
            let limit = (PAUSE * 2_u32.pow(tries)).min(self.from.timeout() / 2);
            let until = self.hold(TimeDelta::from_std(limit * 2).unwrap_or(TimeDelta::MAX)).await?;
            let start = Instant::now();
            let rest = tokio::time::timeout(limit, self.rest(since, &mut copied, &mut progress)).await;
            let switched = match rest {
                Ok(Ok(last_events)) => self.switch().await.map(|is_done| is_done.then_some(last_events)),
                Ok(Err(error)) => Err(error),
                Err(_) => Ok(None),
            };
            longest = longest.max(start.elapsed());
            if let Ok(Some(last_events)) = switched {
                return Ok(Cutover { copied, last_events, pause: longest });
            }
            end_lease(&self.from).await;
            switched?;
            let (original, copy) = self.progress().await?;
            // What a round that was cut short has copied counts, too.
            copied.events = copy.saturating_sub(begin);
            let left = original.saturating_sub(copy);
            if left < least {
                (least, tries) = (left, 0);
            } else {
                tries += 1;
            }
            if tries == TRIES {
                return Err(Error::Held { until });
            }
            tokio::time::sleep(TURN).await;
        }
    }

    /// Makes the copy the topic if it has everything already, which nobody changes while that is looked at; returns whether it
    /// has. The copy may have gone on since the original was closed for it.
    ///
    /// # Errors
    /// [`Error::Moved`] where the original was moved to another place before, and what the backends answer.
    pub(crate) async fn take_over(&self) -> Result<bool> {
        self.hold(TimeDelta::from_std(PAUSE * 2).unwrap_or(TimeDelta::MAX)).await?;
        let taken = async { Ok(self.has_everything().await? && self.switch().await?) }.await;
        if !matches!(taken, Ok(true)) {
            end_lease(&self.from).await;
        }
        taken
    }

    /// Returns whether the copy has the original's last events, and its commands.
    async fn has_everything(&self) -> Result<bool> {
        for (from, to) in self.lanes() {
            let end = self.from.head(from).await?;
            if self.to.head(to).await? < end {
                return Ok(false);
            }
            match self.check_end(from, to, end).await {
                Err(Error::LogDiverged { .. }) => return Ok(false),
                checked => checked?,
            }
        }
        self.has_all_commands().await
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

    /// Returns whether the copy has at least as many commands as the original.
    async fn has_all_commands(&self) -> Result<bool> {
        for (from, to) in self.lanes() {
            let original = Lane { store: &self.from, id: from };
            let copy = Lane { store: &self.to, id: to };
            if original.count(&model::COMMANDS).await? > copy.count(&model::COMMANDS).await? {
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

    /// Has the original take no events ever again, and the copy take them, if the original has taken none since it is held, and
    /// the copy has all of them; returns whether that is so.
    pub(crate) async fn switch(&self) -> Result<bool> {
        let mut ends = Vec::new();
        for (_, to) in self.lanes() {
            ends.push(self.to.head(to).await?);
        }
        let mut transaction = self.from.begin().await?;
        for (lane, end) in self.from.topic().lanes.iter().zip(ends) {
            let head = locked_head(&mut transaction, *lane).await?;
            if head.head > end || !head.is_held_for(&self.place) {
                return Ok(false);
            }
            self.set(&mut transaction, *lane, holds::FOR_EVER).await?;
        }
        transaction.commit().await?;
        // It may have been the original of an earlier move. Of the two, at most one takes events at any moment.
        release(&self.to).await?;
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
pub(crate) async fn locked_head(transaction: &mut Transaction, lane: LaneId) -> Result<HeadRow> {
    let dialect = transaction.dialect();
    transaction.write(holds::lock(dialect, lane)).await?;
    let head: Vec<HeadRow> = transaction.fetch(statements::head_and_clock(dialect, lane)).await?;
    head.into_iter().next().ok_or(Error::LogDiverged { lane: lane.get(), position: Position::ZERO })
}

/// Lets a topic take events, also one that was moved.
async fn release(store: &Store) -> Result<()> {
    store.under_locks(|dialect, lane| vec![holds::end(dialect, lane, holds::MOVE)]).await
}

/// Lets a topic take events again that was moved to a place, and not one that was moved to another.
///
/// # Errors
/// [`Error::Moved`] where it was moved to another place, [`Error::Invalid`] where it was not moved.
#[cfg(feature = "cli")]
pub(crate) async fn reopen(store: &Store, place: &str) -> Result<()> {
    let ends = store.ends().await?;
    ends.iter().filter(|end| !end.is_held_for(place)).try_for_each(HeadRow::check_hold)?;
    if !ends.iter().any(|end| end.is_held_for(place)) {
        return Err(Error::invalid("target", format!("topic {:?} was not moved to {place}", store.topic().name)));
    }
    release(store).await
}

/// Lets a topic take events that is held for a time, and not one that was moved. Where that fails, it does so once the time is
/// over.
pub(crate) async fn end_lease(store: &Store) {
    if let Err(error) = store.under_locks(|dialect, lane| vec![holds::end_lease(dialect, lane, holds::MOVE)]).await {
        tracing::warn!(error = error.report(), "the topic takes events again once the lease ends");
    }
}
