//! The append transaction: under the database's write lock, load, decide, store.

use std::sync::Arc;

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::convert::{classify, run};
use crate::append::Appended;
use crate::backend::decide::{Accepted, ChangeKind, CommandState, LaneState, decide_batch};
use crate::backend::event_row::EventRow;
use crate::backend::request::{CommandWrite, Request};
use crate::error::{Error, Result};
use crate::event::{RecordedEvent, Source};
use crate::json::Json;
use crate::position::{LaneId, Position, Version};
use crate::sql::holds::{self, COPY, Reason};
use crate::sql::rows::{CommandStateRow, EventPlaceRow, HeadRow, MatchRow, StreamStateRow, VersionRow};
use crate::sql::{Dialect, statements};

const SQLITE: Dialect = Dialect::Sqlite;

/// `?1` lane, `?2` position, `?3` event id, `?4` to `?6` stream, type, version, `?7` to `?19` as the columns say.
const INSERT_EVENT: &str = "INSERT INTO events (lane_id, position, event_id, aggregate_id, aggregate_type, \
     aggregate_version, event_type, event_version, event_timestamp, actor, actor_type, source, causation_id, \
     correlation_id, data, metadata, content_type, tags, hash) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";

/// `?1` lane, `?2` tag, `?3` position.
const INSERT_TAG: &str = "INSERT INTO event_tags (lane_id, tag, position) VALUES (?1, ?2, ?3)";

/// `?1` lane, `?2` and `?3` stream and type, `?4` the time.
const INSERT_STREAM: &str = "INSERT INTO streams (lane_id, aggregate_id, aggregate_type, created_at, updated_at) \
     VALUES (?1, ?2, ?3, ?4, ?4)";

/// `?1` lane, `?2` stream, `?3` the time, `?4` when it was deleted, `?5` the first version that shows.
const UPDATE_STREAM: &str = "UPDATE streams SET updated_at = ?3, deleted_at = ?4, \
     first_version = COALESCE(?5, first_version) WHERE lane_id = ?1 AND aggregate_id = ?2";

/// `?1` lane, `?2` command id, `?3` to `?11` as the columns say.
const INSERT_COMMAND: &str = "INSERT INTO commands (lane_id, command_id, command_type, aggregate_id, aggregate_type, \
     processed_at, actor, source, data, request_hash, first_position, last_position) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

/// Decides a batch and stores what is accepted.
pub(super) fn decide_and_store(
    connection: &Connection,
    lane: LaneId,
    batch: &[Arc<Request>],
) -> Result<Vec<Result<Appended>>> {
    let mut state = load(connection, lane, batch)?;
    let stored = batch.iter().map(|request| first_match(connection, lane, request)).collect::<Result<Vec<_>>>()?;
    let (answers, accepted) = decide_batch(&mut state, batch, stored);
    for accepted in &accepted {
        store(connection, lane, accepted)?;
    }
    Ok(answers)
}

/// Returns the first stored event that matches a request's condition.
fn first_match(connection: &Connection, lane: LaneId, request: &Request) -> Result<Option<Position>> {
    let Some((items, after)) = request.unexamined() else { return Ok(request.examined.matched) };
    let found: Vec<MatchRow> = run(connection, &statements::first_matches(SQLITE, lane, [(0, items, after)]))?;
    Ok(found.first().map(|row| row.position))
}

/// Loads what the batch asks about, each by its key.
fn load(connection: &Connection, lane: LaneId, batch: &[Arc<Request>]) -> Result<LaneState> {
    let head: Vec<HeadRow> = run(connection, &statements::head_and_clock(SQLITE, lane))?;
    let head = head.first().ok_or(Error::Closed)?;
    head.check_hold()?;
    let mut state = LaneState::new(lane, head.head, head.now());
    for request in batch {
        for rule in &request.streams {
            if !state.streams.contains_key(&rule.aggregate_id) {
                let found: Vec<StreamStateRow> =
                    run(connection, &statements::stream_states(SQLITE, lane, &[&rule.aggregate_id]))?;
                state.streams.extend(found.into_iter().map(|row| (row.aggregate_id, row.state)));
            }
        }
        for event in request.events.iter().filter(|event| event.id_given) {
            let found: Vec<EventPlaceRow> =
                run(connection, &statements::event_places(SQLITE, lane, &[event.event_id]))?;
            state.event_ids.extend(found.into_iter().map(|row| (row.event_id, row.position)));
        }
        if let Some(command) = &request.command {
            let found: Vec<CommandStateRow> =
                run(connection, &statements::command_states(SQLITE, lane, &[command.command_id]))?;
            for row in found {
                let versions: Vec<VersionRow> = match row.positions {
                    Some((first, last)) => run(connection, &statements::versions_of(SQLITE, lane, first, last))?,
                    None => Vec::new(),
                };
                let versions = versions.into_iter().map(|row| (row.aggregate_id, row.version)).collect();
                let known = CommandState { request_hash: row.request_hash, positions: row.positions, versions };
                state.commands.insert(row.command_id, known);
            }
        }
    }
    Ok(state)
}

