//! An event as one line of JSON, with the contract's field names: what `import` and `append` read, and `export` and
//! `--json` write. Or as a `CloudEvent`.

mod cloud_event;
mod members;

use base64::Engine as _;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use uuid::Uuid;

pub(crate) use members::Members;

use crate::error::{Error, Result};
use crate::event::{ActorType, NewEvent, Payload, RecordedEvent, Source, marker, object};
use crate::hash;
use crate::json::Json;
use crate::name;
use crate::position::{LaneId, Position, Version};
use crate::stream::Stream;

/// The fields of a line. An unknown one is refused: what is misspelt would be lost.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line<'a> {
    aggregate_id: Option<String>,
    aggregate_type: Option<String>,
    event_type: String,
    #[serde(borrow)]
    data: &'a RawValue,
    event_id: Option<Uuid>,
    event_version: Option<i32>,
    event_timestamp: Option<String>,
    actor: Option<String>,
    actor_type: Option<ActorType>,
    source: Option<Source>,
    causation_id: Option<Uuid>,
    correlation_id: Option<Uuid>,
    content_type: Option<String>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    tags: Option<Vec<String>>,
    exact: Option<Exact>,
    lane: Option<i64>,
    position: Option<i64>,
    aggregate_version: Option<i64>,
    hash: Option<String>,
}

/// The very text of documents that have line breaks between their tokens.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exact {
    data: Option<String>,
    metadata: Option<String>,
}

/// What an event gets where its line does not say it.
#[derive(Debug, Clone)]
pub(crate) struct Defaults {
    pub actor: Option<String>,
    pub actor_type: ActorType,
    pub source: Source,
}

impl<'a> Line<'a> {
    /// Parses a line.
    pub(crate) fn parse(text: &'a str) -> Result<Self> {
        // An array would be taken as the fields in their order.
        if !text.trim_start().starts_with('{') {
            return Err(Error::invalid("json", "the line is not a json object"));
        }
        serde_json::from_str(text).map_err(|error| members::invalid("json", &error))
    }

    const fn empty() -> Self {
        Self {
            aggregate_id: None,
            aggregate_type: None,
            event_type: String::new(),
            data: RawValue::NULL,
            event_id: None,
            event_version: None,
            event_timestamp: None,
            actor: None,
            actor_type: None,
            source: None,
            causation_id: None,
            correlation_id: None,
            content_type: None,
            metadata: None,
            tags: None,
            exact: None,
            lane: None,
            position: None,
            aggregate_version: None,
            hash: None,
        }
    }

    pub(crate) const fn event_id(&self) -> Option<Uuid> {
        self.event_id
    }

    /// Returns whether the event is one of the store's own.
    pub(crate) fn is_marker(&self) -> bool {
        marker::is_marker(&self.event_type)
    }

    pub(crate) fn hash(&self) -> Result<Option<[u8; 32]>> {
        self.hash.as_deref().map(hash::from_hex).transpose()
    }

    /// Returns the stream that the line names.
    pub(crate) fn stream(&self) -> Result<Stream> {
        let named = |field: &Option<String>, what| {
            field.clone().ok_or_else(|| Error::invalid(what, "the line has none, and an imported event needs one"))
        };
        Stream::new(named(&self.aggregate_type, "aggregate_type")?, named(&self.aggregate_id, "aggregate_id")?)
    }

    /// Checks that the line belongs to a stream, if it names one.
    pub(crate) fn check_stream(&self, stream: &Stream) -> Result<()> {
        let differs = |field: &Option<String>, own: &str| field.as_deref().is_some_and(|field| field != own);
        if differs(&self.aggregate_id, stream.id()) || differs(&self.aggregate_type, stream.aggregate_type()) {
            let reason = format!("the line names another stream than {:?}; all events go there", stream.id());
            return Err(Error::invalid("aggregate_id", reason));
        }
        Ok(())
    }

    /// Returns the event to append. The line's own time is kept as `occurred_at` of the metadata.
    pub(crate) fn event(self, defaults: &Defaults) -> Result<NewEvent> {
        let metadata = self.metadata()?;
        let metadata = match &self.event_timestamp {
            Some(time) => Some(with_occurred_at(metadata, time)?),
            None => metadata,
        };
        let payload = self.payload()?;
        let mut event = NewEvent::new(self.event_type, payload)?
            .with_version(self.event_version.unwrap_or(1))?
            .with_tags(self.tags.unwrap_or_default())?
            .with_source(self.source.unwrap_or(defaults.source));
        let actor_type = self.actor_type.unwrap_or(defaults.actor_type);
        event = match self.actor.or_else(|| defaults.actor.clone()) {
            Some(actor) => event.with_actor(actor, actor_type)?,
            None => event.with_actor_type(actor_type),
        };
        if let Some(metadata) = metadata {
            event = event.with_metadata(metadata)?;
        }
        if let Some(id) = self.event_id {
            event = event.with_id(id);
        }
        if let Some(id) = self.causation_id {
            event = event.with_causation(id);
        }
        if let Some(id) = self.correlation_id {
            event = event.with_correlation(id);
        }
        Ok(event)
    }

