//! `annals export`: the log as JSON lines, which `import` reads.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;

use futures::TryStreamExt;
use serde::Serialize;
use tempfile::NamedTempFile;

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
    /// Write to a file, which is there whole or not at all; `-` is standard output, the default.
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
    let Some(path) = args.output.filter(|path| path.as_os_str() != "-") else {
        return write(&store, query, |line| context.output().line(line)).await.map(drop);
    };
    let failed = |error: io::Error| Failure::usage(format!("can't write {}: {error}", path.display()));
    let target = Target::new(&path)?;
    let mut file = BufWriter::with_capacity(256 * 1024, target.open().map_err(failed)?);
    let count = write(&store, query, |line| writeln!(file, "{line}").map_err(failed)).await?;
    file.flush().map_err(failed)?;
    target.keep(file.into_inner().map_err(|error| failed(error.into_error()))?).map_err(failed)?;
    let mut out = context.output();
    if context.json {
        out.json(&serde_json::json!({"exported": count}))
    } else {
        out.line(format_args!("exported {count}"))
    }
}

/// Where an export goes.
enum Target {
    /// A file, which is written beside its place, and gets its name when it is whole.
    File(PathBuf),
    /// A device or a pipe, which is written as it is.
    Stream(PathBuf),
}

/// What is written.
enum Sink {
    File(NamedTempFile),
    Stream(File),
}

impl Target {
    /// Chooses by what stands there. A database is not written over: the name was a mistake.
    fn new(path: &Path) -> Result<Self, Failure> {
        let Ok(path) = std::fs::canonicalize(path) else { return Ok(Self::File(path.to_owned())) };
        if !path.is_file() {
            return Ok(Self::Stream(path));
        }
        let mut start = [0; 16];
        let is_database = File::open(&path).and_then(|mut file| file.read_exact(&mut start)).is_ok();
        if is_database && &start == b"SQLite format 3\0" {
            let reason = format!("{} is a SQLite database: name another file", path.display());
            return Err(Failure::usage(reason));
        }
        Ok(Self::File(path))
    }

    fn open(&self) -> io::Result<Sink> {
        match self {
            Self::Stream(path) => OpenOptions::new().write(true).open(path).map(Sink::Stream),
            Self::File(path) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let mut builder = tempfile::Builder::new();
                #[cfg(unix)]
                builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
                builder.prefix(".annals-export-").tempfile_in(folder).map(Sink::File)
            }
        }
    }

    fn keep(&self, sink: Sink) -> io::Result<()> {
        match (self, sink) {
            (Self::File(path), Sink::File(file)) => {
                file.as_file().sync_all()?;
                file.persist(path).map(drop).map_err(|error| error.error)
            }
            _ => Ok(()),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Stream(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Stream(file) => file.flush(),
        }
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
