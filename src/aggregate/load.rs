//! An aggregate's state: now, and as it was.

use std::pin::pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;

use super::{Aggregate, TypedEvent};
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::position::Version;
use crate::read::Query;
use crate::snapshot::{NewSnapshot, Snapshot, SnapshotQuery};
use crate::store::Store;
use crate::stream::Stream;

/// An aggregate as its stream makes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded<A> {
    /// Its state.
    pub state: A,
    /// The version of the last event that the state holds; [`Version::ZERO`] where the stream shows none.
    pub version: Version,
    /// How many of the events that the state holds no snapshot does.
    pub(super) unsaved: u64,
    /// When the snapshot was saved that the state began with, or else when the stream's first event was stored.
    pub(super) since: Option<DateTime<Utc>>,
}

/// The moment of a stream that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// After the event of this version, or the last one before it.
    Version(Version),
    /// After the events stored at or before this time.
    Time(DateTime<Utc>),
}

impl From<Version> for AsOf {
    fn from(version: Version) -> Self {
        Self::Version(version)
    }
}

impl From<DateTime<Utc>> for AsOf {
    fn from(time: DateTime<Utc>) -> Self {
        Self::Time(time)
    }
}

impl Store {
    /// Loads an aggregate: from its newest snapshot, where there is one, and the events after it.
    ///
    /// A stream that does not exist, or is deleted, is the default state at [`Version::ZERO`].
    ///
    /// # Errors
    /// [`Error::TypeMismatch`] where the stream is of another category, [`Error::Invalid`] where an event can't be
    /// decoded ([`TypedEvent::decode`]) or the registry of events is wrong ([`TypedEvent::check`]), and what the backend
    /// answers.
    pub async fn load<A: Aggregate>(&self, id: impl AsRef<str>) -> Result<Loaded<A>> {
        let stream = stream_of::<A>(id.as_ref())?;
        self.load_to(&stream, Version::MAX).await
    }

    /// Loads an aggregate as it was, after a version or at a time.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use annals::{Aggregate, Store, TypedEvent, Version};
    /// # #[derive(Debug, Default)]
    /// # struct Counter { count: u32 }
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # enum Event { Counted }
    /// # impl TypedEvent for Event {}
    /// # impl Aggregate for Counter {
    /// #     const TYPE: &'static str = "counter";
    /// #     type Command = ();
    /// #     type Event = Event;
    /// #     type Error = std::convert::Infallible;
    /// #     fn decide(&self, _: &()) -> Result<Vec<Event>, Self::Error> { Ok(vec![Event::Counted]) }
    /// #     fn evolve(&mut self, _: Event) { self.count += 1; }
    /// # }
    /// # let store = Store::connect("sqlite::memory:?migrate=auto").await?;
    /// for _ in 0..3 {
    ///     store.execute::<Counter>("visits", ()).await?;
    /// }
    /// let then = store.load_as_of::<Counter>("visits", Version::new(2)).await?;
    /// assert_eq!(then.state.count, 2);
    ///
    /// let second = &store.read_stream("visits").await?[1];
    /// let then = store.load_as_of::<Counter>("visits", second.event_timestamp).await?;
    /// assert!(then.version >= Version::new(2));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Store::load`].
    pub async fn load_as_of<A: Aggregate>(&self, id: impl AsRef<str>, at: impl Into<AsOf>) -> Result<Loaded<A>> {
        let stream = stream_of::<A>(id.as_ref())?;
        let version = match at.into() {
            AsOf::Version(version) => version,
            // The times of a stream never go back, so that a time is a version.
            AsOf::Time(time) => {
                let newest = self.query(Query::stream(stream.id()).as_of(time).backward().limit(1)).await?;
                newest.first().map_or(Version::ZERO, |event| event.aggregate_version)
            }
        };
        self.load_to(&stream, version).await
    }

    /// Loads an aggregate with the events up to a version.
    pub(super) async fn load_to<A: Aggregate>(&self, stream: &Stream, to: Version) -> Result<Loaded<A>> {
        let base = self.newest_snapshot(stream, to).await;
        self.read_on(stream, base.unwrap_or_default(), to).await
    }

