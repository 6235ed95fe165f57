//! The statements that are the same on every engine, one function a verb. `?` is a parameter, `{s}` the schema.

use uuid::Uuid;

pub(crate) use super::query::events;
use super::query::prefix_range;
use super::rows::EVENT_COLUMNS;
pub(crate) use super::rows::LaneRow;
use super::{Dialect, Sql, Statement, Value};
use crate::append::ConditionItem;
use crate::json::Json;
use crate::position::{LaneId, Position, Version};
use crate::read::StreamFilter;
use crate::snapshot::{NewSnapshot, SnapshotQuery};

fn one(dialect: Dialect, operation: &'static str, text: &str, params: impl IntoIterator<Item = Value>) -> Statement {
    let mut sql = Sql::new(dialect, operation);
    sql.add(text, params);
    sql.done()
}

/// A sign of life.
pub(crate) fn ping(dialect: Dialect) -> Statement {
    one(dialect, "ping", "SELECT CAST(1 AS BIGINT)", [])
}

/// Every lane, topic by topic.
pub(crate) fn lanes(dialect: Dialect) -> Statement {
    one(dialect, "list topics", "SELECT lane_id, topic, incarnation FROM {s}lanes ORDER BY topic, partition", [])
}

/// Gives a topic another incarnation.
pub(crate) fn reincarnate(dialect: Dialect, topic: &str, incarnation: Uuid) -> Statement {
    let text = "UPDATE {s}lanes SET incarnation = ? WHERE topic = ?";
    one(dialect, "reincarnate", text, [incarnation.into(), topic.into()])
}

/// The lane's last position, read from the events' key; what was purged counts.
pub(crate) fn head(dialect: Dialect, lane: LaneId) -> Statement {
    one(
        dialect,
        "read the head",
        "SELECT COALESCE((SELECT MAX(position) FROM {s}events WHERE lane_id = ?), \
         (SELECT floor FROM {s}lanes WHERE lane_id = ?), 0)",
        [lane.get().into(), lane.get().into()],
    )
}

/// What the lane's lock protects: head, time of the last event, clock; until when the lane takes no events, and why.
pub(crate) fn head_and_clock(dialect: Dialect, lane: LaneId) -> Statement {
    let mut sql = Sql::new(dialect, "read the head");
    sql.add("SELECT COALESCE(e.position, l.floor), e.event_timestamp, ", []);
    sql.push(dialect.now()).add(
        ", h.until, h.reason FROM {s}lanes l LEFT JOIN {s}events e ON e.lane_id = l.lane_id AND e.position = \
         (SELECT MAX(x.position) FROM {s}events x WHERE x.lane_id = ?) \
         LEFT JOIN {s}holds h ON h.lane_id = l.lane_id AND h.kind = 'append' AND h.name = 'move' WHERE l.lane_id = ?",
        [lane.get().into(), lane.get().into()],
    );
    sql.done()
}

/// One event by its id.
pub(crate) fn event(dialect: Dialect, lane: LaneId, event_id: Uuid) -> Statement {
    one(
        dialect,
        "read an event",
        &format!("SELECT {EVENT_COLUMNS} FROM {{s}}events e WHERE e.lane_id = ? AND e.event_id = ?"),
        [lane.get().into(), event_id.into()],
    )
}

/// Where the events of some ids stand, with their hashes.
pub(crate) fn find_events(dialect: Dialect, lane: LaneId, ids: &[Uuid]) -> Statement {
    let mut sql = Sql::new(dialect, "find events");
    sql.add("SELECT event_id, position, hash FROM {s}events WHERE lane_id = ? AND event_id IN (", [lane.get().into()]);
    sql.list(ids.iter().copied()).push(")");
    sql.done()
}

