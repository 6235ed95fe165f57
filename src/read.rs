//! What a caller asks to be read, and the pages that come back.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::encode::recorded_bytes;
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::limits;
use crate::name;
use crate::position::{Position, Version};

/// The order of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// From the first to the last.
    #[default]
    Forward,
    /// From the last to the first.
    Backward,
}

/// A question to the log: which events, in which order. Filters combine (all of them must hold); the limit applies
/// after them.
///
/// ```
/// use annals::Query;
/// let query = Query::new().event_types(["Placed", "Paid"])?.after(annals::Position::new(10)).limit(100);
/// assert_eq!(query.limit, Some(100));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    /// The order.
    pub direction: Direction,
    /// Only events beyond this position, in reading order: after it forward, before it backward.
    pub after: Option<Position>,
    /// Only events up to this position, in reading order, inclusive: at most it forward, at least it backward.
    pub until: Option<Position>,
    /// Only events of one stream, of a range of versions.
    pub stream: Option<StreamRange>,
    /// Only events of streams whose ids begin with any of these, byte for byte; empty: of all.
    pub stream_prefixes: Vec<String>,
    /// Only events of any of these types; empty: of all.
    pub event_types: Vec<String>,
    /// Only events of streams of this category.
    pub aggregate_type: Option<String>,
    /// Only events that carry all of these tags.
    pub tags: Vec<String>,
    /// Only events of this actor.
    pub actor: Option<String>,
    /// Only events of this conversation.
    pub correlation_id: Option<Uuid>,
    /// Only events that this message caused.
    pub causation_id: Option<Uuid>,
    /// Only events stored at or after this time.
    pub from: Option<DateTime<Utc>>,
    /// Only events stored before this time.
    pub to: Option<DateTime<Utc>>,
    /// Only events whose data or metadata holds these values.
    pub json: Vec<JsonFilter>,
    /// At most so many events, over all pages.
    pub limit: Option<u64>,
    /// Show a stream that is deleted, and what a reused one held before.
    pub include_deleted: bool,
}

/// One stream, and the versions of it that are asked for, both ends inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRange {
    /// The stream's id.
    pub aggregate_id: String,
    /// The lowest version.
    pub from: Version,
    /// The highest version.
    pub to: Version,
}

/// Which document of an event is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Document {
    /// The event's data.
    Data,
    /// The event's metadata.
    Metadata,
}

impl Document {
    /// Returns the column that holds it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Metadata => "metadata",
        }
    }
}

/// A value at a path of an event's data or metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonFilter {
    /// The document that is searched.
    pub document: Document,
    /// The keys from the document's root to the value.
    pub path: Vec<String>,
    /// The value: a string, number, boolean or null.
    pub equals: serde_json::Value,
}

impl JsonFilter {
    /// Parses a path such as `data.customer.id` and takes the value that it must have.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the path does not begin with `data` or `metadata`, has no key or an empty one, or where
    /// the value is an array or object.
    pub fn new(path: &str, equals: serde_json::Value) -> Result<Self> {
        let mut keys = path.split('.');
        let document = match keys.next() {
            Some("data") => Document::Data,
            Some("metadata") => Document::Metadata,
            _ => return Err(Error::invalid("json path", format!("{path:?} does not begin with data. or metadata."))),
        };
        let path: Vec<String> = keys.map(str::to_owned).collect();
        if path.is_empty() || path.iter().any(String::is_empty) {
            return Err(Error::invalid("json path", "it needs a key after data or metadata, as in data.customer.id"));
        }
        if path.iter().any(|key| key.chars().any(|c| c.is_control() || matches!(c, '"' | '\\' | '\''))) {
            return Err(Error::invalid("json path", "a key has a quote, a backslash or a control character"));
        }
        if equals.is_array() || equals.is_object() {
            return Err(Error::invalid(
                "json value",
                "it is an array or object; a string, number, boolean or null is accepted",
            ));
        }
        Ok(Self { document, path, equals })
    }
}

impl Query {
    /// Asks for the whole log, forward.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for one stream, all of its versions.
    #[must_use]
    pub fn stream(aggregate_id: impl Into<String>) -> Self {
        let range = StreamRange { aggregate_id: aggregate_id.into(), from: Version::new(1), to: Version::MAX };
        Self { stream: Some(range), ..Self::default() }
    }

    /// Asks for a stream's versions from this one on, inclusive.
    #[must_use]
    pub fn from_version(mut self, version: Version) -> Self {
        if let Some(range) = &mut self.stream {
            range.from = version;
        }
        self
    }

