//! The statements of named subscriptions: their rows, their leases, their checkpoints.
//!
//! A subscription has a row in each lane of its topic; the rows of one have the same lease.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::rows::{hash, required};
use super::{Dialect, FromRow, RowRead, Sql, Statement, Value};
use crate::error::Result;
use crate::json::Json;
use crate::position::{LaneId, Position};

/// The lanes of a topic; its parameter is the topic's name.
pub(super) const LANES_OF_TOPIC: &str = "(SELECT l.lane_id FROM {s}lanes l WHERE l.topic = ?)";

/// The row of a subscription in a lane.
#[derive(Debug, Clone)]
pub(crate) struct SubscriptionRow {
    pub name: String,
    pub lane: LaneId,
    pub position: Position,
    pub event_id: Option<Uuid>,
    pub filter: Option<Json>,
    pub filter_hash: Option<[u8; 32]>,
    pub lease_owner: Option<String>,
    pub lease_until: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub metadata: Option<Json>,
    /// The database's clock when the row was read.
    pub now: DateTime<Utc>,
}

impl FromRow for SubscriptionRow {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        Ok(Self {
            name: required(row.text(0)?)?,
            lane: LaneId::new(required(row.i64(1)?)?),
            position: Position::new(required(row.i64(2)?)?),
            event_id: row.uuid(3)?,
            filter: row.json(4)?.map(Json::trusted),
            filter_hash: row.bytes(5)?.map(|bytes| hash(&bytes)).transpose()?,
            lease_owner: row.text(6)?,
            lease_until: row.time(7)?,
            created_at: required(row.time(8)?)?,
            updated_at: required(row.time(9)?)?,
            metadata: row.json(10)?.map(Json::trusted),
            now: required(row.time(11)?)?,
        })
    }
}

/// Which subscriptions are listed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Names<'a> {
    All,
    One(&'a str),
    /// Those whose names are this one, an `@` and more.
    VersionsOf(&'a str),
}

/// The subscriptions of a topic, or some of them, by name and lane.
pub(crate) fn list(dialect: Dialect, topic: &str, names: Names<'_>) -> Statement {
    let mut sql = Sql::new(dialect, "read subscriptions");
    sql.push(
        "SELECT s.name, s.lane_id, s.position, s.event_id, s.filter, s.filter_hash, s.lease_owner, s.lease_until, \
         s.created_at, s.updated_at, s.metadata, ",
    );
    sql.push(dialect.now());
    sql.push(" FROM {s}subscriptions s JOIN {s}lanes l ON l.lane_id = s.lane_id")
        .add(" WHERE l.topic = ?", [topic.into()]);
    match names {
        Names::All => {}
        Names::One(name) => {
            sql.add(" AND s.name = ?", [name.into()]);
        }
        Names::VersionsOf(name) => {
            // Names are compared byte for byte, and an A follows the @.
            sql.add(" AND s.name >= ? AND s.name < ?", [format!("{name}@").into(), format!("{name}A").into()]);
        }
    }
    sql.push(" ORDER BY s.name, l.partition");
    sql.done()
}

/// What a new row of a subscription says.
pub(crate) struct NewRow<'a> {
    pub name: &'a str,
    pub lane: LaneId,
    pub aggregate_id: Option<&'a str>,
    pub position: Position,
    pub filter: Option<&'a str>,
    pub filter_hash: Option<[u8; 32]>,
}

/// Creates a row of a subscription.
pub(crate) fn insert(dialect: Dialect, row: &NewRow<'_>) -> Statement {
    let mut sql = Sql::new(dialect, "create a subscription");
    sql.add(
        "INSERT INTO {s}subscriptions (name, lane_id, aggregate_id, position, event_id, aggregate_version, filter, \
         filter_hash, created_at, updated_at) VALUES (?, ?, ?, ?, ",
        [row.name.into(), row.lane.get().into(), row.aggregate_id.map(str::to_owned).into(), row.position.get().into()],
    );
    event_at(&mut sql, "event_id", row.lane, row.position).push(", ");
    event_at(&mut sql, "aggregate_version", row.lane, row.position).push(", ");
    let filter = Value::Json(row.filter.map(str::to_owned));
    sql.add("?, ?, ", [filter, row.filter_hash.map(Vec::from).into()]);
    sql.push(dialect.now()).push(", ").push(dialect.now()).push(")");
    sql.done()
}

/// What the event of a place says; null where there is none, as at position 0.
pub(super) fn event_at<'s>(sql: &'s mut Sql, column: &str, lane: LaneId, position: Position) -> &'s mut Sql {
    sql.add(
        &format!("(SELECT e.{column} FROM {{s}}events e WHERE e.lane_id = ? AND e.position = ?)"),
        [lane.get().into(), position.get().into()],
    )
}

/// Takes the lease of a subscription for a time in milliseconds, in the rows in which it is free, its end is past, or it
/// is still the one that was seen.
pub(crate) fn take_lease(
    dialect: Dialect,
    topic: &str,
    name: &str,
    owner: &str,
    milliseconds: i64,
    seen: Option<(&str, DateTime<Utc>)>,
) -> Statement {
    let mut sql = Sql::new(dialect, "take a lease");
    sql.add("UPDATE {s}subscriptions SET lease_owner = ?, lease_until = ", [owner.into()]);
    sql.add(dialect.later(), [milliseconds.into()]);
    sql.add(" WHERE name = ? AND lane_id IN ", [name.into()]).add(LANES_OF_TOPIC, [topic.into()]);
    sql.add(" AND (lease_owner IS NULL OR lease_owner = ? OR lease_until < ", [owner.into()]).push(dialect.now());
    if let Some((holder, until)) = seen {
        sql.add(" OR (lease_owner = ? AND lease_until = ", [holder.into()])
            .add(dialect.time(), [until.into()])
            .push(")");
    }
    sql.push(")");
    sql.done()
}