    /// Returns the event as it was in the log that the line was exported from, in the lane that its line names.
    pub(crate) fn recorded(&self) -> Result<RecordedEvent> {
        let stream = self.stream()?;
        let needed = |what| move || Error::invalid(what, "the line has none, and --restore needs a whole export");
        let time = self.event_timestamp.as_deref().ok_or_else(needed("event_timestamp"))?;
        let mut tags = self.tags.clone().unwrap_or_default();
        tags.sort_unstable();
        let event = RecordedEvent {
            lane: LaneId::new(self.lane.unwrap_or_default()),
            position: Position::new(self.position.ok_or_else(needed("position"))?),
            event_id: self.event_id.ok_or_else(needed("event_id"))?,
            aggregate_id: stream.id().to_owned(),
            aggregate_type: stream.aggregate_type().to_owned(),
            aggregate_version: Version::new(self.aggregate_version.ok_or_else(needed("aggregate_version"))?),
            event_timestamp: timestamp(time)?,
            payload: self.payload()?,
            metadata: self.metadata()?,
            hash: self.hash()?,
            event_type: name::check("event_type", self.event_type.as_str())?,
            event_version: self.event_version.unwrap_or(1),
            actor: self.actor.as_deref().map(|actor| name::check("actor", actor)).transpose()?,
            actor_type: self.actor_type.unwrap_or_default(),
            source: self.source.unwrap_or_default(),
            causation_id: self.causation_id,
            correlation_id: self.correlation_id,
            tags: tags.into_iter().map(|tag| name::check("tag", tag)).collect::<Result<_>>()?,
        };
        if event.hash.is_some_and(|hash| hash != crate::hash::of(&event)) {
            return Err(Error::invalid("hash", "it is not that of the event: the line was changed after the export"));
        }
        Ok(event)
    }

    fn payload(&self) -> Result<Payload> {
        let exact = self.exact.as_ref().and_then(|exact| exact.data.as_deref());
        let Some(content_type) = &self.content_type else {
            return Ok(Payload::Json(Json::parse(exact.unwrap_or(self.data.get()))?));
        };
        let wrong = || Error::invalid("data", "with a content_type it is a string of base64");
        let text: String = serde_json::from_str(self.data.get()).map_err(|_| wrong())?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| wrong())?;
        Ok(Payload::Bytes { content_type: name::check("content_type", content_type.as_str())?, bytes })
    }

    fn metadata(&self) -> Result<Option<Json>> {
        let exact = self.exact.as_ref().and_then(|exact| exact.metadata.as_deref());
        let text = exact.or(self.metadata.map(RawValue::get));
        text.map(|text| object("metadata", Json::parse(text)?)).transpose()
    }
}

/// Adds the time at which an event occurred elsewhere, unless the metadata has one already.
fn with_occurred_at(metadata: Option<Json>, time: &str) -> Result<Json> {
    #[derive(Deserialize)]
    struct Probe {
        occurred_at: Option<IgnoredAny>,
    }
    timestamp(time)?;
    // A key that stands twice is an error to serde: it is there already, then.
    let has_one = |text: &str| serde_json::from_str::<Probe>(text).map_or(true, |probe| probe.occurred_at.is_some());
    match metadata {
        Some(metadata) if has_one(metadata.as_str()) => Ok(metadata),
        metadata => {
            Json::parse(with_member(metadata.as_ref().map(Json::as_str), "occurred_at", &format!("\"{time}\"")))
        }
    }
}

/// Adds a member, whose value is JSON, to the text of an object; makes one where there is none.
fn with_member(object: Option<&str>, name: &str, value: &str) -> String {
    let text = object.unwrap_or("{}").trim();
    let inner = text.strip_suffix('}').unwrap_or(text).trim_end();
    let comma = if inner.ends_with('{') { "" } else { "," };
    format!("{inner}{comma}\"{name}\":{value}}}")
}

fn timestamp(text: &str) -> Result<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| {
        Error::invalid("event_timestamp", format!("{text:?} is not an RFC 3339 time such as 2026-01-31T09:30:00Z"))
    })?;
    Ok(time.to_utc())
}