/// A stream's row, with its current version and the time of its last event, which are read from the events' key: in
/// subqueries with an order, so that every planner walks that key, and no other index of the lane.
fn stream_info(dialect: Dialect, operation: &'static str, lane: LaneId) -> Sql {
    let mut sql = Sql::new(dialect, operation);
    sql.push(
        "SELECT s.aggregate_id, s.aggregate_type, (SELECT MAX(v.aggregate_version) FROM {s}events v \
         WHERE v.lane_id = s.lane_id AND v.aggregate_id = s.aggregate_id), s.first_version, s.created_at, s.updated_at, \
         (SELECT e.event_timestamp FROM {s}events e WHERE e.lane_id = s.lane_id AND e.aggregate_id = s.aggregate_id \
         ORDER BY e.aggregate_version DESC",
    );
    sql.push(&dialect.limit(1));
    sql.add(
        "), s.deleted_at, s.metadata, s.metadata_version FROM {s}streams s WHERE s.lane_id = ?",
        [lane.get().into()],
    );
    sql
}

/// What is known of a stream.
pub(crate) fn stream(dialect: Dialect, lane: LaneId, aggregate_id: &str) -> Statement {
    let mut sql = stream_info(dialect, "read a stream's row", lane);
    sql.add(" AND s.aggregate_id = ?", [aggregate_id.into()]);
    sql.done()
}

/// A page of streams, by id; a prefix is a range of the key.
pub(crate) fn streams(dialect: Dialect, lane: LaneId, filter: &StreamFilter) -> Statement {
    let mut sql = stream_info(dialect, "list streams", lane);
    if let Some(prefix) = filter.prefix.as_deref() {
        sql.push(" AND ");
        prefix_range(&mut sql, "s.aggregate_id", prefix);
    }
    if let Some(aggregate_type) = filter.aggregate_type.as_deref() {
        sql.add(" AND s.aggregate_type = ?", [aggregate_type.into()]);
    }
    if let Some(after) = filter.after.as_deref() {
        sql.add(" AND s.aggregate_id > ?", [after.into()]);
    }
    if !filter.include_deleted {
        sql.push(" AND s.deleted_at IS NULL");
    }
    sql.push(" ORDER BY s.aggregate_id").push(&dialect.limit(filter.limit));
    sql.done()
}

/// Sets a stream's metadata where its version is still the one that was read.
pub(crate) fn set_metadata(
    dialect: Dialect,
    lane: LaneId,
    aggregate_id: &str,
    current: i64,
    metadata: &Json,
) -> Statement {
    let mut sql = Sql::new(dialect, "set a stream's metadata");
    sql.add(
        "UPDATE {s}streams SET metadata = ?, metadata_version = metadata_version + 1, updated_at = ",
        [Value::Json(Some(metadata.as_str().to_owned()))],
    );
    sql.push(dialect.now()).add(
        " WHERE lane_id = ? AND aggregate_id = ? AND metadata_version = ?",
        [lane.get().into(), aggregate_id.into(), current.into()],
    );
    sql.add(" AND NOT EXISTS (SELECT 1 FROM {s}holds WHERE lane_id = ? AND kind = 'append'", [lane.get().into()]);
    sql.push(" AND until > ").push(dialect.now()).push(")");
    sql.done()
}

/// A command that was decided.
pub(crate) fn command(dialect: Dialect, lane: LaneId, command_id: Uuid) -> Statement {
    one(
        dialect,
        "read a command",
        "SELECT command_id, command_type, aggregate_id, aggregate_type, processed_at, actor, source, data, \
         first_position, last_position FROM {s}commands WHERE lane_id = ? AND command_id = ?",
        [lane.get().into(), command_id.into()],
    )
}

