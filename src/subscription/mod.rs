//! Subscriptions: reading on, from anywhere to the end of the log, and then what comes.
//!
//! A [`Subscription`] reads pages until it has caught up with a lane, and is then served by the lane's [`Tail`](tail::Tail),
//! which all subscriptions of a store share. Whoever is too slow for that reads pages again. Where it stands is a number
//! in each lane, so that there is no seam between the two ways: an event is returned if it is the next one that matches.

mod checkpoint;
#[cfg(feature = "_sql")]
pub(crate) mod durable;
#[cfg(feature = "_sql")]
mod filter;
#[cfg(feature = "_sql")]
mod group;
#[cfg(feature = "_sql")]
mod handlers;
#[cfg(feature = "_sql")]
pub(crate) mod lease;
#[cfg(feature = "_sql")]
mod listing;
mod ring;
#[cfg(feature = "_sql")]
pub(crate) mod rows;
pub(crate) mod tail;

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::future::select_all;
use uuid::Uuid;

pub use checkpoint::Checkpoint;
pub(crate) use checkpoint::Mark;
#[cfg(feature = "_sql")]
pub use durable::{Durable, DurableSubscription};
#[cfg(feature = "_sql")]
pub use group::{DeadLetter, Delivery, Group, Member};
#[cfg(feature = "_sql")]
pub use handlers::Handlers;
#[cfg(feature = "_sql")]
pub use listing::{GroupInfo, LaneProgress, MemberInfo, SubscriptionInfo};
use tail::Follower;

use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::position::{LaneId, Position, Version};
use crate::read::{Direction, Query};
use crate::store::Store;

/// Events that are read or taken at a time.
const PAGE: usize = 500;

/// Where a subscription begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At the first event.
    Beginning,
    /// After a position, exclusive; for topics of one lane.
    After(Position),
    /// At the first event that was stored at or after a time.
    At(DateTime<Utc>),
    /// Where a reader stood, see [`Subscription::checkpoint`].
    Checkpoint(Checkpoint),
    /// After the last event that is there when the subscription is made.
    Now,
}

/// A reader that goes on: every event that answers a query, in the order of its lane, each once, and then those that
/// come. Lanes take turns.
///
/// Nothing is skipped, whatever writes at the same time: events come in the order in which they were committed, and each
/// page is checked to follow the last one. Memory is bounded; a slow reader is served from the database.
#[derive(Debug)]
pub struct Subscription {
    store: Store,
    query: Query,
    cursors: Vec<Cursor>,
    /// The marks of the lanes in which the query can't have events.
    marks: Vec<Mark>,
    /// The cursor that was served last.
    turn: usize,
}

/// Where a subscription stands in one lane.
#[derive(Debug)]
struct Cursor {
    /// The lane's partition.
    index: usize,
    lane: LaneId,
    /// The last position that was dealt with, and its event's id where that is known.
    position: Position,
    event_id: Option<Uuid>,
    /// The position and id of the last event that was returned.
    last: Option<(Position, Uuid)>,
    /// Events that were read and not yet returned.
    ready: VecDeque<Arc<RecordedEvent>>,
    /// How far was read: nothing else matches up to here.
    scanned: Position,
    follower: Option<Follower>,
    /// Whether the database is to be asked before the lane's end is believed to be reached.
    unsure: bool,
}

