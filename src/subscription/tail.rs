//! Following a lane: one reader for all subscriptions of a store.
//!
//! While anybody follows, a task reads what is new, once, keeps it in a ring, and tells where the lane ends. It is woken at
//! once by the commits of its own store, and looks for those of others after a short time. The database is the truth:
//! whoever is not served from the ring reads pages.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::ring::Ring;
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::position::{LaneId, Position};
use crate::read::Query;
use crate::store::{Inner, Store};

/// Events that are read at a time.
const PAGE: usize = 1_000;
/// The pause after an error, which those who follow get to see.
const AFTER_AN_ERROR: Duration = Duration::from_millis(250);

/// What those who follow a lane wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen {
    /// Where the lane ends.
    pub end: Position,
    /// How often something went wrong that whoever follows should find out for himself.
    pub troubles: u64,
}

/// The end of a lane, as those who follow it see it.
#[derive(Debug)]
pub(crate) struct Tail {
    index: usize,
    lane: LaneId,
    seen: watch::Sender<Seen>,
    ring: Mutex<Ring>,
    followers: AtomicUsize,
    /// Whether the task runs; it ends under this lock.
    running: Mutex<bool>,
}

/// What a look at the lane has shown.
struct Looked {
    news: bool,
    /// Whether there may be more.
    more: bool,
}

/// One of those who follow.
#[derive(Debug)]
pub(super) struct Follower {
    tail: Arc<Tail>,
    seen: watch::Receiver<Seen>,
    /// Those that this one knows of.
    troubles: u64,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.tail.followers.fetch_sub(1, Ordering::AcqRel);
        // The task notices that nobody follows.
        self.tail.seen.send_modify(|_| {});
    }
}

impl Tail {
    /// Makes the tail of a topic's lane by its index, which nobody follows yet.
    pub(crate) fn new(index: usize, lane: LaneId) -> Self {
        Self {
            index,
            lane,
            seen: watch::Sender::default(),
            ring: Mutex::default(),
            followers: AtomicUsize::new(0),
            running: Mutex::new(false),
        }
    }

    /// Follows the lane from a position on that was read already.
    pub(super) fn follow(self: &Arc<Self>, store: &Store, from: Position) -> Follower {
        self.followers.fetch_add(1, Ordering::AcqRel);
        let mut running = lock(&self.running);
        if !*running {
            *running = true;
            self.ring().reset(from);
            self.seen.send_modify(|seen| seen.end = from);
            tokio::spawn(run(Arc::clone(self), Arc::downgrade(&store.inner)));
        }
        let seen = self.seen.subscribe();
        let troubles = seen.borrow().troubles;
        Follower { tail: Arc::clone(self), seen, troubles }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        lock(&self.ring)
    }

    /// Reads what is new.
    async fn read(&self, store: &Store) -> Result<Looked> {
        let end = self.ring().end();
        if store.head(self.lane).await? == end {
            return Ok(Looked { news: false, more: false });
        }
        let page = store.page(self.lane, &Query::new().after(end), PAGE).await?;
        if page.head < end {
            // The log is not the one that was read. Whoever follows finds out how.
            self.ring().reset(page.head);
            return Err(Error::Closed);
        }
        if let Some(last) = page.events.last().map(|event| event.position) {
            let mut ring = self.ring();
            page.events.into_iter().for_each(|event| ring.push(Arc::new(event)));
            drop(ring);
            self.seen.send_modify(|seen| seen.end = last);
        }
        Ok(Looked { news: true, more: page.more })
    }
}

impl Follower {
    /// Returns up to a number of events after a position; `None` where some of them are to be read from the database.
    pub(super) fn after(&self, position: Position, most: usize) -> Option<Vec<Arc<RecordedEvent>>> {
        self.tail.ring().after(position, most)
    }

    /// Returns once the lane goes on after a position; `false` where something is wrong instead.
    pub(super) async fn wait(&mut self, position: Position) -> bool {
        let known = self.troubles;
        let seen = self.seen.wait_for(|seen| seen.end > position || seen.troubles != known).await;
        // The sender lives as long as the tail, which this follower holds.
        self.troubles = seen.map_or(known, |seen| seen.troubles);
        self.troubles == known
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Follows the lane until nobody else does, or the store is gone.
async fn run(tail: Arc<Tail>, store: Weak<Inner>) {
    let mut idle = Duration::ZERO;
    loop {
        let Some(inner) = store.upgrade() else { return };
        let store = Store { inner };
        {
            let mut running = lock(&tail.running);
            if tail.followers.load(Ordering::Acquire) == 0 {
                *running = false;
                return;
            }
        }
        // What is committed from now on is noticed, whether the read sees it or not.
        let mut news = store.inner.writers[tail.index].news();
        news.mark_unchanged();
        let pause = match tail.read(&store).await {
            Ok(read) => {
                let (least, most) = store.inner.backend.poll_interval().into_inner();
                if read.more {
                    continue;
                }
                idle = if read.news { least } else { (idle * 5 / 4).clamp(least, most) };
                idle
            }
            Err(_) => {
                tail.seen.send_modify(|seen| seen.troubles += 1);
                AFTER_AN_ERROR
            }
        };
        let backend = Arc::clone(&store.inner.backend);
        drop(store);
        tokio::select! {
            _ = news.changed() => {}
            () = backend.heard(tail.lane) => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
