//! What a batch supposes of a lane before anything is loaded, so that a server can check and store it in one call.
//!
//! The batch is decided over the state that its own expectations describe. If the server finds that state under the
//! lane's lock, the decision was right and the rows are stored in the same call. If it finds another, it stores nothing,
//! and the batch is decided over what is loaded.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::decide::{Accepted, LaneState, StreamState, decide_batch};
use super::request::{Life, Request, StreamRule, unexamined};
use crate::append::{Appended, ConditionItem};
use crate::error::Result;
use crate::position::{LaneId, Position, Version};
use crate::stream::Expected;

/// What a batch supposes.
#[derive(Debug)]
pub(crate) struct Supposed<'a> {
    lane: LaneId,
    /// The streams that the batch names, each once.
    pub streams: Vec<SupposedStream<'a>>,
    /// The commands of the batch, which are supposed to be new.
    pub commands: Vec<Uuid>,
    /// The event ids that callers gave, which are supposed to be new.
    pub event_ids: Vec<Uuid>,
    /// What is left of the conditions, which no stored event is supposed to match.
    pub conditions: Vec<(usize, &'a [ConditionItem], Position)>,
    /// The head is supposed not to be before this position.
    pub furthest_after: Position,
}

/// What is supposed of a stream: its type, that it is not deleted, and perhaps its version.
#[derive(Debug)]
pub(crate) struct SupposedStream<'a> {
    pub rule: &'a StreamRule,
    /// The version; `None` where any will do, -1 where the stream has to exist.
    pub version: Option<i64>,
}

impl SupposedStream<'_> {
    /// The version that the batch is decided over. Where none is supposed, only the distance from it counts.
    pub(crate) fn base(&self) -> Version {
        Version::new(self.version.filter(|version| *version >= 0).unwrap_or(1))
    }
}

impl<'a> Supposed<'a> {
    /// Finds what a batch supposes; `None` where it has to be decided over what is stored.
    pub(crate) fn of(lane: LaneId, batch: &'a [Arc<Request>]) -> Option<Self> {
        let mut streams: Vec<SupposedStream<'a>> = Vec::with_capacity(batch.len());
        let mut known: HashMap<&str, usize> = HashMap::with_capacity(batch.len());
        for rule in batch.iter().flat_map(|request| &request.streams) {
            let index = *known.entry(&rule.aggregate_id).or_insert(streams.len());
            if index == streams.len() {
                streams.push(SupposedStream { rule, version: None });
            }
            let stream = &mut streams[index];
            let is_odd = matches!(rule.expected, Expected::Exact(version) if version < Version::ZERO);
            if is_odd || rule.life != Life::Keep || rule.aggregate_type != stream.rule.aggregate_type {
                return None;
            }
            // Versions only grow, so that of several expectations the highest is the likeliest.
            stream.version = match rule.expected {
                Expected::Any => stream.version,
                Expected::Exists => stream.version.or(Some(-1)),
                Expected::NoStream => stream.version.max(Some(0)),
                Expected::Exact(version) => stream.version.max(Some(version.get())),
            };
        }
        let requests = || batch.iter().map(|request| &**request);
        let commands: HashSet<Uuid> =
            requests().filter_map(|request| request.command.as_ref()).map(|command| command.command_id).collect();
        let given = requests().flat_map(|request| &request.events).filter(|event| event.id_given);
        let event_ids: HashSet<Uuid> = given.map(|event| event.event_id).collect();
        let conditions = unexamined(batch);
        let afters = requests().filter_map(|request| request.condition.as_ref()).map(|condition| condition.after);
        let furthest_after = conditions.iter().map(|(_, _, after)| *after).chain(afters).max().unwrap_or_default();
        let (commands, event_ids) = (commands.into_iter().collect(), event_ids.into_iter().collect());
        Some(Self { lane, streams, commands, event_ids, conditions, furthest_after })
    }

    /// Supposes the versions that the server found, 0 for a stream that does not exist.
    pub(crate) fn correct(&mut self, versions: &[i64]) {
        for (stream, version) in self.streams.iter_mut().zip(versions) {
            stream.version = Some(*version);
        }
    }

    /// Decides the batch over what is supposed, and returns what is to be stored. A request is refused for what is
    /// supposed only; a stream of which no version is supposed refuses none.
    pub(crate) fn decide(&self, batch: &'a [Arc<Request>]) -> Vec<Accepted<'a>> {
        let bases: Vec<_> = self.streams.iter().map(SupposedStream::base).collect();
        // The server gives the time.
        self.run(batch, self.furthest_after, &bases, DateTime::UNIX_EPOCH).1
    }

    /// Returns the answers, now that the server has told the head and the versions of the streams before the batch, and
    /// the time of its events.
    pub(crate) fn answers(
        &self,
        batch: &'a [Arc<Request>],
        head: Position,
        versions: &[Version],
        now: DateTime<Utc>,
    ) -> Vec<Result<Appended>> {
        self.run(batch, head, versions, now).0
    }

    fn run(
        &self,
        batch: &'a [Arc<Request>],
        head: Position,
        versions: &[Version],
        now: DateTime<Utc>,
    ) -> (Vec<Result<Appended>>, Vec<Accepted<'a>>) {
        let mut state = LaneState::new(self.lane, head, now);
        let streams = self.streams.iter().zip(versions).filter(|(_, version)| **version > Version::ZERO);
        state.streams.extend(streams.map(|(stream, version)| {
            let aggregate_type = stream.rule.aggregate_type.clone();
            let state = StreamState { aggregate_type, version: *version, deleted: false };
            (stream.rule.aggregate_id.clone(), state)
        }));
        decide_batch(&mut state, batch, batch.iter().map(|request| request.examined.matched))
    }
}
