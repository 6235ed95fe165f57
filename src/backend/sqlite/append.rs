//! The append transaction: under the database's write lock, load, decide, store.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::convert::{classify, run};
use crate::append::Appended;
use crate::backend::decide::{Accepted, ChangeKind, CommandState, Decision, LaneState, Placed, decide};
use crate::backend::request::Request;
use crate::error::{Error, Result};
use crate::event::{Payload, RecordedEvent};
use crate::json;
use crate::position::{LaneId, Position};
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
    let mut answers = Vec::with_capacity(batch.len());
    for request in batch {
        let matched = match request.unexamined() {
            Some((items, after)) => {
                let found: Vec<MatchRow> =
                    run(connection, &statements::first_matches(SQLITE, lane, [(0, items, after)]))?;
                found.first().map(|row| row.position)
            }
            None => request.examined.matched,
        };
        answers.push(match decide(&mut state, request, matched) {
            Err(error) => Err(error),
            Ok(Decision::Duplicate(outcome)) => Ok(outcome),
            Ok(Decision::Accept(accepted)) => {
                store(connection, lane, &accepted)?;
                Ok(accepted.outcome)
            }
        });
    }
    Ok(answers)
}

/// Loads what the batch asks about, each by its key.
fn load(connection: &Connection, lane: LaneId, batch: &[Arc<Request>]) -> Result<LaneState> {
    let head: Vec<HeadRow> = run(connection, &statements::head_and_clock(SQLITE, lane))?;
    let head = head.first().ok_or(Error::Closed)?;
    let mut state = LaneState {
        lane,
        head: head.head,
        now: head.now(),
        streams: HashMap::new(),
        commands: HashMap::new(),
        event_ids: HashMap::new(),
    };
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
    let now = accepted.now.timestamp_micros();
    let execute = |sql: &str, params: &[&dyn rusqlite::ToSql]| -> Result<()> {
        let mut statement = connection.prepare_cached(sql).map_err(|error| classify("append", error))?;
        statement.execute(params).map(drop).map_err(|error| classify("append", error))
    };
    for change in &accepted.streams {
        let (lane, id) = (lane.get(), &change.stream.aggregate_id);
        match change.kind {
            ChangeKind::Create => execute(INSERT_STREAM, params![lane, id, change.stream.aggregate_type, now])?,
            ChangeKind::Delete => execute(UPDATE_STREAM, params![lane, id, now, now, None::<i64>])?,
            ChangeKind::Undelete => execute(UPDATE_STREAM, params![lane, id, now, None::<i64>, None::<i64>])?,
            ChangeKind::Reuse(first) => execute(UPDATE_STREAM, params![lane, id, now, None::<i64>, first.get()])?,
        }
    }
    for placed in &accepted.events {
        insert_event(&execute, lane, placed, now)?;
    }
    if let Some(command) = accepted.command {
        let positions = accepted.outcome.positions;
        execute(
            INSERT_COMMAND,
            params![
                lane.get(),
                command.command_id.as_bytes(),
                command.command_type,
                command.aggregate_id,
                command.aggregate_type,
                now,
                command.actor,
                command.source.map(crate::event::Source::as_str),
                command.data.as_ref().map(json::Json::as_str),
                command.request_hash,
                positions.map(|(first, _)| first.get()),
                positions.map(|(_, last)| last.get()),
            ],
        )?;
    }
    Ok(())
}

