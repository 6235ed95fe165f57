//! `annals import`: lines of JSON of any size, in constant memory, each event once.

mod append;
mod check;
mod input;
mod restore;

use std::path::Path;
use std::time::Instant;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::archive::Manifest;
use super::lines::{self, Chunk, Limits};
use super::output::counted;
use super::{Context, Exit, Failure, progress};
use crate::error::Error;
use crate::limits;
use crate::store::Store;
use check::{Check, Checked};
use input::Input;

/// Lines that are stored together, unless they have too many bytes.
const BATCH: u16 = 2_000;

/// A failure, with the line that is to blame for it, where one is.
type Blame = (Option<u64>, Failure);

/// The category of the streams of CloudEvents that name none.
const CATEGORY: &str = "cloudevents";

/// The arguments of `annals import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "A line needs aggregate_id, aggregate_type, event_type and data; optional are event_id, \
    event_version, event_timestamp, actor, actor_type, source, causation_id, correlation_id, content_type, metadata \
    and tags. Or it is a CloudEvent. The database gives the time; the line's event_timestamp is kept as occurred_at of \
    the metadata. Run again after an interruption, or after mending a line, an import goes on where it stopped. An export \
    is checked against its manifest, where it is a file before anything is stored. What zstd has compressed is known by \
    its first bytes.")]
pub(crate) struct Args {
    /// The file; - is standard input.
    file: String,
    /// Restore an export as it was: positions, versions, ids, times, commands, snapshots and subscriptions; the topic must be
    /// empty, or is created.
    #[arg(long)]
    restore: bool,
    /// The name from which lines without an `event_id` get one [default: the file's full path].
    #[arg(long, conflicts_with = "restore", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: Option<String>,
    /// The category of the streams of CloudEvents that name none.
    #[arg(long, conflicts_with = "restore", value_name = "NAME", default_value = CATEGORY)]
    aggregate_type: String,
    /// Lines that are stored together.
    #[arg(long, value_name = "LINES", default_value_t = BATCH,
        value_parser = clap::value_parser!(u16).range(1..=limits::EVENTS_PER_REQUEST as i64))]
    batch: u16,
}

/// What came of an import.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub imported: u64,
    pub skipped: u64,
    pub seconds: f64,
    /// Of an export.
    manifest: Option<Manifest>,
}

