//! Streams: their ids, what a request expects of them, and what the store knows of them.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::error::Result;
use crate::json::Json;
use crate::name;
use crate::position::Version;

/// The id of a stream with its category: `aggregate_id` and `aggregate_type`.
///
/// ```
/// let stream = annals::Stream::new("order", "order-1")?;
/// assert_eq!((stream.aggregate_type(), stream.id()), ("order", "order-1"));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stream {
    aggregate_type: String,
    id: String,
}

impl Stream {
    /// Names a stream by its category and its id.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] and [`crate::Error::Limit`] where one of them is not a name.
    pub fn new(aggregate_type: impl Into<String>, id: impl Into<String>) -> Result<Self> {
        Ok(Self {
            aggregate_type: name::check("aggregate_type", aggregate_type)?,
            id: name::check("aggregate_id", id)?,
        })
    }

    /// Makes a stream of names that are known to be right.
    #[cfg(feature = "testing")]
    pub(crate) fn unchecked(aggregate_type: &str, id: String) -> Self {
        Self { aggregate_type: aggregate_type.to_owned(), id }
    }

    /// Returns the category, `aggregate_type`.
    #[must_use]
    pub fn aggregate_type(&self) -> &str {
        &self.aggregate_type
    }

    /// Returns the id, `aggregate_id`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl AsRef<str> for Stream {
    fn as_ref(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// What a request expects of a stream's current version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expected {
    /// The stream is at exactly this version; `Exact(0)` is [`Expected::NoStream`], and a version below 0 is refused.
    Exact(Version),
    /// The stream does not exist.
    NoStream,
    /// The stream exists, at any version.
    Exists,
    /// Anything; such a request never conflicts on a version.
    Any,
}

impl Expected {
    /// Expects this version; 0 is "no stream". A request that expects one below 0 is [`Invalid`](crate::Error::Invalid).
    #[must_use]
    pub const fn exact(version: i64) -> Self {
        Self::Exact(Version::new(version))
    }

    /// Returns whether a stream at `current` is as expected; 0 stands for a stream that does not exist.
    #[must_use]
    pub fn holds(self, current: Version) -> bool {
        match self {
            Self::Exact(version) => version == current,
            Self::NoStream => current == Version::ZERO,
            Self::Exists => current > Version::ZERO,
            Self::Any => true,
        }
    }
}

impl From<Version> for Expected {
    fn from(version: Version) -> Self {
        Self::Exact(version)
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(version) => write!(f, "version {version}"),
            Self::NoStream => f.write_str("no stream"),
            Self::Exists => f.write_str("an existing stream"),
            Self::Any => f.write_str("any version"),
        }
    }
}

/// What the store knows of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StreamInfo {
    /// The stream's id.
    pub aggregate_id: String,
    /// The stream's category.
    pub aggregate_type: String,
    /// The version of its last event.
    pub version: Version,
    /// The first version that a read of the stream shows; above 1 once the stream was reused.
    pub first_version: Version,
    /// When the stream's first event was stored.
    pub created_at: DateTime<Utc>,
    /// When the stream's row last changed: creation, deletion, undeletion, reuse, metadata.
    pub updated_at: DateTime<Utc>,
    /// When the stream's last event was stored.
    pub last_event_at: DateTime<Utc>,
    /// When the stream was deleted, if it is.
    pub deleted_at: Option<DateTime<Utc>>,
    /// The stream's own metadata, a JSON object.
    pub metadata: Option<Json>,
    /// How often the metadata was set.
    pub metadata_version: i64,
}

impl StreamInfo {
    /// Makes what a backend answers of a stream; for third-party backends.
    #[must_use]
    pub fn new(stream: &Stream, version: Version, created_at: DateTime<Utc>) -> Self {
        Self {
            aggregate_id: stream.id.clone(),
            aggregate_type: stream.aggregate_type.clone(),
            version,
            first_version: Version::new(1),
            created_at,
            updated_at: created_at,
            last_event_at: created_at,
            deleted_at: None,
            metadata: None,
            metadata_version: 0,
        }
    }
}
