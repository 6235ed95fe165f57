//! An event as a JSON object, for programs.

use base64::Engine as _;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Payload, RecordedEvent};
use crate::hash::hex;

/// A JSON object with the contract's field names.
impl Serialize for RecordedEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("lane", &self.lane)?;
        map.serialize_entry("position", &self.position)?;
        map.serialize_entry("event_id", &self.event_id)?;
        map.serialize_entry("aggregate_id", &self.aggregate_id)?;
        map.serialize_entry("aggregate_type", &self.aggregate_type)?;
        map.serialize_entry("aggregate_version", &self.aggregate_version)?;
        map.serialize_entry("event_type", &self.event_type)?;
        map.serialize_entry("event_version", &self.event_version)?;
        map.serialize_entry(
            "event_timestamp",
            &self.event_timestamp.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        )?;
        map.serialize_entry("actor", &self.actor)?;
        map.serialize_entry("actor_type", &self.actor_type)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("causation_id", &self.causation_id)?;
        map.serialize_entry("correlation_id", &self.correlation_id)?;
        match &self.payload {
            Payload::Json(json) => map.serialize_entry("data", json)?,
            Payload::Bytes { content_type, bytes } => {
                map.serialize_entry("content_type", content_type)?;
                map.serialize_entry("data", &base64::engine::general_purpose::STANDARD.encode(bytes))?;
            }
        }
        map.serialize_entry("metadata", &self.metadata)?;
        map.serialize_entry("tags", &self.tags)?;
        map.serialize_entry("hash", &self.hash.map(|hash| hex(&hash)))?;
        map.end()
    }
}
