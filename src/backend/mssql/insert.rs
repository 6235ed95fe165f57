//! The statements that store, each with many rows.
//!
//! A null is written into the statement: Babelfish does not take the driver's null of a text or of bytes. The exceptions
//! are nulls of ids and numbers, which it takes, and which a list of rows needs with their type.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::backend::decide::{Accepted, ChangeKind};
use crate::backend::event_row::{Columns, EventRow, Place};
use crate::backend::request::CommandWrite;
use crate::json::Json;
use crate::position::LaneId;
use crate::sql::{Dialect, Sql, Statement, Value};

/// Rows of one statement, so that its parameters stay below [`super::convert::PARAMETERS`].
pub(super) const ROWS: usize = 100;

/// A table, and the columns of the rows that are stored in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub table: &'static str,
    pub columns: &'static str,
}

impl Target {
    /// Returns the statement up to its rows.
    pub(super) fn head(self) -> String {
        format!("INSERT INTO {} ({}) VALUES ", self.table, self.columns)
    }
}

pub(super) const EVENTS: Target = Target {
    table: "{s}events",
    columns: "lane_id, aggregate_id, aggregate_type, position, aggregate_version, event_timestamp, event_id, event_type, \
              event_version, actor, actor_type, source, causation_id, correlation_id, data, metadata, content_type, tags, hash",
};

pub(super) const TAGS: Target = Target { table: "{s}event_tags", columns: "lane_id, tag, position" };

pub(super) const STREAMS: Target =
    Target { table: "{s}streams", columns: "lane_id, aggregate_id, aggregate_type, created_at, updated_at" };

/// The time, lane and stream follow, or for a reuse the first version that shows and these.
const DELETE: &str = "UPDATE {s}streams SET updated_at = ?, deleted_at = ? WHERE lane_id = ? AND aggregate_id = ?";
const SHOW: &str = "UPDATE {s}streams SET updated_at = ?, deleted_at = NULL, \
     first_version = COALESCE(?, first_version) WHERE lane_id = ? AND aggregate_id = ?";

pub(super) const COMMANDS: Target = Target {
    table: "{s}commands",
    columns: "lane_id, command_id, command_type, aggregate_id, aggregate_type, actor, source, data, request_hash, \
              processed_at, first_position, last_position",
};

/// The values of an event after its place: its id, type and version, actor, kind of actor, source, causation,
/// correlation, data, metadata, content type, tags, hash.
pub(super) fn event_values(event: &Columns<'_>) -> [Value; 13] {
    let text = |text: Option<&str>| Value::Text(text.map(str::to_owned));
    [
        event.event_id.into(),
        event.event_type.into(),
        event.event_version.into(),
        text(event.actor),
        event.actor_type.into(),
        event.source.into(),
        Value::Uuid(event.causation_id),
        Value::Uuid(event.correlation_id),
        document(Some(&event.data)),
        document(event.metadata),
        text(event.content_type),
        text(event.tag_list.as_deref()),
        Value::Bytes(event.hash.map(Vec::from)),
    ]
}

/// The values of a command after its lane: its id, type, stream, the stream's type, actor, source, data, hash.
pub(super) fn command_values(command: &CommandWrite) -> [Value; 8] {
    [
        command.command_id.into(),
        Value::Text(command.command_type.clone()),
        Value::Text(command.aggregate_id.clone()),
        Value::Text(command.aggregate_type.clone()),
        Value::Text(command.actor.clone()),
        Value::Text(command.source.map(|source| source.as_str().to_owned())),
        document(command.data.as_ref().map(Json::as_str)),
        Value::Bytes(Some(command.request_hash.to_vec())),
    ]
}

fn document(json: Option<&str>) -> Value {
    Value::Json(json.map(str::to_owned))
}

/// Adds values to a row, each with a comma before it.
pub(super) fn add_values(sql: &mut Sql, values: impl IntoIterator<Item = Value>) {
    for value in values {
        match value {
            Value::Text(None) | Value::Json(None) | Value::Bytes(None) => sql.push(", NULL"),
            value => sql.add(", ?", [value]),
        };
    }
}

fn insert<T>(rows: &[T], head: &str, mut row: impl FnMut(&mut Sql, &T)) -> Vec<Statement> {
    rows.chunks(ROWS)
        .map(|rows| {
            let mut sql = Sql::new(Dialect::Mssql, "append");
            sql.push(head);
            for (index, item) in rows.iter().enumerate() {
                sql.push(if index == 0 { "" } else { ", " });
                row(&mut sql, item);
            }
            sql.done()
        })
        .collect()
}

