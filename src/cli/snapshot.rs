//! `annals snapshot`: a stream's saved states.

use clap::Subcommand;

use super::{Context, Failure, events, parse, stream};
use crate::position::Version;
use crate::snapshot::{NewSnapshot, SnapshotQuery};

/// The arguments of `annals snapshot`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Save a stream's state at a version; an older one never replaces a newer.
    Save {
        /// The stream's id.
        aggregate_id: String,
        /// The version of the last event that the state holds.
        #[arg(long, value_name = "VERSION")]
        at: i64,
        /// The state as JSON; @FILE reads a file, - standard input.
        #[arg(long, value_name = "JSON")]
        state: String,
        /// The version of the state's schema.
        #[arg(long, value_name = "N", default_value_t = 1)]
        schema: i32,
    },
    /// Show the newest snapshot of a stream.
    Show {
        /// The stream's id.
        aggregate_id: String,
        /// Only snapshots at or before this version.
        #[arg(long, value_name = "VERSION")]
        at: Option<i64>,
        /// Only snapshots whose state has this schema.
        #[arg(long, value_name = "N")]
        schema: Option<i32>,
    },
    /// Delete a stream's snapshots before a version; no result changes by it.
    Prune {
        /// The stream's id.
        aggregate_id: String,
        /// Keep those at this version and later.
        #[arg(long, value_name = "VERSION")]
        before: i64,
    },
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    match args.verb {
        Verb::Save { aggregate_id, at, state, schema } => {
            let state = parse::json(&state)?;
            let stream = stream::named(&store, &aggregate_id).await?;
            let snapshot = NewSnapshot::new(stream, Version::new(at), state).with_schema(schema)?;
            let saved = store.save_snapshot(&snapshot).await?;
            let mut out = context.output();
            if context.json {
                return out.json(&serde_json::json!({"saved": saved}));
            }
            out.line(if saved {
                "saved"
            } else {
                "not saved: a snapshot of that version or a later one stands already"
            })
        }
        Verb::Show { aggregate_id, at, schema } => {
            let query = SnapshotQuery { at_or_before: at.map(Version::new), snapshot_version: schema };
            let snapshot = store.snapshot(&aggregate_id, query).await?;
            let missing = || Failure::not_found(format!("stream {aggregate_id:?} has no such snapshot"));
            let snapshot = snapshot.ok_or_else(missing)?;
            let mut out = context.output();
            if context.json {
                return out.json(&snapshot);
            }
            out.line(format_args!("stream   {}", snapshot.aggregate_id))?;
            out.line(format_args!("version  {}", snapshot.aggregate_version))?;
            out.line(format_args!("schema   {}", snapshot.snapshot_version))?;
            out.line(format_args!("saved    {}", events::time(snapshot.snapshot_timestamp)))?;
            out.line(format_args!("state    {}", snapshot.state))
        }
        Verb::Prune { aggregate_id, before } => {
            let pruned = store.prune_snapshots(&aggregate_id, Version::new(before)).await?;
            let mut out = context.output();
            if context.json {
                return out.json(&serde_json::json!({"pruned": pruned}));
            }
            out.line(format_args!("pruned {pruned}"))
        }
    }
}
