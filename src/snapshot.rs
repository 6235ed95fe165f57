//! Snapshots: a stream's state at a version, kept to shorten replays. Deleting every snapshot changes no result.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::json::Json;
use crate::position::Version;
use crate::stream::Stream;

/// A snapshot that a caller wants to save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    pub(crate) stream: Stream,
    pub(crate) aggregate_version: Version,
    pub(crate) snapshot_version: i32,
    pub(crate) state: Json,
}

impl NewSnapshot {
    /// Makes a snapshot of a stream's state after the event of `aggregate_version`.
    #[must_use]
    pub const fn new(stream: Stream, aggregate_version: Version, state: Json) -> Self {
        Self { stream, aggregate_version, snapshot_version: 1, state }
    }

    /// Sets the version of the state's schema; 1 without.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a version below 1.
    pub fn with_schema(mut self, snapshot_version: i32) -> Result<Self> {
        if snapshot_version < 1 {
            return Err(Error::invalid("snapshot_version", format!("{snapshot_version} is below 1")));
        }
        self.snapshot_version = snapshot_version;
        Ok(self)
    }

    /// Returns the stream.
    #[must_use]
    pub const fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Returns the version of the last event that the state holds.
    #[must_use]
    pub const fn aggregate_version(&self) -> Version {
        self.aggregate_version
    }

    /// Returns the version of the state's schema.
    #[must_use]
    pub const fn snapshot_version(&self) -> i32 {
        self.snapshot_version
    }

    /// Returns the state.
    #[must_use]
    pub const fn state(&self) -> &Json {
        &self.state
    }
}

/// A snapshot as the store returns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Its id.
    pub snapshot_id: Uuid,
    /// The stream's id.
    pub aggregate_id: String,
    /// The stream's category.
    pub aggregate_type: String,
    /// The version of the last event that the state holds.
    pub aggregate_version: Version,
    /// The version of the state's schema.
    pub snapshot_version: i32,
    /// When it was saved, by the database server's clock.
    pub snapshot_timestamp: DateTime<Utc>,
    /// The state.
    pub state: Json,
}

/// Which snapshot of a stream is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotQuery {
    /// Only snapshots at or before this version.
    pub at_or_before: Option<Version>,
    /// Only snapshots whose state has this schema; others are ignored, so that the caller replays.
    pub snapshot_version: Option<i32>,
}
