//! Dead letters: what a group could not deal with, and what is done about it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::share;
use crate::error::{Error, Result};
use crate::position::{LaneId, Position, Version};
use crate::sql::dead_letters;
use crate::store::Store;

/// Dead letters that are read at a time.
const PAGE: usize = 1_000;

/// An event that a group could not deal with, or that waits behind one of the same stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The lane of the event.
    pub lane: LaneId,
    /// Its place there.
    pub position: Position,
    /// Its id, by which [`Store::event`] finds it.
    pub event_id: Uuid,
    /// Its stream.
    pub aggregate_id: String,
    /// Its place in the stream.
    pub aggregate_version: Version,
    /// What happened.
    pub event_type: String,
    /// How often it was tried; 0 where it only waits behind another one.
    pub attempts: u32,
    /// Why it failed last, at most 2,000 bytes of it.
    pub reason: Option<String>,
    /// When it failed first.
    pub first_failed_at: Option<DateTime<Utc>>,
    /// When it failed last.
    pub last_failed_at: Option<DateTime<Utc>>,
    /// Since when it is to be tried again; `None` while it is kept until somebody decides.
    pub due_at: Option<DateTime<Utc>>,
    /// When it became a dead letter.
    pub parked_at: DateTime<Utc>,
}

impl Store {
    /// Lists the dead letters of a group in the order of their lanes and positions, at most `limit`, after a place.
    ///
    /// # Errors
    /// [`Error::SubscriptionNotFound`] where there is no such group, [`Error::Unsupported`] where the backend knows no SQL,
    /// and what it answers.
    pub async fn dead_letters(
        &self,
        group: &str,
        after: Option<(LaneId, Position)>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>> {
        self.check_group(group).await?;
        let mut after = after.unwrap_or((LaneId::new(0), Position::ZERO));
        let mut letters: Vec<DeadLetter> = Vec::new();
        while letters.len() < limit {
            let rows = PAGE.min(limit - letters.len());
            let page = dead_letters::list(self.dialect()?, &self.topic().name, group, after, rows);
            let page: Vec<DeadLetter> = self.fetch(page).await?;
            let is_last = page.len() < rows;
            letters.extend(page);
            match letters.last() {
                Some(last) if !is_last => after = (last.lane, last.position),
                _ => break,
            }
        }
        Ok(letters)
    }

    /// Lets the group try its dead letters again, or those of one stream, and returns of how many streams. Each stream's
    /// come in order, with all attempts anew; the next one is due once the one before was dealt with. Where one fails
    /// again for the last time, it and those behind it stay.
    ///
    /// # Errors
    /// As [`Store::dead_letters`].
    pub async fn retry_dead_letters(&self, group: &str, stream: Option<&str>) -> Result<u64> {
        self.check_group(group).await?;
        let dialect = self.dialect()?;
        let mut transaction = self.begin().await?;
        let mut streams = 0;
        for lane in &self.inner.topic.lanes {
            streams += transaction.write(dead_letters::retry(dialect, group, *lane, stream)).await?;
        }
        transaction.commit().await?;
        Ok(streams)
    }

    /// Drops a dead letter: the group never deals with the event. Those behind it stay until they are retried. Returns
    /// whether there was one.
    ///
    /// # Errors
    /// As [`Store::dead_letters`].
    pub async fn skip_dead_letter(&self, group: &str, lane: LaneId, position: Position) -> Result<bool> {
        self.check_group(group).await?;
        let mut transaction = self.begin().await?;
        let deleted = transaction.write(dead_letters::delete(self.dialect()?, group, (lane, position))).await?;
        transaction.commit().await?;
        Ok(deleted > 0)
    }

    async fn check_group(&self, name: &str) -> Result<()> {
        if share::rows(self, Some(name)).await?.is_empty() {
            return Err(Error::SubscriptionNotFound { name: name.to_owned() });
        }
        Ok(())
    }
}
