//! When an aggregate's state is kept, and how.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::json::Json;

/// When snapshots of an aggregate's state are saved, and the version of the state's schema.
///
/// Snapshots only shorten replays: one that can't be saved or read, or has another schema, is passed over, and no result
/// changes.
///
/// ```
/// use std::time::Duration;
/// use annals::Snapshots;
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Account;
/// // After 100 events, or with the first command after a day; the state has changed its shape once.
/// const SNAPSHOTS: Snapshots<Account> = Snapshots::every(100).or_older_than(Duration::from_hours(24)).with_schema(2);
/// ```
pub struct Snapshots<A> {
    events: Option<u64>,
    age: Option<Duration>,
    schema: i32,
    codec: Option<Codec<A>>,
}

/// How a state becomes JSON and comes back. Only what keeps snapshots needs serde.
pub(super) struct Codec<A> {
    pub(super) encode: fn(&A) -> Result<Json>,
    pub(super) decode: fn(&Json) -> Result<A>,
}

impl<A> Snapshots<A> {
    /// Saves no snapshots, and looks for none.
    #[must_use]
    pub const fn never() -> Self {
        Self { events: None, age: None, schema: 1, codec: None }
    }

    /// Saves one with a command, too, where the newest one is older than this; where there is none, where the oldest
    /// event of the stream is.
    #[must_use]
    pub const fn or_older_than(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }

    /// Sets the version of the state's schema; 1 without. Raise it when the state changes its shape or its meaning:
    /// snapshots of other versions are passed over.
    ///
    /// # Panics
    /// For a version below 1; in a constant, at compile time.
    #[must_use]
    pub const fn with_schema(mut self, snapshot_version: i32) -> Self {
        assert!(snapshot_version >= 1, "the version of a state's schema begins with 1");
        self.schema = snapshot_version;
        self
    }

    /// Returns the version of the state's schema.
    #[must_use]
    pub const fn schema(&self) -> i32 {
        self.schema
    }

    pub(super) const fn codec(&self) -> Option<&Codec<A>> {
        self.codec.as_ref()
    }

    /// Returns whether a snapshot is due, so many events after the last one, or after the stream's beginning.
    pub(super) fn is_due(&self, events: u64, age: Duration) -> bool {
        self.events.is_some_and(|most| events >= most) || self.age.is_some_and(|most| age > most)
    }
}

impl<A: Serialize + DeserializeOwned> Snapshots<A> {
    /// Saves a snapshot with the command that makes it so many events since the last one.
    ///
    /// # Panics
    /// For 0 events; in a constant, at compile time.
    #[must_use]
    pub const fn every(events: u64) -> Self {
        assert!(events >= 1, "snapshots are at least one event apart");
        Self { events: Some(events), ..Self::kept() }
    }

    /// Saves a snapshot with a command where the newest one is older than this; where there is none, where the oldest
    /// event of the stream is.
    #[must_use]
    pub const fn older_than(age: Duration) -> Self {
        Self { age: Some(age), ..Self::kept() }
    }

    const fn kept() -> Self {
        let codec = Codec { encode: Json::from_value, decode: Json::to };
        Self { events: None, age: None, schema: 1, codec: Some(codec) }
    }
}

impl<A> fmt::Debug for Snapshots<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots")
            .field("events", &self.events)
            .field("age", &self.age)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_snapshot_is_due_after_its_events() {
        let policy = Snapshots::<u8>::every(3);
        assert!(!policy.is_due(2, HOUR));
        assert!(policy.is_due(3, Duration::ZERO));
        assert!(policy.is_due(4, Duration::ZERO));
    }

    #[test]
    fn a_snapshot_is_due_after_its_time() {
        for policy in [Snapshots::<u8>::older_than(HOUR), Snapshots::every(3).or_older_than(HOUR)] {
            assert!(!policy.is_due(2, HOUR));
            assert!(policy.is_due(1, HOUR + Duration::from_nanos(1)));
        }
    }

    #[test]
    fn without_a_policy_none_is_ever_due() {
        assert!(!Snapshots::<u8>::never().is_due(u64::MAX, Duration::MAX));
    }
}
