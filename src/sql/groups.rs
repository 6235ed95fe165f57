//! The statements of consumer groups: their shares and their members.
//!
//! A member is there as long as its row is. Whoever finds that it has not been heard of in time removes the row, and
//! gives its shares back in the same transaction; so what a member writes under the condition that a share is its own is
//! written by one at a time, whatever the clocks say.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::rows::required;
use super::subscriptions::{LANES_OF_TOPIC, event_at};
use super::{Dialect, FromRow, RowRead, Sql, Statement};
use crate::error::Result;
use crate::position::{LaneId, Position};

/// A share of a group.
#[derive(Debug, Clone)]
pub(crate) struct ShareRow {
    pub name: String,
    pub lane: LaneId,
    pub share: i32,
    pub position: Position,
    pub event_id: Option<Uuid>,
    pub owner: Option<String>,
}

impl FromRow for ShareRow {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        Ok(Self {
            name: required(row.text(0)?)?,
            lane: LaneId::new(required(row.i64(1)?)?),
            share: required(row.i32(2)?)?,
            position: Position::new(required(row.i64(3)?)?),
            event_id: row.uuid(4)?,
            owner: row.text(5)?,
        })
    }
}

/// A member of a group.
#[derive(Debug, Clone)]
pub(crate) struct MemberRow {
    pub name: String,
    pub member: String,
    pub joined_at: DateTime<Utc>,
    pub seen_until: DateTime<Utc>,
    /// The database's clock when the row was read.
    pub now: DateTime<Utc>,
}

impl FromRow for MemberRow {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        Ok(Self {
            name: required(row.text(0)?)?,
            member: required(row.text(1)?)?,
            joined_at: required(row.time(2)?)?,
            seen_until: required(row.time(3)?)?,
            now: required(row.time(4)?)?,
        })
    }
}

/// The shares of a topic's groups, or of one of them, by name, lane and number.
pub(crate) fn shares(dialect: Dialect, topic: &str, name: Option<&str>) -> Statement {
    let mut sql = Sql::new(dialect, "read the shares of groups");
    sql.push("SELECT s.name, s.lane_id, s.share, s.position, s.event_id, s.lease_owner FROM {s}subscription_shares s ");
    of_topic(&mut sql, topic, name).push(" ORDER BY s.name, s.lane_id, s.share");
    sql.done()
}

/// The members of a topic's groups, or of one of them, in the order in which they joined.
pub(crate) fn members(dialect: Dialect, topic: &str, name: Option<&str>) -> Statement {
    let mut sql = Sql::new(dialect, "read the members of groups");
    sql.push("SELECT s.name, s.member, s.joined_at, s.seen_until, ").push(dialect.now());
    sql.push(" FROM {s}subscription_members s ");
    of_topic(&mut sql, topic, name).push(" ORDER BY s.name, s.member");
    sql.done()
}

/// Keeps the rows of a topic, and of a name where one is given.
pub(super) fn of_topic<'s>(sql: &'s mut Sql, topic: &str, name: Option<&str>) -> &'s mut Sql {
    sql.push("WHERE s.lane_id IN ").add(LANES_OF_TOPIC, [topic.into()]);
    if let Some(name) = name {
        sql.add(" AND s.name = ?", [name.into()]);
    }
    sql
}

/// Creates a share that nobody has, at the group's own place in the lane.
pub(crate) fn insert_share(dialect: Dialect, name: &str, lane: LaneId, share: i32) -> Statement {
    let mut sql = Sql::new(dialect, "create a share of a group");
    sql.add(
        "INSERT INTO {s}subscription_shares (name, lane_id, share, position, event_id, updated_at) \
         SELECT s.name, s.lane_id, ?, s.position, s.event_id, s.created_at FROM {s}subscriptions s \
         WHERE s.name = ? AND s.lane_id = ?",
        [share.into(), name.into(), lane.get().into()],
    );
    sql.done()
}

/// Adds a member, for a time in milliseconds.
pub(crate) fn join(dialect: Dialect, name: &str, lane: LaneId, member: &str, milliseconds: i64) -> Statement {
    let mut sql = Sql::new(dialect, "join a group");
    sql.add(
        "INSERT INTO {s}subscription_members (name, lane_id, member, joined_at, seen_until) VALUES (?, ?, ?, ",
        [name.into(), lane.get().into(), member.into()],
    );
    sql.push(dialect.now()).push(", ").add(dialect.later(), [milliseconds.into()]).push(")");
    sql.done()
}

/// Says that a member is alive.
pub(crate) fn beat(dialect: Dialect, name: &str, lane: LaneId, member: &str, milliseconds: i64) -> Statement {
    let mut sql = Sql::new(dialect, "say that a member is alive");
    sql.push("UPDATE {s}subscription_members SET seen_until = ").add(dialect.later(), [milliseconds.into()]);
    sql.add(" WHERE name = ? AND lane_id = ? AND member = ?", [name.into(), lane.get().into(), member.into()]);
    sql.done()
}

