//! Typed events: an enum of a program, and how it is stored.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{tagged, upcast};
use crate::error::{Error, Result};
use crate::event::{NewEvent, Payload, RecordedEvent, marker};
use crate::json::Json;

pub use super::upcast::Upcaster;

/// An enum of events that the store keeps by name and version, each with its data as JSON.
///
/// An enum that derives serde's traits needs no more than an empty `impl`: a variant's name is the event type (serde's
/// `rename` gives it another), its fields are the data. What an enum's serde attributes must not change is its form:
/// no `tag`, no `untagged`.
///
/// ```
/// use annals::{TypedEvent, Upcaster};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// enum Account {
///     Opened { owner: String },
///     Deposited { cents: i64 },
///     #[serde(rename = "AccountClosed")]
///     Closed,
/// }
///
/// impl TypedEvent for Account {
///     const VERSIONS: &'static [(&'static str, i32)] = &[("Deposited", 2)];
///     const UPCASTERS: &'static [Upcaster] = &[
///         Upcaster::new(("Deposited", 1), ("Deposited", 2), |data| {
///             serde_json::json!({"cents": data["euros"].as_i64().unwrap_or_default() * 100})
///         }),
///     ];
/// }
///
/// Account::check()?;
/// assert_eq!(Account::Closed.encode()?.event_type(), "AccountClosed");
/// # Ok::<(), annals::Error>(())
/// ```
pub trait TypedEvent: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The current versions of the event types whose data changed its shape; the others are at version 1.
    ///
    /// A field that may be absent (serde's `default`) needs no new version.
    const VERSIONS: &'static [(&'static str, i32)] = &[];

    /// The steps by which events of earlier versions, and of types that were renamed, become those of today.
    const UPCASTERS: &'static [Upcaster] = &[];

    /// What becomes of stored events that this type does not know.
    const UNKNOWN: Unknown<Self> = Unknown::Error;

    /// Returns the tags by which queries and conditions find the event; none, unless it is overridden.
    fn tags(&self) -> Vec<String> {
        Vec::new()
    }

    /// Makes the event that is appended.
    ///
    /// # Errors
    /// [`Error::Invalid`] where serde can't make JSON of it, or its name or tags are no names.
    fn encode(&self) -> Result<NewEvent> {
        let (name, data) = tagged::split(self).map_err(|error| Error::invalid("event", error.to_string()))?;
        let version = upcast::version_of(Self::VERSIONS, &name);
        NewEvent::new(name, Payload::Json(Json::parse(data)?))?.with_version(version)?.with_tags(self.tags())
    }

    /// Reads a stored event, by upcasters where it has an earlier shape; `None` where it is to be passed over: a
    /// [`marker`] of the store, or an unknown one where those are skipped.
    ///
    /// # Errors
    /// [`Error::Invalid`] where its data has not the shape that its type and version have, or where it is unknown and
    /// [`TypedEvent::UNKNOWN`] says so.
    fn decode(event: &RecordedEvent) -> Result<Option<Self>> {
        if marker::is_marker(&event.event_type) {
            return Ok(None);
        }
        if let Some(typed) = known::<Self>(event).map_err(|reason| unreadable(event, &reason))? {
            return Ok(Some(typed));
        }
        match Self::UNKNOWN {
            Unknown::Error => Err(unreadable(event, "this program does not know that type and version")),
            Unknown::Skip => Ok(None),
            Unknown::Keep(keep) => Ok(Some(keep(event.clone()))),
        }
    }

    /// Checks that this is an enum that the store can keep, and its upcasters for duplicates, circles and gaps.
    ///
    /// The verbs of the store that work with aggregates check it each time; a program that does so when it starts, or in
    /// a test, knows earlier.
    ///
    /// # Errors
    /// [`Error::Invalid`], which names what is wrong.
    fn check() -> Result<()> {
        let Some(names) = tagged::names::<Self>() else {
            let reason = format!("{} is not an enum in serde's own form", std::any::type_name::<Self>());
            return Err(Error::invalid("registry of events", reason));
        };
        upcast::check(names, Self::VERSIONS, Self::UPCASTERS)
    }
}

/// What becomes of a stored event whose type and version a [`TypedEvent`] does not know: one of a program that is
/// newer, or of another kind.
#[derive(Debug, Clone, Copy)]
pub enum Unknown<E> {
    /// Reading it is an error that names it: nobody decides without knowing all that happened.
    Error,
    /// It is passed over.
    Skip,
    /// It is kept raw, in a variant of the enum; one with `#[serde(skip)]` can't be appended by mistake.
    Keep(fn(RecordedEvent) -> E),
}

/// Decodes an event whose shape is known; the error is a reason.
fn known<E: TypedEvent>(event: &RecordedEvent) -> Result<Option<E>, String> {
    let names = tagged::names::<E>().unwrap_or_default();
    let is_current = |(name, version)| names.contains(&name) && upcast::version_of(E::VERSIONS, name) == version;
    let stored = (event.event_type.as_str(), event.event_version);
    // Bytes of another content type were not written by this type: what they are called is an accident.
    let Some(data) = event.payload.as_json().map(Json::as_str) else { return Ok(None) };
    if is_current(stored) {
        return tagged::join(stored.0, data).map(Some).map_err(|error| error.to_string());
    }
    let Some(((name, version), value)) = upcast::upcast(E::UPCASTERS, stored, data)? else { return Ok(None) };
    if !is_current((name, version)) {
        return Ok(None);
    }
    tagged::join(name, &value.to_string())
        .map(Some)
        .map_err(|error| format!("after upcasting to {name} version {version}: {error}"))
}

fn unreadable(event: &RecordedEvent, reason: &str) -> Error {
    let RecordedEvent { event_type, event_version, aggregate_id, aggregate_version, .. } = event;
    Error::invalid(
        "event",
        format!(
            "{event_type} version {event_version}, which is event {aggregate_version} of stream {aggregate_id:?}: {reason}"
        ),
    )
}
