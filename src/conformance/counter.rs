//! The aggregates of the families about aggregates: counters, each with its own policy.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::case::Failure;
use super::harness::Fixture;
use crate::aggregate::{Aggregate, Snapshots, TypedEvent, Unknown, Upcaster};
use crate::error::Result;
use crate::event::{NewEvent, RecordedEvent};
use crate::store::Store;
use crate::stream::Expected;

/// What happens to a counter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Event {
    Added { n: i64 },
    Cleared,
}

impl TypedEvent for Event {
    const VERSIONS: &'static [(&'static str, i32)] = &[("Added", 2)];
    const UPCASTERS: &'static [Upcaster] = &[
        Upcaster::new(("Increased", 1), ("Added", 1), |by| serde_json::json!({"by": by})),
        Upcaster::new(("Added", 1), ("Added", 2), |data| serde_json::json!({"n": data["by"]})),
    ];
}

/// A counter whose state is kept every so many events (0: never), with a schema.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Counter<const EVERY: u64 = 0, const SCHEMA: i32 = 1> {
    pub count: i64,
}

/// What a counter is asked for.
#[derive(Debug)]
pub(super) enum Command {
    /// Adds a number.
    Add(i64),
    /// Adds 1, several times, in one request.
    AddOnes(usize),
    /// Adds 1, unless the counter has reached a number.
    AddBelow(i64),
    /// Adds the double of what there is.
    Triple,
    /// Clears it, where there is something to clear.
    Clear,
    /// Adds 1, but each time that it is decided, somebody else appends before, so many times.
    AddAfter(Intruder),
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("it is full at {0}")]
pub(super) struct Full(pub i64);

impl Command {
    fn decide(&self, count: i64) -> Result<Vec<Event>, Full> {
        Ok(match self {
            Self::Add(n) => vec![Event::Added { n: *n }],
            Self::AddOnes(times) => vec![Event::Added { n: 1 }; *times],
            Self::AddBelow(limit) if count >= *limit => return Err(Full(count)),
            Self::AddBelow(_) => vec![Event::Added { n: 1 }],
            Self::Triple => vec![Event::Added { n: count * 2 }],
            Self::Clear if count == 0 => Vec::new(),
            Self::Clear => vec![Event::Cleared],
            Self::AddAfter(intruder) => {
                intruder.intrude();
                vec![Event::Added { n: 1 }]
            }
        })
    }
}

fn evolve(count: &mut i64, event: &Event) {
    match event {
        Event::Added { n } => *count += n,
        Event::Cleared => *count = 0,
    }
}

impl<const EVERY: u64, const SCHEMA: i32> Aggregate for Counter<EVERY, SCHEMA> {
    const TYPE: &'static str = "thing";
    const SNAPSHOTS: Snapshots<Self> =
        if EVERY == 0 { Snapshots::never() } else { Snapshots::every(EVERY).with_schema(SCHEMA) };
    type Command = Command;
    type Event = Event;
    type Error = Full;

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Full> {
        command.decide(self.count)
    }

    fn evolve(&mut self, event: Event) {
        evolve(&mut self.count, &event);
    }
}

/// A counter whose state is kept once it is two hours old.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Aging(i64);

impl Aggregate for Aging {
    const TYPE: &'static str = "thing";
    const SNAPSHOTS: Snapshots<Self> = Snapshots::older_than(Duration::from_hours(2));
    type Command = Command;
    type Event = Event;
    type Error = Full;

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Full> {
        command.decide(self.0)
    }

    fn evolve(&mut self, event: Event) {
        evolve(&mut self.0, &event);
    }
}

/// A counter whose state is to be kept after each event, and can't be.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Stubborn(pub i64);

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("this state is not to be written down"))
    }
}

impl Aggregate for Stubborn {
    const TYPE: &'static str = "thing";
    const SNAPSHOTS: Snapshots<Self> = Snapshots::every(1);
    type Command = Command;
    type Event = Event;
    type Error = Full;

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Full> {
        command.decide(self.0)
    }

    fn evolve(&mut self, event: Event) {
        evolve(&mut self.0, &event);
    }
}

/// An event of which only one kind is known; the others are skipped, or kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Narrow<const KEEP: bool> {
    Cleared,
    #[serde(skip)]
    Other(Box<RecordedEvent>),
}

impl<const KEEP: bool> TypedEvent for Narrow<KEEP> {
    const UNKNOWN: Unknown<Self> =
        if KEEP { Unknown::Keep(|event| Self::Other(Box::new(event))) } else { Unknown::Skip };
}

/// What sees only some events: how many were cleared, and the raw data of the others.
#[derive(Debug, Default)]
pub(super) struct Watcher<const KEEP: bool> {
    pub cleared: usize,
    pub others: Vec<String>,
}

impl<const KEEP: bool> Aggregate for Watcher<KEEP> {
    const TYPE: &'static str = "thing";
    type Command = ();
    type Event = Narrow<KEEP>;
    type Error = Infallible;

    fn decide(&self, (): &()) -> Result<Vec<Narrow<KEEP>>, Infallible> {
        Ok(Vec::new())
    }

    fn evolve(&mut self, event: Narrow<KEEP>) {
        match event {
            Narrow::Cleared => self.cleared += 1,
            Narrow::Other(event) => {
                let data = event.payload.as_json().map(|data| data.as_str().to_owned());
                self.others.push(data.unwrap_or_default());
            }
        }
    }
}

/// An event of which nobody says how its first version becomes the second.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Gapped {
    Cleared,
}

impl TypedEvent for Gapped {
    const VERSIONS: &'static [(&'static str, i32)] = &[("Cleared", 2)];
}

/// What can't be loaded, as its events are badly registered.
#[derive(Debug, Default)]
pub(super) struct Mistaken;

impl Aggregate for Mistaken {
    const TYPE: &'static str = "thing";
    type Command = ();
    type Event = Gapped;
    type Error = Infallible;

    fn decide(&self, (): &()) -> Result<Vec<Gapped>, Infallible> {
        Ok(vec![Gapped::Cleared])
    }

    fn evolve(&mut self, _: Gapped) {}
}

/// Somebody else, who appends to a stream while a command about it is being decided.
#[derive(Debug)]
pub(super) struct Intruder {
    store: Store,
    stream: String,
    left: AtomicU32,
    /// How often the command was decided.
    pub decided: AtomicU32,
}

impl Intruder {
    /// Makes one that appends to a stream of the category `thing` so many times.
    pub(super) fn new(f: &Fixture, stream: &str, times: u32) -> Self {
        let (left, decided) = (AtomicU32::new(times), AtomicU32::default());
        Self { store: f.store.clone(), stream: stream.to_owned(), left, decided }
    }

    fn intrude(&self) {
        self.decided.fetch_add(1, Ordering::Relaxed);
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_ok() {
            // The case fails for its count where this does.
            let _ = block_in_place(|| Handle::current().block_on(self.append()));
        }
    }

    async fn append(&self) -> Result<()> {
        let stream = crate::stream::Stream::new("thing", &self.stream)?;
        self.store.append(&stream, Expected::Any, [Event::Added { n: 100 }.encode()?]).await.map(drop)
    }
}

/// Appends events as they are to a stream of the category `thing`, each with a version and data.
pub(super) async fn put(f: &Fixture, id: &str, events: &[(&str, i32, &str)]) -> Result<(), Failure> {
    for (event_type, version, data) in events {
        let event = NewEvent::new(*event_type, crate::json::Json::parse(*data)?.into())?.with_version(*version)?;
        f.store.append(&f.stream(id)?, Expected::Any, [event]).await?;
    }
    Ok(())
}
