//! The statements about what is not to be done to a lane.

use chrono::{DateTime, Utc};

use super::rows::required;
use super::{Dialect, FromRow, RowRead, Sql, Statement, Value};
use crate::error::Result;
use crate::position::LaneId;

/// What a hold keeps from a lane: its kind and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold<'a> {
    pub kind: &'static str,
    pub name: &'a str,
}

/// Appends, while a topic is moved and ever after.
pub(crate) const MOVE: Hold<'static> = Hold { kind: "append", name: "move" };

/// What says that a topic is a copy, and who copies it; it is over from the beginning.
pub(crate) const COPY: Hold<'static> = Hold { kind: "append", name: "copy" };

/// The kind of holds that forbid purging.
pub(crate) const PURGE: &str = "purge";

/// When a hold ends that never does: at the beginning of 9999-12-31.
pub(crate) const FOR_EVER: DateTime<Utc> = match DateTime::from_timestamp_micros(253_402_214_400_000_000) {
    Some(time) => time,
    None => panic!("the year 9999 is a time"),
};

/// When a hold ended that was never in force.
pub(crate) const LONG_AGO: DateTime<Utc> = DateTime::UNIX_EPOCH;

/// Takes the lane's lock, in an open transaction, by a change that changes nothing.
pub(crate) fn lock(dialect: Dialect, lane: LaneId) -> Statement {
    let mut sql = Sql::new(dialect, "lock a lane");
    sql.add("UPDATE {s}lanes SET floor = floor WHERE lane_id = ?", [lane.get().into()]);
    sql.done()
}

/// Sets a hold that [`end`] has removed before.
pub(crate) fn begin(dialect: Dialect, lane: LaneId, hold: Hold<'_>, until: DateTime<Utc>, reason: &str) -> Statement {
    let mut sql = Sql::new(dialect, "hold a lane");
    let values: [Value; 5] =
        [lane.get().into(), hold.kind.into(), hold.name.into(), Value::Time(Some(until)), reason.into()];
    sql.add("INSERT INTO {s}holds (lane_id, kind, name, until, reason, created_at) VALUES (?, ?, ?, ?, ?, ", values);
    sql.push(dialect.now()).push(")");
    sql.done()
}

/// Sets a hold for ever that another lane has, since when it has it.
pub(crate) fn copy(dialect: Dialect, lane: LaneId, kind: &'static str, hold: &HoldRow) -> Statement {
    let mut sql = Sql::new(dialect, "hold a lane");
    let HoldRow { name, reason, created_at } = hold;
    let (until, since) = (Value::Time(Some(FOR_EVER)), Value::Time(Some(*created_at)));
    let values: [Value; 6] =
        [lane.get().into(), kind.into(), name.as_str().into(), until, reason.as_str().into(), since];
    sql.add("INSERT INTO {s}holds (lane_id, kind, name, until, reason, created_at) VALUES (?, ?, ?, ?, ?, ?)", values);
    sql.done()
}

/// Removes a hold.
pub(crate) fn end(dialect: Dialect, lane: LaneId, hold: Hold<'_>) -> Statement {
    let mut sql = Sql::new(dialect, "hold a lane");
    let key = [lane.get().into(), hold.kind.into(), hold.name.into()];
    sql.add("DELETE FROM {s}holds WHERE lane_id = ? AND kind = ? AND name = ?", key);
    sql.done()
}

/// Removes a hold that ends at a time.
pub(crate) fn end_lease(dialect: Dialect, lane: LaneId, hold: Hold<'_>, until: DateTime<Utc>) -> Statement {
    let mut sql = Sql::new(dialect, "hold a lane");
    let key: [Value; 4] = [lane.get().into(), hold.kind.into(), hold.name.into(), Value::Time(Some(until))];
    sql.add("DELETE FROM {s}holds WHERE lane_id = ? AND kind = ? AND name = ? AND until = ?", key);
    sql.done()
}

/// What a hold says.
#[derive(Debug)]
pub(crate) struct Reason(pub String);

impl FromRow for Reason {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        required(row.text(0)?).map(Self)
    }
}

/// What a hold says, in force or not.
pub(crate) fn reason(dialect: Dialect, lane: LaneId, hold: Hold<'_>) -> Statement {
    let mut sql = Sql::new(dialect, "look for a hold");
    let key = [lane.get().into(), hold.kind.into(), hold.name.into()];
    sql.add("SELECT reason FROM {s}holds WHERE lane_id = ? AND kind = ? AND name = ?", key);
    sql.done()
}

/// A hold as people are told of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HoldRow {
    pub name: String,
    pub reason: String,
    pub created_at: DateTime<Utc>,
}

impl FromRow for HoldRow {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        let (name, reason) = (required(row.text(0)?)?, required(row.text(1)?)?);
        Ok(Self { name, reason, created_at: required(row.time(2)?)? })
    }
}

/// The holds of a kind that are in force, by name.
pub(crate) fn of(dialect: Dialect, lane: LaneId, kind: &str) -> Statement {
    let mut sql = Sql::new(dialect, "list holds");
    let key = [lane.get().into(), kind.into()];
    sql.add("SELECT name, reason, created_at FROM {s}holds WHERE lane_id = ? AND kind = ? AND until > ", key);
    sql.push(dialect.now()).push(" ORDER BY name");
    sql.done()
}
