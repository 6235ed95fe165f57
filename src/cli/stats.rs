//! `annals stats`: the events of each type, counted.

use super::output::counted;
use super::table::{Column, Table};
use super::{Context, Failure, events};

/// The arguments of `annals stats`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let statistics = store.statistics().await?;
    let mut out = context.output();
    if context.json {
        return statistics.iter().try_for_each(|counted| out.json(counted));
    }
    let mut table = Table::new([
        Column::text("type"),
        Column::number("events"),
        Column::number("streams"),
        Column::text("first"),
        Column::text("last"),
    ]);
    for counted in &statistics {
        let cells = [
            counted.event_type.clone(),
            counted.events.to_string(),
            counted.streams.to_string(),
            events::time(counted.first_at),
            events::time(counted.last_at),
        ];
        table.row(cells, &mut out)?;
    }
    table.finish(&mut out)?;
    let events: i64 = statistics.iter().map(|counted| counted.events).sum();
    out.line(counted(events.unsigned_abs(), "event"))
}
