//! The end of a move: writers wait while the last events are copied, and then the copy is the topic.

use std::future::ready;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::rows::Lane;
use super::{Copied, TopicCopy, claim, mark};
use crate::error::{Error, Result};
use crate::topics::adapter::is_same_place;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Cutover {
    /// All that was copied, before and meanwhile.
    pub copied: Copied,
    /// Events that were copied since writers waited for the first time.
    pub last_events: u64,
    /// How long writers waited, at a stretch: where they are faster than the copy, they wait several times.
    pub pause: Duration,
    /// Since when the original is closed, by its clock.
    pub(crate) closed_at: Option<DateTime<Utc>>,
}

impl Cutover {
    /// Returns whether the copy was the topic before: the original was closed for it already, and nobody waited.
    #[must_use]
    pub const fn already(&self) -> bool {
        self.closed_at.is_none()
    }
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
            // The rows beside the events are many and small: they are copied with the last events.
            if is_over {
                if !self.is_topic().await? {
                    self.more(None, &mut copied, &mut progress).await?;
                }
                return Ok(copied);
            }
            // Somebody else may have made the copy the topic, which is written to then, or another copy.
            match mark::moved_to(&self.from).await? {
                Some(_) if self.is_topic().await? => return Ok(copied),
                Some(to) if !is_same_place(&to, self.to.place()) => {
                    self.more(None, &mut copied, &mut progress).await?;
                    return Err(Error::Moved { to });
                }
                _ => {}
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
    /// a server is slow, writers wait twice as long the next time, but never longer than half the original's `statement_timeout`,
    /// and as long again where it is killed then. If the last answer of one of the two databases is lost, the original may be
    /// closed and the copy not open yet: calling it again completes that.
    ///
    /// Where the copy is the topic already, nothing is done to it.
    ///
    /// Whoever configures where the topic is has to be told; [`Topics::relocate`](crate::Topics::relocate) does both.
    ///
    /// # Errors
    /// [`Error::Moved`] where the original was moved to another place before, [`Error::Held`] where what is left
    /// to be copied does not become less, or somebody else moves the topic, as [`TopicCopy::run`], and what the backends answer.
    pub async fn cutover(&self, progress: impl FnMut(u64) + Send) -> Result<Cutover> {
        self.cutover_if(ready(Ok(())), progress).await
    }

    /// As [`TopicCopy::cutover`], if it is wanted still once little is left to be copied.
    pub(crate) async fn cutover_if(
        &self,
        wanted: impl Future<Output = Result<()>> + Send,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<Cutover> {
        loop {
            if self.is_topic().await? {
                self.check_moved_on().await?;
                // Whoever has closed the original may still take that back, unless he is told that it is wanted.
                if mark::take_over(&self.from, self.to.place()).await? {
                    return Ok(Cutover::default());
                }
            }
            if self.claim().await? {
                break;
            }
        }
        let (mut copied, begin) = (Copied::default(), self.to.event_count().await?);
        let since = self.rounds(&mut copied, &mut progress).await?;
        wanted.await?;
        let before = copied.events;
        let (mut longest, mut tries, mut least, mut asked) = (Duration::ZERO, 0, u64::MAX, Instant::now());
        let closed_at = loop {
            let limit = (PAUSE * 2_u32.pow(tries)).min(self.from.timeout() / 2);
            let until = match self.hold(limit * 2).await {
                Ok(until) => until,
                Err(Error::Moved { to }) if is_same_place(&to, self.to.place()) => {
                    self.check_moved_on().await?;
                    if mark::take_over(&self.from, self.to.place()).await? {
                        mark::open(&self.to, &self.owner).await?;
                        break None;
                    }
                    continue;
                }
                // Whoever moves it, or died at it, has some seconds left.
                Err(Error::Held { .. }) if asked.elapsed() < self.from.timeout() => {
                    tokio::time::sleep(TURN).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let start = Instant::now();
            let rest = tokio::time::timeout(limit, self.rest(since, &mut copied, &mut progress)).await;
            let switched = match rest {
                Ok(Ok(())) => self.switch(until).await,
                Ok(Err(error)) => Err(error),
                Err(_) => Ok(None),
            };
            longest = longest.max(start.elapsed());
            if let Ok(Some(closed_at)) = switched {
                break Some(closed_at);
            }
            mark::end_lease(&self.from, until).await;
            switched?;
            let (original, copy) = self.progress().await?;
            // What a round that was cut short has copied counts, too.
            copied.events = copy.saturating_sub(begin);
            let left = original.saturating_sub(copy);
            (least, tries) = if left < least { (left, 0) } else { (least, tries + 1) };
            if tries == TRIES {
                return Err(Error::Held { until });
            }
            tokio::time::sleep(TURN).await;
            asked = Instant::now();
        };
        Ok(Cutover { copied, last_events: copied.events - before, pause: longest, closed_at })
    }

    /// Copies what is there until a round takes no time to speak of, or the next one is no shorter: where writers are faster than
    /// this, each takes longer than the one before. Returns since when rows are to be copied afterwards.
    async fn rounds(
        &self,
        copied: &mut Copied,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<Option<DateTime<Utc>>> {
        let (mut since, mut before) = (None, u64::MAX);
        loop {
            let (clock, start) = (self.clock().await?, Instant::now());
            let last = self.more(since, copied, progress).await?;
            since = Some(clock - SLACK);
            if start.elapsed() <= BRIEF || last >= before {
                return Ok(since);
            }
            before = last;
        }
    }

    /// Returns whether the copy is the topic already: the original was closed for it, and it is a copy no more.
    pub(crate) async fn is_topic(&self) -> Result<bool> {
        let ends = self.from.ends().await?;
        if ends.len() < self.lanes().count() {
            return Ok(false);
        }
        for (end, (_, to)) in ends.iter().zip(self.lanes()) {
            let is_closed = matches!(end.check_hold(), Err(Error::Moved { to }) if is_same_place(&to, self.to.place()));
            if !is_closed || claim::owner(&self.to, to).await?.is_some() || self.to.head(to).await? < end.head {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns whether the copy has all events that the original has, and no others; others it may have where it is the topic.
    pub(crate) async fn has_all_events(&self) -> Result<bool> {
        let is_topic = self.is_topic().await?;
        for (from, to) in self.lanes() {
            let (end, there) = (self.from.head(from).await?, self.to.head(to).await?);
            if there < end || there > end && !is_topic {
                return Ok(false);
            }
            match self.check_end(from, to, end).await {
                Err(Error::LogDiverged { .. }) => return Ok(false),
                checked => checked?,
            }
        }
        Ok(true)
    }

    /// Checks that the copy, which was the topic once, was not moved on from there.
    async fn check_moved_on(&self) -> Result<()> {
        match mark::moved_to(&self.to).await? {
            Some(to) if !is_same_place(&to, self.from.place()) => Err(Error::Moved { to }),
            _ => Ok(()),
        }
    }

    /// Lets the original take events again in place of the copy, after a cutover that could not be recorded, unless somebody
    /// relies on it by now.
    ///
    /// # Errors
    /// [`Error::Moved`] where the copy has taken something, and what the backends answer.
    pub(crate) async fn undo(&self, cutover: &Cutover) -> Result<()> {
        let Some(since) = cutover.closed_at else { return Ok(()) };
        // It ends once this is done, however long the two take to answer.
        let lease = PAUSE * 2 + (self.from.timeout() + self.to.timeout()) * 2;
        let until = mark::hold(&self.to, lease, self.from.place()).await?;
        let undone = self.give_back(since, until).await;
        if !matches!(undone, Ok(true)) {
            mark::end_lease(&self.to, until).await;
        }
        undone.map(drop)
    }

    /// Has the copy take no events ever again, which is held until a time, and the original take them, which is closed since
    /// another; returns whether it is still.
    async fn give_back(&self, since: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        let (mut ends, mut has_gone_on) = (Vec::new(), false);
        for (from, to) in self.lanes() {
            let end = self.from.head(from).await?;
            has_gone_on |= self.to.head(to).await? > end;
            ends.push(end);
        }
        if has_gone_on || self.sums().await?.iter().any(|(original, copy)| copy > original) {
            return Err(Error::Moved { to: self.to.place().to_owned() });
        }
        let is_undone = match mark::undo(&self.from, since).await {
            // It may be carried out all the same.
            Err(error) => mark::moved_to(&self.from).await?.is_none().then_some(true).ok_or(error)?,
            Ok(is_undone) => is_undone,
        };
        if !is_undone {
            return Ok(false);
        }
        let closed = mark::close(&self.to, until, &ends, self.from.place()).await?;
        closed.map(|_| true).ok_or(Error::Held { until })
    }

    /// Lets the original take events again, after a cutover that is not wanted any more. What was written to the copy meanwhile
    /// stays there.
    ///
    /// # Errors
    /// [`Error::Moved`] where it was moved to another place, and what the backend answers.
    pub async fn reopen(&self) -> Result<()> {
        mark::reopen(&self.from, self.to.place()).await.map(drop)
    }

    /// As [`TopicCopy::more`], and everything where a clock went back: nothing may be unknown to the copy.
    pub(crate) async fn rest(
        &self,
        since: Option<DateTime<Utc>>,
        copied: &mut Copied,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<()> {
        self.more(since, copied, progress).await?;
        if self.sums().await?.iter().any(|(original, copy)| original > copy) {
            self.more(None, copied, progress).await?;
        }
        Ok(())
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

    /// Returns how many commands and versions of metadata the original has, and how many the copy, lane by lane.
    async fn sums(&self) -> Result<Vec<(i64, i64)>> {
        let mut sums = Vec::new();
        for (from, to) in self.lanes() {
            let (from, to) = (Lane::new(&self.from, from), Lane::new(&self.to, to));
            let (original, copy) = futures::try_join!(from.sums(), to.sums())?;
            sums.extend(original.into_iter().zip(copy));
        }
        Ok(sums)
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
    pub(crate) async fn hold(&self, lease: Duration) -> Result<DateTime<Utc>> {
        mark::hold(&self.from, lease, self.to.place()).await
    }

    /// Has the original take no events ever again, and the copy take them, if the original has taken none since it is held until
    /// some time, and the copy has all of them; returns since when, where that is so.
    pub(crate) async fn switch(&self, until: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        let mut ends = Vec::new();
        for (_, to) in self.lanes() {
            ends.push(self.to.head(to).await?);
        }
        let closed_at = mark::close(&self.from, until, &ends, self.to.place()).await?;
        if let Some(since) = closed_at {
            // It may have been the original of an earlier move. Of the two, at most one takes events at any moment.
            let opened = mark::open(&self.to, &self.owner).await;
            if matches!(opened, Err(Error::Invalid { .. })) {
                mark::undo(&self.from, since).await?;
            }
            opened?;
        }
        Ok(closed_at)
    }
}
