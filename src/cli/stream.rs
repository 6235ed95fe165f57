//! `annals stream`: one stream's life and metadata.

use clap::Subcommand;

use super::append::Outcome;
use super::{Context, Failure, events, parse};
use crate::error::Error;
use crate::store::Store;
use crate::stream::{Expected, Stream, StreamInfo};

/// The arguments of `annals stream`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show what is known of a stream, deleted or not.
    Show {
        /// The stream's id.
        aggregate_id: String,
    },
    /// Hide a stream from reads and lists; the log keeps its events.
    Delete(Change),
    /// Show all of a deleted stream again.
    Undelete(Change),
    /// Begin a deleted stream anew: its versions go on, what it held before stays hidden.
    Reuse(Change),
    /// Show a stream's metadata, or set it.
    Metadata {
        /// The stream's id.
        aggregate_id: String,
        /// Set it to this JSON object; @FILE reads a file, - standard input.
        #[arg(long, value_name = "JSON")]
        set: Option<String>,
        /// The version that the metadata must have; 0 where none was ever set.
        #[arg(long, value_name = "VERSION", requires = "set")]
        expect: Option<i64>,
    },
}

impl Args {
    /// Returns whether it changes a stream.
    pub(crate) const fn writes(&self) -> bool {
        !matches!(self.verb, Verb::Show { .. } | Verb::Metadata { set: None, .. })
    }
}

#[derive(Debug, clap::Args)]
struct Change {
    /// The stream's id.
    aggregate_id: String,
    /// The version that the stream must have: any, exists, or a number.
    #[arg(long, value_name = "VERSION", default_value = "any", value_parser = parse::expected)]
    expect: Expected,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    match args.verb {
        Verb::Show { aggregate_id } => show(context, &find(&store, &aggregate_id).await?),
        Verb::Delete(change) => {
            let stream = named(&store, &change.aggregate_id).await?;
            Outcome::new(&stream, store.delete(&stream, change.expect).await?).print(context, "deleted")
        }
        Verb::Undelete(change) => {
            let stream = named(&store, &change.aggregate_id).await?;
            Outcome::new(&stream, store.undelete(&stream, change.expect).await?).print(context, "undeleted")
        }
        Verb::Reuse(change) => {
            let stream = named(&store, &change.aggregate_id).await?;
            Outcome::new(&stream, store.reuse(&stream, change.expect).await?).print(context, "reused")
        }
        Verb::Metadata { aggregate_id, set, expect } => {
            if let Some(text) = set {
                store.set_metadata(&aggregate_id, expect, parse::json(&text)?).await?;
            }
            metadata(context, &find(&store, &aggregate_id).await?)
        }
    }
}

/// Returns what is known of a stream, which must exist.
pub(super) async fn find(store: &Store, id: &str) -> Result<StreamInfo, Failure> {
    let stream = store.stream(id).await?;
    Ok(stream.ok_or_else(|| Error::StreamNotFound { stream: id.to_owned() })?)
}

/// Returns the name of a stream with the category that it has.
pub(super) async fn named(store: &Store, id: &str) -> Result<Stream, Failure> {
    Ok(Stream::new(find(store, id).await?.aggregate_type, id)?)
}

fn show(context: &Context, stream: &StreamInfo) -> Result<(), Failure> {
    let mut out = context.output();
    if context.json {
        return out.json(stream);
    }
    let deleted = stream.deleted_at.map(events::time);
    out.line(format_args!("stream      {}", stream.aggregate_id))?;
    out.line(format_args!("type        {}", stream.aggregate_type))?;
    out.line(format_args!("version     {}", stream.version))?;
    out.line(format_args!("shows from  {}", stream.first_version))?;
    out.line(format_args!("created     {}", events::time(stream.created_at)))?;
    out.line(format_args!("last event  {}", events::time(stream.last_event_at)))?;
    out.line(format_args!("deleted     {}", deleted.as_deref().unwrap_or("no")))?;
    out.line(format_args!("metadata    {}", stream.metadata.as_ref().map_or("none", crate::Json::as_str)))
}

/// A stream's metadata, as programs get it.
#[derive(serde::Serialize)]
struct Described<'a> {
    aggregate_id: &'a str,
    metadata: Option<&'a crate::Json>,
    metadata_version: i64,
}

fn metadata(context: &Context, stream: &StreamInfo) -> Result<(), Failure> {
    let mut out = context.output();
    if context.json {
        return out.json(&Described {
            aggregate_id: &stream.aggregate_id,
            metadata: stream.metadata.as_ref(),
            metadata_version: stream.metadata_version,
        });
    }
    out.line(stream.metadata.as_ref().map_or("none", crate::Json::as_str))
}
