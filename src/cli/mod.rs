//! The `annals` command line, a file a verb.
//!
//! A verb is a module with `Args`, which clap derives, and `run(args, &Context)`. It prints through
//! [`Context::output`] and answers a [`Failure`] with the exit code that a script sees.

#[cfg(feature = "_sql")]
mod archive;
mod context;
mod events;
mod exit;
mod filters;
mod line;
mod lines;
mod output;
mod parse;
mod progress;
mod table;

mod append;
#[cfg(feature = "bench")]
mod bench;
mod completions;
mod conformance;
#[cfg(feature = "_sql")]
mod copy;
#[cfg(feature = "sqlite")]
mod demo;
#[cfg(feature = "_sql")]
mod export;
mod health;
#[cfg(feature = "_sql")]
mod import;
#[cfg(feature = "_sql")]
mod index;
mod migrate;
#[cfg(feature = "_sql")]
mod projections;
mod query;
mod read;
#[cfg(feature = "_sql")]
mod reincarnate;
#[cfg(feature = "_sql")]
mod relay;
#[cfg(feature = "_sql")]
mod replay;
mod snapshot;
mod stats;
mod stream;
mod streams;
mod subscribe;
#[cfg(feature = "_sql")]
mod subscriptions;
mod topic;

use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tokio::sync::oneshot;

pub(crate) use context::Context;
pub(crate) use exit::{Exit, Failure};

/// The store where none is named.
const DEFAULT_URL: &str = "sqlite:annals.db";

/// What `--help` says at its end.
const AFTER_HELP: &str = "\
Exit codes:
  0    done
  1    failed, for a reason that none of the others names
  2    the command line, the URL or the input is wrong; nothing was stored, but for an
       import's lines before the wrong one
  3    conflict: the stream, command or event is not as the request expects; read again
       and decide anew
  4    the stream, event, snapshot, index, topic or database file does not exist
  5    the database or the broker is busy or out of reach, or did not answer in time; the same
       command may succeed later, and with the same --command-id it is carried out once
  130  interrupted with Ctrl-C or SIGTERM; what was acknowledged is stored

A closed pipe, as in `annals read order-1 | head -1`, ends quietly with 0.";

/// An event store in the database that you already run: SQLite, Postgres or SQL Server.
#[derive(Debug, Parser)]
#[command(name = "annals", version, max_term_width = 100, after_help = AFTER_HELP, subcommand_required = true)]
struct Cli {
    /// Where the store is: sqlite:PATH, postgres://… or mssql://…
    #[arg(long, global = true, env = "ANNALS_URL", hide_env_values = true, default_value = DEFAULT_URL)]
    url: String,
    /// The topic, of those that are configured in that database or stand in it; the URL's own, without.
    #[arg(long, global = true, value_name = "NAME")]
    topic: Option<String>,
    /// Print one JSON object a line, for programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create, change and look at the database's schema.
    Migrate(migrate::Args),
    /// Append events to a stream, all of them or none.
    Append(append::Args),
    /// Read a stream.
    Read(read::Args),
    /// Search the log.
    Query(query::Args),
    /// Print events as they come.
    Subscribe(subscribe::Args),
    /// List the readers that have a name; list, retry and skip the dead letters of groups.
    #[cfg(feature = "_sql")]
    Subscriptions(subscriptions::Args),
    /// Publish events to a broker, in order, at least once.
    #[cfg(feature = "_sql")]
    Relay(relay::Args),
    /// List projections: how far each version is, and which one is read.
    #[cfg(feature = "_sql")]
    Projections(projections::Args),
    /// Build a read model in tables of the database, from a file of SQL; go on with it, or build it again.
    #[cfg(feature = "_sql")]
    Replay(replay::Args),
    /// List streams.
    Streams(streams::Args),
    /// Show, delete, undelete or reuse a stream; its metadata.
    Stream(stream::Args),
    /// Save, show or prune a stream's snapshots.
    Snapshot(snapshot::Args),
    /// Add, list or drop indexes over values inside events.
    #[cfg(feature = "_sql")]
    Index(index::Args),
    /// Import events from JSON lines or CloudEvents, or restore an export.
    #[cfg(feature = "_sql")]
    Import(import::Args),
    /// Export a log, or a part of it, as JSON lines or CloudEvents, with a manifest.
    #[cfg(feature = "_sql")]
    Export(export::Args),
    /// Copy topics to another database, of whatever engine, as they are.
    #[cfg(feature = "_sql")]
    Copy(copy::Args),
    /// Ask the database for a sign of life.
    Health(health::Args),
    /// Count the events of each type.
    Stats(stats::Args),
    /// Prove that a database keeps the contract.
    Conformance(conformance::Args),
    /// Create, change and list topics, each in a database of its own choice.
    Topic(topic::Args),
    /// Give a topic that was restored from a backup a new incarnation, so that readers notice.
    #[cfg(feature = "_sql")]
    Reincarnate(reincarnate::Args),
    /// Show what the store does, on real input, in a temporary file.
    #[cfg(feature = "sqlite")]
    Demo(demo::Args),
    /// Print the completions of a shell.
    Completions(completions::Args),
    #[cfg(feature = "bench")]
    Bench(bench::Args),
}

