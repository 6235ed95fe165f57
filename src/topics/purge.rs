//! Removing a topic's log for good, and what forbids it.

use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use super::events::Command;
use super::state::Inner;
use super::{Purged, TopicConfig, Topics};
use crate::copy::{self, mark};
use crate::error::{Error, Result};
use crate::hash::hex;
use crate::name;
use crate::position::{LaneId, Version};
use crate::sql::holds::{self, FOR_EVER, Hold, HoldRow, PURGE};
use crate::sql::rows::HeadRow;
use crate::sql::{Dialect, Statement, purge};
use crate::store::Store;
use crate::transaction::Transaction;

/// For how long a topic that is being purged takes no events.
const LEASE: Duration = Duration::from_mins(10);

/// How often the lease is prolonged while the log is read.
const RENEWAL: Duration = Duration::from_mins(2);

/// Why it takes none.
const PURGING: &str = "nowhere: it is being purged";

/// What forbids purging a topic: a legal hold, until somebody releases it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicHold {
    /// Which hold it is.
    pub name: String,
    /// Why it is there.
    pub reason: String,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

impl Topics {
    /// Removes the log of a deleted topic for good, with all that belongs to it: events, streams, commands, snapshots,
    /// subscriptions. There is no way back but the export: `exported` is the hash of the log that its manifest shows, and the
    /// log has to have it still. The purge is recorded in the configuration, with that hash and the number of events.
    ///
    /// Where it is cut off after that, calling it again completes it.
    ///
    /// # Errors
    /// [`Error::Kept`] where the topic is not deleted, has no retention or was written to within its days, or has a legal
    /// hold, and where the log is not the one that was exported; [`Error::Conflict`] where the configuration is at another
    /// version, [`Error::UnknownTopic`], and what the backends answer. Nothing is removed then.
    pub async fn purge(&self, name: &str, expected: Version, exported: &[u8; 32]) -> Result<Purged> {
        let ready = self.inner.ready()?;
        self.inner.catch_up(&ready).await?;
        let kept = |reason: String| Error::Kept { topic: name.to_owned(), reason };
        if ready.read().entry(name).is_ok() {
            return Err(kept("it is in use: delete it first".to_owned()));
        }
        let config = ready.read().config(name)?;
        let days = config
            .retention_days()
            .ok_or_else(|| kept("it is kept for ever: give it a retention in days, before it is deleted".to_owned()))?;
        let store = self.inner.open_with(&config, |url| url.with_statement_timeout(purge::LIMIT)).await?;
        let mut until = freeze(&store).await?;
        let purged = async {
            check_kept(&store, name, days).await?;
            let mut reading = std::pin::pin!(copy::log_hash(&store));
            let (hash, events) = loop {
                tokio::select! {
                    log = &mut reading => break log?,
                    () = tokio::time::sleep(RENEWAL) => until = prolong(&store, name, until).await?,
                }
            };
            if hash != *exported {
                let reason = format!("its log has the hash {}, not that of the export: export it again", hex(&hash));
                return Err(kept(reason));
            }
            // What is recorded is to be carried out.
            until = prolong(&store, name, until).await?;
            let purged = Purged { events, hash };
            self.change(&ready, name, Command::Purge(purged, expected)).await?;
            if ready.read().entry(name).is_ok() {
                return Err(kept("it was created again meanwhile, and everything is there still".to_owned()));
            }
            remove(&store, name, events, until).await?;
            Ok(purged)
        };
        let purged = purged.await;
        if purged.is_err() {
            mark::end_lease(&store, until).await;
        }
        store.close().await;
        purged
    }

    /// Forbids purging a topic, deleted or not, until [`Topics::release`] is called with the same name. Setting a hold that is
    /// there gives it the new reason.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the name is none, [`Error::UnknownTopic`], and what the backend answers.
    pub async fn hold(&self, topic: &str, hold: &str, reason: &str) -> Result<()> {
        let name = name::check("hold", hold)?;
        if reason.len() > 2_000 {
            return Err(Error::Limit { what: "reason in bytes", limit: 2_000, actual: reason.len() as u64 });
        }
        let hold = Hold { kind: PURGE, name: &name };
        self.each_lane(topic, |dialect, lane| {
            vec![holds::end(dialect, lane, hold), holds::begin(dialect, lane, hold, FOR_EVER, reason)]
        })
        .await
        .map(drop)
    }

    /// Ends a hold, and returns whether it was there.
    ///
    /// # Errors
    /// As [`Topics::hold`].
    pub async fn release(&self, topic: &str, hold: &str) -> Result<bool> {
        let hold = Hold { kind: PURGE, name: hold };
        Ok(self.each_lane(topic, |dialect, lane| vec![holds::end(dialect, lane, hold)]).await? > 0)
    }

    /// Returns what forbids purging a topic, by name.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], and what the backend answers.
    pub async fn holds(&self, topic: &str) -> Result<Vec<TopicHold>> {
        let store = self.inner.open_any(topic).await?;
        let holds = legal_holds(&store).await;
        store.close().await;
        holds
    }

    /// Runs writing statements for each lane of a topic, under the locks of the lanes, and returns how many rows they changed.
    async fn each_lane(&self, topic: &str, statements: impl Fn(Dialect, LaneId) -> Vec<Statement>) -> Result<u64> {
        let start = Instant::now();
        loop {
            let store = self.inner.open_any(topic).await?;
            let done = unless_it_moves(&store, &statements).await;
            let limit = store.timeout();
            store.close().await;
            match done {
                // While a topic moves, it is not known where it will be; then the configuration says so.
                Err(Error::Held { .. } | Error::Moved { .. }) if start.elapsed() < limit => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                done => return done,
            }
        }
    }
}

