//! The row of an event, as every engine stores it.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::decide::Placed;
use super::request::EventWrite;
use crate::event::{Payload, RecordedEvent};
use crate::json::{self, Json};

/// An event's row.
#[derive(Debug)]
pub(crate) struct EventRow<'a> {
    pub place: Place<'a>,
    pub columns: Columns<'a>,
}

/// Where an event stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub aggregate_id: &'a str,
    pub aggregate_type: &'a str,
    pub position: i64,
    pub version: i64,
    pub time: DateTime<Utc>,
}

/// The columns that do not say where an event stands.
#[derive(Debug)]
pub(crate) struct Columns<'a> {
    pub event_id: Uuid,
    pub event_type: &'a str,
    pub event_version: i32,
    pub actor: Option<&'a str>,
    pub actor_type: &'static str,
    pub source: &'static str,
    pub causation_id: Option<Uuid>,
    pub correlation_id: Option<Uuid>,
    pub data: Cow<'a, str>,
    pub metadata: Option<&'a str>,
    pub content_type: Option<&'a str>,
    pub tags: &'a [String],
    /// The tags as a JSON array.
    pub tag_list: Option<String>,
    pub hash: Option<[u8; 32]>,
}

impl<'a> EventRow<'a> {
    /// An event that was given its place at a time.
    pub(crate) fn placed(placed: &Placed<'a>, time: DateTime<Utc>) -> Self {
        let place = Place {
            aggregate_id: &placed.stream.aggregate_id,
            aggregate_type: &placed.stream.aggregate_type,
            position: placed.position.get(),
            version: placed.version.get(),
            time,
        };
        Self { place, columns: Columns::of(placed.event) }
    }

    /// An event as it was elsewhere.
    pub(crate) fn recorded(event: &'a RecordedEvent) -> Self {
        let place = Place {
            aggregate_id: &event.aggregate_id,
            aggregate_type: &event.aggregate_type,
            position: event.position.get(),
            version: event.aggregate_version.get(),
            time: event.event_timestamp,
        };
        let (content_type, data) = match &event.payload {
            Payload::Json(json) => (None, Cow::Borrowed(json.as_str())),
            Payload::Bytes { content_type, bytes } => {
                (Some(content_type.as_str()), Cow::Owned(json::encode_bytes(bytes).as_str().to_owned()))
            }
        };
        let columns = Columns {
            event_id: event.event_id,
            event_type: &event.event_type,
            event_version: event.event_version,
            actor: event.actor.as_deref(),
            actor_type: event.actor_type.as_str(),
            source: event.source.as_str(),
            causation_id: event.causation_id,
            correlation_id: event.correlation_id,
            data,
            metadata: event.metadata.as_ref().map(Json::as_str),
            content_type,
            tags: &event.tags,
            tag_list: json::tags(&event.tags),
            hash: event.hash,
        };
        Self { place, columns }
    }
}

impl<'a> Columns<'a> {
    pub(crate) fn of(event: &'a EventWrite) -> Self {
        Self {
            event_id: event.event_id,
            event_type: &event.event_type,
            event_version: event.event_version,
            actor: event.actor.as_deref(),
            actor_type: event.actor_type.as_str(),
            source: event.source.as_str(),
            causation_id: event.causation_id,
            correlation_id: event.correlation_id,
            data: Cow::Borrowed(event.data.as_str()),
            metadata: event.metadata.as_ref().map(Json::as_str),
            content_type: event.content_type.as_deref(),
            tags: &event.tags,
            tag_list: json::tags(&event.tags),
            hash: Some(event.hash),
        }
    }
}
