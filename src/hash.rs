//! The hash of an event, and of a request: SHA-256 over a canonical encoding of what the caller decided.
//!
//! The encoding is a sequence of fields. A text or byte field is its length in bytes as a 64-bit big-endian number,
//! then the bytes; an absent field is the length 2⁶⁴ − 1 alone, so that null differs from empty; a number is 64 bits,
//! big-endian, two's complement; a list is its count, then its items.
//!
//! **An event's hash** (`events.hash`) covers, in this order: the text `annals-event-1`, `aggregate_id`,
//! `aggregate_type`, `event_type`, `event_version`, `actor`, `actor_type`, `source`, `causation_id` (16 bytes),
//! `correlation_id` (16 bytes), `content_type`, `data` as stored, `metadata`, and the tags, sorted. What the store
//! decides (position, version, time, a generated id) is not part of it.
//!
//! The test vectors are in `docs/hash.md`, and a test holds them.

mod log;
#[cfg(feature = "_sql")]
mod rows;

use sha2::{Digest, Sha256};

pub use log::{LaneHash, TopicHash};
#[cfg(feature = "_sql")]
pub(crate) use rows::RowsHash;

use crate::backend::request::{CommandWrite, EventWrite, Request, StreamRule};
use crate::event::{Payload, RecordedEvent};
use crate::json::encode_bytes;
use crate::stream::Expected;

/// Hashes fields in the canonical encoding.
#[derive(Debug, Clone)]
struct Hasher(Sha256);

impl Hasher {
    fn new(kind: &str) -> Self {
        let mut hasher = Self(Sha256::new());
        hasher.text(kind);
        hasher
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => self.0.update(u64::MAX.to_be_bytes()),
        }
    }

    fn number(&mut self, number: i64) {
        self.0.update(number.to_be_bytes());
    }

    #[cfg(feature = "_sql")]
    fn optional_number(&mut self, number: Option<i64>) {
        self.optional(number.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
    }

    fn count(&mut self, count: usize) {
        self.0.update((count as u64).to_be_bytes());
    }

    fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// The fields of an event that the caller decides.
struct Fields<'a> {
    aggregate_id: &'a str,
    aggregate_type: &'a str,
    event_type: &'a str,
    event_version: i32,
    actor: Option<&'a str>,
    actor_type: &'a str,
    source: &'a str,
    causation_id: Option<&'a [u8]>,
    correlation_id: Option<&'a [u8]>,
    content_type: Option<&'a str>,
    data: &'a str,
    metadata: Option<&'a str>,
    tags: &'a [String],
}

impl Fields<'_> {
    fn hash(&self) -> [u8; 32] {
        let mut hasher = Hasher::new("annals-event-1");
        hasher.text(self.aggregate_id);
        hasher.text(self.aggregate_type);
        hasher.text(self.event_type);
        hasher.number(self.event_version.into());
        hasher.optional(self.actor.map(str::as_bytes));
        hasher.text(self.actor_type);
        hasher.text(self.source);
        hasher.optional(self.causation_id);
        hasher.optional(self.correlation_id);
        hasher.optional(self.content_type.map(str::as_bytes));
        hasher.text(self.data);
        hasher.optional(self.metadata.map(str::as_bytes));
        hasher.count(self.tags.len());
        for tag in self.tags {
            hasher.text(tag);
        }
        hasher.finish()
    }
}

/// Hashes an event that is to be appended to a stream.
pub(crate) fn event(stream: &StreamRule, event: &EventWrite) -> [u8; 32] {
    Fields {
        aggregate_id: &stream.aggregate_id,
        aggregate_type: &stream.aggregate_type,
        event_type: &event.event_type,
        event_version: event.event_version,
        actor: event.actor.as_deref(),
        actor_type: event.actor_type.as_str(),
        source: event.source.as_str(),
        causation_id: event.causation_id.as_ref().map(|id| &id.as_bytes()[..]),
        correlation_id: event.correlation_id.as_ref().map(|id| &id.as_bytes()[..]),
        content_type: event.content_type.as_deref(),
        data: event.data.as_str(),
        metadata: event.metadata.as_ref().map(crate::json::Json::as_str),
        tags: &event.tags,
    }
    .hash()
}

