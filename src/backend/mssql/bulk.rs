//! Rows that were stored elsewhere, by the server's bulk load: it takes a page of them as one stream, where a statement
//! has a bounded number of parameters, and a text of its own for every pattern of nulls, which the server would compile.

use chrono::{DateTime, Utc};

use super::insert::{EVENTS, STREAMS, TAGS, Target, event_values, place_values};
use super::pool::Connection;
use crate::backend::event_row::EventRow;
use crate::error::Result;
use crate::position::LaneId;
use crate::sql::Value;

/// Stores the rows of new streams: id, type, time.
pub(super) async fn streams(
    connection: &mut Connection,
    lane: LaneId,
    rows: &[(&str, &str, DateTime<Utc>)],
) -> Result<()> {
    let rows =
        rows.iter().map(|&(id, kind, time)| vec![lane.get().into(), id.into(), kind.into(), time.into(), time.into()]);
    load(connection, STREAMS, rows.collect()).await
}

/// Stores events, and their tags.
pub(super) async fn events(connection: &mut Connection, lane: LaneId, rows: &[EventRow<'_>]) -> Result<()> {
    let lane = || Value::from(lane.get());
    let events = rows.iter().map(|row| {
        let values = place_values(&row.place).into_iter().chain(event_values(&row.columns));
        std::iter::once(lane()).chain(values).collect()
    });
    load(connection, EVENTS, events.collect()).await?;
    let tags = rows.iter().flat_map(|row| {
        let position = row.place.position;
        row.columns.tags.iter().map(move |tag| vec![lane(), tag.as_str().into(), position.into()])
    });
    load(connection, TAGS, tags.collect()).await
}

async fn load(connection: &mut Connection, Target { table, columns }: Target, rows: Vec<Vec<Value>>) -> Result<()> {
    let columns: Vec<&str> = columns.split(", ").collect();
    if rows.is_empty() { Ok(()) } else { connection.load("restore", table, &columns, &rows).await }
}
