//! A line that is a `CloudEvent`: of an export, of a relay, or of somebody else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Exact, Line, Members, with_member};
use crate::error::{Error, Result};

/// The namespace of the ids of events whose own id is no UUID.
const IDS: Uuid = Uuid::from_u128(0x8a7e_1c52_6b0d_5d0e_9d53_2f7c_41e8_b6a4);

/// The member of the metadata that keeps the attributes for which an event has no field.
const KEPT: &str = "cloudevents";

/// The attributes that all events of exports and relays have, and no others.
const OWN: [&str; 3] = ["aggregatetype", "aggregateversion", "position"];

impl<'a> Line<'a> {
    /// Reads a `CloudEvent`. One that no event store of this kind has written belongs to a stream of the given category.
    pub(crate) fn cloud_event(mut members: Members<'a>, aggregate_type: &str) -> Result<Self> {
        let version: Option<String> = members.read("specversion")?;
        if version.as_deref() != Some("1.0") {
            return Err(Error::invalid("specversion", "it is not that of CloudEvents 1.0, \"1.0\""));
        }
        let own =
            if OWN.iter().all(|name| members.has_text(name)) { members.read::<String>("aggregatetype")? } else { None };
        let id: String = members.read("id")?.ok_or_else(|| missing("id"))?;
        let source: String = members.read("source")?.ok_or_else(|| missing("source"))?;
        let mut line = Self {
            aggregate_id: Some(members.read("subject")?.unwrap_or_else(|| source.clone())),
            aggregate_type: Some(own.clone().unwrap_or_else(|| aggregate_type.to_owned())),
            event_type: members.read("type")?.ok_or_else(|| missing("type"))?,
            event_id: Some(event_id(&source, &id)),
            event_timestamp: members.read("time")?,
            ..Self::empty()
        };
        let content_type = line.take_data(&mut members)?;
        let metadata = if own.is_some() { line.take_own(&mut members)? } else { None };
        let given = members.rest().into_iter().filter(|(_, value)| value.get() != "null");
        let mut kept: Vec<_> = given.map(|(name, value)| (name, value.get().to_owned())).collect();
        kept.extend(content_type.map(|value| ("datacontenttype".to_owned(), value.get().to_owned())));
        if own.is_none() {
            kept.extend([("id".to_owned(), quoted(&id)), ("source".to_owned(), quoted(&source))]);
        }
        line.keep(metadata, kept);
        Ok(line)
    }

    /// Takes the data: JSON, or bytes in base64 with their content type. Returns one that says more than that of JSON.
    fn take_data(&mut self, members: &mut Members<'a>) -> Result<Option<&'a RawValue>> {
        let given = |value: &&RawValue| value.get() != "null";
        let (json, bytes) = (members.take("data"), members.take("data_base64").filter(given));
        let content_type = members.take("datacontenttype").filter(given);
        if json.as_ref().is_some_and(given) && bytes.is_some() {
            return Err(Error::invalid("data", "the event has data_base64 too, and one of them at most is allowed"));
        }
        self.data = bytes.or(json).unwrap_or(RawValue::NULL);
        if bytes.is_none() {
            return Ok(content_type.filter(|value| value.get() != "\"application/json\""));
        }
        let of_bytes = content_type.map(|value| serde_json::from_str(value.get())).transpose();
        let of_bytes = of_bytes.map_err(|error| super::members::invalid("datacontenttype", &error))?;
        self.content_type = Some(of_bytes.unwrap_or_else(|| "application/octet-stream".to_owned()));
        Ok(None)
    }

    /// Takes the attributes that exports and relays write, and returns the metadata.
    fn take_own(&mut self, members: &mut Members<'a>) -> Result<Option<String>> {
        self.aggregate_version = number(members, "aggregateversion")?;
        self.position = number(members, "position")?;
        self.lane = number(members, "lane")?;
        self.event_version = members.read("eventversion")?;
        self.correlation_id = members.read("correlationid")?;
        self.causation_id = members.read("causationid")?;
        self.actor = members.read("actor")?;
        self.actor_type = members.read("actortype")?;
        self.source = members.read("eventsource")?;
        self.hash = members.read("hash")?;
        let tags: Option<String> = members.read("tags")?;
        let tags = tags.map(|tags| serde_json::from_str(&tags)).transpose();
        self.tags = tags.map_err(|error| super::members::invalid("tags", &error))?;
        let data = exact(members, "exactdata")?;
        self.exact = data.map(|data| Exact { data: Some(data), metadata: None });
        let metadata: Option<String> = members.read("metadata")?;
        Ok(exact(members, "exactmetadata")?.or(metadata))
    }

    /// Puts attributes that have no field into the metadata.
    fn keep(&mut self, metadata: Option<String>, mut kept: Vec<(String, String)>) {
        let metadata = if kept.is_empty() {
            metadata
        } else {
            kept.sort_unstable();
            let members: Vec<_> = kept.into_iter().map(|(name, value)| format!("{}:{value}", quoted(&name))).collect();
            Some(with_member(metadata.as_deref(), KEPT, &format!("{{{}}}", members.join(","))))
        };
        if metadata.is_some() {
            self.exact.get_or_insert_default().metadata = metadata;
        }
    }
}

/// Returns the id of an event: its own, where that is a UUID; else the UUID of version 5 of its source and id, with a null
/// byte between them. With its source, an id is unique.
fn event_id(source: &str, id: &str) -> Uuid {
    Uuid::parse_str(id).unwrap_or_else(|_| Uuid::new_v5(&IDS, format!("{source}\0{id}").as_bytes()))
}

fn number(members: &mut Members<'_>, name: &'static str) -> Result<Option<i64>> {
    let text: Option<String> = members.read(name)?;
    text.map(|text| text.parse().map_err(|_| Error::invalid(name, "it is not a whole number"))).transpose()
}

fn exact(members: &mut Members<'_>, name: &'static str) -> Result<Option<String>> {
    let text: Option<String> = members.read(name)?;
    let text = text.map(|text| STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()));
    text.map(|text| text.ok_or_else(|| Error::invalid(name, "it is not a text in base64"))).transpose()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn missing(name: &'static str) -> Error {
    Error::invalid(name, "the event has none, and a CloudEvent needs one")
}
