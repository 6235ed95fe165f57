//! The task of a member: it says that the member is alive, takes its turns with the others, reads events and writes
//! checkpoints. All that waits for the database is here.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::member::{Shared, Wish};
use super::share;
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::position::LaneId;
use crate::read::Query;
use crate::sql::Dialect;
use crate::sql::groups;
use crate::store::Store;
use crate::subscription::durable::Durable;
use crate::subscription::{Mark, Subscription, rows};

/// The longest pause between two looks at the other members.
const LOOK: Duration = Duration::from_secs(1);
/// The pause after an error.
const AFTER_AN_ERROR: Duration = Duration::from_millis(250);
/// The shortest pause between two looks for something to save.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
/// Events that are taken from the subscription before anything else is looked at.
const BURST: usize = 500;

/// The task of a member.
#[derive(Debug)]
pub(super) struct Driver {
    pub shared: Arc<Shared>,
    pub store: Store,
    pub dialect: Dialect,
    pub name: String,
    query: Query,
    pub lease: Duration,
    every: Duration,
    /// Who this member is in the tables; another one after it was given up for gone.
    pub member: String,
    /// Into how many shares a lane is divided.
    pub per_lane: usize,
    /// `None` until the shares are known, and where they have changed.
    pub subscription: Option<Subscription>,
    /// When this member last said that it is alive, when it looks at the others again, when it last saved.
    pub beaten: Instant,
    pub look: Instant,
    pub saved: Instant,
    /// What was heard of the other members, and when by this one's clock.
    pub heard: HashMap<String, (DateTime<Utc>, Instant)>,
}

impl Driver {
    /// Makes the task of a new member, which has joined when this returns.
    pub(super) async fn join(shared: Arc<Shared>, durable: Durable) -> Result<Self> {
        let mut query = durable.query.clone();
        query.from = rows::beginning(&durable.rows().await?);
        let now = Instant::now();
        let mut driver = Self {
            shared,
            dialect: durable.store.dialect()?,
            store: durable.store,
            name: durable.name,
            query,
            lease: durable.lease,
            every: durable.every.max(LEAST_PAUSE),
            member: String::new(),
            per_lane: 1,
            subscription: None,
            beaten: now,
            look: now,
            saved: now,
            heard: HashMap::new(),
        };
        driver.enter().await?;
        Ok(driver)
    }

    /// Becomes a member that is new to the others.
    pub(super) async fn enter(&mut self) -> Result<()> {
        let (member, sent) = (Uuid::now_v7().to_string(), Instant::now());
        let mut transaction = self.store.begin().await?;
        let join = groups::join(self.dialect, &self.name, self.first_lane(), &member, self.milliseconds());
        transaction.write(join).await?;
        transaction.commit().await?;
        self.member = member;
        self.is_sure(sent);
        Ok(())
    }

    /// Notes that the member said at a time that it is alive.
    pub(super) fn is_sure(&mut self, sent: Instant) {
        self.beaten = sent;
        self.shared.lock().sure_until = sent + self.lease;
        self.shared.app.notify_waiters();
    }

    pub(super) fn milliseconds(&self) -> i64 {
        self.lease.as_millis().try_into().unwrap_or(i64::MAX)
    }

    pub(super) fn lanes(&self) -> &[LaneId] {
        &self.store.inner.topic.lanes
    }

    pub(super) fn lane_index(&self, lane: LaneId) -> usize {
        self.lanes().iter().position(|known| *known == lane).unwrap_or_default()
    }

    /// The lane under which the members are kept.
    pub(super) fn first_lane(&self) -> LaneId {
        self.lanes()[0]
    }

    /// Works until the member leaves or the store is closed.
    pub(super) async fn run(mut self) {
        let left = loop {
            match std::mem::take(&mut self.shared.lock().wish) {
                Wish::Work => {}
                wish => break Some(wish),
            }
            match self.turn().await {
                Ok(()) => {}
                Err(Error::Closed) => break None,
                Err(error) => {
                    self.tell(error);
                    tokio::time::sleep(AFTER_AN_ERROR).await;
                }
            }
        };
        self.shared.lock().wish = Wish::Ended;
        match left {
            Some(Wish::Leave(answer)) => self.leave(answer).await,
            Some(_) => {
                if let Err(error) = self.go().await {
                    tracing::warn!(name = self.name, %error, "a member's shares were not released: they are at its end");
                }
            }
            None => {}
        }
        self.shared.lock().savers.clear();
        self.shared.app.notify_waiters();
    }