/// Saves a snapshot of a version that the stream has, unless one of the same or a later schema stands at the same or a
/// later version; one of an older schema at the same version gives way.
pub(crate) fn save_snapshot(dialect: Dialect, lane: LaneId, snapshot: &NewSnapshot) -> Vec<Statement> {
    let id = || Value::from(snapshot.stream.id());
    let version = || Value::from(snapshot.aggregate_version.get());
    let schema = || Value::from(snapshot.snapshot_version);
    let lane = || Value::from(lane.get());
    let outdated = one(
        dialect,
        "save a snapshot",
        "DELETE FROM {s}snapshots WHERE lane_id = ? AND aggregate_id = ? AND aggregate_version = ? \
         AND aggregate_type = ? AND snapshot_version < ? AND NOT EXISTS (SELECT 1 FROM {s}snapshots s \
         WHERE s.lane_id = ? AND s.aggregate_id = ? AND s.aggregate_version >= ? AND s.snapshot_version >= ?)",
        [lane(), id(), version(), snapshot.stream.aggregate_type().into(), schema(), lane(), id(), version(), schema()],
    );
    let mut sql = Sql::new(dialect, "save a snapshot");
    sql.add(
        "INSERT INTO {s}snapshots (lane_id, aggregate_id, aggregate_version, snapshot_id, aggregate_type, \
         snapshot_version, snapshot_timestamp, state) SELECT e.lane_id, e.aggregate_id, e.aggregate_version, ?, \
         e.aggregate_type, ?, ",
        [Uuid::now_v7().into(), schema()],
    );
    sql.push(dialect.now()).add(
        ", ? FROM {s}events e WHERE e.lane_id = ? AND e.aggregate_id = ? AND e.aggregate_version = ? \
         AND e.aggregate_type = ? AND NOT EXISTS (SELECT 1 FROM {s}snapshots s WHERE s.lane_id = ? \
         AND s.aggregate_id = ? AND s.aggregate_version >= ? AND s.snapshot_version >= ?)",
        [
            Value::Json(Some(snapshot.state.as_str().to_owned())),
            lane(),
            id(),
            version(),
            snapshot.stream.aggregate_type().into(),
            lane(),
            id(),
            version(),
            schema(),
        ],
    );
    vec![outdated, sql.done()]
}

/// The newest snapshot of a stream; those of a deleted one, and those from before a reuse, are ignored: the events that
/// they stand for don't show either.
pub(crate) fn snapshot(dialect: Dialect, lane: LaneId, aggregate_id: &str, query: SnapshotQuery) -> Statement {
    let mut sql = Sql::new(dialect, "read a snapshot");
    sql.add(
        "SELECT n.snapshot_id, n.aggregate_id, n.aggregate_type, n.aggregate_version, n.snapshot_version, \
         n.snapshot_timestamp, n.state FROM {s}snapshots n JOIN {s}streams s ON s.lane_id = n.lane_id \
         AND s.aggregate_id = n.aggregate_id AND s.deleted_at IS NULL WHERE n.lane_id = ? AND n.aggregate_id = ? \
         AND n.aggregate_version >= s.first_version AND n.aggregate_version <= ?",
        [lane.get().into(), aggregate_id.into(), query.at_or_before.unwrap_or(Version::MAX).get().into()],
    );
    if let Some(schema) = query.snapshot_version {
        sql.add(" AND n.snapshot_version = ?", [Value::from(schema)]);
    }
    sql.push(" ORDER BY n.aggregate_version DESC").push(&dialect.limit(1));
    sql.done()
}

/// Deletes a stream's snapshots before a version.
pub(crate) fn prune_snapshots(dialect: Dialect, lane: LaneId, aggregate_id: &str, before: Version) -> Statement {
    one(
        dialect,
        "prune snapshots",
        "DELETE FROM {s}snapshots WHERE lane_id = ? AND aggregate_id = ? AND aggregate_version < ?",
        [lane.get().into(), aggregate_id.into(), before.get().into()],
    )
}

/// The counts of each event type.
pub(crate) fn statistics(dialect: Dialect, lane: LaneId) -> Statement {
    let count = dialect.count();
    one(
        dialect,
        "count events",
        &format!(
            "SELECT event_type, {count}(*), {count}(DISTINCT aggregate_id), MIN(event_timestamp), \
             MAX(event_timestamp) FROM {{s}}events WHERE lane_id = ? GROUP BY event_type ORDER BY event_type"
        ),
        [lane.get().into()],
    )
}

/// The streams of a batch, as an append needs them.
#[cfg(any(feature = "sqlite", feature = "mssql"))]
pub(crate) fn stream_states(dialect: Dialect, lane: LaneId, ids: &[&str]) -> Statement {
    let mut sql = Sql::new(dialect, "append");
    sql.add(
        "SELECT s.aggregate_id, s.aggregate_type, (SELECT MAX(e.aggregate_version) FROM {s}events e \
         WHERE e.lane_id = s.lane_id AND e.aggregate_id = s.aggregate_id), s.deleted_at FROM {s}streams s \
         WHERE s.lane_id = ? AND s.aggregate_id IN (",
        [lane.get().into()],
    );
    sql.list(ids.iter().copied()).push(")");
    sql.done()
}

