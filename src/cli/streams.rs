//! `annals streams`: the list of streams.

use super::table::{Column, Table};
use super::{Context, Failure, events};
use crate::read::StreamFilter;
use crate::stream::StreamInfo;

/// Streams of one page.
const PAGE: usize = 1_000;

/// The arguments of `annals streams`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only streams whose id begins so.
    prefix: Option<String>,
    /// Only streams of this category.
    #[arg(long)]
    aggregate_type: Option<String>,
    /// Only streams after this id, in byte order: where the last page ended.
    #[arg(long, value_name = "AGGREGATE_ID")]
    after: Option<String>,
    /// At most so many streams.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Deleted streams too.
    #[arg(long)]
    deleted: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let mut table = Table::new([
        Column::text("stream"),
        Column::text("type"),
        Column::number("version"),
        Column::text("created"),
        Column::text("last event"),
        Column::text("deleted"),
    ]);
    let mut left = args.limit.unwrap_or(usize::MAX);
    let mut filter = StreamFilter {
        prefix: args.prefix,
        aggregate_type: args.aggregate_type,
        after: args.after,
        include_deleted: args.deleted,
        limit: PAGE,
    };
    while left > 0 {
        filter.limit = left.min(PAGE);
        let page = store.streams(&filter).await?;
        let mut out = context.output();
        for stream in &page {
            if context.json { out.json(stream)? } else { table.row(cells(stream), &mut out)? }
        }
        left -= page.len();
        if page.len() < filter.limit {
            break;
        }
        filter.after = page.into_iter().last().map(|stream| stream.aggregate_id);
    }
    table.finish(&mut context.output())
}

fn cells(stream: &StreamInfo) -> [String; 6] {
    [
        stream.aggregate_id.clone(),
        stream.aggregate_type.clone(),
        stream.version.to_string(),
        events::time(stream.created_at),
        events::time(stream.last_event_at),
        stream.deleted_at.map(events::time).unwrap_or_default(),
    ]
}
