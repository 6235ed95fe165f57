//! The lease of a named subscription: at most one process runs it.
//!
//! The holder renews the lease at a third of its time; whoever waits takes it over once it has ended. Two clocks could
//! lie about that, so neither is trusted alone: an end that has passed by the database's clock counts, and so does a lease
//! that was not renewed for its whole time by the clock of the one who waits, which no jump moves. What makes it safe is
//! neither, but that every checkpoint is saved under the condition that the lease is still held.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::sql::subscriptions::{self, Names, SubscriptionRow};
use crate::store::Store;

/// The shortest and the longest lease.
const LEASES: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);
/// The longest pause of one who waits for a lease.
const LOOK: Duration = Duration::from_millis(500);

/// Checks the time of a lease.
pub(crate) fn check(time: Duration) -> Result<()> {
    if LEASES.contains(&time) {
        return Ok(());
    }
    let (least, most) = (LEASES.start(), LEASES.end());
    Err(Error::invalid("lease", format!("{time:?} is not from {least:?} to {most:?}")))
}

/// A lease that is held, and renewed by a task of its own until it is dropped, which releases it.
#[derive(Debug)]
pub(crate) struct Lease {
    held: Arc<Held>,
    /// Ends the task when it is dropped.
    _keeper: oneshot::Sender<()>,
}

/// What the holder and the task that renews share.
#[derive(Debug)]
pub(crate) struct Held {
    store: Store,
    name: String,
    owner: String,
    time: Duration,
    /// Since when the lease is known to be held for its time.
    since: Mutex<Instant>,
    lost: AtomicBool,
    news: Notify,
}

impl Held {
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// Notes that somebody else holds the lease, and returns what to say.
    pub(crate) fn lose(&self) -> Error {
        self.lost.store(true, Ordering::Release);
        self.news.notify_waiters();
        Error::LeaseLost { name: self.name.clone() }
    }

    fn is_fresh(&self) -> bool {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < self.time
    }

    /// Renews the lease now.
    pub(crate) async fn renew(&self) -> Result<()> {
        let sent = Instant::now();
        let topic = &self.store.inner.topic;
        let dialect = self.store.dialect()?;
        let statement =
            subscriptions::renew_lease(dialect, &topic.name, &self.name, &self.owner, milliseconds(self.time));
        let mut transaction = self.store.begin().await?;
        if transaction.write(statement).await? < topic.lanes.len() as u64 {
            return Err(self.lose());
        }
        transaction.commit().await?;
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = sent;
        Ok(())
    }

    async fn release(&self) -> Result<()> {
        let topic = &self.store.inner.topic.name;
        let mut transaction = self.store.begin().await?;
        let statement = subscriptions::release_lease(self.store.dialect()?, topic, &self.name, &self.owner);
        transaction.write(statement).await?;
        transaction.commit().await
    }
}

fn milliseconds(time: Duration) -> i64 {
    time.as_millis().try_into().unwrap_or(i64::MAX)
}

/// Says who holds a lease that could not be taken; `None` where it was given back since.
async fn holder(store: &Store, name: &str) -> Result<Option<Error>> {
    let topic = &store.inner.topic;
    let list = subscriptions::list(store.dialect()?, &topic.name, Names::One(name));
    let rows: Vec<SubscriptionRow> = store.fetch(list).await?;
    let name = name.to_owned();
    if rows.len() < topic.lanes.len() {
        return Ok(Some(Error::SubscriptionNotFound { name }));
    }
    let holder = rows.into_iter().find_map(|row| Some((row.lease_owner?, row.lease_until?)));
    Ok(holder.map(|(owner, until)| Error::LeaseHeld { name, owner, until }))
}

/// Renews a lease until its holder is gone, and then releases it.
async fn keep(held: Arc<Held>, mut holder: oneshot::Receiver<()>) {
    while !held.lost.load(Ordering::Acquire) {
        tokio::select! {
            _ = &mut holder => {
                if let Err(error) = held.release().await {
                    tracing::warn!(name = held.name, %error, "a lease was not released: it ends by itself");
                }
                return;
            }
            () = tokio::time::sleep(held.time / 3) => {}
        }
        match held.renew().await {
            Ok(()) => {}
            Err(Error::Closed) => return,
            Err(error) => tracing::warn!(name = held.name, error = %error.report(), "a lease was not renewed"),
        }
    }
}

impl Lease {
    /// Takes the lease of a subscription whose rows exist, if nobody holds it.
    ///
    /// # Errors
    /// [`Error::LeaseHeld`].
    pub(crate) async fn take(store: &Store, name: &str, time: Duration) -> Result<Self> {
        Self::try_take(store, name, time, None).await
    }

    /// Waits until nobody else holds the lease, and takes it.
    pub(crate) async fn wait(store: &Store, name: &str, time: Duration) -> Result<Self> {
        let mut seen: Option<(String, DateTime<Utc>, Instant)> = None;
        loop {
            let stale = seen.as_ref().filter(|(_, _, since)| since.elapsed() > time);
            let stale = stale.map(|(owner, until, _)| (owner.as_str(), *until));
            match Self::try_take(store, name, time, stale).await {
                Err(Error::LeaseHeld { owner, until, .. }) => {
                    if seen.as_ref().is_none_or(|(known, end, _)| *known != owner || *end != until) {
                        seen = Some((owner, until, Instant::now()));
                    }
                }
                Err(error) if !error.is_retryable() => return Err(error),
                Err(error) => tracing::debug!(name, error = %error.report(), "a lease could not be asked for"),
                taken => return taken,
            }
            tokio::time::sleep((time / 4).min(LOOK)).await;
        }
    }

    async fn try_take(store: &Store, name: &str, time: Duration, stale: Option<(&str, DateTime<Utc>)>) -> Result<Self> {
        let owner = Uuid::now_v7().to_string();
        let (dialect, topic) = (store.dialect()?, &store.inner.topic);
        let sent = loop {
            let (sent, mut transaction) = (Instant::now(), store.begin().await?);
            let take = subscriptions::take_lease(dialect, &topic.name, name, &owner, milliseconds(time), stale);
            if transaction.write(take).await? == topic.lanes.len() as u64 {
                transaction.commit().await?;
                break sent;
            }
            drop(transaction);
            if let Some(error) = holder(store, name).await? {
                return Err(error);
            }
        };
        let held = Arc::new(Held {
            store: store.clone(),
            name: name.to_owned(),
            owner,
            time,
            since: Mutex::new(sent),
            lost: AtomicBool::new(false),
            news: Notify::new(),
        });
        let (keeper, holder) = oneshot::channel();
        tokio::spawn(keep(Arc::clone(&held), holder));
        Ok(Self { held, _keeper: keeper })
    }

    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// Makes sure that the lease is held.
    ///
    /// # Errors
    /// [`Error::LeaseLost`], and what the backend answers where that can't be found out.
    pub(crate) async fn check(&self) -> Result<()> {
        if self.held.lost.load(Ordering::Acquire) {
            return Err(self.held.lose());
        }
        if self.held.is_fresh() { Ok(()) } else { self.held.renew().await }
    }

    /// Returns once the lease is lost.
    pub(crate) async fn lost(&self) -> Error {
        loop {
            let news = self.held.news.notified();
            if self.held.lost.load(Ordering::Acquire) {
                return self.held.lose();
            }
            news.await;
        }
    }

    /// Releases the lease.
    pub(crate) async fn release(self) -> Result<()> {
        self.held.release().await
    }
}