impl Args {
    /// Returns whether it restores an export.
    pub(crate) const fn restores(&self) -> bool {
        self.restore
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let restores = args.restore;
    let counts = if restores { restore(args, context).await? } else { append(&context.store().await?, args).await? };
    let Counts { imported, skipped, seconds, manifest } = counts;
    let mut object = json!({"imported": imported, "skipped": skipped, "seconds": seconds});
    let mut text = format!("imported {imported}, skipped {skipped}, {seconds:.2} s");
    if let Some(manifest) = manifest {
        object["hash"] = manifest.hash.as_str().into();
        if restores {
            object["rows"] = manifest.row_count().into();
            text += &format!(", {}", counted(manifest.row_count(), "other row"));
        }
        text += &format!("\nlog hash {}", manifest.hash);
    }
    context.say(&object, &text)
}

/// Imports a file under a name of its own.
#[cfg(feature = "sqlite")]
pub(super) async fn import_file(store: &Store, file: &Path, name: &str) -> Result<Counts, Failure> {
    let (file, name) = (file.to_string_lossy().into_owned(), Some(name.to_owned()));
    append(store, Args { file, restore: false, name, aggregate_type: CATEGORY.to_owned(), batch: BATCH }).await
}

/// Appends the events that are not there yet.
async fn append(store: &Store, args: Args) -> Result<Counts, Failure> {
    let start = Instant::now();
    let input = Input::open(&args.file)?;
    check_file(&input, &args.file).await?;
    let (bar, is_export) = (progress::bytes(input.bytes), input.header.is_some());
    let max_bytes = store.max_event_bytes();
    let limits = input.limits(args.batch, max_bytes);
    let (name, category) = (args.name.or(input.path.clone()), args.aggregate_type);
    let mut import = append::Import::new(store);
    let lines = Lines::read(input, limits, move |check, number, text| match check.line(text, &category)? {
        Some(Checked::Event(line, event)) => {
            // Of a line that is of no export, the hash is that of its event only where the two fit.
            let event = event.or_else(|| line.recorded().ok().map(Box::new));
            let hash = event.and_then(|event| event.hash);
            append::entry(*line, name.as_deref(), max_bytes, (number, text), hash).map(Some)
        }
        _ => Ok(None),
    });
    let outcome = lines.drain(&bar, async |entries| import.store(entries).await).await;
    bar.finish_and_clear();
    let append::Import { imported, skipped, .. } = import;
    Counts { imported, skipped, ..Counts::default() }.ended(start, is_export, outcome)
}

/// Restores a log as it was.
async fn restore(args: Args, context: &Context) -> Result<Counts, Failure> {
    let start = Instant::now();
    let input = Input::open(&args.file)?;
    let Some(header) = &input.header else {
        let reason = "line 1: it is not the header of an export, which --restore needs: make one by `annals export`";
        return Err(Failure::usage(reason));
    };
    let manifest = check_file(&input, &args.file).await?;
    let store = restore::open(header, context).await?;
    let mut restore = restore::Restore::new(&store).await?;
    restore.begin(manifest.as_ref()).await.map_err(|failure| failure.then("nothing was stored"))?;
    let bar = progress::bytes(input.bytes);
    let limits = input.limits(args.batch, limits::EVENT_BYTES_MAX);
    let lines =
        Lines::read(input, limits, |check, _, text| Ok(check.line(text, CATEGORY)?.and_then(restore::Entry::new)));
    let mut outcome = lines.drain(&bar, async |entries| restore.store(entries).await).await;
    if outcome.is_ok()
        && let Err(failure) = restore.finish().await
    {
        outcome = Err((None, failure));
    }
    bar.finish_and_clear();
    let restore::Restore { imported, skipped, .. } = restore;
    Counts { imported, skipped, ..Counts::default() }.ended(start, true, outcome)
}

/// Reads an export that is a file to its end, before anything of it is stored, and returns its manifest.
async fn check_file(input: &Input, file: &str) -> Result<Option<Manifest>, Failure> {
    if input.header.is_none() || !input.is_file {
        return Ok(None);
    }
    let again = Input::open(file)?;
    let (bar, limits) = (progress::bytes(again.bytes), again.limits(BATCH, limits::EVENT_BYTES_MAX));
    let lines = Lines::read(again, limits, |check, _, text| check.line(text, CATEGORY).map(|_| None::<()>));
    let checked = lines.drain(&bar, async |_| Ok(())).await;
    bar.finish_and_clear();
    checked.map_err(|(line, failure)| {
        let failure = line.into_iter().fold(failure, |failure, line| failure.at(&format!("line {line}")));
        failure.then("nothing was stored")
    })
}

impl Counts {
    /// Returns what came of an import: the counts, or which line is to blame, what is stored, and what to do.
    fn ended(
        mut self,
        start: Instant,
        is_export: bool,
        outcome: Result<Option<Manifest>, Blame>,
    ) -> Result<Self, Failure> {
        self.seconds = start.elapsed().as_secs_f64();
        let (line, failure) = match outcome {
            Ok(manifest) => return Ok(Self { manifest, ..self }),
            Err(blame) => blame,
        };
        let were = if self.imported == 1 { "was" } else { "were" };
        let stored = format!("{} {were} stored now, {} before", counted(self.imported, "line"), self.skipped);
        Err(match line {
            Some(line) if is_export => failure.at(&format!("line {line}")).then(&stored),
            Some(line) => {
                failure.at(&format!("line {line}")).then(&format!("{stored}; mend the line and run it again"))
            }
            None if is_export => failure.then(&format!("{stored}; run it again, or with a whole export, to go on")),
            None => failure.then(&format!("{stored}; run it again to go on")),
        })
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

/// Lines that a thread of its own reads and parses, at most two chunks ahead.
struct Lines<T> {
    chunks: mpsc::Receiver<Chunk<T>>,
    reading: JoinHandle<Check>,
}

impl<T: Send + 'static> Lines<T> {
    fn read(
        input: Input,
        limits: Limits,
        mut parse: impl FnMut(&mut Check, u64, &str) -> Result<Option<T>, Failure> + Send + 'static,
    ) -> Self {
        let (sender, chunks) = mpsc::channel(1);
        let reading = tokio::task::spawn_blocking(move || {
            let mut check = Check::default();
            lines::read(input.read, limits, |number, text| parse(&mut check, number, text), &sender);
            check
        });
        Self { chunks, reading }
    }

    /// Stores chunk after chunk, and returns the manifest, where the input was an export.
    async fn drain(
        mut self,
        bar: &indicatif::ProgressBar,
        mut store: impl AsyncFnMut(Vec<(u64, T)>) -> Result<(), Blame>,
    ) -> Result<Option<Manifest>, Blame> {
        while let Some(chunk) = self.chunks.recv().await {
            store(chunk.entries).await?;
            bar.set_position(chunk.read);
            if let Some((line, failure)) = chunk.failure {
                return Err((Some(line), failure));
            }
        }
        let check = self.reading.await.map_err(|error| (None, Failure::new(Exit::Failure, error.to_string())))?;
        check.end().map_err(|failure| (None, failure))
    }
}
