//! What is known of the subscriptions that have a name.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::Instant;

use super::group::share;
use super::rows;
use crate::error::{Error, Result};
use crate::json::Json;
use crate::position::{LaneId, Position};
use crate::sql::dead_letters::{self, LetterCount};
use crate::sql::groups::{self, MemberRow, ShareRow};
use crate::sql::subscriptions::{self, Names, SubscriptionRow};
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
    /// Its members and dead letters, where it is a consumer group, which has no lease of its own.
    pub group: Option<GroupInfo>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When its checkpoint was last saved.
    pub updated_at: DateTime<Utc>,
    /// What is noted about it.
    pub metadata: Option<Json>,
}

/// What is known of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
#[non_exhaustive]
pub struct GroupInfo {
    /// Its members, in the order in which they joined.
    pub members: Vec<MemberInfo>,
    /// Into how many shares it is divided.
    pub shares: usize,
    /// How many dead letters it has.
    pub dead_letters: i64,
}

/// What is known of a member of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemberInfo {
    /// Who it is.
    pub member: String,
    /// How many shares it has.
    pub shares: usize,
    /// When it joined.
    pub joined_at: DateTime<Utc>,
    /// Until when it counts as alive, unless it is heard of again.
    pub seen_until: DateTime<Utc>,
    /// Whether it does, by the database's clock.
    pub is_alive: bool,
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
            group: None,
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
            self.fetch(subscriptions::list(self.dialect()?, &self.topic().name, Names::All)).await?;
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
        self.add_groups(&mut found).await?;
        Ok(found)
    }

    /// Adds what is known of those that are groups.
    async fn add_groups(&self, found: &mut [SubscriptionInfo]) -> Result<()> {
        let (dialect, topic) = (self.dialect()?, &self.topic().name);
        let shares = share::rows(self, None).await?;
        if shares.is_empty() {
            return Ok(());
        }
        let members: Vec<MemberRow> = self.fetch(groups::members(dialect, topic, None)).await?;
        let letters: Vec<LetterCount> = self.fetch(dead_letters::counts(dialect, topic)).await?;
        for info in found {
            let shares: Vec<&ShareRow> = shares.iter().filter(|row| row.name == info.name).collect();
            if shares.is_empty() {
                continue;
            }
            let member = |row: &MemberRow| MemberInfo {
                member: row.member.clone(),
                shares: shares.iter().filter(|share| share.owner.as_ref() == Some(&row.member)).count(),
                joined_at: row.joined_at,
                seen_until: row.seen_until,
                is_alive: row.seen_until >= row.now,
            };
            let members: Vec<MemberInfo> = members.iter().filter(|row| row.name == info.name).map(member).collect();
            info.is_running = members.iter().any(|member| member.is_alive);
            let dead_letters = letters.iter().find(|count| count.name == info.name).map_or(0, |count| count.letters);
            info.group = Some(GroupInfo { members, shares: shares.len(), dead_letters });
        }
        Ok(())
    }

    /// Deletes a subscription that nobody runs, and returns whether there was one.
    ///
    /// # Errors
    /// [`Error::LeaseHeld`] where a process runs it, and what the backend answers.
    pub async fn delete_subscription(&self, name: &str) -> Result<bool> {
        let rows = rows::read(self, name).await?;
        let (dialect, topic) = (self.dialect()?, &self.topic().name);
        let members: Vec<MemberRow> = self.fetch(groups::members(dialect, topic, Some(name))).await?;
        if let Some(alive) = members.into_iter().find(|row| row.seen_until >= row.now) {
            return Err(Error::LeaseHeld { name: name.to_owned(), owner: alive.member, until: alive.seen_until });
        }
        let mut transaction = self.begin().await?;
        for table in ["subscription_members", "dead_letters", "subscription_shares"] {
            transaction.write(groups::delete(dialect, table, topic, name)).await?;
        }
        let deleted = transaction.write(subscriptions::delete(dialect, topic, name)).await?;
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
            let rows = rows::read(self, name).await?;
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