/// The values of where an event stands, after its lane: its stream, the stream's type, position, version, time.
pub(super) fn place_values(place: &Place<'_>) -> [Value; 5] {
    [
        place.aggregate_id.into(),
        place.aggregate_type.into(),
        place.position.into(),
        place.version.into(),
        place.time.into(),
    ]
}

/// Inserts events and their tags.
pub(super) fn events(lane: LaneId, rows: &[EventRow<'_>]) -> Vec<Statement> {
    let mut statements = insert(rows, &EVENTS.head(), |sql, row| {
        sql.push(&format!("({}", lane.get()));
        add_values(sql, place_values(&row.place).into_iter().chain(event_values(&row.columns)));
        sql.push(")");
    });
    let tags: Vec<(&str, i64)> =
        rows.iter().flat_map(|row| row.columns.tags.iter().map(|tag| (tag.as_str(), row.place.position))).collect();
    statements.extend(insert(&tags, &TAGS.head(), |sql, (tag, position)| {
        sql.add(&format!("({}, ?, ?)", lane.get()), [(*tag).into(), (*position).into()]);
    }));
    statements
}

/// Inserts the rows of new streams: id, type, time.
pub(super) fn streams(lane: LaneId, rows: &[(&str, &str, DateTime<Utc>)]) -> Vec<Statement> {
    insert(rows, &STREAMS.head(), |sql, (id, kind, time)| {
        let values = [(*id).into(), (*kind).into(), (*time).into(), (*time).into()];
        sql.add(&format!("({}, ?, ?, ?, ?)", lane.get()), values);
    })
}

/// Changes the row of a stream that exists.
pub(super) fn change(lane: LaneId, id: &str, kind: ChangeKind, time: DateTime<Utc>) -> Option<Statement> {
    let mut sql = Sql::new(Dialect::Mssql, "append");
    let first = match kind {
        ChangeKind::Create => return None,
        ChangeKind::Delete => {
            sql.add(DELETE, [time.into(), time.into(), lane.get().into(), id.into()]);
            return Some(sql.done());
        }
        ChangeKind::Undelete => None,
        ChangeKind::Reuse(first) => Some(first.get()),
    };
    sql.add(SHOW, [time.into(), Value::I64(first), lane.get().into(), id.into()]);
    Some(sql.done())
}

/// Everything that a batch's accepted requests store, in an order that the references allow.
pub(super) fn accepted(lane: LaneId, accepted: &[Accepted<'_>]) -> Vec<Statement> {
    let changes = || accepted.iter().flat_map(|one| one.streams.iter().map(|change| (change, one.now)));
    let created: Vec<_> = changes()
        .filter(|(change, _)| change.kind == ChangeKind::Create)
        .map(|(change, now)| (change.stream.aggregate_id.as_str(), change.stream.aggregate_type.as_str(), now))
        .collect();
    let mut statements = streams(lane, &created);
    statements.extend(changes().filter_map(|(one, now)| change(lane, &one.stream.aggregate_id, one.kind, now)));
    let rows: Vec<_> =
        accepted.iter().flat_map(|one| one.events.iter().map(|placed| EventRow::placed(placed, one.now))).collect();
    statements.extend(events(lane, &rows));
    let commands: Vec<_> = accepted.iter().filter_map(|one| one.command.map(|command| (command, one))).collect();
    statements.extend(insert(&commands, &COMMANDS.head(), |sql, (command, one)| {
        let positions = one.outcome.positions;
        let last = [
            one.now.into(),
            Value::I64(positions.map(|(first, _)| first.get())),
            Value::I64(positions.map(|(_, last)| last.get())),
        ];
        sql.push(&format!("({}", lane.get()));
        add_values(sql, command_values(command).into_iter().chain(last));
        sql.push(")");
    }));
    statements
}

/// The lanes of a new topic, one a partition, from a number on.
pub(super) fn lanes(first: i64, topic: &str, partitions: u16, incarnation: Uuid) -> Vec<Statement> {
    let rows: Vec<u16> = (0..partitions).collect();
    let head = "INSERT INTO {s}lanes (lane_id, topic, partition, incarnation, floor, created_at) VALUES ";
    insert(&rows, head, |sql, partition| {
        let values =
            [(first + i64::from(*partition)).into(), topic.into(), i32::from(*partition).into(), incarnation.into()];
        sql.add("(?, ?, ?, ?, 0, ", values).push(Dialect::Mssql.now()).push(")");
    })
}
