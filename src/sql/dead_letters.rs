//! The statements of dead letters.

use uuid::Uuid;

use super::groups::of_topic;
use super::rows::required;
use super::{Dialect, FromRow, RowRead, Sql, Statement, Value};
use crate::error::Result;
use crate::position::{LaneId, Position, Version};
use crate::subscription::DeadLetter;

impl FromRow for DeadLetter {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        Ok(Self {
            lane: LaneId::new(required(row.i64(0)?)?),
            position: Position::new(required(row.i64(1)?)?),
            event_id: required::<Uuid>(row.uuid(2)?)?,
            aggregate_id: required(row.text(3)?)?,
            aggregate_version: Version::new(required(row.i64(4)?)?),
            event_type: required(row.text(5)?)?,
            attempts: required(row.i32(6)?)?.try_into().unwrap_or_default(),
            reason: row.text(7)?,
            last_failed_at: row.time(8)?,
            due_at: row.time(9)?,
            first_failed_at: row.time(10)?,
            parked_at: required(row.time(11)?)?,
        })
    }
}

/// The first dead letter of a stream.
#[derive(Debug, Clone)]
pub(crate) struct FirstLetter {
    pub lane: LaneId,
    pub aggregate_id: String,
    pub position: Position,
}

impl FromRow for FirstLetter {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        Ok(Self {
            lane: LaneId::new(required(row.i64(0)?)?),
            aggregate_id: required(row.text(1)?)?,
            position: Position::new(required(row.i64(2)?)?),
        })
    }
}

/// How many dead letters a group has.
#[derive(Debug, Clone)]
pub(crate) struct LetterCount {
    pub name: String,
    pub letters: i64,
}

impl FromRow for LetterCount {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        Ok(Self { name: required(row.text(0)?)?, letters: required(row.i64(1)?)? })
    }
}

/// A page of a group's dead letters after a place, by lane and position.
pub(crate) fn list(dialect: Dialect, topic: &str, name: &str, after: (LaneId, Position), rows: usize) -> Statement {
    let mut sql = Sql::new(dialect, "list dead letters");
    sql.push(
        "SELECT s.lane_id, s.position, s.event_id, s.aggregate_id, s.aggregate_version, s.event_type, s.attempts, \
         s.reason, s.last_failed_at, s.due_at, s.first_failed_at, s.parked_at FROM {s}dead_letters s ",
    );
    of_topic(&mut sql, topic, Some(name));
    let (lane, position) = (after.0.get(), after.1.get());
    sql.add(
        " AND (s.lane_id > ? OR (s.lane_id = ? AND s.position > ?)) ORDER BY s.lane_id, s.position",
        [lane.into(), lane.into(), position.into()],
    );
    sql.push(&dialect.limit(rows));
    sql.done()
}

/// Counts the dead letters of each group of a topic.
pub(crate) fn counts(dialect: Dialect, topic: &str) -> Statement {
    let mut sql = Sql::new(dialect, "count dead letters");
    sql.push("SELECT s.name, ").push(dialect.count()).push("(*) FROM {s}dead_letters s ");
    of_topic(&mut sql, topic, None).push(" GROUP BY s.name");
    sql.done()
}

/// The first dead letter of each stream of a group that has one; `due`: only of those that are to be tried again.
pub(crate) fn firsts(dialect: Dialect, topic: &str, name: &str, due: bool) -> Statement {
    let mut sql = Sql::new(dialect, "look for dead letters");
    sql.push("SELECT s.lane_id, s.aggregate_id, MIN(s.position) FROM {s}dead_letters s ");
    of_topic(&mut sql, topic, Some(name));
    if due {
        sql.push(" AND s.due_at IS NOT NULL");
    }
    sql.push(" GROUP BY s.lane_id, s.aggregate_id");
    sql.done()
}

/// Counts the dead letters of a stream.
pub(crate) fn count(dialect: Dialect, name: &str, lane: LaneId, aggregate_id: &str) -> Statement {
    let mut sql = Sql::new(dialect, "count dead letters");
    sql.push("SELECT ").push(dialect.count()).push("(*) FROM {s}dead_letters ");
    of_stream(&mut sql, name, lane, aggregate_id);
    sql.done()
}

