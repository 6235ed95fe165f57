//! `annals export`: a log as lines, with what is beside it and a manifest, which `import` reads.

mod format;
mod target;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use indicatif::ProgressBar;
use serde_json::json;

use self::format::{Format, Shape};
use self::target::{Target, Writer};
use super::archive::{Header, Manifest, RowLine, Selection, Tally};
use super::output::counted;
use super::{Context, Failure, parse, progress};
use crate::copy;
use crate::copy::rows::{self, Cells, Lane};
use crate::position::{LaneId, Position};
use crate::read::Query;
use crate::schema::shape::Table;
use crate::store::Store;

/// The arguments of `annals export`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The first line says which log it is, the last one is a manifest: counts and hashes, which import \
    checks. Without a filter, commands, snapshots, streams' metadata and subscriptions stand beside the events; imported \
    with --restore, on whatever engine, such an export gives the same log, of the same hash."
)]
pub(crate) struct Args {
    /// Only events of this stream.
    #[arg(long, value_name = "AGGREGATE_ID")]
    stream: Option<String>,
    /// Only events of this type; of any of them, where it is given several times.
    #[arg(long = "type", value_name = "EVENT_TYPE")]
    types: Vec<String>,
    /// Only events of streams of this category.
    #[arg(long)]
    aggregate_type: Option<String>,
    /// Only events after this position.
    #[arg(long, value_name = "POSITION")]
    after: Option<i64>,
    /// Only events stored at or after this time.
    #[arg(long, value_name = "TIME", value_parser = parse::time)]
    since: Option<DateTime<Utc>>,
    /// Only events stored before this time.
    #[arg(long, value_name = "TIME", value_parser = parse::time)]
    until: Option<DateTime<Utc>>,
    /// What a line is.
    #[arg(long, value_enum, default_value_t)]
    format: Shape,
    /// Compress, as is done anyway where the file's name ends in .zst.
    #[arg(long)]
    zstd: bool,
    /// Write to a file, which is there whole or not at all; `-` is standard output, the default.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let selection = Selection {
        stream: args.stream,
        types: args.types,
        aggregate_type: args.aggregate_type,
        after: args.after.map(Position::new),
        since: args.since,
        until: args.until,
    };
    let query = selection.query()?;
    let selection = Some(selection).filter(|selection| *selection != Selection::default());
    let store = context.store().await?;
    let target = Target::new(args.output)?;
    let (compress, is_stdout) = (args.zstd || target.is_named_zst(), target.is_stdout());
    let mut out = target.writer(compress)?;
    let manifest = write(&store, selection, query, args.format, &mut out).await?;
    out.finish()?;
    if is_stdout {
        return Ok(());
    }
    let (events, rows, hash) = (manifest.events, manifest.row_count(), &manifest.hash);
    if context.json {
        return context.output().json(&json!({"exported": events, "rows": rows, "hash": hash}));
    }
    context.output().line(format_args!("exported {events}, {}\nlog hash {hash}", counted(rows, "other row")))
}

/// Writes the events that answer a query; where nothing was selected, the rows beside them as well.
async fn write(
    store: &Store,
    selection: Option<Selection>,
    query: Query,
    shape: Shape,
    out: &mut Writer,
) -> Result<Manifest, Failure> {
    let topic = copy::current(store).await?;
    let partitions = u16::try_from(topic.lanes.len()).unwrap_or(u16::MAX);
    let is_whole = selection.is_none();
    let header = Header::new(topic.name, topic.incarnation, partitions, selection);
    let format = Format::new(shape, &header);
    let first = format.header(&header)?;
    out.line(&first)?;
    let bar = progress::events(Some(store.event_count().await?).filter(|_| is_whole));
    let mut export = Export { store, out, tally: Tally::new(topic.lanes.len(), &first), rows: 0, format, bar };
    for (partition, id) in topic.lanes.into_iter().enumerate() {
        let lane = Lane::new(store, id);
        // Where readers stand now, the events will reach to.
        let moving = if is_whole && store.capabilities().sql.is_some() { Some(lane.moving().await?) } else { None };
        let elsewhere = query.stream.as_ref().is_some_and(|range| store.lane(&range.aggregate_id) != id);
        if !elsewhere {
            export.events(partition, id, query.clone()).await?;
        }
        if let Some(moving) = moving {
            export.all_rows(partition, lane, moving).await?;
        }
    }
    let manifest = export.tally.manifest();
    export.out.line(&export.format.manifest(&manifest)?)?;
    export.bar.finish_and_clear();
    Ok(manifest)
}

/// An export that is being written.
struct Export<'a> {
    store: &'a Store,
    out: &'a mut Writer,
    tally: Tally,
    rows: u64,
    format: Format,
    bar: ProgressBar,
}

impl Export<'_> {
    /// Writes events of a lane.
    async fn events(&mut self, partition: usize, lane: LaneId, query: Query) -> Result<(), Failure> {
        let mut pages = copy::read_ahead(self.store.clone(), lane, query);
        while let Some(page) = pages.recv().await {
            let page = page?;
            self.bar.inc(page.len() as u64);
            for mut event in page {
                // The numbers of lanes differ between databases; partitions do not.
                event.lane = LaneId::new(i64::try_from(partition).unwrap_or_default());
                self.tally.event(partition, &event);
                self.out.line(&self.format.event(&event)?)?;
            }
            // Where pages come faster than they are written, an interrupt is heard all the same.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Writes what a lane has beside the events that were written.
    async fn all_rows(
        &mut self,
        partition: usize,
        lane: Lane<'_>,
        moving: Vec<(&'static Table, Vec<Cells>)>,
    ) -> Result<(), Failure> {
        for table in rows::lasting() {
            let mut pages = lane.rows(table, self.tally.last(partition));
            while let Some(rows) = pages.next().await? {
                self.rows(partition, table, &rows)?;
            }
        }
        for (table, rows) in moving {
            self.rows(partition, table, &rows)?;
        }
        Ok(())
    }

    fn rows(&mut self, partition: usize, table: &'static Table, rows: &[Cells]) -> Result<(), Failure> {
        for cells in rows {
            let line = self.format.row(&RowLine { table, partition, cells }, self.rows)?;
            self.rows += 1;
            self.tally.row(table.name, &line);
            self.out.line(&line)?;
        }
        Ok(())
    }
}
