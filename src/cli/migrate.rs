//! `annals migrate`: the schema, and the database around it.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::context::{advised, check_file};
use super::output::counted;
use super::table::{Column, Table};
use super::{Context, Exit, Failure, events};
use crate::config::Config;
use crate::error::Error;
use crate::migrate::{self, BEFORE_STORE, Consent, Direction, Migrator, State, Status, Step, Target};
use crate::schema;
use crate::sql::Dialect;

/// The arguments of `annals migrate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Apply what is pending, up to a number or all of it. Several at once do no harm.
    Up {
        /// The last migration to apply.
        to: Option<i32>,
        #[command(flatten)]
        own: Own,
    },
    /// Undo what was applied beyond a number; without one, all of the event store.
    Down {
        /// The last migration that stays; 0 for none.
        #[arg(default_value_t = BEFORE_STORE)]
        to: i32,
        #[command(flatten)]
        own: Own,
        #[command(flatten)]
        agreed: Agreed,
    },
    /// List the migrations, known and applied, and where the live schema differs from what they make.
    Status {
        #[command(flatten)]
        own: Own,
    },
    /// Print what `up` would do, or `down` with --down.
    Plan {
        /// The last migration to apply, or the last that stays.
        to: Option<i32>,
        /// Plan the way down.
        #[arg(long)]
        down: bool,
        /// Print the script for sqlite3, psql or sqlcmd, with its bookkeeping.
        #[arg(long)]
        sql: bool,
        #[command(flatten)]
        own: Own,
    },
    /// Write the event store's own migrations to files.
    Generate {
        /// sqlite, postgres or mssql.
        #[arg(long)]
        dialect: Dialect,
        /// The directory; `migrations/DIALECT` without.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// The schema that the names are qualified with on SQL Server.
        #[arg(long)]
        schema: Option<String>,
    },
    /// Create the next numbered pair of files for a migration of your own.
    New {
        /// What the migration does, such as `add_orders`.
        name: String,
        /// The directory; `migrations/DIALECT`, after the URL, without.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Create the database.
    Create,
    /// Undo all of the event store and apply everything again.
    Reset {
        #[command(flatten)]
        own: Own,
        #[command(flatten)]
        agreed: Agreed,
    },
    /// Drop the database with all that is in it, tables of others included.
    Drop {
        #[command(flatten)]
        agreed: Agreed,
    },
}

#[derive(Debug, clap::Args)]
struct Own {
    /// The directory of your own migrations, `NNN_name.up.sql` and `NNN_name.down.sql`.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::Args)]
struct Agreed {
    /// Delete events without asking, in a SQLite file.
    #[arg(long)]
    yes: bool,
    /// Delete events without asking, on a server too.
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    match args.verb {
        Verb::Up { to, own } => {
            let config = context.config()?;
            let is_there = sqlite_file(&config).is_some_and(Path::exists);
            let printed = up(context, &config, own, to).await;
            if printed.is_err() && !is_there {
                remove_if_empty(&config);
            }
            printed
        }
        Verb::Down { to, own, agreed } => {
            let config = existing(context)?;
            let migrator = connect(&config, own).await?;
            let steps = with_consent(&config, agreed, |consent| migrator.down(to, consent)).await?;
            print_steps(context, &steps)
        }
        Verb::Reset { own, agreed } => {
            let config = existing(context)?;
            let migrator = connect(&config, own).await?;
            let steps = with_consent(&config, agreed, |consent| migrator.reset(consent)).await?;
            print_steps(context, &steps)
        }
        Verb::Status { own } => status(context, own).await,
        Verb::Plan { to, down, sql, own } => plan(context, to, down, sql, own).await,
        Verb::Generate { dialect, out, schema } => generate(context, dialect, out, schema.as_deref()),
        Verb::New { name, dir } => create_files(context, &name, dir),
        Verb::Create => {
            let config = context.config()?;
            let created = migrate::create_database(&config).await?;
            let text = if created { "created" } else { "was there already" };
            say(context, &json!({"created": created}), format_args!("{config} {text}"))
        }
        Verb::Drop { agreed } => {
            let config = existing(context)?;
            with_consent(&config, agreed, |consent| migrate::drop_database(&config, consent)).await?;
            say(context, &json!({"dropped": true}), format_args!("{config} dropped"))
        }
    }
}

/// Takes the URL apart, where a SQLite file must be there already.
fn existing(context: &Context) -> Result<Config, Failure> {
    let config = context.config()?;
    check_file(&config)?;
    Ok(config)
}

async fn up(context: &Context, config: &Config, own: Own, to: Option<i32>) -> Result<(), Failure> {
    let migrator = connect(config, own).await?;
    print_steps(context, &migrator.up(to).await?)
}

/// Returns where the database of a SQLite URL is.
fn sqlite_file(config: &Config) -> Option<&Path> {
    let target = config.target().strip_prefix("//").unwrap_or(config.target());
    (config.scheme() == Dialect::Sqlite.name()).then(|| Path::new(target))
}

/// Removes the file that this run created and could not make a database of, as on a full disk.
fn remove_if_empty(config: &Config) {
    if let Some(file) = sqlite_file(config)
        && file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0)
    {
        // What failed before says more than this could.
        let _ = std::fs::remove_file(file);
    }
}

async fn connect(config: &Config, own: Own) -> Result<Migrator, Failure> {
    let migrator = Migrator::connect(config).await.map_err(|error| advised(config, error))?;
    Ok(match own.dir {
        Some(directory) => migrator.with_directory(&directory)?,
        None => migrator,
    })
}

