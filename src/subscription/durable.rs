//! Subscriptions by name: the store keeps where they stand, and one process at a time runs each.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::group::share;
use super::lease::{self, Lease};
use super::{Mark, Start, Subscription, rows};
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::name;
use crate::position::{LaneId, Position};
use crate::projection::Marker;
use crate::read::Query;
use crate::sql::groups;
use crate::sql::subscriptions::{self, SubscriptionRow};
use crate::store::Store;

/// How long a lease holds unless it is renewed.
const LEASE: Duration = Duration::from_secs(10);
/// How long a checkpoint waits until it is saved.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Acknowledged events after which a checkpoint waits no longer.
const SAVE_AFTER: usize = 500;

/// What a subscription by name is to be; see [`Store::durable`].
#[derive(Debug, Clone)]
pub struct Durable {
    pub(super) store: Store,
    pub(super) name: String,
    pub(super) query: Query,
    pub(super) start: Start,
    pub(super) lease: Duration,
    pub(super) every: Duration,
    pub(super) after: usize,
}

/// A subscription whose checkpoint the store keeps under its name: every event that answers its query, in the order of
/// its lane, at least once.
///
/// An event counts as dealt with once it is acknowledged. The checkpoint is saved some time later, and stands before the
/// first event that is not acknowledged: whoever goes on under the name gets that one, and maybe some that were.
#[derive(Debug)]
pub struct DurableSubscription {
    subscription: Subscription,
    name: String,
    lease: Lease,
    every: Duration,
    after: usize,
    lanes: Vec<Progress>,
    /// When the checkpoint was last saved, and how many events were acknowledged since.
    saved: (Instant, usize),
    /// The event that a handler has not dealt with.
    pub(super) handling: Option<Arc<RecordedEvent>>,
}

/// How far the events of a lane were dealt with.
#[derive(Debug, Default)]
struct Progress {
    /// What was returned and follows the first that is not acknowledged, in order; whether it is acknowledged.
    returned: VecDeque<(Position, bool)>,
    /// All up to here is dealt with.
    done: Position,
    saved: Position,
}

impl Progress {
    /// Notes that events were dealt with; returns how many.
    fn acknowledge(&mut self, events: impl Fn(Position) -> bool) -> usize {
        let mut count = 0;
        for (position, acknowledged) in &mut self.returned {
            if !*acknowledged && events(*position) {
                (*acknowledged, count) = (true, count + 1);
            }
        }
        while let Some((position, true)) = self.returned.front() {
            self.done = *position;
            self.returned.pop_front();
        }
        count
    }
}

impl Store {
    /// Describes a subscription by name, whose checkpoint the store keeps. Open it with [`Durable::open`].
    ///
    /// ```
    /// # use annals::{Expected, NewEvent, Query, Store, Stream};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> annals::Result<()> {
    /// # let store = Store::connect("sqlite::memory:?migrate=auto").await?;
    /// # let event = NewEvent::json("OrderPlaced", &serde_json::json!({"total": 12}))?;
    /// # store.append(&Stream::new("order", "order-1")?, Expected::NoStream, [event]).await?;
    /// let placed = Query::new().event_types(["OrderPlaced"])?;
    /// let mut invoices = store.durable("invoices").query(placed).open().await?;
    /// let event = invoices.next().await?;
    /// // … write the invoice …
    /// invoices.ack(&event).await?;
    /// invoices.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn durable(&self, name: impl Into<String>) -> Durable {
        Durable {
            store: self.clone(),
            name: name.into(),
            query: Query::new(),
            start: Start::Beginning,
            lease: LEASE,
            every: SAVE_EVERY,
            after: SAVE_AFTER,
        }
    }
}

