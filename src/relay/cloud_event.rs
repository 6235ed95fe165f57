//! Events as `CloudEvents` 1.0, in the JSON format.
//!
//! Names of attributes are lower-case letters and digits. An integer of `CloudEvents` has 32 bits, so that positions,
//! versions of streams and lanes, which have 64, are strings.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::SecondsFormat;
use serde::Serialize;
use uuid::Uuid;

use super::template::{Template, escape};
use crate::error::{Error, Result};
use crate::event::{ActorType, Payload, RecordedEvent, Source};
use crate::hash::hex;
use crate::json::Json;

/// How events become `CloudEvents`.
#[derive(Debug, Clone)]
pub(crate) struct Format {
    pub(super) topic: String,
    /// Whether the topic has several lanes, in each of which an id of an event is unique.
    pub(super) lanes: bool,
    /// The `source`; made from the topic where it is not given.
    pub(super) source: Option<String>,
    pub(super) schema: Option<Template>,
    /// Whether all that the log says of an event is written, for who restores it.
    pub(super) whole: bool,
}

/// The attributes, and the data, in the order in which they are written.
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: Uuid,
    source: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    subject: &'a str,
    time: String,
    datacontenttype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataschema: Option<String>,
    aggregatetype: &'a str,
    aggregateversion: String,
    position: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lane: Option<String>,
    eventversion: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlationid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    actortype: ActorType,
    /// The tags as the text of a JSON array, since attributes have no lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<String>,
    /// The metadata as the text of a JSON object, since attributes have no objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Cow<'a, str>>,
    #[serde(flatten)]
    whole: Option<Whole>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

/// What only a log needs to know of its events.
#[derive(Serialize)]
struct Whole {
    eventsource: Source,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    /// The very text of the data, where line breaks stand between its tokens, which a line can't have; base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    exactdata: Option<String>,
    /// The same of the metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    exactmetadata: Option<String>,
}

/// A line that is no event of the log.
#[cfg(feature = "cli")]
#[derive(Serialize)]
struct Beside<'a, T> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    #[serde(rename = "type")]
    kind: &'a str,
    datacontenttype: &'static str,
    data: &'a T,
}

impl Whole {
    fn of(event: &RecordedEvent) -> Self {
        let exact = |json: &Json| {
            let text = json.as_str();
            text.contains(CONTROLS).then(|| STANDARD.encode(text))
        };
        Self {
            eventsource: event.source,
            hash: event.hash.map(|hash| hex(&hash)),
            exactdata: event.payload.as_json().and_then(exact),
            exactmetadata: event.metadata.as_ref().and_then(exact),
        }
    }
}

impl Format {
    /// Writes all that the log of a topic says.
    #[cfg(feature = "cli")]
    pub(crate) const fn whole(topic: String, lanes: bool) -> Self {
        Self { topic, lanes, source: None, schema: None, whole: true }
    }

    /// Returns where an event comes from: with its `id` it is unique, as `CloudEvents` ask for.
    fn source(&self, event: &RecordedEvent) -> String {
        let source = self.topic_source();
        if self.lanes { format!("{}/{}", source.trim_end_matches('/'), event.lane) } else { source }
    }

    fn topic_source(&self) -> String {
        self.source.clone().unwrap_or_else(|| format!("/annals/{}", escape(&self.topic)))
    }

    /// Returns the JSON of what is no event of the log, with an id of its own.
    #[cfg(feature = "cli")]
    pub(crate) fn beside(&self, kind: &str, id: &str, data: &impl Serialize) -> Result<String> {
        let beside = Beside {
            specversion: "1.0",
            id,
            source: self.topic_source(),
            kind,
            datacontenttype: "application/json",
            data,
        };
        serde_json::to_string(&beside).map_err(|error| Error::invalid("row", error.to_string()))
    }

    /// Returns the key by which a broker knows an event again: its id, and its lane where there are several.
    pub(super) fn key(&self, event: &RecordedEvent) -> String {
        if self.lanes { format!("{}/{}", event.event_id, event.lane) } else { event.event_id.to_string() }
    }

