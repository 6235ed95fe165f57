//! Rows that were stored elsewhere, by the server's bulk load: it takes a page of them as one stream, where a statement
//! has a bounded number of parameters, and a text of its own for every pattern of nulls, which the server would compile.

use chrono::{DateTime, Utc};

use super::insert::{event_values, place_values};
use super::pool::Connection;
use crate::backend::event_row::EventRow;
use crate::error::Result;
use crate::position::LaneId;
use crate::sql::Value;

const STREAMS: [&str; 5] = ["lane_id", "aggregate_id", "aggregate_type", "created_at", "updated_at"];

const EVENTS: [&str; 19] = [
    "lane_id",
    "aggregate_id",
    "aggregate_type",
    "position",
    "aggregate_version",
    "event_timestamp",
    "event_id",
    "event_type",
    "event_version",
    "actor",
    "actor_type",
    "source",
    "causation_id",
    "correlation_id",
    "data",
    "metadata",
    "content_type",
    "tags",
    "hash",
];

const TAGS: [&str; 3] = ["lane_id", "tag", "position"];

/// Stores the rows of new streams: id, type, time.
pub(super) async fn streams(
    connection: &mut Connection,
    lane: LaneId,
    rows: &[(&str, &str, DateTime<Utc>)],
) -> Result<()> {
    let rows =
        rows.iter().map(|&(id, kind, time)| vec![lane.get().into(), id.into(), kind.into(), time.into(), time.into()]);
    load(connection, "{s}streams", &STREAMS, rows.collect()).await
}

/// Stores events, and their tags.
pub(super) async fn events(connection: &mut Connection, lane: LaneId, rows: &[EventRow<'_>]) -> Result<()> {
    let lane = || Value::from(lane.get());
    let events = rows.iter().map(|row| {
        let values = place_values(&row.place).into_iter().chain(event_values(&row.columns));
        std::iter::once(lane()).chain(values).collect()
    });
    load(connection, "{s}events", &EVENTS, events.collect()).await?;
    let tags = rows.iter().flat_map(|row| {
        let position = row.place.position;
        row.columns.tags.iter().map(move |tag| vec![lane(), tag.as_str().into(), position.into()])
    });
    load(connection, "{s}event_tags", &TAGS, tags.collect()).await
}

async fn load(connection: &mut Connection, table: &str, columns: &[&str], rows: Vec<Vec<Value>>) -> Result<()> {
    if rows.is_empty() { Ok(()) } else { connection.load("restore", table, columns, &rows).await }
}