impl Durable {
    /// Chooses the events, which a name keeps for its life. Without this: all of them.
    #[must_use]
    pub fn query(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    /// Says where a new subscription begins; one that exists goes on where it stood. Without this: at the first event.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Sets how long the lease holds unless it is renewed, from 100 ms to an hour; 10 s without this. A process that was
    /// killed is followed by another one after so long. Give all processes of one name the same.
    #[must_use]
    pub fn lease(mut self, time: Duration) -> Self {
        self.lease = time;
        self
    }

    /// Sets when a checkpoint is saved: after so many acknowledged events, or so much time after the last one; 500 and
    /// 1 s without this. With 1 or a time of zero, every acknowledgement is saved before it returns.
    #[must_use]
    pub fn save_after(mut self, events: usize, every: Duration) -> Self {
        (self.after, self.every) = (events, every);
        self
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Opens the subscription, and creates it where there is none of the name. Waits while another process holds the lease.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the name or the query can't be used, [`Error::FilterChanged`] where the name stands for
    /// another query, [`Error::LogDiverged`] where the log is not the one that the checkpoint is of,
    /// [`Error::Unsupported`] where the backend knows no SQL, and what it answers.
    pub async fn open(self) -> Result<DurableSubscription> {
        self.create(None).await?;
        let lease = Lease::wait(&self.store, &self.name, self.lease).await?;
        self.opened(lease).await
    }

    /// Opens the subscription as [`Durable::open`] does, but does not wait.
    ///
    /// # Errors
    /// [`Error::LeaseHeld`] where another process holds the lease, and as [`Durable::open`].
    pub async fn try_open(self) -> Result<DurableSubscription> {
        self.create(None).await?;
        let lease = Lease::take(&self.store, &self.name, self.lease).await?;
        self.opened(lease).await
    }

    /// Makes sure that the rows of the subscription are there, and of this query; with `shares`, those of a group.
    pub(super) async fn create(&self, shares: Option<u16>) -> Result<()> {
        name::check("subscription", self.name.as_str())?;
        super::check(&self.query)?;
        lease::check(self.lease)?;
        let mut rows = self.rows().await?;
        if rows.is_empty() {
            let created = self.insert(shares).await;
            rows = self.rows().await?;
            match created {
                Err(error) if rows.is_empty() || !error.is_conflict() => return Err(error),
                _ => {}
            }
        }
        if Marker::of(&rows).is_some() {
            let reason = format!("{:?} is a projection, whose checkpoint is saved with what it writes", self.name);
            return Err(Error::invalid("subscription", reason));
        }
        rows::check(&self.store, &self.name, &self.query, &rows)?;
        let is_group = !share::rows(&self.store, Some(&self.name)).await?.is_empty();
        if is_group != shares.is_some() {
            let kind = if is_group { "the members of a group" } else { "one process at a time, and not a group" };
            return Err(Error::invalid("subscription", format!("{:?} is run by {kind}: use a new name", self.name)));
        }
        Ok(())
    }

    async fn insert(&self, shares: Option<u16>) -> Result<()> {
        let (lanes, dialect) = (&self.store.inner.topic.lanes, self.store.dialect()?);
        let mut query = self.query.clone();
        let marks = self.store.marks(self.start.clone(), &mut query).await?;
        let mut transaction = self.store.begin().await?;
        rows::insert(&self.store, &mut transaction, &self.name, &query, &marks).await?;
        for lane in lanes {
            for share in 0..shares.map_or(0, |shares| share::per_lane(shares, lanes.len())) {
                transaction.write(groups::insert_share(dialect, &self.name, *lane, share)).await?;
            }
        }
        transaction.commit().await
    }

    pub(super) async fn rows(&self) -> Result<Vec<SubscriptionRow>> {
        rows::read(&self.store, &self.name).await
    }

    /// Goes on where the rows stand, under a lease.
    async fn opened(mut self, lease: Lease) -> Result<DurableSubscription> {
        let rows = self.rows().await?;
        let mark = |row: &SubscriptionRow| Mark { position: row.position, event_id: row.event_id.unwrap_or_default() };
        let marks: Vec<Mark> = rows.iter().map(mark).collect();
        self.store.verify_marks(&marks).await?;
        self.query.from = rows::beginning(&rows);
        let lanes =
            marks.iter().map(|mark| Progress { done: mark.position, saved: mark.position, ..Progress::default() });
        let lanes = lanes.collect();
        let subscription = self.store.subscribe_after(marks, self.query);
        let saved = (Instant::now(), 0);
        Ok(DurableSubscription {
            subscription,
            name: self.name,
            lease,
            every: self.every,
            after: self.after,
            lanes,
            saved,
            handling: None,
        })
    }
}

impl DurableSubscription {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes sure that no other process has taken over.
    ///
    /// # Errors
    /// [`Error::LeaseLost`], and what the backend answers where that can't be found out.
    pub(crate) async fn check(&self) -> Result<()> {
        self.lease.check().await
    }

    /// Returns the next event, waiting until there is one. Meanwhile the checkpoint is saved when it is time.
    ///
    /// After an error the subscription stands where it stood: the next call tries again. Cancel-safe.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] where another process has taken over, which ends this subscription; and as
    /// [`Subscription::next`].
    pub async fn next(&mut self) -> Result<Arc<RecordedEvent>> {
        loop {
            self.lease.check().await?;
            if self.is_due() {
                self.save().await?;
            }
            let event = tokio::select! {
                biased;
                event = self.subscription.next() => event?,
                error = self.lease.lost() => return Err(error),
                () = tokio::time::sleep_until((self.saved.0 + self.every).into()), if !self.every.is_zero() => {
                    self.save().await?;
                    continue;
                }
            };
            self.note(&event);
            return Ok(event);
        }
    }

    /// Returns the next event of those that are there; `None` where the subscription has caught up. Cancel-safe.
    ///
    /// # Errors
    /// As [`DurableSubscription::next`].
    pub async fn try_next(&mut self) -> Result<Option<Arc<RecordedEvent>>> {
        self.lease.check().await?;
        let event = self.subscription.try_next().await?;
        if let Some(event) = &event {
            self.note(event);
        }
        Ok(event)
    }

    fn note(&mut self, event: &RecordedEvent) {
        if let Some(index) = self.index(event.lane) {
            self.lanes[index].returned.push_back((event.position, false));
        }
    }

    fn index(&self, lane: LaneId) -> Option<usize> {
        self.subscription.store.inner.topic.lanes.iter().position(|known| *known == lane)
    }

    /// Acknowledges an event: it was dealt with. Others that were returned before it may still be in work; the checkpoint
    /// stands before the first of these.
    ///
    /// # Errors
    /// [`Error::LeaseLost`], and what the backend answers, where the checkpoint is saved now.
    pub async fn ack(&mut self, event: &RecordedEvent) -> Result<()> {
        self.acknowledge(event.lane, |position| position == event.position).await
    }

    /// Acknowledges an event, and all of its lane that were returned before it.
    ///
    /// # Errors
    /// As [`DurableSubscription::ack`].
    pub async fn ack_up_to(&mut self, event: &RecordedEvent) -> Result<()> {
        self.acknowledge(event.lane, |position| position <= event.position).await
    }

    async fn acknowledge(&mut self, lane: LaneId, events: impl Fn(Position) -> bool) -> Result<()> {
        let Some(index) = self.index(lane) else { return Ok(()) };
        self.saved.1 += self.lanes[index].acknowledge(events);
        if self.is_due() { self.save().await } else { Ok(()) }
    }

    fn is_due(&self) -> bool {
        let (at, acknowledged) = self.saved;
        acknowledged >= self.after.max(1) || (acknowledged > 0 && at.elapsed() >= self.every)
    }

    /// Saves the checkpoint now, where it has moved: before the first event that was returned and not acknowledged, or
    /// where the subscription has come to, if there is none.
    ///
    /// Cancel-safe: it is saved or not.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] where another process has taken over, and what the backend answers.
    pub async fn save(&mut self) -> Result<()> {
        for (lane, cursor) in self.lanes.iter_mut().zip(self.subscription.positions()) {
            if lane.returned.is_empty() {
                lane.done = cursor.max(lane.done);
            }
        }
        let lanes = &self.subscription.store.inner.topic.lanes;
        let moved = self.lanes.iter().zip(lanes).filter(|(lane, _)| lane.done > lane.saved);
        let moved: Vec<(LaneId, Position)> = moved.map(|(progress, lane)| (*lane, progress.done)).collect();
        if !moved.is_empty() {
            self.write(&moved).await?;
        }
        self.lanes.iter_mut().for_each(|lane| lane.saved = lane.done);
        self.subscription.store.inner.progress.send_replace(());
        self.saved = (Instant::now(), 0);
        Ok(())
    }

    async fn write(&self, moved: &[(LaneId, Position)]) -> Result<()> {
        let (store, held) = (&self.subscription.store, self.lease.held());
        let dialect = store.dialect()?;
        let mut transaction = store.begin().await?;
        for place in moved {
            let save = subscriptions::save(dialect, &self.name, held.owner(), *place);
            if transaction.write(save).await? == 0 {
                return Err(held.lose());
            }
        }
        transaction.commit().await
    }

    /// Saves the checkpoint and gives the lease back, so that another process can go on at once. Dropping the
    /// subscription gives the lease back too, but what was acknowledged since the checkpoint was saved comes again.
    ///
    /// # Errors
    /// As [`DurableSubscription::save`].
    pub async fn close(mut self) -> Result<()> {
        self.save().await?;
        self.lease.release().await
    }
}