/// Removes a member; where `seen` is given, only if it has not been heard of since.
pub(crate) fn remove(
    dialect: Dialect,
    name: &str,
    lane: LaneId,
    member: &str,
    seen: Option<DateTime<Utc>>,
) -> Statement {
    let mut sql = Sql::new(dialect, "remove a member of a group");
    sql.add(
        "DELETE FROM {s}subscription_members WHERE name = ? AND lane_id = ? AND member = ?",
        [name.into(), lane.get().into(), member.into()],
    );
    if let Some(seen) = seen {
        sql.push(" AND seen_until = ").add(dialect.time(), [seen.into()]);
    }
    sql.done()
}

/// Frees all shares that a member has.
pub(crate) fn free(dialect: Dialect, topic: &str, name: &str, member: &str) -> Statement {
    let mut sql = Sql::new(dialect, "free the shares of a member");
    sql.add(
        "UPDATE {s}subscription_shares SET lease_owner = NULL WHERE name = ? AND lease_owner = ? AND lane_id IN ",
        [name.into(), member.into()],
    );
    sql.add(LANES_OF_TOPIC, [topic.into()]);
    sql.done()
}

/// Hands a share over: from `from`, which is nobody or a member that is gone, to `to`.
pub(crate) fn hand_over(
    dialect: Dialect,
    name: &str,
    (lane, share): (LaneId, i32),
    from: Option<&str>,
    to: Option<&str>,
) -> Statement {
    let mut sql = Sql::new(dialect, "hand a share over");
    sql.add(
        "UPDATE {s}subscription_shares SET lease_owner = ? WHERE name = ? AND lane_id = ? AND share = ? AND ",
        [to.map(str::to_owned).into(), name.into(), lane.get().into(), share.into()],
    );
    match from {
        Some(owner) => sql.add("lease_owner = ?", [owner.into()]),
        None => sql.push("lease_owner IS NULL"),
    };
    sql.done()
}

/// Moves the checkpoints of a member's shares in a lane on to a position.
pub(crate) fn save(
    dialect: Dialect,
    name: &str,
    owner: &str,
    (lane, position): (LaneId, Position),
    shares: &[i32],
) -> Statement {
    let mut sql = Sql::new(dialect, "save a checkpoint");
    sql.add("UPDATE {s}subscription_shares SET position = ?, event_id = ", [position.get().into()]);
    event_at(&mut sql, "event_id", lane, position).push(", updated_at = ").push(dialect.now());
    sql.add(
        " WHERE name = ? AND lane_id = ? AND lease_owner = ? AND position <= ? AND share IN (",
        [name.into(), lane.get().into(), owner.into(), position.get().into()],
    );
    sql.list(shares.iter().copied()).push(")");
    sql.done()
}

/// Locks the row of a group in a lane, which the members that write take first.
pub(crate) fn touch(dialect: Dialect, name: &str, lane: LaneId) -> Statement {
    let mut sql = Sql::new(dialect, "save a checkpoint");
    sql.push("UPDATE {s}subscriptions SET updated_at = ").push(dialect.now());
    sql.add(" WHERE name = ? AND lane_id = ?", [name.into(), lane.get().into()]);
    sql.done()
}

/// Moves the checkpoint of a group in a lane on to the least of its shares.
pub(crate) fn advance(dialect: Dialect, name: &str, lane: LaneId) -> Statement {
    let of_group = || [name.into(), lane.get().into()];
    let least = |sql: &mut Sql| {
        sql.add(
            "(SELECT MIN(s.position) FROM {s}subscription_shares s WHERE s.name = ? AND s.lane_id = ?)",
            of_group(),
        );
    };
    let mut sql = Sql::new(dialect, "save a checkpoint");
    sql.push("UPDATE {s}subscriptions SET position = ");
    least(&mut sql);
    for column in ["event_id", "aggregate_version"] {
        sql.add(
            &format!(", {column} = (SELECT e.{column} FROM {{s}}events e WHERE e.lane_id = ? AND e.position = "),
            [lane.get().into()],
        );
        least(&mut sql);
        sql.push(")");
    }
    sql.add(" WHERE name = ? AND lane_id = ? AND position < ", of_group());
    least(&mut sql);
    sql.done()
}

/// Deletes what a table holds of a group.
pub(crate) fn delete(dialect: Dialect, table: &str, topic: &str, name: &str) -> Statement {
    let mut sql = Sql::new(dialect, "delete a group");
    sql.push("DELETE FROM {s}").push(table).add(" WHERE name = ? AND lane_id IN ", [name.into()]);
    sql.add(LANES_OF_TOPIC, [topic.into()]);
    sql.done()
}
