//! `annals replay`: a read model from a file of SQL.

mod file;
mod parameter;
mod statement;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::output::counted;
use super::{Context, Exit, Failure, progress};
use crate::projection::{Projection, ProjectionProgress, Projector, projection_subscription};
use crate::store::Store;
use file::Described;

/// The arguments of `annals replay`. What is there is applied; the next time, what has come since.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file that describes the projection, see docs/projections.md.
    file: PathBuf,
    /// Empty the read model, and build it again from the first event.
    #[arg(long)]
    rebuild: bool,
    /// Go on with what comes, until Ctrl-C.
    #[arg(long)]
    follow: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let path = args.file.display();
    let text =
        std::fs::read_to_string(&args.file).map_err(|error| Failure::usage(format!("can't read {path}: {error}")))?;
    let described = Described::parse(&text).map_err(|reason| Failure::usage(format!("{path}: {reason}")))?;
    let names = (described.name().to_owned(), described.version());
    let store = context.store().await?;
    say_who_runs(&store, &names).await?;

    let reached = Arc::new(Mutex::new(None));
    let bar = progress::replay();
    let mut projector = store.project(described).on_progress({
        let (reached, bar) = (Arc::clone(&reached), bar.clone());
        move |progress| {
            show(progress, &bar);
            *reached.lock().unwrap_or_else(PoisonError::into_inner) = Some(*progress);
        }
    });
    let work = async {
        let replayed = if args.rebuild { projector.rebuild().await } else { projector.catch_up().await };
        bar.finish_and_clear();
        replayed.map_err(|error| Failure::from(error).at(&path.to_string()))?;
        let reached = reached.lock().unwrap_or_else(PoisonError::into_inner).take();
        print(&names, reached, context)?;
        if args.follow { follow(&mut projector, context).await } else { Ok(()) }
    };
    let ended = tokio::select! {
        ended = work => ended,
        () = context.stopped() => Err(Failure::new(Exit::Interrupted, "interrupted: what was applied is saved")),
    };
    bar.finish_and_clear();
    let closed = projector.close().await;
    ended.and(closed.map_err(Failure::from))
}

/// Applies what comes. Whoever reads the summary has it before.
async fn follow(projector: &mut Projector<Described>, context: &Context) -> Result<(), Failure> {
    context.output().flush()?;
    Ok(projector.run().await?)
}

/// Tells on standard error for whom the run waits.
async fn say_who_runs(store: &Store, (name, version): &(String, u32)) -> Result<(), Failure> {
    let projections = store.projections().await?;
    let ours = projections.iter().find(|info| info.name == *name && info.version == *version);
    if let Some(subscription) = ours.map(|info| &info.subscription)
        && subscription.is_running
        && let Some(owner) = &subscription.lease_owner
    {
        let line = format!("{}: {owner} runs it: waiting until it ends\n", subscription.name);
        // Where standard error is closed, the work still goes on.
        let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), line.as_bytes());
    }
    Ok(())
}

fn show(progress: &ProjectionProgress, bar: &indicatif::ProgressBar) {
    bar.set_length(u64::try_from(progress.head).unwrap_or_default());
    bar.set_position(u64::try_from(progress.position).unwrap_or_default());
    bar.set_message(format!("{:.0} events/s", progress.rate()));
}

fn print(
    (name, version): &(String, u32),
    reached: Option<ProjectionProgress>,
    context: &Context,
) -> Result<(), Failure> {
    let Some(reached) = reached else { return Ok(()) };
    let ProjectionProgress { events, position, elapsed, .. } = reached;
    let (seconds, rate) = (elapsed.as_secs_f64(), reached.rate().round());
    let mut out = context.output();
    if context.json {
        return out.json(&json!({
            "projection": name, "version": version, "events": events, "position": position, "seconds": seconds,
            "events_per_s": rate,
        }));
    }
    let (subscription, applied) = (projection_subscription(name, *version), counted(events, "event"));
    out.line(format_args!(
        "{subscription}: applied {applied} in {seconds:.2} s ({rate} events/s), at position {position}"
    ))
}