/// Stores what was accepted.
fn store(connection: &Connection, lane: LaneId, accepted: &Accepted<'_>) -> Result<()> {
    let rows = Rows { connection, operation: "append", lane: lane.get() };
    let now = accepted.now.timestamp_micros();
    for change in &accepted.streams {
        rows.change(&change.stream.aggregate_id, &change.stream.aggregate_type, change.kind, now)?;
    }
    for placed in &accepted.events {
        rows.event(&EventRow::placed(placed, accepted.now))?;
    }
    let positions = accepted.outcome.positions;
    accepted.command.map_or(Ok(()), |command| rows.command(command, now, positions))
}

/// Stores the rows of a lane, each with a prepared statement.
struct Rows<'c> {
    connection: &'c Connection,
    operation: &'static str,
    lane: i64,
}

impl Rows<'_> {
    fn execute(&self, sql: &str, params: &[&dyn rusqlite::ToSql]) -> Result<()> {
        let run = || self.connection.prepare_cached(sql)?.execute(params);
        run().map(drop).map_err(|error| classify(self.operation, error))
    }

    /// Stores what happens to a stream at a time.
    fn change(&self, id: &str, aggregate_type: &str, kind: ChangeKind, now: i64) -> Result<()> {
        let (deleted, first) = match kind {
            ChangeKind::Create => return self.execute(INSERT_STREAM, params![self.lane, id, aggregate_type, now]),
            ChangeKind::Delete => (Some(now), None),
            ChangeKind::Undelete => (None, None),
            ChangeKind::Reuse(first) => (None, Some(first.get())),
        };
        self.execute(UPDATE_STREAM, params![self.lane, id, now, deleted, first])
    }

    fn event(&self, row: &EventRow<'_>) -> Result<()> {
        let (place, event) = (&row.place, &row.columns);
        let values = params![
            self.lane,
            place.position,
            event.event_id.as_bytes(),
            place.aggregate_id,
            place.aggregate_type,
            place.version,
            event.event_type,
            event.event_version,
            place.time.timestamp_micros(),
            event.actor,
            event.actor_type,
            event.source,
            event.causation_id.as_ref().map(Uuid::as_bytes),
            event.correlation_id.as_ref().map(Uuid::as_bytes),
            &*event.data,
            event.metadata,
            event.content_type,
            event.tag_list,
            event.hash,
        ];
        self.execute(INSERT_EVENT, values)?;
        event.tags.iter().try_for_each(|tag| self.execute(INSERT_TAG, params![self.lane, tag, place.position]))
    }

    fn command(&self, command: &CommandWrite, now: i64, positions: Option<(Position, Position)>) -> Result<()> {
        let values = params![
            self.lane,
            command.command_id.as_bytes(),
            command.command_type,
            command.aggregate_id,
            command.aggregate_type,
            now,
            command.actor,
            command.source.map(Source::as_str),
            command.data.as_ref().map(Json::as_str),
            command.request_hash,
            positions.map(|(first, _)| first.get()),
            positions.map(|(_, last)| last.get()),
        ];
        self.execute(INSERT_COMMAND, values)
    }
}

/// Adds the lanes of a topic.
pub(super) fn create_topic(connection: &Connection, name: &str, partitions: u16) -> Result<()> {
    let incarnation = Uuid::new_v4();
    for partition in 0..partitions {
        connection
            .execute(
                "INSERT INTO lanes (lane_id, topic, partition, incarnation, floor, created_at) \
                 SELECT COALESCE(MAX(lane_id), 0) + 1, ?1, ?2, ?3, 0, annals_now() \
                 FROM (SELECT lane_id FROM lanes UNION ALL SELECT lane_id FROM holds)",
                params![name, partition, incarnation.as_bytes()],
            )
            .map_err(|error| classify("create a topic", error))?;
    }
    Ok(())
}

/// Stores events as they were elsewhere.
pub(super) fn restore(connection: &Connection, lane: LaneId, events: &[RecordedEvent]) -> Result<Position> {
    let rows = Rows { connection, operation: "restore", lane: lane.get() };
    let head: Vec<HeadRow> = run(connection, &statements::head_and_clock(SQLITE, lane))?;
    let copier: Vec<Reason> = run(connection, &holds::reason(SQLITE, lane, COPY))?;
    let mut head = HeadRow::restorable(lane, head.first(), copier.first())?;
    for event in events {
        if event.position != head.next() {
            return Err(Error::Gap { lane: lane.get(), expected: head.next(), found: event.position });
        }
        head = event.position;
        let created = (event.aggregate_version == Version::new(1)).then_some(ChangeKind::Create);
        for kind in created.into_iter().chain(ChangeKind::of_marker(event)) {
            rows.change(&event.aggregate_id, &event.aggregate_type, kind, event.event_timestamp.timestamp_micros())?;
        }
        rows.event(&EventRow::recorded(event))?;
    }
    Ok(head)
}
