//! Events: as a caller gives them and as the store returns them.

mod serialize;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, ErrorClass, Result};
use crate::json::Json;
use crate::limits;
use crate::name;
use crate::position::{LaneId, Position, Version};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident $what:literal $default:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name {
            $($(#[$variant_doc])* $variant),*
        }

        impl $name {
            /// Returns the word that is stored.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(Error::invalid($what, format!("{text:?} is not one of {}", [$($text),*].join(", ")))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Who caused an event.
    ActorType "actor_type" System {
        /// A person.
        User = "user",
        /// A program on behalf of nobody in particular.
        Service = "service",
        /// The system itself; the default.
        #[default]
        System = "system",
    }
}

words! {
    /// The way by which an event came in.
    Source "source" System {
        /// A user interface.
        Ui = "ui",
        /// A programming interface.
        Api = "api",
        /// An import.
        Import = "import",
        /// A call from another system.
        Webhook = "webhook",
        /// The system itself; the default.
        #[default]
        System = "system",
    }
}

/// The event types that the store itself appends to a stream; a caller can't use them.
pub mod marker {
    /// The stream was deleted.
    pub const DELETED: &str = "$deleted";
    /// The stream was undeleted: it shows as it did before its deletion.
    pub const UNDELETED: &str = "$undeleted";
    /// The stream was reused: it shows from this event on.
    pub const REUSED: &str = "$reused";

    /// Returns whether an event type is one of the store's own.
    #[must_use]
    pub fn is_marker(event_type: &str) -> bool {
        matches!(event_type, DELETED | UNDELETED | REUSED)
    }
}

/// The payload of an event: JSON, or bytes of another content type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A JSON value.
    Json(Json),
    /// Bytes that are not JSON, kept as a base64 JSON string beside their content type.
    Bytes {
        /// The content type, such as `application/protobuf`.
        content_type: String,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

impl Payload {
    /// Returns the JSON document, if the payload is one.
    #[must_use]
    pub const fn as_json(&self) -> Option<&Json> {
        match self {
            Self::Json(json) => Some(json),
            Self::Bytes { .. } => None,
        }
    }

    /// Reads the stored form: JSON, or where there is a content type a JSON string of base64.
    pub(crate) fn from_stored(data: Json, content_type: Option<String>) -> Result<Self> {
        let Some(content_type) = content_type else { return Ok(Self::Json(data)) };
        let text = data.as_str().trim_matches('"');
        match base64::engine::general_purpose::STANDARD.decode(text) {
            Ok(bytes) => Ok(Self::Bytes { content_type, bytes }),
            Err(error) => Err(Error::backend("annals", "decode data", ErrorClass::Fatal, error)),
        }
    }

    /// Deserializes a JSON payload.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the payload is not JSON, or not of the shape that `T` asks for.
    pub fn to<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        match self {
            Self::Json(json) => json.to(),
            Self::Bytes { content_type, .. } => Err(Error::invalid("data", format!("it is {content_type}, not json"))),
        }
    }
}

impl From<Json> for Payload {
    fn from(json: Json) -> Self {
        Self::Json(json)
    }
}

/// An event that a caller wants to append.
///
/// ```
/// use annals::{ActorType, NewEvent};
/// let event = NewEvent::json("OrderPlaced", &serde_json::json!({"total": 12}))?
///     .with_actor("alice", ActorType::User)?
///     .with_tags(["customer:7"])?;
/// assert_eq!(event.event_type(), "OrderPlaced");
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    pub(crate) event_id: Option<Uuid>,
    pub(crate) event_type: String,
    pub(crate) event_version: i32,
    pub(crate) payload: Payload,
    pub(crate) metadata: Option<Json>,
    pub(crate) tags: Vec<String>,
    pub(crate) actor: Option<String>,
    pub(crate) actor_type: ActorType,
    pub(crate) source: Source,
    pub(crate) causation_id: Option<Uuid>,
    pub(crate) correlation_id: Option<Uuid>,
}

impl NewEvent {
    /// Makes an event of a type with a payload.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Limit`] where the type is not a name, or is one of the store's own
    /// ([`marker`]).
    pub fn new(event_type: impl Into<String>, payload: Payload) -> Result<Self> {
        let event_type = name::check("event_type", event_type)?;
        if marker::is_marker(&event_type) {
            return Err(Error::invalid("event_type", format!("{event_type:?} is kept for the store's own events")));
        }
        Ok(Self {
            event_id: None,
            event_type,
            event_version: 1,
            payload,
            metadata: None,
            tags: Vec::new(),
            actor: None,
            actor_type: ActorType::default(),
            source: Source::default(),
            causation_id: None,
            correlation_id: None,
        })
    }

    /// Makes an event whose data is a value serialized to JSON. To keep a JSON text byte for byte, give a [`Json`].
    ///
    /// # Errors
    /// As [`NewEvent::new`], and where the value can't be serialized.
    pub fn json(event_type: impl Into<String>, data: &(impl Serialize + ?Sized)) -> Result<Self> {
        Self::new(event_type, Payload::Json(Json::from_value(data)?))
    }

    /// Makes an event whose data is not JSON.
    ///
    /// # Errors
    /// As [`NewEvent::new`], and where the content type is not a name.
    pub fn bytes(
        event_type: impl Into<String>,
        content_type: impl Into<String>,
        bytes: impl Into<Vec<u8>>,
    ) -> Result<Self> {
        let content_type = name::check("content_type", content_type)?;
        Self::new(event_type, Payload::Bytes { content_type, bytes: bytes.into() })
    }

    /// Sets the event's id; without one the store makes a UUID of version 7.
    #[must_use]
    pub const fn with_id(mut self, event_id: Uuid) -> Self {
        self.event_id = Some(event_id);
        self
    }

    /// Sets the version of the data's schema; 1 without.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a version below 1.
    pub fn with_version(mut self, event_version: i32) -> Result<Self> {
        if event_version < 1 {
            return Err(Error::invalid("event_version", format!("{event_version} is below 1")));
        }
        self.event_version = event_version;
        Ok(self)
    }

    /// Sets the metadata, a JSON object.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it is not an object.
    pub fn with_metadata(mut self, metadata: Json) -> Result<Self> {
        self.metadata = Some(object("metadata", metadata)?);
        Ok(self)
    }

    /// Sets the tags by which queries and conditions find the event. Their order and repetition mean nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Limit`] where one is not a name, or where there are more than
    /// [`crate::limits::TAGS_PER_EVENT`].
    pub fn with_tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        self.tags = tags.into_iter().map(|tag| name::check("tag", tag)).collect::<Result<_>>()?;
        self.tags.sort_unstable();
        self.tags.dedup();
        limits::check("tags of an event", limits::TAGS_PER_EVENT, self.tags.len())?;
        Ok(self)
    }

    /// Sets who caused the event.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Limit`] where the actor is not a name.
    pub fn with_actor(mut self, actor: impl Into<String>, actor_type: ActorType) -> Result<Self> {
        self.actor = Some(name::check("actor", actor)?);
        self.actor_type = actor_type;
        Ok(self)
    }

    /// Sets what kind of actor caused the event, where its name is not known.
    #[must_use]
    pub const fn with_actor_type(mut self, actor_type: ActorType) -> Self {
        self.actor_type = actor_type;
        self
    }

    /// Sets the way by which the event came in.
    #[must_use]
    pub const fn with_source(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    /// Sets the id of the message that caused the event; without one, the command's id.
    #[must_use]
    pub const fn with_causation(mut self, causation_id: Uuid) -> Self {
        self.causation_id = Some(causation_id);
        self
    }

    /// Sets the id that all events of one conversation share.
    #[must_use]
    pub const fn with_correlation(mut self, correlation_id: Uuid) -> Self {
        self.correlation_id = Some(correlation_id);
        self
    }

    /// Returns the event's type.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// Returns the event's id, where the caller gave one.
    #[must_use]
    pub const fn event_id(&self) -> Option<Uuid> {
        self.event_id
    }
}

/// Checks that a document is a JSON object.
pub(crate) fn object(what: &'static str, json: Json) -> Result<Json> {
    if json.is_object() { Ok(json) } else { Err(Error::invalid(what, "it is not a json object")) }
}

/// An event as the store returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// The lane that holds it.
    pub lane: LaneId,
    /// Its place in the lane.
    pub position: Position,
    /// Its id, unique in the lane.
    pub event_id: Uuid,
    /// The id of its stream.
    pub aggregate_id: String,
    /// The category of its stream.
    pub aggregate_type: String,
    /// Its place in its stream.
    pub aggregate_version: Version,
    /// Its type.
    pub event_type: String,
    /// The version of the data's schema, from 1.
    pub event_version: i32,
    /// When it was stored, by the database server's clock, in UTC, in microseconds; never before the lane's previous
    /// event.
    pub event_timestamp: DateTime<Utc>,
    /// Who caused it.
    pub actor: Option<String>,
    /// What kind of actor caused it.
    pub actor_type: ActorType,
    /// The way by which it came in.
    pub source: Source,
    /// The id of the message that caused it.
    pub causation_id: Option<Uuid>,
    /// The id that all events of one conversation share.
    pub correlation_id: Option<Uuid>,
    /// Its data.
    pub payload: Payload,
    /// Its metadata, a JSON object.
    pub metadata: Option<Json>,
    /// Its tags, sorted.
    pub tags: Vec<String>,
    /// SHA-256 over the fields that the caller decided ([`crate::hash`]); `None` where it was written from a SQL
    /// prompt.
    pub hash: Option<[u8; 32]>,
}