    /// Returns the JSON of an event, its data byte for byte.
    pub(crate) fn json(&self, event: &RecordedEvent) -> Result<String> {
        let (data, data_base64, datacontenttype) = match &event.payload {
            Payload::Json(json) => (Some(json), None, "application/json"),
            Payload::Bytes { content_type, bytes } => (None, Some(STANDARD.encode(bytes)), content_type.as_str()),
        };
        let cloud_event = CloudEvent {
            specversion: "1.0",
            id: event.event_id,
            source: &self.source(event),
            event_type: &event.event_type,
            subject: &event.aggregate_id,
            time: event.event_timestamp.to_rfc3339_opts(SecondsFormat::Micros, true),
            datacontenttype,
            dataschema: self.schema.as_ref().map(|schema| schema.fill(&self.topic, event)),
            aggregatetype: &event.aggregate_type,
            aggregateversion: event.aggregate_version.to_string(),
            position: event.position.to_string(),
            lane: self.lanes.then(|| event.lane.to_string()),
            eventversion: event.event_version,
            correlationid: event.correlation_id,
            causationid: event.causation_id,
            actor: event.actor.as_deref(),
            actortype: event.actor_type,
            tags: crate::json::tags(&event.tags),
            metadata: event.metadata.as_ref().map(|metadata| spaced(metadata.as_str())),
            whole: self.whole.then(|| Whole::of(event)),
            data,
            data_base64,
        };
        serde_json::to_string(&cloud_event).map_err(|error| Error::invalid("event", error.to_string()))
    }
}

/// Control characters that can stand between the tokens of JSON.
const CONTROLS: [char; 3] = ['\n', '\r', '\t'];

/// Returns JSON as an attribute can hold it, where control characters are not allowed: they can stand only between tokens,
/// where a space means the same.
fn spaced(json: &str) -> Cow<'_, str> {
    if json.contains(CONTROLS) { json.replace(CONTROLS, " ").into() } else { json.into() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::event;
    use super::*;

    /// The object of an event whose data every reader understands.
    fn object(format: &Format) -> Value {
        let event = RecordedEvent { payload: Payload::Json(Json::parse("1").unwrap()), ..event() };
        serde_json::from_str(&format.json(&event).unwrap()).unwrap()
    }

    fn format() -> Format {
        Format { topic: "my orders".to_owned(), lanes: false, source: None, schema: None, whole: false }
    }

    #[test]
    fn an_event_becomes_a_cloud_event_with_its_data_byte_for_byte() {
        let text = format().json(&event()).unwrap();
        let expected = concat!(
            r#"{"specversion":"1.0","id":"0198c0de-0000-7000-8000-000000000001","source":"/annals/my%20orders","#,
            r#""type":"OrderPlaced","subject":"order-1","time":"2026-01-31T09:30:00.000001Z","#,
            r#""datacontenttype":"application/json","aggregatetype":"order","aggregateversion":"3","position":"17","#,
            r#""eventversion":1,"correlationid":"0198c0de-0000-7000-8000-000000000002","#,
            r#""causationid":"0198c0de-0000-7000-8000-000000000003","actor":"ada \"L\"","actortype":"user","#,
            r#""tags":"[\"customer:7\"]","metadata":"{\"host\": \"a\"}","data":{"b": 0.10, "a": 1e400, "a":"\ud800"}}"#,
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn bytes_travel_in_base64_beside_their_content_type() {
        let mut event = event();
        event.payload = Payload::Bytes { content_type: "application/protobuf".to_owned(), bytes: vec![0, 255, 1] };
        (event.metadata, event.correlation_id, event.causation_id, event.actor) = (None, None, None, None);
        event.tags.clear();
        let value: Value = serde_json::from_str(&format().json(&event).unwrap()).unwrap();
        assert_eq!(value["data_base64"], "AP8B");
        assert_eq!(value["datacontenttype"], "application/protobuf");
        for absent in ["data", "metadata", "correlationid", "causationid", "actor", "tags", "lane", "dataschema"] {
            assert!(value.get(absent).is_none(), "{absent} in {value}");
        }
    }

    #[test]
    fn an_id_that_two_lanes_have_makes_two_events() {
        let format = Format { lanes: true, source: Some("https://example.org/orders/".to_owned()), ..format() };
        let value = object(&format);
        assert_eq!(value["source"], "https://example.org/orders/4");
        assert_eq!(value["lane"], "4");
        assert_eq!(format.key(&event()), "0198c0de-0000-7000-8000-000000000001/4");
    }

    #[test]
    fn the_schema_of_the_data_is_named_by_a_template() {
        let schema = Template::parse("schema", "https://example.org/{event_type}/{event_version}").unwrap();
        let format = Format { schema: Some(schema), ..format() };
        let value = object(&format);
        assert_eq!(value["dataschema"], json!("https://example.org/OrderPlaced/1"));
    }

    #[test]
    fn names_of_attributes_are_what_cloud_events_allow() {
        let value = object(&Format { lanes: true, ..format() });
        for (name, value) in value.as_object().unwrap().iter().filter(|(name, _)| *name != "data") {
            assert!(name.len() <= 20 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{name}");
            let fits = value.is_string() || value.as_i64().is_some_and(|number| i32::try_from(number).is_ok());
            assert!(fits, "{name}: {value}");
        }
    }
}
