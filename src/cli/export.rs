//! `annals export`: the log as JSON lines, which `import` reads.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;

use futures::TryStreamExt;
use serde::Serialize;

use super::{Context, Failure, output, progress};
use crate::event::{Payload, RecordedEvent};
use crate::json::Json;
use crate::position::Position;
use crate::read::Query;
use crate::store::Store;

/// The arguments of `annals export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Lines have the contract's field names, and import takes them. A whole export, imported with \
    --restore into an empty topic, gives the same positions, versions, ids, times and hashes. Snapshots, commands and \
    the streams' own metadata are not part of the log.")]
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
    /// Write to a file, which is there whole or not at all [default: standard output].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let mut query = args.stream.map_or_else(Query::new, Query::stream).event_types(args.types)?.include_deleted();
    if let Some(aggregate_type) = args.aggregate_type {
        query = query.aggregate_type(aggregate_type)?;
    }
    query.after = args.after.map(Position::new);
    let store = context.store().await?;
    let Some(path) = args.output else {
        return write(&store, query, |line| context.output().line(line)).await.map(drop);
    };
    let failed = |error: io::Error| Failure::usage(format!("can't write {}: {error}", path.display()));
    let partial = Partial::new(&path);
    let mut file = BufWriter::with_capacity(256 * 1024, File::create(&partial.0).map_err(failed)?);
    let count = write(&store, query, |line| writeln!(file, "{line}").map_err(failed)).await?;
    file.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)?;
    std::fs::rename(&partial.0, &path).map_err(failed)?;
    let mut out = context.output();
    if context.json {
        out.json(&serde_json::json!({"exported": count}))
    } else {
        out.line(format_args!("exported {count}"))
    }
}

/// A file that is not whole yet. It is removed, unless it gets its name.
struct Partial(PathBuf);

impl Partial {
    fn new(path: &Path) -> Self {
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        Self(name.into())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Once it has its name, there is nothing to remove.
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn write(store: &Store, query: Query, mut line: impl FnMut(&str) -> Result<(), Failure>) -> Result<u64, Failure> {
    let total: i64 = store.heads().await?.iter().map(|(_, head)| head.get()).sum();
    let bar = progress::events(u64::try_from(total).ok().filter(|_| query.is_unfiltered()));
    let mut events = pin!(store.read(query));
    let mut count = 0;
    while let Some(event) = events.try_next().await? {
        line(&output::json_line(&Exported { exact: Exact::of(&event), event: &event })?)?;
        count += 1;
        bar.set_position(count);
    }
    bar.finish_and_clear();
    Ok(count)
}

/// An event as a line. Where a document has line breaks between its tokens, which a line can't have, its very text
/// stands beside it.
#[derive(Serialize)]
struct Exported<'a> {
    #[serde(flatten)]
    event: &'a RecordedEvent,
    #[serde(skip_serializing_if = "Option::is_none")]
    exact: Option<Exact<'a>>,
}

#[derive(Serialize)]
struct Exact<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
}

impl<'a> Exact<'a> {
    fn of(event: &'a RecordedEvent) -> Option<Self> {
        let broken = |json: &'a Json| Some(json.as_str()).filter(|text| text.contains(['\n', '\r']));
        let data = match &event.payload {
            Payload::Json(json) => broken(json),
            Payload::Bytes { .. } => None,
        };
        let metadata = event.metadata.as_ref().and_then(broken);
        (data.is_some() || metadata.is_some()).then_some(Self { data, metadata })
    }
}
