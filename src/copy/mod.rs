//! Copying a topic from one database to another, whatever their engines: [`TopicCopy`].

pub(crate) mod claim;
mod compare;
mod cutover;
pub(crate) mod mark;
pub(crate) mod rows;
mod verify;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tracing::Instrument as _;
use uuid::Uuid;

pub use cutover::Cutover;
pub(crate) use verify::log_hash;
pub use verify::{Difference, Verified};

use crate::backend::{Backend, Topic};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::migrate;
use crate::position::{LaneId, Position};
use crate::read::{Query, rows_after};
use crate::sql::holds::{self, Hold, HoldRow};
use crate::sql::statements;
use crate::store::Store;
use rows::Lane;

/// Events that are read, and committed, at once, at most: with 10,000 a copy was no faster, and took four times the memory.
const PAGE: usize = 2_000;

/// Pages that were read and wait to be stored.
const AHEAD: usize = 2;

/// A topic of one database, and its copy in another.
///
/// Everything is as it was: the topic's incarnation, positions, versions, ids, times, types, the bytes of payloads, metadata,
/// tags, hashes, streams that are deleted, their metadata, commands, snapshots, and where subscriptions and consumer groups
/// stand, with their dead letters. Not copied: leases, who is a member of a group, and projections, whose tables are the
/// application's: they are built anew.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> annals::Result<()> {
/// # use annals::{Expected, NewEvent, Store, Stream};
/// use annals::TopicCopy;
///
/// let from = Store::connect("sqlite::memory:?migrate=auto").await?;
/// let event = NewEvent::json("OrderPlaced", &serde_json::json!({"total": 12}))?;
/// from.append(&Stream::new("order", "order-1")?, Expected::NoStream, [event]).await?;
///
/// let copy = TopicCopy::begin(from, "sqlite::memory:?migrate=auto".parse()?).await?;
/// let copied = copy.run(|_| {}).await?;
/// let verified = copy.verify(|_| {}).await?;
/// assert_eq!((copied.events, verified.difference), (1, None));
/// assert_eq!(copy.to().version("order-1").await?.get(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TopicCopy {
    from: Store,
    to: Store,
    /// Tells this copying from others onto the same topic.
    owner: String,
}

/// What one run has copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Copied {
    /// Events; those that an earlier run has copied are not counted.
    pub events: u64,
    /// Rows beside the events: commands and snapshots, as far as they were not there already; and subscriptions, shares of groups
    /// and dead letters, where those of a lane were not the same.
    pub rows: u64,
}

impl TopicCopy {
    /// Opens the database that a topic is to be copied to, creates the topic there, or finds the copy that an earlier run has
    /// begun. The topic of the configuration is not used: the copy has the name of the original.
    ///
    /// # Errors
    /// [`Error::Invalid`] where another log has the topic's name there, [`Error::Unsupported`] where one of the two backends
    /// has no SQL, and as [`Store::connect`].
    pub async fn begin(from: Store, to: Config) -> Result<Self> {
        let config = to.with_topic(&from.topic().name)?;
        let backend = migrate::open(&config).await?;
        let begin = async {
            prepare(&from, &backend, &config).await?;
            let to = Store::with_backend(Arc::clone(&backend), &config).await?;
            Ok(Self::of(from, to))
        };
        migrate::or_close(&backend, begin).await
    }

    /// As [`TopicCopy::between`], where the copy is there already, and is nothing done to.
    pub(crate) fn of(from: Store, to: Store) -> Self {
        Self { from, to, owner: Uuid::now_v7().to_string() }
    }

    /// As [`TopicCopy::begin`], with a backend that others use, too.
    pub(crate) async fn between(from: Store, backend: Arc<dyn Backend>, config: &Config) -> Result<Self> {
        prepare(&from, &backend, config).await?;
        Ok(Self::of(from, Store::shared(backend, config).await?))
    }

    /// Returns the original.
    #[must_use]
    pub const fn from(&self) -> &Store {
        &self.from
    }

    /// Returns the copy. It is complete once [`TopicCopy::run`] has ended, and nobody may write to it before.
    #[must_use]
    pub const fn to(&self) -> &Store {
        &self.to
    }

    /// Returns how many events the original has, and how many of them the copy.
    ///
    /// # Errors
    /// What the backends answer.
    pub async fn progress(&self) -> Result<(u64, u64)> {
        Ok((self.from.event_count().await?, self.to.event_count().await?))
    }