/// How long an interrupted verb may take to put its things away, such as a half-written file.
const TIDYING: Duration = Duration::from_millis(200);

/// How long a verb that ends its work first, when it is interrupted, may take for that.
const ENDING: Duration = Duration::from_secs(15);

/// The stack of the thread on which a verb runs: as much as a main thread has.
const STACK: usize = 8 * 1024 * 1024;

/// Runs the command line of this process, and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::from_command_line() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::from(error).report(false),
    };
    let json = cli.json;
    let outcome = runtime.block_on(until_interrupted(cli, runtime.handle().clone()));
    // A thread that still reads, writes or opens a file would keep the process alive, and would miss its runtime.
    std::mem::forget(runtime);
    outcome.map_or_else(|failure| failure.report(json), |()| ExitCode::SUCCESS)
}

/// Runs a verb on a thread of its own, which may block on a pipe or a terminal for ever without keeping an interrupt
/// from being heard.
async fn until_interrupted(cli: Cli, runtime: tokio::runtime::Handle) -> Result<(), Failure> {
    let (interruptible, writes) = (!cli.verb.makes_databases(), cli.verb.writes());
    let ends_its_work = cli.verb.ends_its_work();
    let (ended, mut outcome) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let work = move || {
        let outcome = runtime.block_on(async {
            if ends_its_work {
                return Box::pin(run(cli, Some(stopped))).await;
            }
            tokio::select! {
                outcome = run(cli, None) => outcome,
                _ = stopped => Err(Failure::interrupted(writes)),
            }
        });
        // Nobody takes the outcome where the process ends already.
        let _ = ended.send(outcome);
    };
    tokio::select! {
        // The signals are listened for before the verb begins.
        biased;
        () = interrupt(), if interruptible => {}
        ended = async {
            std::thread::Builder::new().stack_size(STACK).spawn(work)?;
            Ok::<_, Failure>((&mut outcome).await)
        } => return ended?.unwrap_or_else(|_| Err(Failure::silent(Exit::Failure))),
    }
    drop(stop);
    if ends_its_work {
        // A second interrupt, or a verb that blocks, ends it as it stands.
        return tokio::select! {
            Ok(Ok(ended)) = tokio::time::timeout(ENDING, outcome) => ended,
            () = interrupt() => Err(Failure::interrupted(writes)),
            else => Err(Failure::interrupted(writes)),
        };
    }
    // Who blocks is not waited for.
    let _ = tokio::time::timeout(TIDYING, outcome).await;
    Err(Failure::interrupted(writes))
}

impl Cli {
    /// Parses the command line of this process.
    fn from_command_line() -> Result<Self, clap::Error> {
        let matches = with_negative_numbers(Self::command()).try_get_matches()?;
        let mut cli = Self::from_arg_matches(&matches)?;
        if cli.url.is_empty() && matches.value_source("url") == Some(ValueSource::EnvVariable) {
            DEFAULT_URL.clone_into(&mut cli.url);
        }
        if cli.verb.takes_urls() && matches.value_source("url") == Some(ValueSource::CommandLine) {
            let message = "the url is an argument of this verb: leave out --url";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, message));
        }
        Ok(cli)
    }
}

/// Lets every option take a negative number, which would be an unknown option otherwise: data can be one, and for what
/// can't, the message is about the number.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let takes_values = arg.get_action().takes_values();
            if takes_values { arg.allow_negative_numbers(true) } else { arg }
        })
        .mut_subcommands(with_negative_numbers)
}

