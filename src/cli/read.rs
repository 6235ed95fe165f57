//! `annals read`: one stream.

use chrono::{DateTime, Utc};

use super::{Context, Exit, Failure, events, parse};
use crate::position::Version;
use crate::read::Query;

/// The arguments of `annals read`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The stream's id.
    aggregate_id: String,
    /// Begin at this version, inclusive.
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i64).range(0..))]
    from: Option<i64>,
    /// Begin after this version.
    #[arg(long, value_name = "VERSION", conflicts_with = "from", value_parser = clap::value_parser!(i64).range(0..))]
    since: Option<i64>,
    /// End at this version, inclusive: the stream as of that version.
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i64).range(0..))]
    to: Option<i64>,
    /// Read the stream as of a time: RFC 3339, or a date.
    #[arg(long, value_name = "TIME", value_parser = parse::time)]
    as_of: Option<DateTime<Utc>>,
    /// From the last event to the first.
    #[arg(long)]
    backward: bool,
    /// At most so many events.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Show a deleted stream, and what a reused one held before.
    #[arg(long)]
    include_deleted: bool,
}

impl Args {
    fn query(&self) -> Query {
        let mut query = Query::stream(self.aggregate_id.as_str());
        if let Some(version) = self.from {
            query = query.from_version(Version::new(version));
        }
        if let Some(version) = self.since {
            query = query.since_version(Version::new(version));
        }
        if let Some(version) = self.to {
            query = query.to_version(Version::new(version));
        }
        if let Some(time) = self.as_of {
            query = query.as_of(time);
        }
        if self.backward {
            query = query.backward();
        }
        if self.include_deleted {
            query = query.include_deleted();
        }
        query.limit = self.limit;
        query
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    if events::print(context, &store, args.query()).await? > 0 {
        return Ok(());
    }
    match store.stream(&args.aggregate_id).await? {
        None => Err(Failure::not_found(format!("stream {:?} does not exist", args.aggregate_id))),
        Some(stream) if stream.deleted_at.is_some() && !args.include_deleted => {
            let message = format!("stream {:?} is deleted: --include-deleted shows it", args.aggregate_id);
            Err(Failure::new(Exit::NotFound, message))
        }
        Some(_) => Ok(()),
    }
}