/// The commands of a batch that were decided before.
#[cfg(any(feature = "sqlite", feature = "mssql"))]
pub(crate) fn command_states(dialect: Dialect, lane: LaneId, ids: &[Uuid]) -> Statement {
    let mut sql = Sql::new(dialect, "append");
    sql.add(
        "SELECT command_id, request_hash, first_position, last_position FROM {s}commands WHERE lane_id = ? \
         AND command_id IN (",
        [lane.get().into()],
    );
    sql.list(ids.iter().copied()).push(")");
    sql.done()
}

/// The versions that streams had after the events of a range of positions, in the order of the streams' first events
/// there.
#[cfg(any(feature = "sqlite", feature = "mssql"))]
pub(crate) fn versions_of(dialect: Dialect, lane: LaneId, first: Position, last: Position) -> Statement {
    one(
        dialect,
        "append",
        "SELECT aggregate_id, MAX(aggregate_version) FROM {s}events WHERE lane_id = ? AND position >= ? \
         AND position <= ? GROUP BY aggregate_id ORDER BY MIN(position)",
        [lane.get().into(), first.get().into(), last.get().into()],
    )
}

/// Where the events of some ids stand.
#[cfg(any(feature = "sqlite", feature = "mssql"))]
pub(crate) fn event_places(dialect: Dialect, lane: LaneId, ids: &[Uuid]) -> Statement {
    let mut sql = Sql::new(dialect, "append");
    sql.add("SELECT event_id, position FROM {s}events WHERE lane_id = ? AND event_id IN (", [lane.get().into()]);
    sql.list(ids.iter().copied()).push(")");
    sql.done()
}

/// The first stored events that match conditions, each asked for under a number with its items and the position that it
/// begins after.
///
/// Each branch walks one index to its first match: a type has a branch of its own, and what an event must have besides
/// is looked up by its key, in subqueries that no planner turns into joins.
pub(crate) fn first_matches<'a>(
    dialect: Dialect,
    lane: LaneId,
    conditions: impl IntoIterator<Item = (usize, &'a [ConditionItem], Position)>,
) -> Statement {
    let mut sql = Sql::new(dialect, "append");
    sql.push("SELECT m.number, MIN(m.position) FROM (");
    let mut separator = "";
    for (number, items, after) in conditions {
        for item in items {
            first_match_of(&mut sql, &mut separator, lane, (number, item, after));
        }
    }
    sql.push(") m WHERE m.position IS NOT NULL GROUP BY m.number");
    sql.done()
}

fn first_match_of(
    sql: &mut Sql,
    separator: &mut &'static str,
    lane: LaneId,
    (number, item, after): (usize, &ConditionItem, Position),
) {
    let mut branch = |sql: &mut Sql, table: &str| {
        let select = format!(
            "{separator}SELECT {number} AS number, MIN(t.position) AS position FROM {{s}}{table} t \
             WHERE t.lane_id = ? AND t.position > ?"
        );
        sql.add(&select, [lane.get().into(), after.get().into()]);
        *separator = " UNION ALL ";
    };
    let Some((tag, others)) = item.tags.split_first() else {
        for event_type in &item.types {
            branch(sql, "events");
            sql.add(" AND t.event_type = ?", [event_type.as_str().into()]);
        }
        return;
    };
    branch(sql, "event_tags");
    sql.add(" AND t.tag = ?", [tag.as_str().into()]);
    for other in others {
        sql.add(
            " AND t.position = (SELECT o.position FROM {s}event_tags o WHERE o.lane_id = t.lane_id \
             AND o.tag = ? AND o.position = t.position)",
            [other.as_str().into()],
        );
    }
    if !item.types.is_empty() {
        sql.push(
            " AND t.position = (SELECT e.position FROM {s}events e WHERE e.lane_id = t.lane_id \
             AND e.position = t.position AND e.event_type IN (",
        );
        sql.list(item.types.iter().map(String::as_str)).push("))");
    }
}
