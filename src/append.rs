//! What a caller asks to be appended, and what comes back.

use chrono::{DateTime, Utc};

use crate::command::Command;
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::name;
use crate::position::{LaneId, Position, Version};
use crate::stream::{Expected, Stream};

/// One atomic request: all of its events are stored, or none.
///
/// ```
/// use annals::{Append, Expected, NewEvent, Stream};
/// let append = Append::new()
///     .to(Stream::new("order", "order-1")?, Expected::NoStream, [NewEvent::json("Placed", &1)?])
///     .guard(Stream::new("customer", "customer-7")?, Expected::Exists);
/// assert_eq!(append.events(), 1);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Append {
    pub(crate) parts: Vec<(Stream, Expected, Vec<NewEvent>)>,
    pub(crate) condition: Option<Condition>,
    pub(crate) command: Option<Command>,
}

impl Append {
    /// Makes a request that asks for nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds events to a stream, which is expected to be at some version.
    ///
    /// A stream can be named again with the same expectation, which is about its version before the request: positions
    /// follow the order of the calls, so that events of several streams can take turns.
    #[must_use]
    pub fn to(mut self, stream: Stream, expected: Expected, events: impl IntoIterator<Item = NewEvent>) -> Self {
        self.parts.push((stream, expected, events.into_iter().collect()));
        self
    }

    /// Makes the request depend on the version of a stream that it does not write.
    #[must_use]
    pub fn guard(self, stream: Stream, expected: Expected) -> Self {
        self.to(stream, expected, [])
    }

    /// Makes the request fail if an event matches a condition.
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.condition = Some(condition);
        self
    }

    /// Gives the request an identity: repeating it has the effect of doing it once.
    #[must_use]
    pub fn command(mut self, command: Command) -> Self {
        self.command = Some(command);
        self
    }

    /// Returns how many events the request holds.
    #[must_use]
    pub fn events(&self) -> usize {
        self.parts.iter().map(|(_, _, events)| events.len()).sum()
    }
}

/// An append condition, as dynamic consistency boundaries define it: no event that matches the query stands after a
/// position.
///
/// The query's items are OR-ed; an event matches an item that has any of the item's types and all of its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The query's items.
    pub items: Vec<ConditionItem>,
    /// The head that the caller's read returned.
    pub after: Position,
}

/// One item of a [`Condition`]: any of the types, all of the tags. An empty list asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConditionItem {
    /// The event types of which a matching event has one.
    pub types: Vec<String>,
    /// The tags of which a matching event has all, sorted.
    pub tags: Vec<String>,
}

impl Condition {
    /// Makes a condition without items, which nothing matches.
    #[must_use]
    pub const fn after(after: Position) -> Self {
        Self { items: Vec::new(), after }
    }

    /// Adds an item: events of any of the types that carry all of the tags.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Limit`] where a type or tag is not a name, or where both lists are empty.
    pub fn or(
        mut self,
        types: impl IntoIterator<Item = impl Into<String>>,
        tags: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self> {
        let types = types.into_iter().map(|text| name::check("event_type", text)).collect::<Result<Vec<_>>>()?;
        let mut tags = tags.into_iter().map(|text| name::check("tag", text)).collect::<Result<Vec<_>>>()?;
        if types.is_empty() && tags.is_empty() {
            return Err(Error::invalid("condition", "an item needs a type or a tag"));
        }
        tags.sort_unstable();
        tags.dedup();
        self.items.push(ConditionItem { types, tags });
        Ok(self)
    }

    /// Returns whether an event of a type with some tags matches the condition's query.
    #[must_use]
    pub fn matches(&self, event_type: &str, tags: &[String]) -> bool {
        self.items.iter().any(|item| {
            (item.types.is_empty() || item.types.iter().any(|wanted| wanted == event_type))
                && item.tags.iter().all(|wanted| tags.contains(wanted))
        })
    }
}

/// What came of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The lane that holds the request's streams.
    pub lane: LaneId,
    /// The positions of the first and the last event; `None` where there were none.
    pub positions: Option<(Position, Position)>,
    /// The streams that were written, each with its new version, in the request's order.
    pub versions: Vec<(String, Version)>,
    /// Whether the command was decided before: this is then the first outcome, and nothing was stored now.
    pub duplicate: bool,
    /// The time that the events got; `None` where nothing was stored now, or where the backend does not tell.
    pub event_timestamp: Option<DateTime<Utc>>,
}

impl Appended {
    /// Makes an outcome; for third-party backends.
    #[must_use]
    pub const fn new(
        lane: LaneId,
        positions: Option<(Position, Position)>,
        versions: Vec<(String, Version)>,
        duplicate: bool,
    ) -> Self {
        Self { lane, positions, versions, duplicate, event_timestamp: None }
    }

    /// Tells the time that the events got, so that those who follow the lane need not read them from the database.
    #[must_use]
    pub const fn at(mut self, event_timestamp: DateTime<Utc>) -> Self {
        self.event_timestamp = Some(event_timestamp);
        self
    }

    /// Returns the position of the last event; [`Position::ZERO`] where there were none.
    #[must_use]
    pub fn position(&self) -> Position {
        self.positions.map_or(Position::ZERO, |(_, last)| last)
    }

    /// Returns the lane and the position of the last event, which a reader of these events has to reach.
    #[must_use]
    pub fn end(&self) -> (LaneId, Position) {
        (self.lane, self.position())
    }

    /// Returns the new version of the stream; of the first one, where several were written. [`Version::ZERO`] where
    /// none was.
    #[must_use]
    pub fn version(&self) -> Version {
        self.versions.first().map_or(Version::ZERO, |(_, version)| *version)
    }

    /// Returns the new version of one of the streams that were written.
    #[must_use]
    pub fn version_of(&self, stream: &str) -> Option<Version> {
        self.versions.iter().find(|(id, _)| id == stream).map(|(_, version)| *version)
    }
}
