//! `annals projections`: the list of projections and their versions.

use super::table::{Column, Table};
use super::{Context, Failure, events};
use crate::projection::ProjectionInfo;

/// The arguments of `annals projections`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the versions of this projection.
    name: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let mut table = Table::new([
        Column::text("projection"),
        Column::number("version"),
        Column::text("state"),
        Column::number("position"),
        Column::number("lag"),
        Column::text("running"),
        Column::text("updated"),
    ]);
    let projections = store.projections().await?;
    let mut out = context.output();
    for info in projections.iter().filter(|info| args.name.as_ref().is_none_or(|name| *name == info.name)) {
        if context.json { out.json(info)? } else { table.row(cells(info), &mut out)? }
    }
    table.finish(&mut out)
}

fn cells(info: &ProjectionInfo) -> [String; 7] {
    let subscription = &info.subscription;
    let position: i64 = subscription.lanes.iter().map(|lane| lane.position.get()).sum();
    [
        info.name.clone(),
        info.version.to_string(),
        info.state.as_str().to_owned(),
        position.to_string(),
        subscription.lag.to_string(),
        if subscription.is_running { "yes" } else { "no" }.to_owned(),
        events::time(subscription.updated_at),
    ]
}
