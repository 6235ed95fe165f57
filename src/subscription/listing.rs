//! What is known of the subscriptions that have a name.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::Instant;

use super::durable::rows;
use crate::error::{Error, Result};
use crate::json::Json;
use crate::position::{LaneId, Position};
use crate::sql::subscriptions::{self, SubscriptionRow};
use crate::store::Store;

/// What is known of a subscription by name.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SubscriptionInfo {
    /// Its name.
    pub name: String,
    /// Where it stands in each lane, in the order of their partitions.
    pub lanes: Vec<LaneProgress>,
    /// How many positions it is behind, in all lanes together; its filter may pass over some of them.
    pub lag: i64,
    /// Its filter; `None` where it reads all events.
    pub filter: Option<Json>,
    /// Who runs it; `None` where nobody does.
    pub lease_owner: Option<String>,
    /// Until when, unless renewed.
    pub lease_until: Option<DateTime<Utc>>,
    /// Whether the lease holds by the database's clock.
    pub is_running: bool,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When its checkpoint was last saved.
    pub updated_at: DateTime<Utc>,
    /// What is noted about it.
    pub metadata: Option<Json>,
}

/// Where a subscription stands in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LaneProgress {
    /// The lane.
    pub lane: LaneId,
    /// The last position that was dealt with.
    pub position: Position,
    /// The lane's last position.
    pub head: Position,
}

impl SubscriptionInfo {
    fn new(row: SubscriptionRow) -> Self {
        let is_running = row.lease_until.is_some_and(|until| until >= row.now);
        Self {
            name: row.name,
            lanes: Vec::new(),
            lag: 0,
            filter: row.filter,
            lease_owner: row.lease_owner,
            lease_until: row.lease_until,
            is_running,
            created_at: row.created_at,
            updated_at: row.updated_at,
            metadata: row.metadata,
        }
    }
}

impl Store {
    /// Lists the topic's subscriptions that have a name, in the byte order of their names.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the backend knows no SQL, and what it answers.
    pub async fn subscriptions(&self) -> Result<Vec<SubscriptionInfo>> {
        // The heads come last, so that no subscription is ahead of them.
        let rows: Vec<SubscriptionRow> =
            self.fetch(subscriptions::list(self.dialect()?, &self.topic().name, None)).await?;
        let heads = self.heads().await?;
        let mut found: Vec<SubscriptionInfo> = Vec::new();
        for row in rows {
            let (lane, position, updated_at) = (row.lane, row.position, row.updated_at);
            if found.last().is_none_or(|last| last.name != row.name) {
                found.push(SubscriptionInfo::new(row));
            }
            let head = heads.iter().find(|(known, _)| *known == lane).map_or(position, |(_, head)| *head);
            if let Some(info) = found.last_mut() {
                info.lanes.push(LaneProgress { lane, position, head });
                info.lag += (head.get() - position.get()).max(0);
                info.updated_at = info.updated_at.max(updated_at);
            }
        }
        Ok(found)
    }

    /// Deletes a subscription that nobody runs, and returns whether there was one.
    ///
    /// # Errors
    /// [`Error::LeaseHeld`] where a process runs it, and what the backend answers.
    pub async fn delete_subscription(&self, name: &str) -> Result<bool> {
        let rows = rows(self, name).await?;
        let mut transaction = self.begin().await?;
        let deleted = transaction.write(subscriptions::delete(self.dialect()?, &self.topic().name, name)).await?;
        if deleted < rows.len() as u64
            && let Some((owner, until)) = rows.into_iter().find_map(|row| Some((row.lease_owner?, row.lease_until?)))
        {
            return Err(Error::LeaseHeld { name: name.to_owned(), owner, until });
        }
        transaction.commit().await?;
        Ok(deleted > 0)
    }

    /// Waits until a subscription has dealt with an event, so that one reads what one wrote: the lane and the position are
    /// those of [`Appended::end`](crate::Appended::end). Cancel-safe.
    ///
    /// # Errors
    /// [`Error::SubscriptionNotFound`], [`Error::Deadline`] where it takes longer than `timeout`, and what the backend
    /// answers.
    pub async fn wait_for(&self, name: &str, end: (LaneId, Position), timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let mut progress = self.inner.progress.subscribe();
        loop {
            progress.mark_unchanged();
            let rows = rows(self, name).await?;
            let row = rows.into_iter().find(|row| row.lane == end.0);
            let row = row.ok_or_else(|| Error::SubscriptionNotFound { name: name.to_owned() })?;
            if row.position >= end.1 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let milliseconds = timeout.as_millis().try_into().unwrap_or(u64::MAX);
                return Err(Error::Deadline { operation: "waiting for a subscription", milliseconds });
            }
            tokio::select! {
                _ = progress.changed() => {}
                () = tokio::time::sleep(*self.inner.backend.poll_interval().start()) => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }
}