    /// Brings an aggregate that was loaded before up to a version; from the beginning, where the stream's life has
    /// changed since.
    pub(super) async fn read_on<A: Aggregate>(
        &self,
        stream: &Stream,
        mut loaded: Loaded<A>,
        to: Version,
    ) -> Result<Loaded<A>> {
        while !self.continues(stream, &mut loaded, to).await? {
            loaded = Loaded::default();
        }
        Ok(loaded)
    }

    /// Takes in the events after those that a state holds. Returns false where these do not lead to them.
    async fn continues<A: Aggregate>(&self, stream: &Stream, loaded: &mut Loaded<A>, to: Version) -> Result<bool> {
        // The last event that the state holds is read once more. Where it does not show, the stream is deleted, or begins
        // after it: the state is that of another life.
        let base = loaded.version;
        let mut events = pin!(self.read(Query::stream(stream.id()).from_version(base).to_version(to)));
        if base > Version::ZERO && events.try_next().await?.is_none_or(|event| event.aggregate_version != base) {
            return Ok(false);
        }
        while let Some(event) = events.try_next().await? {
            if loaded.version > Version::ZERO && event.aggregate_version != loaded.version.next() {
                return Ok(false);
            }
            loaded.take(&event)?;
        }
        Ok(true)
    }

    /// Finds the newest snapshot of the state's schema. What goes wrong with one costs a replay, and nothing else.
    async fn newest_snapshot<A: Aggregate>(&self, stream: &Stream, to: Version) -> Option<Loaded<A>> {
        let snapshots = A::SNAPSHOTS;
        let decode = snapshots.codec()?.decode;
        let query = SnapshotQuery { at_or_before: Some(to), snapshot_version: Some(snapshots.schema()) };
        let found = async {
            let Some(found) = self.snapshot(stream, query).await? else { return Ok(None) };
            let Snapshot { aggregate_version, snapshot_timestamp, state, .. } = found;
            let state = decode(&state)?;
            Ok(Some(Loaded { state, version: aggregate_version, unsaved: 0, since: Some(snapshot_timestamp) }))
        };
        found.await.unwrap_or_else(|error: Error| {
            tracing::warn!(stream = stream.id(), error = error.report(), "a snapshot can't be used: replaying");
            None
        })
    }

    /// Saves a snapshot where the policy asks for one. That it can't be saved is no failure of the command.
    pub(super) async fn save_if_due<A: Aggregate>(&self, stream: &Stream, loaded: &Loaded<A>) {
        let snapshots = A::SNAPSHOTS;
        let Some(codec) = snapshots.codec() else { return };
        if !snapshots.is_due(loaded.unsaved, loaded.age(Utc::now())) {
            return;
        }
        let saved = async {
            let state = (codec.encode)(&loaded.state)?;
            let snapshot = NewSnapshot::new(stream.clone(), loaded.version, state).with_schema(snapshots.schema())?;
            self.save_snapshot(&snapshot).await
        };
        if let Err(error) = saved.await {
            tracing::warn!(stream = stream.id(), error = error.report(), "a snapshot was not saved");
        }
    }
}

impl<A: Aggregate> Loaded<A> {
    /// Takes in an event of the stream.
    fn take(&mut self, event: &RecordedEvent) -> Result<()> {
        if event.aggregate_type != A::TYPE {
            return Err(Error::TypeMismatch {
                stream: event.aggregate_id.clone(),
                expected: A::TYPE.to_owned(),
                actual: event.aggregate_type.clone(),
            });
        }
        if let Some(typed) = A::Event::decode(event)? {
            self.state.evolve(typed);
        }
        self.version = event.aggregate_version;
        self.unsaved += 1;
        self.since.get_or_insert(event.event_timestamp);
        Ok(())
    }

    /// Returns how long ago the last snapshot was saved, or the stream began.
    fn age(&self, now: DateTime<Utc>) -> Duration {
        self.since.and_then(|since| (now - since).to_std().ok()).unwrap_or_default()
    }
}

/// Names the stream of an aggregate, whose events the store must be able to keep.
pub(super) fn stream_of<A: Aggregate>(id: &str) -> Result<Stream> {
    A::Event::check()?;
    Stream::new(A::TYPE, id)
}
