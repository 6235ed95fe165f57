//! How events are printed.

use std::pin::pin;

use chrono::{DateTime, SecondsFormat, Utc};
use futures::TryStreamExt;

use super::table::{Column, Table};
use super::{Context, Failure};
use crate::event::{Payload, RecordedEvent};
use crate::read::Query;
use crate::store::Store;

/// Prints the events that answer a query as they come, and returns how many there were.
pub(crate) async fn print(context: &Context, store: &Store, query: Query) -> Result<u64, Failure> {
    let mut events = pin!(store.read(query));
    let mut table = table();
    let mut count = 0;
    while let Some(event) = events.try_next().await? {
        count += 1;
        let mut out = context.output();
        if context.json { out.json(&event)? } else { table.row(cells(&event), &mut out)? }
    }
    table.finish(&mut context.output())?;
    Ok(count)
}

/// Prints one event.
pub(crate) fn print_one(context: &Context, event: &RecordedEvent) -> Result<(), Failure> {
    let mut out = context.output();
    if context.json {
        return out.json(event);
    }
    let mut table = table();
    table.row(cells(event), &mut out)?;
    table.finish(&mut out)
}

fn table() -> Table<7> {
    Table::new([
        Column::number("position"),
        Column::text("stream"),
        Column::number("version"),
        Column::text("type"),
        Column::text("time"),
        Column::text("actor"),
        Column::text("data"),
    ])
}

fn cells(event: &RecordedEvent) -> [String; 7] {
    [
        event.position.to_string(),
        event.aggregate_id.clone(),
        event.aggregate_version.to_string(),
        event.event_type.clone(),
        time(event.event_timestamp),
        event.actor.clone().unwrap_or_default(),
        match &event.payload {
            Payload::Json(json) => json.as_str().to_owned(),
            Payload::Bytes { content_type, bytes } => format!("{} bytes of {content_type}", bytes.len()),
        },
    ]
}

/// Writes a time for people: in UTC, to the millisecond.
pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
