//! `annals demo`: what the store does, on real input, in a temporary SQLite file.

mod git;
mod steps;

use std::io::BufWriter;
use std::path::PathBuf;

use console::style;

use super::import::{Counts, import_file};
use super::{Context, Failure};
use crate::config::Config;
use crate::store::Store;

/// A real log that is shipped; `examples/data/README.md` names its source.
const WEATHER: &str = include_str!("../../../examples/data/seattle-weather.jsonl");

/// Events that the stream has at least which is read and timed.
const EVENTS: i64 = 1_000;

/// The arguments of `annals demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only print the history of this git repository as JSON lines, for import.
    #[arg(long, value_name = "REPOSITORY")]
    events: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    if let Some(repository) = args.events {
        let mut lines = BufWriter::new(std::io::stdout().lock());
        if git::write_events(&repository, &mut lines)? == 0 {
            let place = repository.display();
            return Err(Failure::not_found(format!("{place} has no git history that can be read, or git is missing")));
        }
        return Ok(std::io::Write::flush(&mut lines)?);
    }
    let folder = tempfile::Builder::new().prefix("annals-demo-").tempdir()?;
    let url = format!("sqlite:{}", folder.path().join("demo.db").display());
    say(context, "a new store", &format!("annals migrate up --url {url}"))?;
    let config: Config = url.parse()?;
    let store = Store::connect_with(config.with_migrate(true)).await?;
    let outcome = show(context, &store, folder.path()).await;
    store.close().await;
    outcome
}

async fn show(context: &Context, store: &Store, folder: &std::path::Path) -> Result<(), Failure> {
    import_history(context, store, folder).await?;
    let mut stream = steps::longest(store).await?;
    if stream.as_ref().is_none_or(|stream| stream.version.get() < EVENTS) {
        import_weather(context, store, folder).await?;
        stream = steps::longest(store).await?;
    }
    let stream = stream.ok_or_else(|| Failure::not_found("there is nothing to show"))?;
    steps::stream(context, store, &stream).await?;
    steps::time_travel(context, store, &stream).await?;
    steps::stale_append(context, store, &stream).await?;
    steps::repeated_command(context, store, &stream).await?;
    steps::timed_read(context, store, &stream).await?;
    urls(context)
}

/// Imports the history of the repository that the demo is run in.
async fn import_history(context: &Context, store: &Store, folder: &std::path::Path) -> Result<(), Failure> {
    // Cargo says where the clone is, so that the demo works from its subfolders too.
    let repository = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let file = folder.join("history.jsonl");
    let mut lines = BufWriter::new(std::fs::File::create(&file)?);
    let changes = git::write_events(&repository, &mut lines)?;
    drop(lines);
    let command = "annals demo --events . | annals import -";
    say(context, "this repository's git history, one stream an author, one event a change of a file", command)?;
    if changes == 0 {
        return note(context, "there is none that git could read");
    }
    imported(context, import_file(store, &file, "history").await?)
}

async fn import_weather(context: &Context, store: &Store, folder: &std::path::Path) -> Result<(), Failure> {
    let file = folder.join("seattle-weather.jsonl");
    std::fs::write(&file, WEATHER)?;
    let title =
        "no author there has 1,000 changes: the weather of Seattle, four years, one event a day (NOAA, public domain)";
    say(context, title, "annals import examples/data/seattle-weather.jsonl")?;
    imported(context, import_file(store, &file, "seattle-weather").await?)
}

fn imported(context: &Context, counts: Counts) -> Result<(), Failure> {
    let milliseconds = counts.seconds * 1_000.0;
    note(context, &format!("imported {} events in {milliseconds:.0} ms", counts.imported))
}

fn urls(context: &Context) -> Result<(), Failure> {
    say(context, "the same works on the database that you run already", "annals migrate up --url URL")?;
    note(context, "sqlite:annals.db")?;
    note(context, "postgres://user:password@localhost:5432/database")?;
    note(context, "mssql://user:password@localhost:1433/database")
}

/// Prints a step's title, and the command that does the same.
fn say(context: &Context, title: &str, command: &str) -> Result<(), Failure> {
    let mut out = context.output();
    if context.json {
        out.json(&serde_json::json!({"step": title, "command": command}))?;
    } else {
        out.line(format_args!("\n{}", style(title).bold()))?;
        out.line(format_args!("  {}", style(format!("$ {command}")).dim()))?;
    }
    out.flush()
}

/// Prints a line of a step's outcome.
fn note(context: &Context, text: &str) -> Result<(), Failure> {
    let mut out = context.output();
    if context.json {
        out.json(&serde_json::json!({"outcome": text}))?;
    } else {
        out.line(format_args!("  {text}"))?;
    }
    out.flush()
}