    /// Copies what the copy lacks, and tells how many events it has copied so far, page by page. Memory is bounded by a few
    /// pages, whatever the log's length.
    ///
    /// It may be stopped or killed at any moment; the next run goes on behind the last page. What is written to the original
    /// meanwhile may be copied or not: stop its writers for a copy that is complete. Once the copy is the topic, after
    /// [`TopicCopy::cutover`], nothing is copied onto it any more. Of several runs onto one topic, the last that has begun goes on.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the copy is the original itself, by another URL, or somebody else has begun to copy onto it,
    /// [`Error::Moved`] where the original was moved, and this is the topic by another URL, or was the topic later,
    /// [`Error::LogDiverged`] where the copy's last event is another one than the original's, and what the backends answer.
    pub async fn run(&self, progress: impl FnMut(u64) + Send) -> Result<Copied> {
        if self.is_topic().await? || !self.claim().await? {
            return Ok(Copied::default());
        }
        self.run_since(None, progress).await
    }

    /// Makes this the one who copies onto the topic, which is no other log; returns false where somebody else has made the copy the
    /// topic by now.
    pub(crate) async fn claim(&self) -> Result<bool> {
        let claimed = async {
            for (from, to) in self.lanes() {
                self.check_end(from, to, self.to.head(to).await?).await?;
            }
            self.is_itself().await
        };
        match claimed.await {
            Ok(false) => Ok(true),
            Ok(true) => {
                Err(Error::invalid("place", "it is the original itself, by another URL: name another database"))
            }
            Err(Error::Moved { .. } | Error::LogDiverged { .. }) if self.is_topic().await? => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns whether the copy is the original itself, by another URL; where it is not, this is the one who copies onto it.
    pub(crate) async fn is_itself(&self) -> Result<bool> {
        // Where the original was moved, what is no copy of it is the topic, or was: another may make it so even now.
        let was_moved = loop {
            let was_moved = mark::moved_to(&self.from).await?.is_some();
            if claim::take(&self.to, &self.owner, !was_moved).await? {
                break was_moved;
            }
            match mark::moved_to(&self.from).await? {
                Some(to) if was_moved => return Err(Error::Moved { to }),
                Some(to) => {
                    claim::end(&self.to, &self.owner).await?;
                    return Err(Error::Moved { to });
                }
                None if was_moved => {}
                None => break false,
            }
        };
        let found = claim::owner(&self.from, self.from.topic().lanes[0]).await?;
        let is_itself = found.is_some_and(|owner| owner == self.owner);
        if is_itself {
            claim::end(&self.to, &self.owner).await?;
        } else if !was_moved {
            mark::expect(&self.to, &self.owner, self.from.place()).await?;
        }
        Ok(is_itself)
    }

    fn copied_lane(&self, id: LaneId) -> Lane<'_> {
        Lane { store: &self.to, id, owner: Some(&self.owner) }
    }

    /// As [`TopicCopy::run`], without the commands, snapshots and streams' metadata that were last written before a time.
    async fn run_since(&self, since: Option<DateTime<Utc>>, mut progress: impl FnMut(u64) + Send) -> Result<Copied> {
        let mut copied = Copied::default();
        let lanes: Vec<_> = self.lanes().collect();
        for (from, to) in lanes {
            let (original, copy) = (Lane::new(&self.from, from), self.copied_lane(to));
            // Where readers stand now, the events will reach to.
            let moving = original.moving().await?;
            let end = self.events(from, to, &mut copied.events, &mut progress).await?;
            for table in rows::lasting() {
                let mut pages = original.rows(table, end).since(since);
                while let Some(rows) = pages.next().await? {
                    copied.rows += copy.add(table, rows).await?;
                }
            }
            self.copy_holds(from, to).await?;
            for (table, rows) in moving {
                copied.rows += copy.replace(table, rows).await?;
            }
        }
        Ok(copied)
    }

    /// Has whatever forbids purging the original forbid it for the copy.
    async fn copy_holds(&self, from: LaneId, to: LaneId) -> Result<()> {
        let (holds, known) = self.legal_holds(from, to).await?;
        if holds == known {
            return Ok(());
        }
        let mut transaction = self.copied_lane(to).begin().await?;
        let dialect = transaction.dialect();
        for HoldRow { name, .. } in &known {
            transaction.write(holds::end(dialect, to, Hold { kind: holds::PURGE, name })).await?;
        }
        for hold in &holds {
            transaction.write(holds::copy(dialect, to, holds::PURGE, hold)).await?;
        }
        transaction.commit().await
    }

    /// Returns what forbids purging the original, and what the copy.
    async fn legal_holds(&self, from: LaneId, to: LaneId) -> Result<(Vec<HoldRow>, Vec<HoldRow>)> {
        let of = |dialect, lane| holds::of(dialect, lane, holds::PURGE);
        let known = self.to.fetch(of(self.to.dialect()?, to)).await?;
        Ok((self.from.fetch(of(self.from.dialect()?, from)).await?, known))
    }

    /// Returns each lane of the original with that of the copy.
    fn lanes(&self) -> impl Iterator<Item = (LaneId, LaneId)> {
        self.from.topic().lanes.clone().into_iter().zip(self.to.topic().lanes.clone())
    }

    /// Copies the events that a lane lacks, and returns the last position.
    async fn events(
        &self,
        from: LaneId,
        to: LaneId,
        copied: &mut u64,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<Position> {
        let mut end = self.to.head(to).await?;
        self.check_end(from, to, end).await?;
        let after = |end| Query::new().after(end);
        let mut pages = read_ahead(self.from.clone(), from, after(end));
        while let Some(page) = pages.recv().await {
            let events = page?;
            match self.to.backend().restore(to, &events).await {
                Ok(head) => end = head,
                // The server has only now committed what a run that was cut off had sent.
                Err(Error::Gap { expected, found, .. }) if found < expected => {
                    end = self.to.head(to).await?;
                    self.check_end(from, to, end).await?;
                    pages = read_ahead(self.from.clone(), from, after(end));
                    continue;
                }
                Err(error) => return Err(error),
            }
            *copied += events.len() as u64;
            progress(*copied);
        }
        Ok(end)
    }

    /// Checks that the copy's last event is the original's.
    async fn check_end(&self, from: LaneId, to: LaneId, end: Position) -> Result<()> {
        if end == Position::ZERO {
            return Ok(());
        }
        let query = Query::new().after(end.plus(-1)).until(end);
        let original = self.from.page(from, &query, 1).await?.events.pop();
        let copy = self.to.page(to, &query, 1).await?.events.pop();
        match original.zip(copy) {
            Some((original, copy)) if verify::differing(&original, &copy).is_none() => Ok(()),
            _ => Err(Error::LogDiverged { lane: to.get(), position: end }),
        }
    }
}

/// Makes a topic the copy of another one: creates it where it is missing, and gives it the original's identity where it is
/// empty.
pub(crate) async fn prepare(from: &Store, backend: &Arc<dyn Backend>, config: &Config) -> Result<()> {
    from.dialect()?;
    let original = current(from).await?;
    let lanes = u16::try_from(original.lanes.len()).unwrap_or(u16::MAX);
    backend.create_topic(&original.name, lanes).await?;
    let made = Store::shared(Arc::clone(backend), config).await?;
    adopt(&made, original.incarnation).await
}

/// Reads the events of a lane that answer a query, up to its head, a few pages ahead of who takes them. Pages without events
/// are left out.
pub(crate) fn read_ahead(store: Store, lane: LaneId, mut query: Query) -> mpsc::Receiver<Result<Vec<RecordedEvent>>> {
    let (sender, pages) = mpsc::channel(AHEAD);
    let work = async move {
        let mut rows = PAGE;
        loop {
            let page = match store.page(lane, &query, rows).await {
                Ok(page) => page,
                Err(error) => return drop(sender.send(Err(error)).await),
            };
            // Of two logs that are the same, each page is the same, too: comparing them relies on it.
            rows = rows_after(&page.events, PAGE);
            query.until.get_or_insert(page.head);
            query.after = Some(page.scanned);
            if (!page.events.is_empty() && sender.send(Ok(page.events)).await.is_err()) || !page.more {
                return;
            }
        }
    };
    tokio::spawn(work.in_current_span());
    pages
}

/// Gives a topic that is empty the identity of the log that it is to hold. It is a copy from then on, until it is the topic.
///
/// # Errors
/// [`Error::Invalid`] where the topic holds another log.
pub(crate) async fn adopt(topic: &Store, incarnation: Uuid) -> Result<()> {
    let there = current(topic).await?;
    if there.incarnation == incarnation {
        return Ok(());
    }
    let mut transaction = topic.begin().await?;
    let mut is_empty = true;
    for lane in &there.lanes {
        is_empty &= mark::locked_head(&mut transaction, *lane).await?.head == Position::ZERO;
        claim::set(&mut transaction, *lane, "nobody yet").await?;
    }
    if !is_empty {
        let reason = format!(
            "topic {:?} holds another log there: choose a database without it, or reincarnate neither of two that are the same",
            there.name
        );
        return Err(Error::invalid("target", reason));
    }
    transaction.write(statements::reincarnate(topic.dialect()?, &there.name, incarnation)).await?;
    transaction.commit().await
}

/// Returns a store's topic as it is in the database now: its incarnation may have changed since it was opened.
pub(crate) async fn current(store: &Store) -> Result<Topic> {
    let topics = store.backend().topics().await?;
    Ok(topics.into_iter().find(|topic| topic.name == store.topic().name).unwrap_or_else(|| store.topic().clone()))
}