fn insert_event(
    execute: &impl Fn(&str, &[&dyn rusqlite::ToSql]) -> Result<()>,
    lane: LaneId,
    placed: &Placed<'_>,
    now: i64,
) -> Result<()> {
    let event = placed.event;
    execute(
        INSERT_EVENT,
        params![
            lane.get(),
            placed.position.get(),
            event.event_id.as_bytes(),
            placed.stream.aggregate_id,
            placed.stream.aggregate_type,
            placed.version.get(),
            event.event_type,
            event.event_version,
            now,
            event.actor,
            event.actor_type.as_str(),
            event.source.as_str(),
            event.causation_id.as_ref().map(uuid::Uuid::as_bytes),
            event.correlation_id.as_ref().map(uuid::Uuid::as_bytes),
            event.data.as_str(),
            event.metadata.as_ref().map(json::Json::as_str),
            event.content_type,
            json::tags(&event.tags),
            event.hash,
        ],
    )?;
    event.tags.iter().try_for_each(|tag| execute(INSERT_TAG, params![lane.get(), tag, placed.position.get()]))
}

/// Adds the lanes of a topic.
pub(super) fn create_topic(connection: &Connection, name: &str, partitions: u16) -> Result<()> {
    let incarnation = uuid::Uuid::new_v4();
    for partition in 0..partitions {
        connection
            .execute(
                "INSERT INTO lanes (lane_id, topic, partition, incarnation, floor, created_at) \
                 SELECT COALESCE(MAX(lane_id), 0) + 1, ?1, ?2, ?3, 0, annals_now() FROM lanes",
                params![name, partition, incarnation.as_bytes()],
            )
            .map_err(|error| classify("create a topic", error))?;
    }
    Ok(())
}

/// Stores events as they were elsewhere.
pub(super) fn restore(connection: &Connection, lane: LaneId, events: &[RecordedEvent]) -> Result<Position> {
    let failed = |error| classify("restore", error);
    let head: Vec<i64> = run(connection, &statements::head(SQLITE, lane))?;
    let mut head = Position::new(head.first().copied().unwrap_or_default());
    for event in events {
        if event.position != head.next() {
            return Err(Error::Gap { lane: lane.get(), expected: head.next(), found: event.position });
        }
        head = event.position;
        let time = event.event_timestamp.timestamp_micros();
        if event.aggregate_version.get() == 1 {
            let id = &event.aggregate_id;
            let mut insert = connection.prepare_cached(INSERT_STREAM).map_err(failed)?;
            insert.execute(params![lane.get(), id, event.aggregate_type, time]).map_err(failed)?;
        }
        let change = match event.event_type.as_str() {
            crate::marker::DELETED => Some((Some(time), None)),
            crate::marker::UNDELETED => Some((None, None)),
            crate::marker::REUSED => Some((None, Some(event.aggregate_version.get()))),
            _ => None,
        };
        if let Some((deleted, first)) = change {
            let mut update = connection.prepare_cached(UPDATE_STREAM).map_err(failed)?;
            update.execute(params![lane.get(), event.aggregate_id, time, deleted, first]).map_err(failed)?;
        }
        let encoded;
        let (content_type, data) = match &event.payload {
            Payload::Json(json) => (None, json),
            Payload::Bytes { content_type, bytes } => {
                encoded = json::encode_bytes(bytes);
                (Some(content_type), &encoded)
            }
        };
        let mut insert = connection.prepare_cached(INSERT_EVENT).map_err(failed)?;
        insert
            .execute(params![
                lane.get(),
                event.position.get(),
                event.event_id.as_bytes(),
                event.aggregate_id,
                event.aggregate_type,
                event.aggregate_version.get(),
                event.event_type,
                event.event_version,
                time,
                event.actor,
                event.actor_type.as_str(),
                event.source.as_str(),
                event.causation_id.as_ref().map(uuid::Uuid::as_bytes),
                event.correlation_id.as_ref().map(uuid::Uuid::as_bytes),
                data.as_str(),
                event.metadata.as_ref().map(json::Json::as_str),
                content_type,
                json::tags(&event.tags),
                event.hash,
            ])
            .map_err(failed)?;
        for tag in &event.tags {
            let mut insert = connection.prepare_cached(INSERT_TAG).map_err(failed)?;
            insert.execute(params![lane.get(), tag, event.position.get()]).map_err(failed)?;
        }
    }
    Ok(head)
}
