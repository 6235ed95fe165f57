//! `annals import`: JSON lines of any size, in constant memory, each event once.

mod append;
mod lanes;
mod restore;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use tokio::sync::mpsc;

use super::lines::{self, Chunk, Limits};
use super::output::counted;
use super::{Context, Exit, Failure, progress};
use crate::error::Error;
use crate::limits;
use crate::store::Store;

/// Lines that are stored together, unless they have too many bytes.
const BATCH: u16 = 2_000;

/// A failure, with the line that is to blame for it, where one is.
type Blame = (Option<u64>, Failure);

/// The arguments of `annals import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "A line needs aggregate_id, aggregate_type, event_type and data; optional are event_id, \
    event_version, event_timestamp, actor, actor_type, source, causation_id, correlation_id, content_type, metadata \
    and tags. The database gives the time; the line's event_timestamp is kept as occurred_at of the metadata. Run \
    again after an interruption, or after mending a line, an import goes on where it stopped.")]
pub(crate) struct Args {
    /// The file; - is standard input.
    file: String,
    /// Keep positions, versions, ids and times of an export; the topic must be empty.
    #[arg(long)]
    restore: bool,
    /// The name from which lines without an `event_id` get one [default: the file's full path].
    #[arg(long, conflicts_with = "restore", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: Option<String>,
    /// Lines that are stored together.
    #[arg(long, value_name = "LINES", default_value_t = BATCH,
        value_parser = clap::value_parser!(u16).range(1..=limits::EVENTS_PER_REQUEST as i64))]
    batch: u16,
}

/// What came of an import.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub imported: u64,
    pub skipped: u64,
    pub seconds: f64,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let Counts { imported, skipped, seconds } = import(&store, args).await?;
    let text = format!("imported {imported}, skipped {skipped}, {seconds:.2} s");
    let printed = if context.json {
        context.output().json(&json!({"imported": imported, "skipped": skipped, "seconds": seconds}))
    } else {
        context.output().line(&text)
    };
    context.done(printed, &text)
}

/// Imports a file under a name of its own.
#[cfg(feature = "sqlite")]
pub(super) async fn import_file(store: &Store, file: &Path, name: &str) -> Result<Counts, Failure> {
    let file = file.to_string_lossy().into_owned();
    import(store, Args { file, restore: false, name: Some(name.to_owned()), batch: BATCH }).await
}

async fn import(store: &Store, args: Args) -> Result<Counts, Failure> {
    let start = Instant::now();
    let Source { read, bytes, path } = open(&args.file)?;
    let limits = Limits { lines: args.batch.into(), line_bytes: lines::line_bytes(store.max_event_bytes()) };
    let bar = progress::bytes(bytes);
    let (outcome, imported, skipped) = if args.restore {
        if bytes.is_some() {
            lanes::check(store, open(&args.file)?.read, limits).await?;
        }
        let mut restore = restore::Restore::new(store).await?;
        let chunks = reader(read, limits, restore::parse);
        let outcome = drain(chunks, &bar, async |entries| restore.store(entries).await).await;
        (outcome, restore.imported, restore.skipped)
    } else {
        let (name, max_bytes) = (args.name.or(path), store.max_event_bytes());
        let mut import = append::Import::new(store);
        let chunks = reader(read, limits, move |number, text| append::parse(name.as_deref(), max_bytes, number, text));
        let outcome = drain(chunks, &bar, async |entries| import.store(entries).await).await;
        (outcome, import.imported, import.skipped)
    };
    bar.finish_and_clear();
    let counts = Counts { imported, skipped, seconds: start.elapsed().as_secs_f64() };
    outcome.map(|()| counts).map_err(|blame| counts.explain(blame))
}

impl Counts {
    /// Says which line is to blame, what is stored, and what to do.
    fn explain(self, (line, failure): Blame) -> Failure {
        let were = if self.imported == 1 { "was" } else { "were" };
        let stored = format!("{} {were} stored now, {} before", counted(self.imported, "line"), self.skipped);
        match line {
            Some(line) => {
                failure.at(&format!("line {line}")).then(&format!("{stored}; mend the line and run it again"))
            }
            None => failure.then(&format!("{stored}; run it again to go on")),
        }
    }
}

/// Says what kept lines from being stored. An import has no command ids: it is only run again.
fn failure(error: Error) -> Failure {
    match error {
        Error::Ambiguous { operation } => {
            Failure::new(Exit::Unavailable, format!("the database became unreachable during {operation}"))
        }
        error => error.into(),
    }
}

/// Standard input, or a file.
struct Source {
    read: Box<dyn Read + Send>,
    /// How long it is, if that is known.
    bytes: Option<u64>,
    /// Its full path, if it has one.
    path: Option<String>,
}

fn open(file: &str) -> Result<Source, Failure> {
    if file == "-" {
        return Ok(Source { read: Box::new(io::stdin()), bytes: None, path: None });
    }
    let failed = |error: io::Error| Failure::usage(format!("can't read {file}: {error}"));
    let opened = File::open(file).map_err(failed)?;
    let metadata = opened.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(Failure::usage(format!("can't read {file}: it is a folder, not a file")));
    }
    let path = std::fs::canonicalize(file).map_err(failed)?;
    let bytes = metadata.is_file().then_some(metadata.len());
    Ok(Source { read: Box::new(opened), bytes, path: Some(path.to_string_lossy().into_owned()) })
}

/// Reads and parses on a thread of its own, at most two chunks ahead.
fn reader<T: Send + 'static>(
    source: Box<dyn Read + Send>,
    limits: Limits,
    parse: impl Fn(u64, &str) -> Result<T, Failure> + Send + 'static,
) -> mpsc::Receiver<Chunk<T>> {
    let (sender, chunks) = mpsc::channel(1);
    tokio::task::spawn_blocking(move || lines::read(source, limits, parse, &sender));
    chunks
}

/// Stores chunk after chunk.
async fn drain<T>(
    mut chunks: mpsc::Receiver<Chunk<T>>,
    bar: &indicatif::ProgressBar,
    mut store: impl AsyncFnMut(Vec<(u64, T)>) -> Result<(), Blame>,
) -> Result<(), Blame> {
    while let Some(chunk) = chunks.recv().await {
        store(chunk.entries).await?;
        bar.set_position(chunk.read);
        if let Some((line, failure)) = chunk.failure {
            return Err((Some(line), failure));
        }
    }
    Ok(())
}