fn of_stream<'s>(sql: &'s mut Sql, name: &str, lane: LaneId, aggregate_id: &str) -> &'s mut Sql {
    sql.add(
        "WHERE name = ? AND lane_id = ? AND aggregate_id = ?",
        [name.into(), lane.get().into(), aggregate_id.into()],
    )
}

/// How an event failed.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    pub attempts: u32,
    pub reason: String,
    /// How long ago it failed first, and last, in milliseconds.
    pub ago: (i64, i64),
}

/// Parks an event, unless it is there already.
pub(crate) fn park(
    dialect: Dialect,
    name: &str,
    (lane, position): (LaneId, Position),
    failed: Option<&Failed>,
) -> Statement {
    let mut sql = Sql::new(dialect, "park an event");
    sql.add(
        "INSERT INTO {s}dead_letters (name, lane_id, position, event_id, aggregate_id, aggregate_version, event_type, \
         attempts, reason, first_failed_at, last_failed_at, parked_at) \
         SELECT ?, e.lane_id, e.position, e.event_id, e.aggregate_id, e.aggregate_version, e.event_type, ?, ?, ",
        [name.into(), attempts(failed), reason(failed)],
    );
    match failed {
        Some(failed) => {
            sql.add(dialect.later(), [(-failed.ago.0).into()]).push(", ");
            sql.add(dialect.later(), [(-failed.ago.1).into()])
        }
        None => sql.push("NULL, NULL"),
    };
    sql.push(", ").push(dialect.now());
    sql.add(
        " FROM {s}events e WHERE e.lane_id = ? AND e.position = ? AND NOT EXISTS \
         (SELECT 1 FROM {s}dead_letters d WHERE d.name = ? AND d.lane_id = ? AND d.position = ?)",
        [lane.get().into(), position.get().into(), name.into(), lane.get().into(), position.get().into()],
    );
    sql.done()
}

fn attempts(failed: Option<&Failed>) -> Value {
    failed.map_or(0, |failed| i32::try_from(failed.attempts).unwrap_or(i32::MAX)).into()
}

fn reason(failed: Option<&Failed>) -> Value {
    failed.map(|failed| failed.reason.clone()).into()
}

/// Notes how a dead letter failed again.
pub(crate) fn fail(dialect: Dialect, name: &str, (lane, position): (LaneId, Position), failed: &Failed) -> Statement {
    let mut sql = Sql::new(dialect, "note a failure");
    sql.add(
        "UPDATE {s}dead_letters SET due_at = NULL, attempts = attempts + ?, reason = ?, last_failed_at = ",
        [attempts(Some(failed)), reason(Some(failed))],
    );
    sql.add(dialect.later(), [(-failed.ago.1).into()]).push(", first_failed_at = COALESCE(first_failed_at, ");
    sql.add(dialect.later(), [(-failed.ago.0).into()]).push(") ");
    at(&mut sql, name, lane, position);
    sql.done()
}

/// Deletes a dead letter.
pub(crate) fn delete(dialect: Dialect, name: &str, (lane, position): (LaneId, Position)) -> Statement {
    let mut sql = Sql::new(dialect, "delete a dead letter");
    sql.push("DELETE FROM {s}dead_letters ");
    at(&mut sql, name, lane, position);
    sql.done()
}

fn at(sql: &mut Sql, name: &str, lane: LaneId, position: Position) {
    sql.add("WHERE name = ? AND lane_id = ? AND position = ?", [name.into(), lane.get().into(), position.get().into()]);
}

/// Makes the first dead letter due of each stream of a lane, or of one stream.
pub(crate) fn retry(dialect: Dialect, name: &str, lane: LaneId, aggregate_id: Option<&str>) -> Statement {
    let mut sql = Sql::new(dialect, "retry dead letters");
    sql.push("UPDATE {s}dead_letters SET due_at = ").push(dialect.now());
    sql.add(
        " WHERE name = ? AND lane_id = ? AND due_at IS NULL AND position IN (SELECT MIN(d.position) FROM \
         {s}dead_letters d WHERE d.name = ? AND d.lane_id = ?",
        [name.into(), lane.get().into(), name.into(), lane.get().into()],
    );
    if let Some(aggregate_id) = aggregate_id {
        sql.add(" AND d.aggregate_id = ?", [aggregate_id.into()]);
    }
    sql.push(" GROUP BY d.aggregate_id)");
    sql.done()
}
