//! The one error type of the crate: a variant for each thing that a caller branches on, everything else boxed as
//! [`Error::Backend`].

use std::fmt;

use uuid::Uuid;

use crate::position::{Position, Version};
use crate::stream::Expected;

/// A result with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kept a request from being carried out.
///
/// Messages are lower case, name what was wrong and what to do, and never contain a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stream's current version is not the one that the request expects. Nothing was stored.
    #[error(
        "stream {stream:?} is at version {actual}, and the request expects {expected}: read the stream again and decide anew"
    )]
    Conflict {
        /// The stream's id.
        stream: String,
        /// What the request expected.
        expected: Expected,
        /// The stream's current version; 0 where the stream does not exist.
        actual: Version,
    },
    /// An event that matches the append condition exists after the position that the request names. Nothing was stored.
    #[error(
        "an event that matches the append condition exists at position {position}, after position {after}: read again and decide anew"
    )]
    ConditionFailed {
        /// The position that the condition names.
        after: Position,
        /// The first matching event after it.
        position: Position,
    },
    /// The stream is deleted. Undelete or reuse it first.
    #[error("stream {stream:?} is deleted: undelete it, or reuse it, before appending")]
    StreamDeleted {
        /// The stream's id.
        stream: String,
    },
    /// The stream does not exist.
    #[error("stream {stream:?} does not exist")]
    StreamNotFound {
        /// The stream's id.
        stream: String,
    },
    /// The stream is not deleted, so it can be neither undeleted nor reused.
    #[error("stream {stream:?} is not deleted, so there is nothing to undelete or reuse")]
    StreamNotDeleted {
        /// The stream's id.
        stream: String,
    },
    /// The stream's category was fixed by its first event, and the request names another.
    #[error("stream {stream:?} is of type {actual:?}, not {expected:?}: a stream keeps the type of its first event")]
    TypeMismatch {
        /// The stream's id.
        stream: String,
        /// The type that the request names.
        expected: String,
        /// The type that the stream has.
        actual: String,
    },
    /// The metadata of the stream has another version than the request expects. Nothing was changed.
    #[error("metadata of stream {stream:?} is at version {actual}, and the request expects {expected}: read it again")]
    MetadataConflict {
        /// The stream's id.
        stream: String,
        /// The version that the request expects.
        expected: i64,
        /// The current version; 0 where no metadata was ever set.
        actual: i64,
    },
    /// The command's id was used before, for another request. Nothing was stored.
    #[error("command {command_id} was already used for a different request: use a new id for a new request")]
    CommandReused {
        /// The command's id.
        command_id: Uuid,
    },
    /// An event with this id exists in the lane. Nothing was stored.
    #[error("event {event_id} already exists at position {position}: use a new id for a new event")]
    DuplicateEvent {
        /// The event's id.
        event_id: Uuid,
        /// Where the event stands.
        position: Position,
    },
    /// The streams, guards and condition of one request lie in more than one lane.
    #[error(
        "streams {first:?} and {second:?} lie in different lanes: give ids that belong together the same text in braces"
    )]
    CrossLane {
        /// A stream of the request.
        first: String,
        /// A stream of the request that lies in another lane.
        second: String,
    },
    /// The topic does not exist in this database.
    #[error("topic {topic:?} does not exist here; there are: {known}")]
    UnknownTopic {
        /// The topic's name.
        topic: String,
        /// The topics that exist, separated by commas.
        known: String,
    },
    /// A topic of this name is configured already.
    #[error("topic {topic:?} exists already: update it, or choose another name")]
    TopicExists {
        /// The topic's name.
        topic: String,
    },
    /// The topic was deleted. Its log is kept where it was.
    #[error("topic {topic:?} is deleted: create it again with the same connection to show it")]
    TopicDeleted {
        /// The topic's name.
        topic: String,
    },
    /// The topic can't be moved: the new place lacks events that the old one has. Nothing was changed.
    #[error("topic {topic:?} holds events where it is that the new place lacks, of {events}: copy them there first")]
    EventsLeftBehind {
        /// The topic's name.
        topic: String,
        /// How many events it has where it is.
        events: u64,
    },
    /// The topic is being moved to another database, and takes no events for a moment. Nothing was stored.
    #[error("the topic is being moved, and takes no events until {until} at the latest: try again then")]
    Held {
        /// Until when, unless it is moved by then.
        until: chrono::DateTime<chrono::Utc>,
    },
    /// The topic was moved to another database. Nothing was stored; what it holds here are the events from before.
    #[error("the topic was moved to {to}: connect there")]
    Moved {
        /// Where it is now, without its password.
        to: String,
    },
    /// The topic's log must not be removed. Nothing was.
    #[error("topic {topic:?} must not be purged: {reason}")]
    Kept {
        /// The topic's name.
        topic: String,
        /// What forbids it, and what to do.
        reason: String,
    },
    /// The configuration of topics was not read yet.
    #[error("the topics are not initialized: call initialize first")]
    NotInitialized,
    /// An event of the configuration topic is malformed, or unknown to this program.
    #[error("the configuration can't be read: event at position {position}")]
    Configuration {
        /// The event's position in the configuration topic.
        position: Position,
        /// What is wrong with it.
        #[source]
        source: Box<Error>,
    },
    /// A value is outside what the store accepts. Nothing was stored.
    #[error("invalid {what}: {reason}")]
    Invalid {
        /// What the value is for.
        what: &'static str,
        /// Why it is refused, and what is accepted.
        reason: String,
    },
    /// A limit is exceeded. Nothing was stored.
    #[error("{what} is {actual}, and the limit is {limit}")]
    Limit {
        /// What is limited, with its unit.
        what: &'static str,
        /// The largest value that is accepted.
        limit: u64,
        /// The value that was given.
        actual: u64,
    },
    /// Too many requests wait already. Nothing was stored; try again later.
    #[error("{waiting} requests wait already: try again later, or slow down")]
    Overloaded {
        /// How many requests wait.
        waiting: usize,
    },
    /// The log does not continue at the position where it should. Stop reading, and look at the database.
    #[error("lane {lane} does not continue at position {expected}: position {found} came next")]
    Gap {
        /// The lane that was read.
        lane: i64,
        /// The position that should have come.
        expected: Position,
        /// The position that came.
        found: Position,
    },
    /// The log is not the one that the reader has read: it was restored from a backup, or made anew. Nothing was skipped
    /// in silence; begin again, or from a checkpoint of this log.
    #[error(
        "the log is not the one that was read up to position {position} of lane {lane}: it was restored or made anew; \
         read it from its beginning"
    )]
    LogDiverged {
        /// The lane that was read.
        lane: i64,
        /// The position that was read up to; 0 where the whole topic is another one.
        position: Position,
    },
    /// Another process runs the subscription of this name.
    #[error("subscription {name:?} is run by {owner} until {until}: wait, or let that one end")]
    LeaseHeld {
        /// The subscription's name.
        name: String,
        /// Who holds the lease.
        owner: String,
        /// Until when, unless renewed.
        until: chrono::DateTime<chrono::Utc>,
    },
    /// Another process has taken the subscription over. What this one deals with from now on is not counted.
    #[error("subscription {name:?} was taken over by another process, or deleted: open it again to wait for a turn")]
    LeaseLost {
        /// The subscription's name.
        name: String,
    },
    /// There is no subscription of this name.
    #[error("subscription {name:?} does not exist")]
    SubscriptionNotFound {
        /// The subscription's name.
        name: String,
    },
    /// The name stands for a subscription with another filter, whose checkpoint says nothing about this one.
    #[error("subscription {name:?} has another filter: use a new name, or delete the subscription first")]
    FilterChanged {
        /// The subscription's name.
        name: String,
    },
    /// A handler of a subscription answered with an error. Its event is not acknowledged.
    #[error("the handler of {event_type:?} failed at position {position} of lane {lane}")]
    Handler {
        /// The event's type.
        event_type: String,
        /// The event's lane.
        lane: i64,
        /// The event's position.
        position: Position,
        /// What the handler answered.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A projection answered with an error. What it wrote since its checkpoint, and the checkpoint, were rolled back.
    #[error("projection {name:?} could not {step}, at position {position} of lane {lane}")]
    Projection {
        /// The name of the projection's subscription, such as `balances@2`.
        name: String,
        /// What it was asked to do: `apply` an event, `create` or `clear` its tables, or `activate` its version.
        step: &'static str,
        /// The event's lane; 0 where it was about none.
        lane: i64,
        /// The event's position, or that of the first event of those that were applied together; 0 where it was about none.
        position: Position,
        /// What the projection answered.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer version of the projection has taken over; this one is no longer kept up.
    #[error("projection {name:?} was replaced by its version {active}, which has taken over: end this one")]
    ProjectionSuperseded {
        /// The name of the projection's subscription, such as `balances@1`.
        name: String,
        /// The version that is active.
        active: u32,
    },
    /// The replica that is read has not yet come to where the reader stands. Try again later, or read from the primary.
    #[error(
        "the replica is at position {head} of lane {lane}, and the reader stands at {position}: wait, or read from the primary"
    )]
    Behind {
        /// The lane that was read.
        lane: i64,
        /// Where the reader stands.
        position: Position,
        /// The last position that the replica has.
        head: Position,
    },
    /// The connection URL, or what it refers to, cannot be used.
    #[error("connection url: {reason}")]
    Url {
        /// What is wrong, and what is accepted.
        reason: String,
    },
    /// The database has no schema of this store, or another version of it.
    #[error("{reason}")]
    Schema {
        /// What was found, and which command mends it.
        reason: String,
    },
    /// The operation deletes events, and the caller has not consented to that. Nothing was changed.
    #[error(
        "{operation} deletes {events} events for good, and was not carried out: make a backup or an export first, then \
         repeat it with consent"
    )]
    ConsentMissing {
        /// What was asked for.
        operation: &'static str,
        /// How many events are there.
        events: u64,
    },
    /// The request was sent, and the database stayed out of reach until the deadline: it is not known whether the
    /// request was carried out. Repeating it with the same command id is safe.
    #[error(
        "the database became unreachable during {operation}: the outcome is unknown; repeat it with the same command id"
    )]
    Ambiguous {
        /// What was being done.
        operation: &'static str,
    },
    /// The operation did not end within its deadline. An append that was being committed may still be stored: repeating it
    /// with the same command id is safe.
    #[error("{operation} did not end within {milliseconds} ms")]
    Deadline {
        /// What was being done.
        operation: &'static str,
        /// The deadline in milliseconds.
        milliseconds: u64,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// The backend can't do this, as its capabilities say.
    #[error("{backend} does not support {what}")]
    Unsupported {
        /// The backend's name.
        backend: &'static str,
        /// What it does not support.
        what: &'static str,
    },
    /// Anything else that the database, the driver or the operating system answered.
    #[error("{backend}: {operation} failed")]
    Backend {
        /// The backend's name, as in its URLs.
        backend: &'static str,
        /// What was being done.
        operation: &'static str,
        /// What can be done about it.
        class: ErrorClass,
        /// The driver's own error, or what the store makes of it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What can be done about a [`Error::Backend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// A unique key or a rule of the schema refused the write; repeating the same write fails again.
    Conflict,
    /// The database rolled the transaction back because of others (deadlock, serialization, a lock that was waited
    /// for too long); the same request can be repeated.
    Retry,
    /// The connection is gone or could not be made, and nothing was carried out; repeat on a new one.
    Reconnect,
    /// The connection broke after the request was sent; it may have been carried out.
    Ambiguous,
    /// Repeating will not help: permissions, a full disk, a malformed statement, a corrupt file.
    Fatal,
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conflict => "conflict",
            Self::Retry => "retry",
            Self::Reconnect => "reconnect",
            Self::Ambiguous => "ambiguous",
            Self::Fatal => "fatal",
        })
    }
}

impl Error {
    /// Makes an [`Error::Backend`].
    pub fn backend(
        backend: &'static str,
        operation: &'static str,
        class: ErrorClass,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Backend { backend, operation, class, source: source.into() }
    }

    /// Makes an [`Error::Invalid`].
    pub fn invalid(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { what, reason: reason.into() }
    }

    /// Returns whether the state that the caller decided on has changed: read again, decide anew.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::Conflict { .. }
                | Self::ConditionFailed { .. }
                | Self::MetadataConflict { .. }
                | Self::Backend { class: ErrorClass::Conflict, .. }
        )
    }

    /// Returns whether the same request may succeed later, unchanged.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Overloaded { .. }
            | Self::Held { .. }
            | Self::Behind { .. }
            | Self::Backend { class: ErrorClass::Retry | ErrorClass::Reconnect, .. } => true,
            // What the database answered to a projection is the database's answer still.
            Self::Projection { source, .. } => source.downcast_ref::<Self>().is_some_and(Self::is_retryable),
            _ => false,
        }
    }

    /// Returns the message with those of its sources, separated by colons: one line for a person.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }
}