impl Store {
    /// Subscribes to the events that answer a query, from somewhere on.
    ///
    /// The query's filters count; one of a stream also shows what was hidden by deleting it, as the log does.
    ///
    /// ```
    /// # use annals::{Expected, NewEvent, Query, Start, Store, Stream};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> annals::Result<()> {
    /// # let store = Store::connect("sqlite::memory:?migrate=auto").await?;
    /// let mut placed = store.subscribe(Start::Beginning, Query::new().event_types(["OrderPlaced"])?).await?;
    /// let event = NewEvent::json("OrderPlaced", &serde_json::json!({"total": 12}))?;
    /// store.append(&Stream::new("order", "order-1")?, Expected::NoStream, [event]).await?;
    /// assert_eq!(placed.next().await?.aggregate_id, "order-1");
    /// let checkpoint = placed.checkpoint().await?; // to go on from here another time
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] where the query names an order, a limit or an end, or the start does not fit the topic;
    /// [`Error::LogDiverged`] where the log is not the one that the checkpoint is of; and what the backend answers.
    pub async fn subscribe(&self, start: Start, mut query: Query) -> Result<Subscription> {
        check(&query)?;
        let marks = self.marks(start, &mut query).await?;
        Ok(self.subscribe_after(marks, query))
    }

    /// Subscribes to the events after a mark in each lane.
    pub(crate) fn subscribe_after(&self, marks: Vec<Mark>, mut query: Query) -> Subscription {
        query.include_deleted = true;
        let lanes = &self.inner.topic.lanes;
        let only = query.stream.as_ref().map(|range| self.lane(&range.aggregate_id));
        let cursor = |(index, mark): (usize, &Mark)| Cursor {
            index,
            lane: lanes[index],
            position: mark.position,
            event_id: (mark.position > Position::ZERO && !mark.event_id.is_nil()).then_some(mark.event_id),
            last: None,
            ready: VecDeque::new(),
            scanned: mark.position,
            follower: None,
            unsure: true,
        };
        let cursors = marks.iter().enumerate().map(cursor).filter(|cursor| only.is_none_or(|lane| lane == cursor.lane));
        Subscription { store: self.clone(), query, cursors: cursors.collect(), marks, turn: 0 }
    }

    /// Finds where a subscription begins in each lane. A time that is still to come stays in the query.
    async fn marks(&self, start: Start, query: &mut Query) -> Result<Vec<Mark>> {
        let lanes = &self.inner.topic.lanes;
        let mut marks = vec![Mark::default(); lanes.len()];
        match start {
            Start::Beginning => {}
            Start::After(position) if lanes.len() == 1 => marks[0].position = position.max(Position::ZERO),
            Start::After(_) => {
                let reason =
                    format!("the topic has {} lanes, each with positions of its own: name a checkpoint", lanes.len());
                return Err(Error::invalid("start", reason));
            }
            Start::At(time) => {
                for (mark, lane) in marks.iter_mut().zip(lanes) {
                    let page = self.page(*lane, &Query::new().between(Some(time), None), 1).await?;
                    match page.events.first() {
                        Some(event) => mark.position = event.position.plus(-1),
                        None => {
                            mark.position = page.head;
                            query.from = Some(time);
                        }
                    }
                }
            }
            Start::Now => {
                for (mark, lane) in marks.iter_mut().zip(lanes) {
                    mark.position = self.head(*lane).await?;
                }
            }
            Start::Checkpoint(checkpoint) => {
                self.verify(&checkpoint).await?;
                marks = checkpoint.marks;
            }
        }
        Ok(marks)
    }

    /// Checks that the log is the one that a checkpoint is of.
    ///
    /// # Errors
    /// [`Error::LogDiverged`] where it is not, [`Error::Invalid`] where the topic has another number of lanes.
    async fn verify(&self, checkpoint: &Checkpoint) -> Result<()> {
        let lanes = &self.inner.topic.lanes;
        // The incarnation may have changed since this store was opened.
        let topics = self.deadline("list topics", self.inner.backend.topics()).await?;
        let topic = topics.into_iter().find(|topic| topic.name == self.inner.topic.name);
        if topic.is_none_or(|topic| topic.incarnation != checkpoint.incarnation) {
            return Err(Error::LogDiverged { lane: lanes[0].get(), position: Position::ZERO });
        }
        if checkpoint.marks.len() != lanes.len() {
            let reason = format!("it is of {} lanes, and the topic has {}", checkpoint.marks.len(), lanes.len());
            return Err(Error::invalid("checkpoint", reason));
        }
        self.verify_marks(&checkpoint.marks).await
    }

    /// Checks that the log has the events that a reader stood at.
    pub(crate) async fn verify_marks(&self, marks: &[Mark]) -> Result<()> {
        for (mark, lane) in marks.iter().zip(&self.inner.topic.lanes).filter(|(mark, _)| mark.position > Position::ZERO)
        {
            match self.event_id_at(*lane, mark.position).await? {
                Some(event_id) if event_id == mark.event_id => {}
                Some(_) => return Err(Error::LogDiverged { lane: lane.get(), position: mark.position }),
                None => return Err(self.beyond(*lane, mark.position).await?),
            }
        }
        Ok(())
    }

    /// Says what it means that a lane does not reach to where a reader stands.
    async fn beyond(&self, lane: LaneId, position: Position) -> Result<Error> {
        let head = self.head(lane).await?;
        let replica = self.deadline("look for the primary", self.inner.backend.is_replica()).await?;
        let lane = lane.get();
        Ok(if replica && head < position {
            Error::Behind { lane, position, head }
        } else {
            Error::LogDiverged { lane, position }
        })
    }

    async fn event_id_at(&self, lane: LaneId, position: Position) -> Result<Option<Uuid>> {
        let query = Query::new().after(position.plus(-1)).until(position);
        Ok(self.page(lane, &query, 1).await?.events.first().map(|event| event.event_id))
    }
}

