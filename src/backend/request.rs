//! An append as backends see it: validated, encoded, ids and numbers and bytes.

use uuid::Uuid;

use crate::append::{Condition, ConditionItem};
use crate::event::{ActorType, Source};
use crate::json::Json;
use crate::position::Position;
use crate::stream::Expected;

/// One atomic request of a lane.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Every stream that the request names: those that it writes, and those that it only guards, which no event refers
    /// to. No id stands twice.
    pub streams: Vec<StreamRule>,
    /// The events, in the order of their positions.
    pub events: Vec<EventWrite>,
    /// The append condition.
    pub condition: Option<Condition>,
    /// What was found of the condition before the lane's lock was asked for.
    pub examined: Examined,
    /// The command that gives the request its identity.
    pub command: Option<CommandWrite>,
    /// What the request weighs in a queue: the bytes of its payloads and tags, and some for each event.
    pub bytes: usize,
}

impl Request {
    /// Returns what is left to be looked for under the lane's lock: an event after this position that matches one of the
    /// items. `None` where there is no condition, or where a match is known.
    #[must_use]
    pub fn unexamined(&self) -> Option<(&[ConditionItem], Position)> {
        let condition = self.condition.as_ref().filter(|condition| !condition.items.is_empty())?;
        let after = condition.after.max(self.examined.until);
        self.examined.matched.is_none().then_some((condition.items.as_slice(), after))
    }
}

/// Returns what is left to be looked for under the lane's lock, of the requests of a batch, by their index in it.
#[cfg(any(feature = "postgres", feature = "mssql"))]
pub(crate) fn unexamined<R: AsRef<Request>>(batch: &[R]) -> Vec<(usize, &[ConditionItem], Position)> {
    let conditions = (0..).zip(batch).map(|(index, request)| (index, request.as_ref().unexamined()));
    conditions.filter_map(|(index, left)| left.map(|(items, after)| (index, items, after))).collect()
}

/// What a batch asks about, each once and in order.
#[cfg(any(feature = "postgres", feature = "mssql"))]
pub(crate) struct Asked<'a> {
    pub streams: Vec<&'a str>,
    /// The event ids that callers gave.
    pub events: Vec<Uuid>,
    pub commands: Vec<Uuid>,
}

#[cfg(any(feature = "postgres", feature = "mssql"))]
impl<'a> Asked<'a> {
    pub(crate) fn of(batch: &'a [std::sync::Arc<Request>]) -> Self {
        let requests = || batch.iter().map(|request| &**request);
        let streams = requests().flat_map(|request| &request.streams).map(|rule| rule.aggregate_id.as_str());
        let events = requests().flat_map(|request| &request.events).filter(|event| event.id_given);
        let commands = requests().filter_map(|request| request.command.as_ref());
        Self {
            streams: once(streams),
            events: once(events.map(|event| event.event_id)),
            commands: once(commands.map(|command| command.command_id)),
        }
    }
}

#[cfg(any(feature = "postgres", feature = "mssql"))]
fn once<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.dedup();
    items
}

/// How far a condition was looked at without a lock, see [`Backend::examine`](super::Backend::examine).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Examined {
    /// No event matches up to this position, apart from [`Self::matched`].
    pub until: Position,
    /// The first event that matches, if one was found.
    pub matched: Option<Position>,
}

/// What a request expects of a stream, and what it does to its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRule {
    /// The stream's id.
    pub aggregate_id: String,
    /// The stream's category.
    pub aggregate_type: String,
    /// The expected version.
    pub expected: Expected,
    /// The change of life that goes with the request's events.
    pub life: Life,
}

/// What a request does to a stream's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Nothing: the stream must not be deleted.
    Keep,
    /// Deletes the stream: it must exist, and must not be deleted.
    Delete,
    /// Undeletes the stream: it must be deleted. It shows again, from the same version on as before.
    Undelete,
    /// Reuses the stream: it must be deleted. It shows from the request's event on.
    Reuse,
}

/// An event to be stored. The position, version and time are given under the lane's lock.
#[derive(Debug, Clone)]
pub struct EventWrite {
    /// The index of its stream in [`Request::streams`].
    pub stream: usize,
    /// Its id.
    pub event_id: Uuid,
    /// Whether the caller gave the id, so that it may exist already; an id that the library made needs no look-up.
    pub id_given: bool,
    /// Its type.
    pub event_type: String,
    /// The version of the data's schema.
    pub event_version: i32,
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
    /// The data as it is stored: JSON, or a JSON string of base64 where there is a content type.
    pub data: Json,
    /// The metadata, a JSON object.
    pub metadata: Option<Json>,
    /// The content type of data that is not JSON.
    pub content_type: Option<String>,
    /// The tags, sorted, without repetition.
    pub tags: Vec<String>,
    /// SHA-256 over the fields that the caller decides.
    pub hash: [u8; 32],
}

/// A command to be recorded with its request.
#[derive(Debug, Clone)]
pub struct CommandWrite {
    /// Its id.
    pub command_id: Uuid,
    /// Its type.
    pub command_type: Option<String>,
    /// The id of the stream that it is about.
    pub aggregate_id: Option<String>,
    /// The category of that stream.
    pub aggregate_type: Option<String>,
    /// Who gave it.
    pub actor: Option<String>,
    /// The way by which it came in.
    pub source: Option<Source>,
    /// Its own data.
    pub data: Option<Json>,
    /// SHA-256 over the request.
    pub request_hash: [u8; 32],
}