    /// Asks for a stream's versions after this one, exclusive.
    #[must_use]
    pub fn since_version(self, version: Version) -> Self {
        self.from_version(version.next())
    }

    /// Asks for a stream's versions up to this one, inclusive: the stream as of that version.
    #[must_use]
    pub fn to_version(mut self, version: Version) -> Self {
        if let Some(range) = &mut self.stream {
            range.to = version;
        }
        self
    }

    /// Asks for the reverse order.
    #[must_use]
    pub const fn backward(mut self) -> Self {
        self.direction = Direction::Backward;
        self
    }

    /// Asks for events beyond a position, exclusive, in reading order.
    #[must_use]
    pub const fn after(mut self, position: Position) -> Self {
        self.after = Some(position);
        self
    }

    /// Asks for events up to a position, inclusive, in reading order.
    #[must_use]
    pub const fn until(mut self, position: Position) -> Self {
        self.until = Some(position);
        self
    }

    /// Asks for events of any of some types.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Limit`] where one is not a name, and [`Error::Limit`] where there are more than
    /// [`limits::TYPES_PER_QUERY`].
    pub fn event_types(mut self, types: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        for text in types {
            self.event_types.push(name::check("event_type", text)?);
        }
        limits::check("types of a query", limits::TYPES_PER_QUERY, self.event_types.len())?;
        Ok(self)
    }

    /// Asks for events of streams whose ids begin with any of some texts, byte for byte.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Limit`] where one is not a name, and [`Error::Limit`] where there are more than
    /// [`limits::TAGS_PER_EVENT`].
    pub fn stream_prefixes(mut self, prefixes: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        for text in prefixes {
            self.stream_prefixes.push(name::check("prefix", text)?);
        }
        limits::check("prefixes of a query", limits::TAGS_PER_EVENT, self.stream_prefixes.len())?;
        Ok(self)
    }

    /// Asks for events of streams of a category.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Limit`] where it is not a name.
    pub fn aggregate_type(mut self, aggregate_type: impl Into<String>) -> Result<Self> {
        self.aggregate_type = Some(name::check("aggregate_type", aggregate_type)?);
        Ok(self)
    }

    /// Asks for events that carry all of some tags.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Limit`] where one is not a name, and [`Error::Limit`] where there are more than
    /// [`limits::TAGS_PER_EVENT`].
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        for text in tags {
            self.tags.push(name::check("tag", text)?);
        }
        limits::check("tags of a query", limits::TAGS_PER_EVENT, self.tags.len())?;
        Ok(self)
    }

    /// Asks for events of an actor.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Limit`] where it is not a name.
    pub fn actor(mut self, actor: impl Into<String>) -> Result<Self> {
        self.actor = Some(name::check("actor", actor)?);
        Ok(self)
    }

    /// Asks for events of a conversation.
    #[must_use]
    pub const fn correlation(mut self, correlation_id: Uuid) -> Self {
        self.correlation_id = Some(correlation_id);
        self
    }

    /// Asks for events that a message caused.
    #[must_use]
    pub const fn causation(mut self, causation_id: Uuid) -> Self {
        self.causation_id = Some(causation_id);
        self
    }

    /// Asks for events stored in the time range `[from, to)`.
    #[must_use]
    pub const fn between(mut self, from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> Self {
        self.from = from;
        self.to = to;
        self
    }

    /// Asks for the log, or a stream, as of a time: the events stored at or before it.
    #[must_use]
    pub fn as_of(mut self, time: DateTime<Utc>) -> Self {
        self.to = Some(time.checked_add_signed(chrono::TimeDelta::microseconds(1)).unwrap_or(DateTime::<Utc>::MAX_UTC));
        self
    }

    /// Asks for events that hold a value at a path of their data or metadata.
    #[must_use]
    pub fn json(mut self, filter: JsonFilter) -> Self {
        self.json.push(filter);
        self
    }

    /// Asks for at most so many events.
    #[must_use]
    pub const fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Asks for deleted streams, and what reused ones held before, too.
    #[must_use]
    pub const fn include_deleted(mut self) -> Self {
        self.include_deleted = true;
        self
    }

    /// Returns whether an event answers the query's filters, all but those over JSON.
    pub(crate) fn matches(&self, event: &RecordedEvent) -> bool {
        let types = || self.event_types.is_empty() || self.event_types.contains(&event.event_type);
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let stream = |range: &StreamRange| {
            range.aggregate_id == event.aggregate_id && (range.from..=range.to).contains(&event.aggregate_version)
        };
        let prefixes = &self.stream_prefixes;
        types()
            && (prefixes.is_empty() || prefixes.iter().any(|prefix| event.aggregate_id.starts_with(prefix)))
            && is(&self.aggregate_type, &event.aggregate_type)
            && self.stream.as_ref().is_none_or(stream)
            && self.tags.iter().all(|tag| event.tags.contains(tag))
            && (self.actor.is_none() || self.actor == event.actor)
            && (self.correlation_id.is_none() || self.correlation_id == event.correlation_id)
            && (self.causation_id.is_none() || self.causation_id == event.causation_id)
            && self.from.is_none_or(|from| event.event_timestamp >= from)
            && self.to.is_none_or(|to| event.event_timestamp < to)
    }

    /// Returns whether every event between two positions belongs to the answer: nothing filters.
    #[must_use]
    pub fn is_unfiltered(&self) -> bool {
        self.stream.is_none()
            && self.stream_prefixes.is_empty()
            && self.event_types.is_empty()
            && self.aggregate_type.is_none()
            && self.tags.is_empty()
            && self.actor.is_none()
            && self.correlation_id.is_none()
            && self.causation_id.is_none()
            && self.from.is_none()
            && self.to.is_none()
            && self.json.is_empty()
    }
}

