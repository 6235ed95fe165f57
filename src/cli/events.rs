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
    let mut table = table(context);
    let mut count = 0;
    while let Some(event) = events.try_next().await? {
        count += 1;
        let mut out = context.output();
        if context.json { out.json(&event)? } else { table.row(cells(&event), &mut out)? }
    }
    table.finish(&mut context.output())?;
    Ok(count)
}

/// Prints a few events.
pub(crate) fn print_all(context: &Context, events: &[RecordedEvent]) -> Result<(), Failure> {
    let mut out = context.output();
    let mut table = table(context);
    for event in events {
        if context.json { out.json(event)? } else { table.row(cells(event), &mut out)? }
    }
    table.finish(&mut out)
}

/// Prints one of the events that come, at once, without waiting for others to align it with.
pub(crate) fn print_line(context: &Context, event: &RecordedEvent) -> Result<(), Failure> {
    let mut out = context.output();
    if context.json {
        out.json(event)?;
    } else {
        let cells = cells(event);
        let shown = if context.has_lanes() { &cells[..] } else { &cells[1..] };
        out.line(shown.join("  ").replace(['\r', '\n'], " "))?;
    }
    out.flush()
}

fn table(context: &Context) -> Table<8> {
    Table::new([
        Column::number("lane").shown_if(context.has_lanes()),
        Column::number("position"),
        Column::text("stream"),
        Column::number("version"),
        Column::text("type"),
        Column::text("time"),
        Column::text("actor"),
        Column::text("data"),
    ])
}

fn cells(event: &RecordedEvent) -> [String; 8] {
    [
        event.lane.to_string(),
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