/// Runs what may delete events: at once where that was agreed to, and otherwise after a question. A server's events are
/// not asked about: they take `--force`.
async fn with_consent<T, F>(config: &Config, agreed: Agreed, run: impl Fn(Consent) -> F) -> Result<T, Failure>
where
    F: Future<Output = crate::Result<T>>,
{
    let is_file = config.scheme() == Dialect::Sqlite.name();
    let given = agreed.force || (agreed.yes && is_file);
    let (operation, events) = match run(if given { Consent::Given } else { Consent::Withheld }).await {
        Err(Error::ConsentMissing { operation, events }) => (operation, events),
        outcome => return Ok(outcome?),
    };
    let loss = format!("{operation} deletes {} for good", counted(events, "event"));
    if !is_file {
        return Err(refused(&loss, "--force"));
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(refused(&loss, "--yes"));
    }
    if ask(&format!("{config}: {loss}. Type yes to go on: ")).await? {
        return Ok(run(Consent::Given).await?);
    }
    Err(Failure::new(Exit::Failure, "nothing was changed"))
}

fn refused(loss: &str, flag: &str) -> Failure {
    let message = format!("{loss}, and was not carried out: make a backup or an export first, then say {flag}");
    Failure::new(Exit::Failure, message)
}

async fn ask(question: &str) -> Result<bool, Failure> {
    let mut stderr = std::io::stderr();
    stderr.write_all(question.as_bytes())?;
    stderr.flush()?;
    let answer = tokio::task::spawn_blocking(|| std::io::stdin().lines().next().transpose()).await;
    let answer = answer.map_err(std::io::Error::other)??;
    Ok(answer.is_some_and(|answer| answer.trim().eq_ignore_ascii_case("yes")))
}

/// Prints an object for programs, or a line for people.
fn say(context: &Context, object: &serde_json::Value, line: impl std::fmt::Display) -> Result<(), Failure> {
    let mut out = context.output();
    if context.json { out.json(object) } else { out.line(line) }
}

fn print_steps(context: &Context, steps: &[Step<'_>]) -> Result<(), Failure> {
    for step in steps {
        let direction = direction(*step);
        let object = json!({"version": step.script.version, "name": step.script.name, "direction": direction});
        say(context, &object, format_args!("{direction:<4}  {}", step.script.label()))?;
    }
    if steps.is_empty() && !context.json {
        context.output().line("nothing to do")?;
    }
    Ok(())
}

const fn direction(step: Step<'_>) -> &'static str {
    match step.direction {
        Direction::Up => "up",
        Direction::Down => "down",
    }
}

async fn status(context: &Context, own: Own) -> Result<(), Failure> {
    let migrator = connect(&existing(context)?, own).await?;
    let all = migrator.status().await?;
    let store_is_there = all.iter().any(|status| status.version == schema::FIRST_VERSION && is_applied(status));
    let up_to_date = !all.iter().any(|status| status.state == State::Pending);
    let differences = if store_is_there && up_to_date { migrator.differences().await? } else { Vec::new() };
    let mut out = context.output();
    if context.json {
        for status in &all {
            let (version, name, state, at) = (status.version, &status.name, state(status.state), status.applied_at);
            out.json(&json!({"version": version, "name": name, "state": state, "applied_at": at}))?;
        }
        return differences.iter().try_for_each(|difference| out.json(&json!({"difference": difference})));
    }
    let mut table = Table::new([Column::text("migration"), Column::text("state"), Column::text("applied")]);
    for status in &all {
        let label = format!("{:03}_{}", status.version, status.name);
        table.row(
            [label, state(status.state).into(), status.applied_at.map_or_else(String::new, events::time)],
            &mut out,
        )?;
    }
    table.finish(&mut out)?;
    differences.iter().try_for_each(|difference| out.line(format_args!("the live schema differs: {difference}")))
}

const fn is_applied(status: &Status) -> bool {
    status.applied_at.is_some()
}

const fn state(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Applied => "applied",
        State::Changed => "changed",
        State::Unknown => "unknown",
    }
}

async fn plan(context: &Context, to: Option<i32>, down: bool, sql: bool, own: Own) -> Result<(), Failure> {
    let migrator = connect(&existing(context)?, own).await?;
    let target = match to {
        to if down => Target::DownTo(to.unwrap_or(BEFORE_STORE)),
        Some(to) => Target::UpTo(to),
        None => Target::Newest,
    };
    if sql {
        let script = migrator.script(target).await?;
        return say(context, &json!({"sql": script}), script.trim_end());
    }
    print_steps(context, &migrator.plan(target).await?)
}

fn generate(context: &Context, dialect: Dialect, out: Option<PathBuf>, schema: Option<&str>) -> Result<(), Failure> {
    let directory = out.unwrap_or_else(|| Path::new("migrations").join(dialect.name()));
    let schema = schema.unwrap_or_else(|| schema::default_schema(dialect));
    print_files(context, &migrate::generate(dialect, schema, &directory)?)
}

fn create_files(context: &Context, name: &str, dir: Option<PathBuf>) -> Result<(), Failure> {
    let directory = match dir {
        Some(directory) => directory,
        None => Path::new("migrations").join(context.config()?.scheme()),
    };
    print_files(context, &migrate::create_files(&directory, name)?)
}

fn print_files(context: &Context, files: &[PathBuf]) -> Result<(), Failure> {
    files.iter().try_for_each(|file| {
        let file = file.display().to_string();
        say(context, &json!({"file": file}), &file)
    })
}
