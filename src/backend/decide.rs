//! The rules of an append, once for all engines: a pure function over what a backend loaded under the lane's lock.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::request::{CommandWrite, EventWrite, Life, Request, StreamRule};
use crate::append::{Appended, Condition};
use crate::error::{Error, Result};
use crate::event::{Payload, RecordedEvent, marker};
use crate::position::{LaneId, Position, Version};

/// What a lane holds of the things that a batch of requests asks about, read **after** the lane's lock was granted.
#[derive(Debug, Clone)]
pub struct LaneState {
    /// The lane.
    pub lane: LaneId,
    /// The position of its last event, 0 where there is none.
    pub head: Position,
    /// The time that the batch's events get: the clock's, or that of the lane's last event where the clock is behind.
    pub now: DateTime<Utc>,
    /// The streams that exist, of those that the batch names.
    pub streams: HashMap<String, StreamState>,
    /// The commands that were decided before, of those that the batch carries.
    pub commands: HashMap<Uuid, CommandState>,
    /// Where events stand, of the ids that callers gave.
    pub event_ids: HashMap<Uuid, Position>,
}

impl LaneState {
    /// Knows the head of a lane and the time, and nothing else yet.
    #[must_use]
    pub fn new(lane: LaneId, head: Position, now: DateTime<Utc>) -> Self {
        let (streams, commands, event_ids) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { lane, head, now, streams, commands, event_ids }
    }
}

/// A stream as it is under the lane's lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// Its category.
    pub aggregate_type: String,
    /// The version of its last event.
    pub version: Version,
    /// Whether it is deleted.
    pub deleted: bool,
}

/// A command that was decided before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandState {
    /// The hash of the request that it came with.
    pub request_hash: [u8; 32],
    /// The positions of its first and last event.
    pub positions: Option<(Position, Position)>,
    /// The streams that it wrote, each with the version that it had then.
    pub versions: Vec<(String, Version)>,
}

/// What is to be stored for a request that was accepted.
#[derive(Debug, Clone)]
pub struct Accepted<'a> {
    /// The events with their places, in the order of their positions.
    pub events: Vec<Placed<'a>>,
    /// What happens to the streams' rows.
    pub streams: Vec<StreamChange<'a>>,
    /// The command to be recorded.
    pub command: Option<&'a CommandWrite>,
    /// The time of the events, the streams' rows and the command.
    pub now: DateTime<Utc>,
    /// What the caller gets once all of it is committed.
    pub outcome: Appended,
}

/// An event with its place.
#[derive(Debug, Clone)]
pub struct Placed<'a> {
    /// The event.
    pub event: &'a EventWrite,
    /// Its stream.
    pub stream: &'a StreamRule,
    /// Its place in the lane.
    pub position: Position,
    /// Its place in its stream.
    pub version: Version,
}

impl Placed<'_> {
    /// Returns the event as readers get it; for backends that keep events as they are.
    ///
    /// # Errors
    /// [`Error::Backend`] where bytes are not encoded as [`EventWrite::data`] says.
    pub fn recorded(&self, lane: LaneId, now: DateTime<Utc>) -> Result<RecordedEvent> {
        let event = self.event.clone();
        Ok(RecordedEvent {
            lane,
            position: self.position,
            event_id: event.event_id,
            aggregate_id: self.stream.aggregate_id.clone(),
            aggregate_type: self.stream.aggregate_type.clone(),
            aggregate_version: self.version,
            event_type: event.event_type,
            event_version: event.event_version,
            event_timestamp: now,
            actor: event.actor,
            actor_type: event.actor_type,
            source: event.source,
            causation_id: event.causation_id,
            correlation_id: event.correlation_id,
            payload: Payload::from_stored(event.data, event.content_type)?,
            metadata: event.metadata,
            tags: event.tags,
            hash: Some(event.hash),
        })
    }
}

/// Returns the events of a request as readers get them, where its outcome tells where and when they were stored.
pub(crate) fn recorded(request: &Request, outcome: &Appended) -> Option<Vec<RecordedEvent>> {
    let ((first, _), now) = outcome.positions.zip(outcome.event_timestamp)?;
    let mut versions: HashMap<&str, Version> = HashMap::new();
    for (stream, version) in &outcome.versions {
        versions.insert(stream, *version);
    }
    for event in &request.events {
        let version = versions.get_mut(request.streams[event.stream].aggregate_id.as_str())?;
        *version = version.plus(-1);
    }
    let mut position = first.plus(-1);
    let place = |event: &EventWrite| {
        let stream = &request.streams[event.stream];
        let version = versions.get_mut(stream.aggregate_id.as_str())?;
        (position, *version) = (position.next(), version.next());
        Placed { event, stream, position, version: *version }.recorded(outcome.lane, now).ok()
    };
    request.events.iter().map(place).collect()
}

