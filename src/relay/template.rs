//! Texts with places for what an event says: subjects and the URIs of schemas.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{Error, Result};
use crate::event::RecordedEvent;

/// What stands in a subject's token or a URI's segment as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// The places that a template may name.
const PLACES: [(&str, Place); 6] = [
    ("topic", Place::Topic),
    ("lane", Place::Lane),
    ("aggregate_type", Place::AggregateType),
    ("aggregate_id", Place::AggregateId),
    ("event_type", Place::EventType),
    ("event_version", Place::EventVersion),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Topic,
    Lane,
    AggregateType,
    AggregateId,
    EventType,
    EventVersion,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(Place),
}

/// A text with places in braces, such as `annals.{topic}.{aggregate_type}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

impl Template {
    /// Takes a text apart; `what` it is goes into the message of an error.
    ///
    /// # Errors
    /// [`Error::Invalid`] where a place is not known, or a brace has no other.
    pub(super) fn parse(what: &'static str, text: &str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let unclosed = || Error::invalid(what, format!("{text:?} has a brace without its other"));
            let (name, after) = after.split_once('}').ok_or_else(unclosed)?;
            let place = PLACES.iter().find(|(known, _)| *known == name).ok_or_else(|| {
                let known = PLACES.map(|(known, _)| format!("{{{known}}}")).join(", ");
                Error::invalid(what, format!("{{{name}}} is not one of {known}"))
            })?;
            parts.extend([Part::Text(before.to_owned()), Part::Place(place.1)]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        if parts.is_empty() || parts.iter().any(|part| matches!(part, Part::Text(text) if text.contains('}'))) {
            return Err(Error::invalid(what, format!("{text:?} is empty, or has a brace without its other")));
        }
        Ok(Self(parts))
    }

    /// Returns the text of an event. What the event says is percent-encoded but for letters, digits, `-` and `_` of
    /// ASCII, so that two values never look alike, and none of them breaks what is around it.
    pub(super) fn fill(&self, topic: &str, event: &RecordedEvent) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Place(Place::Topic) => text.push_str(&escape(topic)),
                Part::Place(Place::Lane) => text.push_str(&event.lane.to_string()),
                Part::Place(Place::AggregateType) => text.push_str(&escape(&event.aggregate_type)),
                Part::Place(Place::AggregateId) => text.push_str(&escape(&event.aggregate_id)),
                Part::Place(Place::EventType) => text.push_str(&escape(&event.event_type)),
                Part::Place(Place::EventVersion) => text.push_str(&event.event_version.to_string()),
            }
        }
        text
    }

    /// Returns what stands between the places, each place as one letter.
    #[cfg(feature = "nats")]
    pub(super) fn outline(&self) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Place(_) => "x".to_owned(),
        };
        self.0.iter().map(part).collect()
    }
}

/// Percent-encodes all but letters, digits, `-` and `_` of ASCII.
pub(super) fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::tests::event;
    use super::*;

    #[test]
    fn what_an_event_says_cannot_break_out_of_its_place() {
        let template = Template::parse("subject", "a.{topic}.{aggregate_type}.{event_type}.{event_version}").unwrap();
        let mut event = event();
        event.aggregate_type = "order.> *%2E".to_owned();
        event.event_type = "$ausgelöst_-".to_owned();
        assert_eq!(template.fill("my topic", &event), "a.my%20topic.order%2E%3E%20%2A%252E.%24ausgel%C3%B6st_-.1");
    }

    #[test]
    fn unknown_places_and_lone_braces_are_refused() {
        for text in ["", "{", "a}", "{}", "{tenant}", "a.{topic", "a.{topic}}"] {
            assert!(matches!(Template::parse("subject", text), Err(Error::Invalid { .. })), "{text:?}");
        }
        let error = Template::parse("subject", "{tenant}").unwrap_err().to_string();
        assert!(error.contains("{tenant} is not one of {topic}, {lane}"), "{error}");
    }
}
