//! The statement of a [`Query`].

use super::rows::EVENT_COLUMNS;
use super::{Dialect, Sql, Statement, Value};
use crate::position::{LaneId, Version};
use crate::read::{Direction, Query, StreamRange};

/// The events of a lane that answer a query, at most `rows`.
///
/// A read of one stream walks the stream's key, one with tags the tags' key, all others the lane's positions or the
/// index that the filter has; each of these is in the order of positions.
///
/// A further tag is looked up for each event by a subquery that returns its key: a planner may turn EXISTS into a join,
/// and without statistics Postgres then reads all of the tag's rows for each event.
pub(crate) fn events(dialect: Dialect, lane: LaneId, query: &Query, rows: usize) -> Statement {
    let mut sql = Sql::new(dialect, "read events");
    let driving_tag = query.tags.first().filter(|_| query.stream.is_none());
    sql.push("SELECT ").push(EVENT_COLUMNS);
    if let Some(tag) = driving_tag {
        sql.add(
            " FROM {s}event_tags t JOIN {s}events e ON e.lane_id = t.lane_id AND e.position = t.position \
             WHERE t.lane_id = ? AND t.tag = ?",
            [lane.get().into(), tag.as_str().into()],
        );
    } else {
        sql.add(" FROM {s}events e WHERE e.lane_id = ?", [lane.get().into()]);
    }
    let place = if driving_tag.is_some() { "t.position" } else { "e.position" };
    positions(&mut sql, query, place);
    if let Some(range) = &query.stream {
        stream(&mut sql, lane, range, query.include_deleted);
    }
    for tag in query.tags.iter().skip(usize::from(driving_tag.is_some())) {
        sql.add(
            " AND e.position = (SELECT o.position FROM {s}event_tags o WHERE o.lane_id = e.lane_id AND o.tag = ? \
             AND o.position = e.position)",
            [tag.as_str().into()],
        );
    }
    columns(&mut sql, query);
    times(&mut sql, dialect, lane, query, place);
    for filter in &query.json {
        super::json::equals(&mut sql, filter);
    }
    sql.push(dialect.below_head());
    let key = if query.stream.is_some() { "e.aggregate_version" } else { place };
    let direction = match query.direction {
        Direction::Forward => "",
        Direction::Backward => " DESC",
    };
    sql.push(&format!(" ORDER BY {key}{direction}{}", dialect.limit(rows)));
    sql.done()
}

fn positions(sql: &mut Sql, query: &Query, place: &str) {
    let (after, until) = match query.direction {
        Direction::Forward => (">", "<="),
        Direction::Backward => ("<", ">="),
    };
    if let Some(position) = query.after {
        sql.add(&format!(" AND {place} {after} ?"), [position.get().into()]);
    }
    if let Some(position) = query.until {
        sql.add(&format!(" AND {place} {until} ?"), [position.get().into()]);
    }
}

fn stream(sql: &mut Sql, lane: LaneId, range: &StreamRange, include_deleted: bool) {
    let id = || Value::from(range.aggregate_id.as_str());
    sql.add(" AND e.aggregate_id = ? AND e.aggregate_version >= ?", [id(), range.from.get().into()]);
    if range.to != Version::MAX {
        sql.add(" AND e.aggregate_version <= ?", [range.to.get().into()]);
    }
    if !include_deleted {
        sql.add(
            " AND e.aggregate_version >= (SELECT s.first_version FROM {s}streams s WHERE s.lane_id = ? \
             AND s.aggregate_id = ? AND s.deleted_at IS NULL)",
            [lane.get().into(), id()],
        );
    }
}

fn columns(sql: &mut Sql, query: &Query) {
    for (index, prefix) in query.stream_prefixes.iter().enumerate() {
        sql.push(if index == 0 { " AND (" } else { " OR " });
        prefix_range(sql, "e.aggregate_id", prefix);
    }
    if !query.stream_prefixes.is_empty() {
        sql.push(")");
    }
    match query.event_types.as_slice() {
        [] => {}
        [event_type] => {
            sql.add(" AND e.event_type = ?", [event_type.as_str().into()]);
        }
        types => {
            sql.push(" AND e.event_type IN (").list(types.iter().map(String::as_str)).push(")");
        }
    }
    if let Some(aggregate_type) = query.aggregate_type.as_deref() {
        sql.add(" AND e.aggregate_type = ?", [aggregate_type.into()]);
    }
    if let Some(actor) = query.actor.as_deref() {
        sql.add(" AND e.actor = ?", [actor.into()]);
    }
    if let Some(correlation_id) = query.correlation_id {
        sql.add(" AND e.correlation_id = ?", [correlation_id.into()]);
    }
    if let Some(causation_id) = query.causation_id {
        sql.add(" AND e.causation_id = ?", [causation_id.into()]);
    }
}

/// Time is monotone in a lane, so a range of times is a range of positions, whose ends two look-ups in the index of
/// times find.
fn times(sql: &mut Sql, dialect: Dialect, lane: LaneId, query: &Query, place: &str) {
    for (time, comparison) in [(query.from, ">="), (query.to, "<")] {
        if let Some(time) = time {
            let first = format!(
                " AND {place} {comparison} COALESCE((SELECT x.position FROM {{s}}events x WHERE x.lane_id = ? \
                 AND x.event_timestamp >= {} ORDER BY x.event_timestamp, x.position{}), CAST({} AS bigint))",
                dialect.time(),
                dialect.limit(1),
                i64::MAX
            );
            sql.add(&first, [lane.get().into(), time.into()]);
        }
    }
}

/// Adds a condition that a name begins with a text: a range of the key, never LIKE.
pub(super) fn prefix_range(sql: &mut Sql, column: &str, prefix: &str) {
    sql.add(&format!("({column} >= ?"), [prefix.into()]);
    if let Some(end) = end_of_prefix(prefix) {
        sql.add(&format!(" AND {column} < ?"), [end.as_str().into()]);
    }
    sql.push(")");
}

/// Returns the least text that comes after every text with this prefix, in the order of code points; `None` where there
/// is none.
fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}