/// Computes anew the hash of an event that was read, to compare it with [`RecordedEvent::hash`].
///
/// ```
/// # fn check(event: &annals::RecordedEvent) -> bool {
/// event.hash == Some(annals::hash::of(event))
/// # }
/// ```
#[must_use]
pub fn of(event: &RecordedEvent) -> [u8; 32] {
    let encoded;
    let (content_type, data) = match &event.payload {
        Payload::Json(json) => (None, json),
        Payload::Bytes { content_type, bytes } => {
            encoded = encode_bytes(bytes);
            (Some(content_type.as_str()), &encoded)
        }
    };
    Fields {
        aggregate_id: &event.aggregate_id,
        aggregate_type: &event.aggregate_type,
        event_type: &event.event_type,
        event_version: event.event_version,
        actor: event.actor.as_deref(),
        actor_type: event.actor_type.as_str(),
        source: event.source.as_str(),
        causation_id: event.causation_id.as_ref().map(|id| &id.as_bytes()[..]),
        correlation_id: event.correlation_id.as_ref().map(|id| &id.as_bytes()[..]),
        content_type,
        data: data.as_str(),
        metadata: event.metadata.as_ref().map(crate::json::Json::as_str),
        tags: &event.tags,
    }
    .hash()
}

/// Hashes what a caller decided of a request: streams, expectations, condition, events with the ids that the caller
/// gave, and what is recorded of the command. A repeated command is compared by it.
pub(crate) fn request(request: &Request, command: &CommandWrite) -> [u8; 32] {
    let mut hasher = Hasher::new("annals-request-1");
    hasher.count(request.streams.len());
    for rule in &request.streams {
        hasher.text(&rule.aggregate_id);
        hasher.text(&rule.aggregate_type);
        hasher.number(match rule.expected {
            Expected::Exact(version) => version.get(),
            Expected::NoStream => 0,
            Expected::Exists => -1,
            Expected::Any => -2,
        });
        hasher.number(rule.life as i64);
    }
    hasher.count(request.events.len());
    for event in &request.events {
        hasher.count(event.stream);
        hasher.optional(event.id_given.then_some(&event.event_id.as_bytes()[..]));
        hasher.bytes(&event.hash);
    }
    hasher.number(request.condition.is_some().into());
    if let Some(condition) = &request.condition {
        hasher.number(condition.after.get());
        hasher.count(condition.items.len());
        for texts in condition.items.iter().flat_map(|item| [&item.types, &item.tags]) {
            hasher.count(texts.len());
            for text in texts {
                hasher.text(text);
            }
        }
    }
    for text in [&command.command_type, &command.aggregate_id, &command.aggregate_type, &command.actor] {
        hasher.optional(text.as_deref().map(str::as_bytes));
    }
    hasher.optional(command.source.map(|source| source.as_str().as_bytes()));
    hasher.optional(command.data.as_ref().map(|data| data.as_str().as_bytes()));
    hasher.finish()
}

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// How serde writes and reads a hash: as hexadecimal digits.
pub(crate) mod hexadecimal {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(hash: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::hex(hash))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        super::from_hex(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Reads a hash of 64 hexadecimal digits.
pub(crate) fn from_hex(text: &str) -> crate::Result<[u8; 32]> {
    let mut hash = [0; 32];
    let digits = text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    for (index, byte) in hash.iter_mut().enumerate() {
        let pair = text.get(index * 2..index * 2 + 2).filter(|_| digits);
        let value = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        *byte = value.ok_or_else(|| crate::Error::invalid("hash", "it is not 64 hexadecimal digits"))?;
    }
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use chrono::DateTime;
    use serde::Deserialize;
    use uuid::Uuid;

    use super::*;
    use crate::backend::request::Life;
    use crate::event::{ActorType, Source};
    use crate::json::Json;
    use crate::position::{LaneId, Position, Version};

    #[derive(Deserialize)]
    struct Vector {
        aggregate_id: String,
        aggregate_type: String,
        event_type: String,
        event_version: i32,
        actor: Option<String>,
        actor_type: ActorType,
        source: Source,
        causation_id: Option<Uuid>,
        correlation_id: Option<Uuid>,
        content_type: Option<String>,
        data: String,
        metadata: Option<String>,
        tags: Vec<String>,
        hash: String,
    }

    impl Vector {
        fn metadata(&self) -> Option<Json> {
            self.metadata.as_ref().map(|text| Json::parse(text.as_str()).unwrap())
        }

        fn write(&self) -> (StreamRule, EventWrite) {
            let rule = StreamRule {
                aggregate_id: self.aggregate_id.clone(),
                aggregate_type: self.aggregate_type.clone(),
                expected: Expected::Any,
                life: Life::Keep,
            };
            let write = EventWrite {
                stream: 0,
                event_id: Uuid::nil(),
                id_given: false,
                event_type: self.event_type.clone(),
                event_version: self.event_version,
                actor: self.actor.clone(),
                actor_type: self.actor_type,
                source: self.source,
                causation_id: self.causation_id,
                correlation_id: self.correlation_id,
                data: Json::parse(self.data.as_str()).unwrap(),
                metadata: self.metadata(),
                content_type: self.content_type.clone(),
                tags: self.tags.clone(),
                hash: [0; 32],
            };
            (rule, write)
        }

        fn recorded(&self) -> RecordedEvent {
            let payload = match &self.content_type {
                None => Payload::Json(Json::parse(self.data.as_str()).unwrap()),
                Some(content_type) => Payload::Bytes {
                    content_type: content_type.clone(),
                    bytes: STANDARD.decode(self.data.trim_matches('"')).unwrap(),
                },
            };
            RecordedEvent {
                lane: LaneId::new(7),
                position: Position::new(8),
                event_id: Uuid::max(),
                aggregate_id: self.aggregate_id.clone(),
                aggregate_type: self.aggregate_type.clone(),
                aggregate_version: Version::new(9),
                event_type: self.event_type.clone(),
                event_version: self.event_version,
                event_timestamp: DateTime::UNIX_EPOCH,
                actor: self.actor.clone(),
                actor_type: self.actor_type,
                source: self.source,
                causation_id: self.causation_id,
                correlation_id: self.correlation_id,
                payload,
                metadata: self.metadata(),
                tags: self.tags.clone(),
                hash: None,
            }
        }
    }

    /// The JSON blocks of `docs/hash.md`.
    fn vectors() -> Vec<Vector> {
        let blocks = include_str!("../docs/hash.md").split("```json\n").skip(1);
        blocks.map(|block| serde_json::from_str(block.split("```").next().unwrap()).unwrap()).collect()
    }

    #[test]
    fn an_event_to_be_written_has_the_published_hash() {
        let vectors = vectors();
        assert_eq!(vectors.len(), 5);
        for vector in vectors {
            let (rule, write) = vector.write();
            assert_eq!(crate::hash::hex(&event(&rule, &write)), vector.hash);
        }
    }

    #[test]
    fn an_event_that_was_read_has_the_published_hash() {
        for vector in vectors() {
            assert_eq!(crate::hash::hex(&of(&vector.recorded())), vector.hash);
        }
    }

    #[test]
    fn a_log_has_the_published_hashes() {
        let page = include_str!("../docs/hash.md");
        let section = page.split("## A whole log").nth(1).unwrap();
        let published: Vec<&str> =
            section.split("```text\n").skip(1).take(2).map(|block| block.split('\n').next().unwrap()).collect();
        let mut lane = LaneHash::new();
        lane.event(&vectors()[0].recorded());
        assert_eq!(crate::hash::hex(&lane.so_far()), published[0]);
        let mut topic = TopicHash::new();
        topic.lane(&lane.so_far());
        topic.lane(&LaneHash::new().so_far());
        assert_eq!(crate::hash::hex(&topic.finish()), published[1]);
    }
}
