//! What a statement can ask of an event.

use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::event::{Payload, RecordedEvent};
use crate::json::Json;
use crate::sql::Value;

/// The fields, as messages list them.
const FIELDS: [&str; 15] = [
    "aggregate_id",
    "aggregate_type",
    "aggregate_version",
    "event_type",
    "event_version",
    "event_id",
    "event_timestamp",
    "position",
    "lane",
    "actor",
    "correlation_id",
    "causation_id",
    "data",
    "metadata",
    "tags",
];

/// A field of an event, and a path into its document.
#[derive(Debug)]
pub(super) struct Parameter {
    /// One of [`FIELDS`].
    field: &'static str,
    path: Vec<String>,
}

impl Parameter {
    /// Takes the name of a parameter apart.
    ///
    /// # Errors
    /// A reason, where an event has no such field.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let mut words = name.split('.');
        let first = words.next().unwrap_or_default();
        let path: Vec<String> = words.map(str::to_owned).collect();
        match FIELDS.into_iter().find(|field| *field == first) {
            Some(field @ ("data" | "metadata")) => Ok(Self { field, path }),
            Some(field) if path.is_empty() => Ok(Self { field, path }),
            Some(field) => Err(format!(":{name} is no parameter, as :{field} has no parts")),
            None => {
                let fields = FIELDS.join(", :");
                Err(format!("there is no parameter :{name}; there are :{fields}, :data.PATH and :metadata.PATH"))
            }
        }
    }

    /// Returns what an event holds there; `None` where it holds nothing, or a null.
    ///
    /// # Errors
    /// A reason, where a document can't be read.
    pub(super) fn value(&self, event: &RecordedEvent) -> Result<Option<Value>, String> {
        let value: Value = match self.field {
            "aggregate_id" => (&event.aggregate_id).into(),
            "aggregate_type" => (&event.aggregate_type).into(),
            "aggregate_version" => event.aggregate_version.get().into(),
            "event_type" => (&event.event_type).into(),
            "event_version" => i64::from(event.event_version).into(),
            "event_id" => event.event_id.to_string().into(),
            "event_timestamp" => event.event_timestamp.to_rfc3339_opts(chrono::SecondsFormat::Micros, true).into(),
            "position" => event.position.get().into(),
            "lane" => event.lane.get().into(),
            "actor" => event.actor.clone().into(),
            "correlation_id" => event.correlation_id.map(|id| id.to_string()).into(),
            "causation_id" => event.causation_id.map(|id| id.to_string()).into(),
            "tags" => serde_json::to_string(&event.tags).map_err(|error| error.to_string())?.into(),
            "data" => match &event.payload {
                Payload::Json(json) => return self.within(json),
                Payload::Bytes { bytes, .. } if self.path.is_empty() => bytes.clone().into(),
                Payload::Bytes { .. } => return Ok(None),
            },
            _ => return event.metadata.as_ref().map_or(Ok(None), |json| self.within(json)),
        };
        Ok(Some(value).filter(|value| !value.is_null()))
    }

    /// Follows the path into a document, level by level, so that what is found keeps its very text.
    fn within(&self, json: &Json) -> Result<Option<Value>, String> {
        let unread = |error: serde_json::Error| format!("the {} of the event: {error}", self.field);
        let mut found: &RawValue = serde_json::from_str(json.as_str()).map_err(unread)?;
        for word in &self.path {
            let next = match found.get().as_bytes().first() {
                Some(b'{') => {
                    let level: HashMap<String, &RawValue> = serde_json::from_str(found.get()).map_err(unread)?;
                    level.get(word).copied()
                }
                Some(b'[') => {
                    let level: Vec<&RawValue> = serde_json::from_str(found.get()).map_err(unread)?;
                    word.parse::<usize>().ok().and_then(|index| level.get(index).copied())
                }
                _ => None,
            };
            let Some(next) = next else { return Ok(None) };
            found = next;
        }
        typed(found.get()).map_err(unread)
    }
}

/// Returns a JSON value as the database is given it.
fn typed(json: &str) -> serde_json::Result<Option<Value>> {
    Ok(Some(match json.as_bytes().first() {
        Some(b'n') => return Ok(None),
        Some(b't' | b'f') => serde_json::from_str::<bool>(json)?.into(),
        Some(b'"') => serde_json::from_str::<String>(json)?.into(),
        Some(b'{' | b'[') => json.into(),
        _ => match json.parse::<i64>() {
            Ok(number) => number.into(),
            Err(_) => serde_json::from_str::<f64>(json)?.into(),
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str, json: &str) -> Option<Value> {
        let parameter = Parameter::parse(path).unwrap();
        parameter.within(&Json::parse(json).unwrap()).unwrap()
    }

    #[test]
    fn a_path_leads_to_a_typed_value() {
        let json = r#" {"a": {"b": [1, -2.5, "it's", true, null, {"z": 0.10, "y" : [ ]}]}} "#;
        assert_eq!(at("data.a.b.0", json), Some(1i64.into()));
        assert_eq!(at("data.a.b.1", json), Some((-2.5).into()));
        assert_eq!(at("data.a.b.2", json), Some("it's".into()));
        assert_eq!(at("data.a.b.3", json), Some(true.into()));
        assert_eq!(at("data.a.b.4", json), None);
        assert_eq!(at("data.a.b.5", json), Some(r#"{"z": 0.10, "y" : [ ]}"#.into()));
        assert_eq!(at("data.a.b.6", json), None);
        assert_eq!(at("data.a.b.0.c", json), None);
        assert_eq!(at("data", "18446744073709551616"), Some(18_446_744_073_709_551_616.0.into()));
    }

    #[test]
    fn what_no_event_has_is_refused() {
        assert!(
            Parameter::parse("amount").unwrap_err().starts_with("there is no parameter :amount; there are :aggreg")
        );
        assert_eq!(Parameter::parse("lane.x").unwrap_err(), ":lane.x is no parameter, as :lane has no parts");
    }
}