impl Inner {
    /// Opens a topic, deleted or not.
    async fn open_any(&self, topic: &str) -> Result<Store> {
        let ready = self.ready()?;
        // What others have moved is not to be held at its old place.
        self.catch_up(&ready).await?;
        let config: TopicConfig = ready.read().config(topic)?;
        self.open(&config).await
    }
}

/// Runs writing statements for each lane of a topic, under the locks of the lanes, unless the topic is being moved or was moved;
/// returns how many rows they changed.
async fn unless_it_moves(store: &Store, statements: &impl Fn(Dialect, LaneId) -> Vec<Statement>) -> Result<u64> {
    let mut transaction = store.begin().await?;
    let (dialect, mut changed) = (transaction.dialect(), 0);
    for lane in &store.topic().lanes {
        let head = mark::locked_head(&mut transaction, *lane).await?;
        if head.held_for(PURGING).is_none() {
            head.check_hold()?;
        }
        for statement in statements(dialect, *lane) {
            changed += transaction.write(statement).await?;
        }
    }
    transaction.commit().await?;
    Ok(changed)
}

/// Has a topic take no events for a time, and returns until when. A purge that was cut off goes on.
async fn freeze(store: &Store) -> Result<DateTime<Utc>> {
    let ends = store.ends().await?;
    if let Some(until) = ends.iter().find_map(|end| end.held_for(PURGING)) {
        mark::end_lease(store, until).await;
    }
    mark::hold(store, LEASE, PURGING).await
}

async fn legal_holds(store: &Store) -> Result<Vec<TopicHold>> {
    let rows: Vec<HoldRow> = store.fetch(holds::of(store.dialect()?, store.topic().lanes[0], PURGE)).await?;
    Ok(rows.into_iter().map(|HoldRow { name, reason, created_at }| TopicHold { name, reason, created_at }).collect())
}

/// Checks that neither a hold nor the age of its events keeps a topic.
async fn check_kept(store: &Store, topic: &str, days: u32) -> Result<()> {
    let kept = |reason: String| Err(Error::Kept { topic: topic.to_owned(), reason });
    if let Some(TopicHold { name, reason, .. }) = legal_holds(store).await?.into_iter().next() {
        return kept(format!("hold {name:?} forbids it ({reason}): release that first"));
    }
    let ends = store.ends().await?;
    let last = ends.iter().filter_map(|end| end.last_time).max();
    let free = last.map(|last| last.checked_add_signed(TimeDelta::days(days.into())).unwrap_or(FOR_EVER));
    match free.filter(|free| ends.iter().any(|end| *free > end.clock)) {
        None => Ok(()),
        Some(free) => kept(format!("its last event is kept until {free}, for {days} days")),
    }
}

/// Locks a lane that takes no events until a time, where nothing has come since then that keeps it, and returns its head.
async fn locked(transaction: &mut Transaction, topic: &str, lane: LaneId, until: DateTime<Utc>) -> Result<HeadRow> {
    let kept = |reason: String| Err(Error::Kept { topic: topic.to_owned(), reason });
    let head = mark::locked_head(transaction, lane).await?;
    // Where the lease is over, what is no event may have come, too.
    if head.held_for(PURGING) != Some(until) {
        let reason = "it may have been written to while it was purged, and everything is there still: export it again";
        return kept(reason.to_owned());
    }
    let holds: Vec<HoldRow> = transaction.fetch(holds::of(transaction.dialect(), lane, PURGE)).await?;
    match holds.first() {
        Some(hold) => kept(format!("hold {:?} came while it was purged, and everything is there still", hold.name)),
        None => Ok(head),
    }
}

/// Has a topic that is being purged take no events for longer, and returns until when.
async fn prolong(store: &Store, topic: &str, until: DateTime<Utc>) -> Result<DateTime<Utc>> {
    let mut transaction = store.begin().await?;
    let mut later = None;
    for lane in &store.topic().lanes {
        let head = locked(&mut transaction, topic, *lane, until).await?;
        let later = *later.get_or_insert((head.clock + LEASE).trunc_subsecs(6));
        mark::set(&mut transaction, *lane, later, PURGING).await?;
    }
    transaction.commit().await?;
    later.ok_or(Error::Closed)
}

/// Removes everything, unless a hold or an event came meanwhile.
async fn remove(store: &Store, topic: &str, events: u64, until: DateTime<Utc>) -> Result<()> {
    let mut transaction = store.begin().await?;
    let (dialect, mut heads) = (transaction.dialect(), Vec::new());
    for lane in &store.topic().lanes {
        heads.push((*lane, locked(&mut transaction, topic, *lane, until).await?.head));
    }
    if heads.iter().map(|(_, head)| head.get().unsigned_abs()).sum::<u64>() != events {
        let reason = "it was written to while it was purged, and everything is there still: export it again".to_owned();
        return Err(Error::Kept { topic: topic.to_owned(), reason });
    }
    for (lane, head) in heads {
        for statement in purge::lane(dialect, lane, head) {
            transaction.write(statement).await?;
        }
    }
    transaction.commit().await
}