    /// Tells the caller what went wrong, unless it passes by itself.
    fn tell(&self, error: Error) {
        let report = error.report();
        let mut state = self.shared.lock();
        tracing::warn!(name = self.name, error = report, "a member of a group had to pause");
        if !error.is_retryable() {
            // Whoever waits for a save hears it first, one for each time it is tried.
            if state.savers.is_empty() {
                state.error = Some(error);
            } else {
                // Nobody may wait any more.
                let _ = state.savers.remove(0).send(Err(error));
            }
        }
        drop(state);
        self.shared.app.notify_waiters();
    }

    /// Does what is due, and then waits for something to do.
    async fn turn(&mut self) -> Result<()> {
        if Instant::now() >= self.look {
            self.balance().await?;
            self.look = Instant::now() + (self.lease / 3).min(LOOK);
        }
        if self.is_due() {
            self.write().await?;
        }
        if self.subscription.is_none() {
            self.subscribe();
        }
        if self.shared.lock().book.wake(Instant::now()) {
            self.shared.app.notify_waiters();
        }
        let wake = self.shared.lock().book.next_wake();
        let until = [Some(self.look), Some(self.saved + self.every), wake];
        let until = until.into_iter().flatten().min().unwrap_or(self.look);
        let has_room = self.shared.lock().book.has_room();
        let subscription = self.subscription.as_mut().filter(|_| has_room);
        let next = async {
            match subscription {
                Some(subscription) => subscription.next().await,
                None => pending().await,
            }
        };
        let event = tokio::select! {
            biased;
            () = self.shared.driver.notified() => return Ok(()),
            event = next => event,
            () = tokio::time::sleep_until(until.into()) => return Ok(()),
        };
        match event {
            Ok(event) => self.take(event).await,
            Err(error) => {
                self.subscription = None;
                Err(error)
            }
        }
    }

    /// Takes an event, and those that are there with it.
    async fn take(&mut self, event: Arc<RecordedEvent>) -> Result<()> {
        let mut next = Some(event);
        for _ in 0..BURST {
            let Some(event) = next else { break };
            let key = (self.lane_index(event.lane), share::of_stream(&event.aggregate_id, self.per_lane));
            let has_room = {
                let mut state = self.shared.lock();
                state.book.offer(key, event);
                state.book.has_room()
            };
            next = match &mut self.subscription {
                Some(subscription) if has_room => subscription.next_ready(),
                _ => None,
            };
        }
        // What was taken from the subscription is offered in any case.
        if let Some(event) = next {
            let key = (self.lane_index(event.lane), share::of_stream(&event.aggregate_id, self.per_lane));
            self.shared.lock().book.offer(key, event);
        }
        self.shared.app.notify_waiters();
        tokio::task::coop::consume_budget().await;
        Ok(())
    }

    fn is_due(&self) -> bool {
        let state = self.shared.lock();
        state.book.urgent
            || !state.savers.is_empty()
            || state.book.finished >= self.shared.save_after
            || self.saved.elapsed() >= self.every
    }

    /// Subscribes anew, after what was looked at of the shares that are held.
    fn subscribe(&mut self) {
        let held = self.shared.lock().book.marks();
        if held.is_empty() {
            return;
        }
        let mark = |index: usize| Mark { position: held.get(&index).copied().unwrap_or_default(), ..Mark::default() };
        let marks = (0..self.lanes().len()).map(mark).collect();
        let mut subscription = self.store.subscribe_after(marks, self.query.clone());
        subscription.cursors.retain(|cursor| held.contains_key(&cursor.index));
        self.subscription = (!subscription.cursors.is_empty()).then_some(subscription);
    }

    /// Notes how far the lanes were looked at.
    pub(super) fn pass(&mut self) {
        let Some(subscription) = &mut self.subscription else { return };
        let positions = subscription.positions();
        let mut state = self.shared.lock();
        for cursor in &subscription.cursors {
            state.book.passed(cursor.index, positions[cursor.index]);
        }
    }

    async fn leave(&mut self, answer: oneshot::Sender<Result<()>>) {
        let left = async {
            self.write().await?;
            self.go().await
        };
        // Nobody may wait for the answer.
        let _ = answer.send(left.await);
    }

    /// Gives up all shares, and the place among the members.
    async fn go(&mut self) -> Result<()> {
        let mut transaction = self.store.begin().await?;
        let topic = &self.store.inner.topic.name;
        transaction.write(groups::remove(self.dialect, &self.name, self.first_lane(), &self.member, None)).await?;
        transaction.write(groups::free(self.dialect, topic, &self.name, &self.member)).await?;
        transaction.commit().await
    }
}