/// What happens to a stream's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamChange<'a> {
    /// The stream.
    pub stream: &'a StreamRule,
    /// The change.
    pub kind: ChangeKind,
}

/// How a stream's row changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The row is inserted.
    Create,
    /// `deleted_at` is set.
    Delete,
    /// `deleted_at` is cleared: the stream shows as it did before it was deleted.
    Undelete,
    /// `deleted_at` is cleared, and the stream shows from this version on.
    Reuse(Version),
}

impl ChangeKind {
    /// Returns what an event did to its stream's life, where it is a marker.
    #[must_use]
    pub fn of_marker(event: &RecordedEvent) -> Option<Self> {
        match event.event_type.as_str() {
            marker::DELETED => Some(Self::Delete),
            marker::UNDELETED => Some(Self::Undelete),
            marker::REUSED => Some(Self::Reuse(event.aggregate_version)),
            _ => None,
        }
    }
}

/// A decision that is not an error.
#[derive(Debug, Clone)]
pub enum Decision<'a> {
    /// The command was decided before: nothing is to be stored.
    Duplicate(Appended),
    /// Something is to be stored; or nothing, where the request was a pure assertion.
    Accept(Accepted<'a>),
}

/// Decides a request over the lane's state, and brings the state up to date, so that the next request of the batch
/// sees this one.
///
/// `matched` is the first event after [`crate::Condition::after`] that matches the request's condition, stored or
/// accepted earlier in the batch.
///
/// # Errors
/// What the contract's sections 3, 4 and 8 say: [`Error::CommandReused`], [`Error::TypeMismatch`],
/// [`Error::StreamDeleted`], [`Error::Conflict`], [`Error::ConditionFailed`], [`Error::DuplicateEvent`], and for changes
/// of a stream's life [`Error::StreamNotFound`] and [`Error::StreamNotDeleted`]. The state is then as it was.
pub fn decide<'a>(state: &mut LaneState, request: &'a Request, matched: Option<Position>) -> Result<Decision<'a>> {
    if let Some(command) = &request.command
        && let Some(known) = state.commands.get(&command.command_id)
    {
        if known.request_hash != command.request_hash {
            return Err(Error::CommandReused { command_id: command.command_id });
        }
        // In the order of the request, as the first outcome was.
        let mut versions = known.versions.clone();
        versions.sort_by_key(|(id, _)| request.streams.iter().position(|rule| rule.aggregate_id == *id));
        return Ok(Decision::Duplicate(Appended::new(state.lane, known.positions, versions, true)));
    }
    for rule in &request.streams {
        check_stream(rule, state.streams.get(&rule.aggregate_id))?;
    }
    if let (Some(condition), Some(position)) = (&request.condition, matched) {
        return Err(Error::ConditionFailed { after: condition.after, position });
    }
    for event in request.events.iter().filter(|event| event.id_given) {
        if let Some(position) = state.event_ids.get(&event.event_id) {
            return Err(Error::DuplicateEvent { event_id: event.event_id, position: *position });
        }
    }
    let accepted = place(state, request);
    remember(state, &accepted);
    Ok(Decision::Accept(accepted))
}

/// Decides the requests of a batch one after the other. Returns their answers, and what is to be stored for those that
/// were accepted.
///
/// `stored` has for each request the first stored event that matches its condition; those that earlier requests of the
/// batch store are looked at here.
pub fn decide_batch<'a>(
    state: &mut LaneState,
    batch: &'a [Arc<Request>],
    stored: impl IntoIterator<Item = Option<Position>>,
) -> (Vec<Result<Appended>>, Vec<Accepted<'a>>) {
    let (mut answers, mut accepted) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
    for (request, stored) in batch.iter().zip(stored) {
        let first_match = || request.condition.as_ref().and_then(|condition| first_match(condition, &accepted));
        answers.push(match decide(state, request, stored.or_else(first_match)) {
            Err(error) => Err(error),
            Ok(Decision::Duplicate(outcome)) => Ok(outcome),
            Ok(Decision::Accept(one)) => {
                let outcome = one.outcome.clone();
                accepted.push(one);
                Ok(outcome)
            }
        });
    }
    (answers, accepted)
}

