//! The views, for people with a SQL prompt.

use super::render::{comment_on_view, qualified, quoted};
use crate::sql::Dialect;

/// The names of the views, in the order in which they are created.
pub const VIEWS: [&str; 3] = ["recent_events", "event_statistics", "event_streams"];

/// Returns the statements that create the views, in batches on SQL Server.
#[must_use]
pub fn create(dialect: Dialect, schema: &str) -> String {
    let sql = Words { dialect, schema };
    let [recent, statistics, streams] = VIEWS;
    [
        sql.view(recent, "The newest hundred events of all topics, newest first.", &recent_events(sql)),
        sql.view(
            statistics,
            "How many events of each type there are, in how many streams, and since when.",
            &event_statistics(sql),
        ),
        sql.view(
            streams,
            "The streams, with their current version and the time of their last event.",
            &event_streams(sql),
        ),
    ]
    .concat()
}

/// Returns the statements that drop the views.
#[must_use]
pub fn drop(dialect: Dialect, schema: &str) -> String {
    let statement = |view: &&str| format!("DROP VIEW {};\n", qualified(dialect, schema, view));
    VIEWS.iter().rev().map(statement).collect()
}

/// Positions have no holes and times only grow in a lane, so that its newest events are the last of its positions.
fn recent_events(sql: Words<'_>) -> String {
    let (top, limit) = sql.first(100);
    format!(
        "SELECT {top}l.topic, e.lane_id, e.{position}, {event_id} AS event_id, e.aggregate_id, e.aggregate_type,\n  \
         e.aggregate_version, e.event_type, e.event_version, {timestamp} AS event_timestamp, e.actor, e.actor_type, e.source,\n  \
         {causation} AS causation_id, {correlation} AS correlation_id, e.data, e.metadata, e.content_type, e.tags\n\
         FROM (SELECT k.lane_id, k.topic,\n    (SELECT MAX(h.{position}) FROM {events} AS h WHERE h.lane_id = k.lane_id) AS head FROM {lanes} AS k) AS l\n\
         INNER JOIN {events} AS e ON e.lane_id = l.lane_id AND e.{position} > l.head - 100\n\
         ORDER BY e.event_timestamp DESC, e.{position} DESC{limit}",
        position = quoted(sql.dialect, "position"),
        event_id = sql.uuid("e.event_id"),
        timestamp = sql.time("e.event_timestamp"),
        causation = sql.uuid("e.causation_id"),
        correlation = sql.uuid("e.correlation_id"),
        events = sql.table("events"),
        lanes = sql.table("lanes"),
    )
}

fn event_statistics(sql: Words<'_>) -> String {
    format!(
        "SELECT l.topic, l.lane_id, e.event_type, COUNT(*) AS events, COUNT(DISTINCT e.aggregate_id) AS streams,\n  \
         {first} AS first_at, {last} AS last_at\n\
         FROM {events} AS e INNER JOIN {lanes} AS l ON l.lane_id = e.lane_id\n\
         GROUP BY l.topic, l.lane_id, e.event_type",
        first = sql.time("MIN(e.event_timestamp)"),
        last = sql.time("MAX(e.event_timestamp)"),
        events = sql.table("events"),
        lanes = sql.table("lanes"),
    )
}

/// A stream without events is at the version before the first that it shows.
fn event_streams(sql: Words<'_>) -> String {
    let (top, limit) = sql.first(1);
    let last_event = format!(
        "(SELECT {top}{time} FROM {events} AS e\n    \
         WHERE e.lane_id = s.lane_id AND e.aggregate_id = s.aggregate_id ORDER BY e.aggregate_version DESC{limit})",
        time = sql.time("e.event_timestamp"),
        events = sql.table("events"),
    );
    format!(
        "SELECT l.topic, s.lane_id, s.aggregate_id, s.aggregate_type,\n  \
         COALESCE((SELECT MAX(e.aggregate_version) FROM {events} AS e\n    \
         WHERE e.lane_id = s.lane_id AND e.aggregate_id = s.aggregate_id), s.first_version - 1) AS current_version,\n  \
         s.first_version, {created} AS created_at, {updated} AS updated_at,\n  {last_event} AS last_event_at,\n  \
         {deleted} AS deleted_at, s.metadata, s.metadata_version\n\
         FROM {streams} AS s INNER JOIN {lanes} AS l ON l.lane_id = s.lane_id",
        created = sql.time("s.created_at"),
        updated = sql.time("s.updated_at"),
        deleted = sql.time("s.deleted_at"),
        events = sql.table("events"),
        streams = sql.table("streams"),
        lanes = sql.table("lanes"),
    )
}

/// The few words that the dialects write differently.
#[derive(Clone, Copy)]
struct Words<'a> {
    dialect: Dialect,
    schema: &'a str,
}

impl Words<'_> {
    fn table(self, name: &str) -> String {
        qualified(self.dialect, self.schema, name)
    }

    fn view(self, name: &str, comment: &str, select: &str) -> String {
        let view = self.table(name);
        let stored = comment_on_view(self.dialect, self.schema, name, comment).unwrap_or_default();
        match self.dialect {
            Dialect::Sqlite => format!("CREATE VIEW {view} AS\n-- {comment}\n{select};\n{stored}"),
            Dialect::Postgres => format!("CREATE VIEW {view} AS\n{select};\n{stored}"),
            Dialect::Mssql => format!("CREATE VIEW {view} AS\n{select};\nGO\n{stored}GO\n"),
        }
    }

    /// What limits a select to its first rows: a word at its beginning, or one at its end.
    fn first(self, rows: u32) -> (String, String) {
        match self.dialect {
            Dialect::Sqlite | Dialect::Postgres => (String::new(), format!(" LIMIT {rows}")),
            Dialect::Mssql => (format!("TOP ({rows}) "), String::new()),
        }
    }

    fn uuid(self, x: &str) -> String {
        match self.dialect {
            Dialect::Sqlite => {
                let part = |from, length| format!("substr(hex({x}), {from}, {length})");
                let parts = [part(1, 8), part(9, 4), part(13, 4), part(17, 4), part(21, 12)];
                // The hexadecimal form of null is an empty text, which would become four dashes.
                format!("CASE WHEN {x} IS NOT NULL THEN lower({}) END", parts.join(" || '-' || "))
            }
            Dialect::Postgres | Dialect::Mssql => x.to_owned(),
        }
    }

    fn time(self, x: &str) -> String {
        match self.dialect {
            Dialect::Sqlite => {
                format!("strftime('%Y-%m-%dT%H:%M:%S', {x} / 1000000, 'unixepoch') || printf('.%06dZ', {x} % 1000000)")
            }
            Dialect::Postgres | Dialect::Mssql => x.to_owned(),
        }
    }
}
