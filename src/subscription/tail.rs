//! Following a lane: one reader for all subscriptions of a store.
//!
//! While anybody follows, a task reads what is new, once, keeps it in a ring, and wakes those whom it may concern: somebody
//! whose filter nothing answers costs no more than the look at the filter. It is woken at once by the commits of its own
//! store, and looks for those of others after a short time. The database is the truth: whoever is not served from the ring
//! reads pages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

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

/// The end of a lane, as those who follow it see it.
#[derive(Debug)]
pub(crate) struct Tail {
    index: usize,
    lane: LaneId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ring: Ring,
    followers: BTreeMap<u64, Interest>,
    /// The number of the next follower.
    next: u64,
    /// Whether the task runs; it ends under this lock.
    running: bool,
}

/// What one of those who follow waits for.
#[derive(Debug)]
struct Interest {
    query: Query,
    /// The first position that he has to look at: an event there may answer.
    due: Option<Position>,
    /// Whether something went wrong that he should find out for himself.
    trouble: bool,
    wake: Arc<Notify>,
}

/// One of those who follow.
#[derive(Debug)]
pub(super) struct Follower {
    tail: Arc<Tail>,
    number: u64,
    wake: Arc<Notify>,
}

/// What a look at the lane has shown.
struct Looked {
    news: bool,
    /// Whether there may be more.
    more: bool,
}

impl Drop for Follower {
    fn drop(&mut self) {
        // The task notices when nobody is left.
        self.tail.state().followers.remove(&self.number);
    }
}

impl Tail {
    /// Makes the tail of a topic's lane by its index, which nobody follows yet.
    pub(crate) fn new(index: usize, lane: LaneId) -> Self {
        Self { index, lane, state: Mutex::default() }
    }

    /// Follows the lane for the events that answer a query, from a position on that was looked at already.
    pub(super) fn follow(self: &Arc<Self>, store: &Store, query: &Query, from: Position) -> Follower {
        let mut state = self.state();
        if !state.running {
            state.running = true;
            state.ring.reset(from);
            tokio::spawn(run(Arc::clone(self), Arc::downgrade(&store.inner)));
        }
        let (number, wake) = (state.next, Arc::new(Notify::new()));
        state.next += 1;
        let due = (state.ring.end() > from).then(|| from.next());
        let interest = Interest { query: query.clone(), due, trouble: false, wake: Arc::clone(&wake) };
        state.followers.insert(number, interest);
        Follower { tail: Arc::clone(self), number, wake }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is new.
    async fn read(&self, store: &Store) -> Result<Looked> {
        let end = self.state().ring.end();
        if store.head(self.lane).await? == end {
            return Ok(Looked { news: false, more: false });
        }
        let page = store.page(self.lane, &Query::new().after(end), PAGE).await?;
        if page.head < end {
            // The log is not the one that was read. Whoever follows finds out how.
            self.state().ring.reset(page.head);
            return Err(Error::Closed);
        }
        let mut state = self.state();
        let State { ring, followers, .. } = &mut *state;
        for event in page.events {
            for interest in followers.values_mut().filter(|interest| interest.due.is_none()) {
                if interest.query.matches(&event) {
                    interest.due = Some(event.position);
                    interest.wake.notify_one();
                }
            }
            ring.push(Arc::new(event));
        }
        Ok(Looked { news: true, more: page.more })
    }

    fn tell_of_trouble(&self) {
        for interest in self.state().followers.values_mut() {
            interest.trouble = true;
            interest.wake.notify_one();
        }
    }
}

impl Follower {
    /// Returns up to a number of events after a position, which is then the last that was looked at; `None` where some of
    /// them are to be read from the database.
    pub(super) fn after(&self, position: Position, most: usize) -> Option<Vec<Arc<RecordedEvent>>> {
        let mut state = self.tail.state();
        let events = state.ring.after(position, most)?;
        let looked = events.last().map_or(position, |event| event.position);
        self.looked(&mut state, looked);
        Some(events)
    }

    /// Notes that everything up to a position was looked at.
    pub(super) fn looked_up_to(&self, position: Position) {
        self.looked(&mut self.tail.state(), position);
    }

    fn looked(&self, state: &mut State, position: Position) {
        let end = state.ring.end();
        if let Some(interest) = state.followers.get_mut(&self.number)
            && interest.due.is_none_or(|due| due <= position)
        {
            interest.due = (interest.due.is_some() && end > position).then(|| position.next());
        }
    }

    /// Returns the position up to which nothing else is to be looked at.
    pub(super) fn clear_up_to(&self) -> Position {
        let state = self.tail.state();
        let due = state.followers.get(&self.number).and_then(|interest| interest.due);
        due.map_or(state.ring.end(), |due| due.plus(-1))
    }

    /// Returns once there is something to look at; `false` where something is wrong instead.
    pub(super) async fn wait(&mut self) -> bool {
        loop {
            let woken = self.wake.notified();
            if let Some(interest) = self.tail.state().followers.get_mut(&self.number) {
                if std::mem::take(&mut interest.trouble) {
                    return false;
                }
                if interest.due.is_some() {
                    return true;
                }
            }
            woken.await;
        }
    }
}

/// Follows the lane until nobody else does, or the store is gone.
async fn run(tail: Arc<Tail>, store: Weak<Inner>) {
    let mut idle = Duration::ZERO;
    loop {
        let Some(inner) = store.upgrade() else { return };
        let store = Store { inner };
        {
            let mut state = tail.state();
            if state.followers.is_empty() {
                state.running = false;
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
                tail.tell_of_trouble();
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