impl Subscription {
    /// Returns the next event, waiting until there is one.
    ///
    /// After an error the subscription stands where it stood: the next call tries again. Cancel-safe: no event is lost
    /// where the future is dropped.
    ///
    /// # Errors
    /// [`Error::Gap`] where the log does not continue, [`Error::LogDiverged`] where it ends before what was read already,
    /// and what the backend answers.
    pub async fn next(&mut self) -> Result<Arc<RecordedEvent>> {
        loop {
            if let Some(event) = self.advance().await? {
                return Ok(event);
            }
            let (store, query) = (&self.store, &self.query);
            let waiting = self.cursors.iter_mut().map(|cursor| Box::pin(cursor.wait(store, query)));
            select_all(waiting).await;
        }
    }

    /// Returns the next event of those that are there; `None` where the subscription has caught up with every lane.
    /// Cancel-safe.
    ///
    /// # Errors
    /// As [`Subscription::next`].
    pub async fn try_next(&mut self) -> Result<Option<Arc<RecordedEvent>>> {
        for cursor in &mut self.cursors {
            cursor.unsure = true;
        }
        self.advance().await
    }

    /// Returns the next event of those that were read already, without a pause.
    #[cfg(feature = "_sql")]
    fn next_ready(&mut self) -> Option<Arc<RecordedEvent>> {
        let turn = self.turn % self.cursors.len().max(1);
        let cursor = self.cursors.get_mut(turn)?;
        cursor.take()
    }