impl Verb {
    /// Returns whether its URLs are arguments.
    const fn takes_urls(&self) -> bool {
        #[cfg(feature = "_sql")]
        if matches!(self, Self::Copy(_)) {
            return true;
        }
        self.makes_databases()
    }

    /// Returns whether it makes databases of its own where its argument says. It has them to remove, so that it deals
    /// with an interrupt itself.
    const fn makes_databases(&self) -> bool {
        match self {
            Self::Conformance(_) => true,
            #[cfg(feature = "bench")]
            Self::Bench(_) => true,
            _ => false,
        }
    }

    /// Returns whether an interrupt asks it to end, rather than ending it.
    const fn ends_its_work(&self) -> bool {
        match self {
            #[cfg(feature = "_sql")]
            Self::Relay(_) | Self::Replay(_) => true,
            #[cfg(feature = "_sql")]
            Self::Copy(args) => args.follows(),
            _ => false,
        }
    }

    /// Returns whether it appends events of the caller's own.
    const fn appends(&self) -> bool {
        match self {
            #[cfg(feature = "_sql")]
            Self::Import(args) => !args.restores(),
            Self::Stream(args) => args.writes(),
            _ => matches!(self, Self::Append(_)),
        }
    }

    /// Returns whether it may store something.
    const fn writes(&self) -> bool {
        #[cfg(feature = "_sql")]
        match self {
            Self::Subscriptions(args) => return args.writes(),
            Self::Projections(_) | Self::Export(_) => return false,
            _ => {}
        }
        !matches!(
            self,
            Self::Read(_)
                | Self::Query(_)
                | Self::Subscribe(_)
                | Self::Streams(_)
                | Self::Health(_)
                | Self::Stats(_)
                | Self::Completions(_)
        )
    }
}

/// Waits for Ctrl-C, or for the signal by which supervisors end a program; for ever, where the system has neither.
async fn interrupt() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            Ok(()) = tokio::signal::ctrl_c() => return,
            Some(()) = terminate.recv() => return,
            else => {}
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Runs a verb; one that ends its work when it is interrupted is given what tells it.
async fn run(cli: Cli, stopped: Option<oneshot::Receiver<()>>) -> Result<(), Failure> {
    let appends = cli.verb.appends();
    let context = Context::new(cli.url, cli.topic, cli.json, stopped);
    if appends {
        context.check_topic()?;
    }
    let outcome = match cli.verb {
        Verb::Migrate(args) => migrate::run(args, &context).await,
        Verb::Append(args) => append::run(args, &context).await,
        Verb::Read(args) => read::run(args, &context).await,
        Verb::Query(args) => query::run(args, &context).await,
        Verb::Subscribe(args) => subscribe::run(args, &context).await,
        #[cfg(feature = "_sql")]
        Verb::Subscriptions(args) => subscriptions::run(args, &context).await,
        #[cfg(feature = "_sql")]
        Verb::Relay(args) => relay::run(args, &context).await,
        #[cfg(feature = "_sql")]
        Verb::Projections(args) => projections::run(args, &context).await,
        #[cfg(feature = "_sql")]
        Verb::Replay(args) => replay::run(args, &context).await,
        Verb::Streams(args) => streams::run(args, &context).await,
        Verb::Stream(args) => stream::run(args, &context).await,
        Verb::Snapshot(args) => snapshot::run(args, &context).await,
        #[cfg(feature = "_sql")]
        Verb::Index(args) => index::run(args, &context).await,
        #[cfg(feature = "_sql")]
        Verb::Import(args) => import::run(args, &context).await,
        #[cfg(feature = "_sql")]
        Verb::Export(args) => export::run(args, &context).await,
        #[cfg(feature = "_sql")]
        Verb::Copy(args) => copy::run(args, &context).await,
        Verb::Health(args) => health::run(args, &context).await,
        Verb::Stats(args) => stats::run(args, &context).await,
        Verb::Conformance(args) => conformance::run(args, &context).await,
        Verb::Topic(args) => topic::run(args, &context).await,
        #[cfg(feature = "_sql")]
        Verb::Reincarnate(args) => reincarnate::run(args, &context).await,
        #[cfg(feature = "sqlite")]
        Verb::Demo(args) => demo::run(args, &context).await,
        Verb::Completions(args) => completions::run(&args, &context),
        #[cfg(feature = "bench")]
        Verb::Bench(args) => bench::run(args, &context).await,
    };
    let finished = context.finish().await;
    outcome.and(finished)
}