/// A page of events of one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The events, in the order that was asked for.
    pub events: Vec<RecordedEvent>,
    /// The lane's head that was observed at or before the read: the position to name in a condition.
    pub head: Position,
    /// How far the read has looked: every matching event between its start and this position is in the page.
    pub scanned: Position,
    /// Whether more events may follow.
    pub more: bool,
}

impl Page {
    /// Makes the page that answers a query of at most `rows` events; for backends.
    ///
    /// The events are those of the query in its order, at least up to the one with which they have
    /// [`limits::PAGE_BYTES`], with which the page ends; `head` was read at or before them, and they are not beyond it.
    #[must_use]
    pub fn new(query: &Query, rows: usize, head: Position, mut events: Vec<RecordedEvent>) -> Self {
        let last = events.iter().position(page_end());
        events.truncate(last.map_or(events.len(), |last| last + 1));
        let more = last.is_some() || events.len() >= rows;
        let end = match query.direction {
            Direction::Forward => {
                query.until.map_or(head, |until| until.min(head)).max(query.after.unwrap_or_default().min(head))
            }
            Direction::Backward => query.until.unwrap_or(Position::new(1)),
        };
        let scanned = if more { events.last().map_or(end, |event| event.position) } else { end };
        Self { events, head, scanned, more }
    }

    /// Returns whether the page begins with an event that was read before, if there is one.
    pub(crate) fn goes_on_after(&self, last: Option<(Position, Uuid)>) -> bool {
        let first = || self.events.first().map(|event| (event.position, event.event_id));
        last.is_none_or(|last| first() == Some(last))
    }
}

/// Tells, of one event after the other, with which of them a page has as many bytes as it may. That is never the first: who
/// reads on begins with the last event that it knows.
pub(crate) fn page_end() -> impl FnMut(&RecordedEvent) -> bool {
    let (mut events, mut bytes) = (0, 0);
    move |event| {
        events += 1;
        bytes += recorded_bytes(event);
        events > 1 && bytes >= limits::PAGE_BYTES
    }
}

/// Returns how many events to ask for after a page, at most some, so that few pages end before they have them all: of events
/// like those of the page, half as many bytes as a page may have.
pub(crate) fn rows_after(events: &[RecordedEvent], most: usize) -> usize {
    let bytes: usize = events.iter().map(recorded_bytes).sum();
    match bytes {
        0 => most,
        bytes => ((limits::PAGE_BYTES / 2).saturating_mul(events.len()) / bytes).clamp(1, most),
    }
}

/// Which streams are listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamFilter {
    /// Only streams whose id begins so, byte for byte.
    pub prefix: Option<String>,
    /// Only streams of this category.
    pub aggregate_type: Option<String>,
    /// Only streams whose id comes after this one, in byte order: where the last page ended.
    pub after: Option<String>,
    /// Deleted streams too.
    pub include_deleted: bool,
    /// At most so many.
    pub limit: usize,
}

/// The counts of one event type.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TypeStatistics {
    /// The event type.
    pub event_type: String,
    /// How many events have it.
    pub events: i64,
    /// How many streams hold such an event.
    pub streams: i64,
    /// When the first was stored.
    pub first_at: DateTime<Utc>,
    /// When the last was stored.
    pub last_at: DateTime<Utc>,
}