    pub(crate) async fn advance(&mut self) -> Result<Option<Arc<RecordedEvent>>> {
        for step in 0..self.cursors.len() {
            let index = (self.turn + step) % self.cursors.len();
            let cursor = &mut self.cursors[index];
            if cursor.ready.is_empty() {
                cursor.fill(&self.store, &self.query).await?;
            }
            if let Some(event) = cursor.take() {
                self.turn = if cursor.ready.is_empty() { index + 1 } else { index };
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Returns the position in each lane up to which all was returned or skipped.
    #[cfg(feature = "_sql")]
    pub(crate) fn positions(&mut self) -> Vec<Position> {
        let mut positions: Vec<Position> = self.marks.iter().map(|mark| mark.position).collect();
        for cursor in &mut self.cursors {
            cursor.settle();
            positions[cursor.index] = cursor.position;
        }
        positions
    }

    /// Returns where the subscription stands: after every event that was returned, and what was skipped after it because
    /// it does not answer the query. Cancel-safe.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn checkpoint(&mut self) -> Result<Checkpoint> {
        for cursor in &mut self.cursors {
            cursor.settle();
            if cursor.event_id.is_none() && cursor.position > Position::ZERO {
                cursor.event_id = self.store.event_id_at(cursor.lane, cursor.position).await?;
            }
            let event_id = cursor.event_id.unwrap_or_default();
            self.marks[cursor.index] = Mark { position: cursor.position, event_id };
        }
        for (mark, lane) in self.marks.iter_mut().zip(&self.store.inner.topic.lanes) {
            if mark.position > Position::ZERO && mark.event_id.is_nil() {
                mark.event_id = self.store.event_id_at(*lane, mark.position).await?.unwrap_or_default();
            }
        }
        Ok(Checkpoint { incarnation: self.store.inner.topic.incarnation, marks: self.marks.clone() })
    }
}

impl Cursor {
    /// Returns the next event that was read.
    fn take(&mut self) -> Option<Arc<RecordedEvent>> {
        let event = self.ready.pop_front()?;
        (self.position, self.event_id) = (event.position, Some(event.event_id));
        self.last = Some((event.position, event.event_id));
        Some(event)
    }

    /// Returns the last event that was returned, where nothing after it was looked at.
    fn last_scanned(&self) -> Option<(Position, Uuid)> {
        self.last.filter(|(position, _)| *position == self.scanned)
    }

    /// Reads on, until something is ready or the lane's end is reached.
    async fn fill(&mut self, store: &Store, query: &Query) -> Result<()> {
        if self.follower.as_ref().is_some_and(Follower::is_diverged) {
            return Err(Error::LogDiverged { lane: self.lane.get(), position: self.position });
        }
        self.settle();
        while self.ready.is_empty() {
            if let Some(follower) = self.follower.as_ref().filter(|_| query.json.is_empty())
                && let Some(events) = follower.after(self.scanned, PAGE)
            {
                if let Some(last) = events.last().map(|event| event.position) {
                    self.scanned = last;
                    self.ready.extend(events.into_iter().filter(|event| query.matches(event)));
                    self.pass();
                    continue;
                }
                if !self.unsure {
                    return Ok(());
                }
            }
            // The last event is read again: it shows whether the log is still the one that was read.
            let last = self.last_scanned();
            let from = if last.is_some() { self.scanned.plus(-1) } else { self.scanned };
            let mut page = store.page(self.lane, &query.clone().after(from), PAGE).await?;
            if page.head < self.scanned {
                return Err(store.beyond(self.lane, self.scanned).await?);
            }
            if !page.goes_on_after(last) {
                return Err(Error::LogDiverged { lane: self.lane.get(), position: self.scanned });
            }
            page.events.drain(..usize::from(last.is_some()));
            self.scanned = page.scanned;
            if let Some(follower) = &self.follower {
                follower.looked_up_to(self.scanned);
            }
            self.ready.extend(page.events.into_iter().map(Arc::new));
            self.pass();
            if !page.more {
                self.unsure = false;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Deals with what came since and is not to be looked at, once all that was read is returned.
    fn settle(&mut self) {
        let follower = self.follower.as_ref().filter(|follower| self.ready.is_empty() && !follower.is_diverged());
        if let Some(follower) = follower {
            self.scanned = self.scanned.max(follower.clear_up_to());
        }
        self.pass();
    }

    /// Deals with what was skipped, once all that was read is returned.
    fn pass(&mut self) {
        if self.ready.is_empty() && self.scanned > self.position {
            (self.position, self.event_id) = (self.scanned, None);
        }
    }

    /// Returns once the lane goes on, or something is wrong, which reading tells.
    async fn wait(&mut self, store: &Store, query: &Query) {
        let tail = &store.inner.tails[self.index];
        let from = (self.scanned, self.last_scanned().map(|(_, event_id)| event_id));
        let follower = self.follower.get_or_insert_with(|| tail.follow(store, query, from));
        self.unsure |= !follower.wait().await;
    }
}

/// Checks that a query can be followed.
pub(crate) fn check(query: &Query) -> Result<()> {
    let reason = if query.direction == Direction::Backward {
        "it reads backward"
    } else if query.after.is_some() {
        "it begins after a position, which the start says"
    } else if query.from.is_some() {
        "it begins at a time, which the start says"
    } else if query.until.is_some() || query.to.is_some() || query.limit.is_some() {
        "it has an end"
    } else if query.stream.as_ref().is_some_and(|range| range.to != Version::MAX) {
        "it ends at a version"
    } else {
        return Ok(());
    };
    Err(Error::invalid("query of a subscription", reason))
}