/// Prolongs a lease that is still held.
pub(crate) fn renew_lease(dialect: Dialect, topic: &str, name: &str, owner: &str, milliseconds: i64) -> Statement {
    let mut sql = Sql::new(dialect, "renew a lease");
    sql.push("UPDATE {s}subscriptions SET lease_until = ").add(dialect.later(), [milliseconds.into()]);
    sql.add(" WHERE name = ? AND lease_owner = ? AND lane_id IN ", [name.into(), owner.into()]);
    sql.add(LANES_OF_TOPIC, [topic.into()]);
    sql.done()
}

/// Gives a lease back.
pub(crate) fn release_lease(dialect: Dialect, topic: &str, name: &str, owner: &str) -> Statement {
    let mut sql = Sql::new(dialect, "release a lease");
    sql.push("UPDATE {s}subscriptions SET lease_owner = NULL, lease_until = NULL");
    sql.add(" WHERE name = ? AND lease_owner = ? AND lane_id IN ", [name.into(), owner.into()]);
    sql.add(LANES_OF_TOPIC, [topic.into()]);
    sql.done()
}

/// Moves the checkpoint of a lane on, if the lease is still held.
pub(crate) fn save(dialect: Dialect, name: &str, owner: &str, (lane, position): (LaneId, Position)) -> Statement {
    let mut sql = Sql::new(dialect, "save a checkpoint");
    sql.add("UPDATE {s}subscriptions SET position = ?, event_id = ", [position.get().into()]);
    event_at(&mut sql, "event_id", lane, position).push(", aggregate_version = ");
    event_at(&mut sql, "aggregate_version", lane, position).push(", updated_at = ").push(dialect.now());
    sql.add(
        " WHERE name = ? AND lane_id = ? AND lease_owner = ? AND position <= ?",
        [name.into(), lane.get().into(), owner.into(), position.get().into()],
    );
    sql.done()
}

/// Locks the row of a subscription in a lane until the transaction ends.
pub(crate) fn lock(dialect: Dialect, name: &str, lane: LaneId) -> Statement {
    let mut sql = Sql::new(dialect, "lock a checkpoint");
    sql.add(
        "UPDATE {s}subscriptions SET position = position WHERE name = ? AND lane_id = ?",
        [name.into(), lane.get().into()],
    );
    sql.done()
}

/// Moves the checkpoint of a lane from where it is known to stand to another place; with an owner of the lease, if that
/// one still holds it.
pub(crate) fn shift(
    dialect: Dialect,
    name: &str,
    owner: Option<&str>,
    lane: LaneId,
    (from, to): (Position, Position),
) -> Statement {
    let mut sql = Sql::new(dialect, "move a checkpoint");
    sql.add("UPDATE {s}subscriptions SET position = ?, event_id = ", [to.get().into()]);
    event_at(&mut sql, "event_id", lane, to).push(", aggregate_version = ");
    event_at(&mut sql, "aggregate_version", lane, to).push(", updated_at = ").push(dialect.now());
    sql.add(" WHERE name = ? AND lane_id = ? AND position = ?", [name.into(), lane.get().into(), from.get().into()]);
    if let Some(owner) = owner {
        sql.add(" AND lease_owner = ?", [owner.into()]);
    }
    sql.done()
}

/// Where a subscription stands in a lane, and what is noted about it.
#[derive(Debug)]
pub(crate) struct Standing {
    pub position: Position,
    pub metadata: Option<Json>,
    pub lease_owner: Option<String>,
}

impl FromRow for Standing {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        Ok(Self {
            position: Position::new(required(row.i64(0)?)?),
            metadata: row.json(1)?.map(Json::trusted),
            lease_owner: row.text(2)?,
        })
    }
}

/// Reads the row of a subscription in a lane, and no other, which another transaction may have locked.
pub(crate) fn standing(dialect: Dialect, name: &str, lane: LaneId) -> Statement {
    let mut sql = Sql::new(dialect, "read a checkpoint");
    sql.add(
        "SELECT position, metadata, lease_owner FROM {s}subscriptions WHERE name = ? AND lane_id = ?",
        [name.into(), lane.get().into()],
    );
    sql.done()
}

/// Notes something about a subscription, in its row of a lane.
pub(crate) fn note(dialect: Dialect, name: &str, lane: LaneId, metadata: &Json) -> Statement {
    let mut sql = Sql::new(dialect, "note what a subscription is");
    sql.add("UPDATE {s}subscriptions SET metadata = ?", [metadata.clone().into()]);
    sql.add(" WHERE name = ? AND lane_id = ?", [name.into(), lane.get().into()]);
    sql.done()
}

/// Takes the lease from whoever runs a subscription, in its row of a lane.
pub(crate) fn revoke_lease(dialect: Dialect, name: &str, lane: LaneId) -> Statement {
    let mut sql = Sql::new(dialect, "revoke a lease");
    sql.push("UPDATE {s}subscriptions SET lease_owner = NULL, lease_until = NULL");
    sql.add(" WHERE name = ? AND lane_id = ?", [name.into(), lane.get().into()]);
    sql.done()
}

/// Deletes a subscription that nobody holds the lease of.
pub(crate) fn delete(dialect: Dialect, topic: &str, name: &str) -> Statement {
    let mut sql = Sql::new(dialect, "delete a subscription");
    sql.add("DELETE FROM {s}subscriptions WHERE name = ? AND (lease_owner IS NULL OR lease_until < ", [name.into()]);
    sql.push(dialect.now()).add(") AND lane_id IN ", []).add(LANES_OF_TOPIC, [topic.into()]);
    sql.done()
}