/// Returns the first event that matches a condition, of those that a batch has accepted so far.
fn first_match(condition: &Condition, accepted: &[Accepted<'_>]) -> Option<Position> {
    let mut events = accepted.iter().flat_map(|one| &one.events).filter(|placed| placed.position > condition.after);
    events.find(|placed| condition.matches(&placed.event.event_type, &placed.event.tags)).map(|placed| placed.position)
}

/// Checks what a request expects of one stream.
fn check_stream(rule: &StreamRule, stream: Option<&StreamState>) -> Result<()> {
    let id = || rule.aggregate_id.clone();
    let Some(stream) = stream else {
        if rule.life != Life::Keep {
            return Err(Error::StreamNotFound { stream: id() });
        }
        if !rule.expected.holds(Version::ZERO) {
            return Err(Error::Conflict { stream: id(), expected: rule.expected, actual: Version::ZERO });
        }
        return Ok(());
    };
    if stream.aggregate_type != rule.aggregate_type {
        return Err(Error::TypeMismatch {
            stream: id(),
            expected: rule.aggregate_type.clone(),
            actual: stream.aggregate_type.clone(),
        });
    }
    match (rule.life, stream.deleted) {
        (Life::Keep | Life::Delete, true) => return Err(Error::StreamDeleted { stream: id() }),
        (Life::Undelete | Life::Reuse, false) => return Err(Error::StreamNotDeleted { stream: id() }),
        _ => {}
    }
    if !rule.expected.holds(stream.version) {
        return Err(Error::Conflict { stream: id(), expected: rule.expected, actual: stream.version });
    }
    Ok(())
}

/// Gives the events of an accepted request their positions and versions.
fn place<'a>(state: &LaneState, request: &'a Request) -> Accepted<'a> {
    let before: Vec<Version> = request
        .streams
        .iter()
        .map(|rule| state.streams.get(&rule.aggregate_id).map_or(Version::ZERO, |stream| stream.version))
        .collect();
    let mut versions = before.clone();
    let mut position = state.head;
    let events: Vec<Placed<'a>> = request
        .events
        .iter()
        .map(|event| {
            position = position.next();
            versions[event.stream] = versions[event.stream].next();
            Placed { event, stream: &request.streams[event.stream], position, version: versions[event.stream] }
        })
        .collect();
    let written = || request.streams.iter().zip(&before).zip(&versions).filter(|((_, before), after)| before != after);
    let streams = written()
        .filter_map(|((stream, before), after)| {
            let kind = match stream.life {
                Life::Keep if *before == Version::ZERO => ChangeKind::Create,
                Life::Keep => return None,
                Life::Delete => ChangeKind::Delete,
                Life::Undelete => ChangeKind::Undelete,
                Life::Reuse => ChangeKind::Reuse(*after),
            };
            Some(StreamChange { stream, kind })
        })
        .collect();
    let positions = events.first().map(|first| (first.position, position));
    let versions = written().map(|((stream, _), after)| (stream.aggregate_id.clone(), *after)).collect();
    let mut outcome = Appended::new(state.lane, positions, versions, false);
    outcome.event_timestamp = positions.map(|_| state.now);
    Accepted { events, streams, command: request.command.as_ref(), now: state.now, outcome }
}

/// Brings the state up to date with a request that was accepted.
fn remember(state: &mut LaneState, accepted: &Accepted<'_>) {
    if let Some((_, last)) = accepted.outcome.positions {
        state.head = last;
    }
    for placed in &accepted.events {
        if placed.event.id_given {
            state.event_ids.insert(placed.event.event_id, placed.position);
        }
        state
            .streams
            .entry(placed.stream.aggregate_id.clone())
            .and_modify(|stream| stream.version = placed.version)
            .or_insert_with(|| StreamState {
                aggregate_type: placed.stream.aggregate_type.clone(),
                version: placed.version,
                deleted: false,
            });
    }
    for change in &accepted.streams {
        if let Some(stream) = state.streams.get_mut(&change.stream.aggregate_id) {
            stream.deleted = change.kind == ChangeKind::Delete;
        }
    }
    if let Some(command) = accepted.command {
        let known = CommandState {
            request_hash: command.request_hash,
            positions: accepted.outcome.positions,
            versions: accepted.outcome.versions.clone(),
        };
        state.commands.insert(command.command_id, known);
    }
}
