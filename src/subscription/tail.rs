//! Following a lane: one reader for all subscriptions of a store.
//!
//! While anybody follows, the newest events are kept in a ring, and those are woken whom they may concern: somebody whose
//! filter nothing answers costs no more than the look at the filter. What the store itself commits comes from its writer,
//! without a look at the database. What others commit is read by a task, once, when it hears of it or after a short time.
//! The database is the truth: whoever is not served from the ring reads pages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use uuid::Uuid;

use super::ring::{self, Ring};
use crate::append::Appended;
use crate::backend::Request;
use crate::backend::decide::recorded;
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::position::{LaneId, Position};
use crate::read::Query;
use crate::store::{Inner, Store};

/// Events that are read at a time.
const PAGE: usize = 1_000;
/// The part of the time for which nothing came after which it is looked for again.
const PART_OF_QUIET: u32 = 32;
/// The pause after an error, which those who follow get to see.
const AFTER_AN_ERROR: Duration = Duration::from_millis(250);

/// The end of a lane, as those who follow it see it.
#[derive(Debug)]
pub(crate) struct Tail {
    lane: LaneId,
    state: Mutex<State>,
    /// That there are events which have to be read: up to a position that the state names.
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    ring: Ring,
    followers: BTreeMap<u64, Interest>,
    /// The last position that somebody has seen, which may have to be read.
    seen: Position,
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
    /// Whether the log is no longer the one that he has read.
    diverged: bool,
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
    /// Whether there was anything new.
    found: bool,
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
    /// Makes the tail of a lane, which nobody follows yet.
    pub(crate) fn new(lane: LaneId) -> Self {
        Self { lane, state: Mutex::default(), news: Notify::new() }
    }

    pub(crate) fn lane(&self) -> LaneId {
        self.lane
    }

    /// Shows the events of requests that were committed, in the order of their positions, to those who follow.
    pub(crate) fn committed<'a>(&self, answers: impl Iterator<Item = (&'a Arc<Request>, &'a Result<Appended>)>) {
        let mut state = self.state();
        if !state.running {
            return;
        }
        for (request, outcome) in answers {
            let Ok(outcome) = outcome else { continue };
            let follows = outcome.positions.is_some_and(|(first, _)| first == state.ring.end().next());
            let events = (follows && request.bytes <= ring::BYTES).then(|| recorded(request, outcome)).flatten();
            match events {
                Some(events) => events.into_iter().for_each(|event| state.push(event)),
                None => self.wants(&mut state, outcome.position()),
            }
        }
    }

    /// Has events read up to a position that somebody has seen.
    pub(crate) fn saw(&self, position: Position) {
        self.wants(&mut self.state(), position);
    }

    fn wants(&self, state: &mut State, position: Position) {
        if state.running && position > state.ring.end() {
            state.seen = position.max(state.seen);
            self.news.notify_one();
        }
    }

    /// Returns once there is something to read that was seen.
    async fn wanted(&self) {
        loop {
            self.news.notified().await;
            // It may have been read meanwhile: reading is seeing.
            let state = self.state();
            if state.seen > state.ring.end() {
                return;
            }
        }
    }

    /// Follows the lane for the events that answer a query, from a position on that was looked at already, and at which this
    /// event stands, if it is known.
    pub(super) fn follow(
        self: &Arc<Self>,
        store: &Store,
        query: &Query,
        (from, last): (Position, Option<Uuid>),
    ) -> Follower {
        let mut state = self.state();
        if !state.running {
            state.running = true;
            state.ring.reset(from, last);
            tokio::spawn(run(Arc::clone(self), Arc::downgrade(&store.inner)));
        }
        let (number, wake) = (state.next, Arc::new(Notify::new()));
        state.next += 1;
        let due = (state.ring.end() > from).then(|| from.next());
        let interest = Interest { query: query.clone(), due, trouble: false, diverged: false, wake: Arc::clone(&wake) };
        state.followers.insert(number, interest);
        Follower { tail: Arc::clone(self), number, wake }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is new; a look at the head comes first where nobody has told that there is anything.
    async fn read(&self, store: &Store, told: bool) -> Result<Looked> {
        let end = self.state().ring.end();
        if !told && store.head(self.lane).await? == end {
            return Ok(Looked { found: false, more: false });
        }
        // The last event is read again: it shows whether the log is still the one that was read.
        let last = self.state().ring.last();
        let from = last.map_or(end, |(position, _)| position.plus(-1));
        let page = store.page(self.lane, &Query::new().after(from), PAGE).await?;
        if page.head < end {
            // The log is not the one that was read, or not as far yet. Whoever follows finds out.
            self.state().ring.reset(page.head, None);
            return Err(Error::Closed);
        }
        if !page.goes_on_after(last) {
            let mut state = self.state();
            state.ring.reset(page.head, None);
            state.followers.values_mut().for_each(|interest| interest.diverged = true);
            return Err(Error::LogDiverged { lane: self.lane.get(), position: end });
        }
        let mut state = self.state();
        let found = page.head > end;
        // The store has committed meanwhile, perhaps.
        let (more, end) = (page.more, state.ring.end());
        page.events.into_iter().filter(|event| event.position > end).for_each(|event| state.push(event));
        Ok(Looked { found, more })
    }

    fn tell_of_trouble(&self) {
        for interest in self.state().followers.values_mut() {
            interest.trouble = true;
            interest.wake.notify_one();
        }
    }
}

impl State {
    /// Keeps the event that follows the last one, and wakes those whom it may concern.
    fn push(&mut self, event: RecordedEvent) {
        for interest in self.followers.values_mut().filter(|interest| interest.due.is_none()) {
            if interest.query.matches(&event) {
                interest.due = Some(event.position);
                interest.wake.notify_one();
            }
        }
        self.ring.push(Arc::new(event));
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

    /// Returns whether the log is no longer the one that was read.
    pub(super) fn is_diverged(&self) -> bool {
        self.tail.state().followers.get(&self.number).is_some_and(|interest| interest.diverged)
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
    let (mut told, mut last_news) = (false, Instant::now());
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
        let pause = match tail.read(&store, told).await {
            Ok(read) => {
                if read.found {
                    last_news = Instant::now();
                }
                if read.more {
                    continue;
                }
                let (least, most) = store.inner.backend.poll_interval().into_inner();
                (last_news.elapsed() / PART_OF_QUIET).clamp(least, most)
            }
            Err(_) => {
                tail.tell_of_trouble();
                drop(store);
                // Whatever is seen meanwhile: what failed may fail for as long as it stands there.
                tokio::time::sleep(AFTER_AN_ERROR).await;
                told = true;
                continue;
            }
        };
        let backend = Arc::clone(&store.inner.backend);
        drop(store);
        told = tokio::select! {
            () = tail.wanted() => true,
            () = backend.heard(tail.lane) => true,
            () = tokio::time::sleep(pause) => false,
        };
    }
}
