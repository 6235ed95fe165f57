//! `annals query`: the log.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::filters::Filters;
use super::{Context, Failure, events, parse};
use crate::position::Position;
use crate::read::Query;

/// The arguments of `annals query`. All filters must hold; the limit applies after them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    filters: Filters,
    /// Only events of this conversation.
    #[arg(long, value_name = "UUID")]
    correlation: Option<Uuid>,
    /// Only events that this message caused.
    #[arg(long, value_name = "UUID")]
    causation: Option<Uuid>,
    /// Only events stored at or after this time: RFC 3339, or a date.
    #[arg(long, value_name = "TIME", value_parser = parse::time)]
    from: Option<DateTime<Utc>>,
    /// Only events stored before this time.
    #[arg(long, value_name = "TIME", value_parser = parse::time)]
    to: Option<DateTime<Utc>>,
    /// Only events stored at or before this time: the log as of it.
    #[arg(long, value_name = "TIME", value_parser = parse::time, conflicts_with = "to")]
    as_of: Option<DateTime<Utc>>,
    /// Only the event of this id, which is unique in a stream's lane: one of each lane at most; no other filter applies.
    #[arg(long, value_name = "UUID")]
    event_id: Option<Uuid>,
    /// Begin beyond this position, in reading order.
    #[arg(long, value_name = "POSITION")]
    after: Option<i64>,
    /// End at this position, inclusive, in reading order.
    #[arg(long, value_name = "POSITION")]
    until: Option<i64>,
    /// From the last event to the first.
    #[arg(long)]
    backward: bool,
    /// At most so many events.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Show a deleted stream, where one is named; the log shows all anyway.
    #[arg(long, requires = "stream")]
    include_deleted: bool,
}

impl Args {
    fn query(self) -> Result<Query, Failure> {
        let mut query = self.filters.query()?.between(self.from, self.to);
        if let Some(time) = self.as_of {
            query = query.as_of(time);
        }
        if self.backward {
            query = query.backward();
        }
        query.correlation_id = self.correlation;
        query.causation_id = self.causation;
        query.after = self.after.map(Position::new);
        query.until = self.until.map(Position::new);
        query.limit = self.limit;
        query.include_deleted = self.include_deleted;
        Ok(query)
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    if let Some(event_id) = args.event_id {
        return by_id(event_id, context).await;
    }
    let query = args.query()?;
    let store = context.store().await?;
    events::print(context, &store, query).await.map(drop)
}

async fn by_id(event_id: Uuid, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let mut found = Vec::new();
    for lane in &store.topic().lanes {
        found.extend(store.backend().event(*lane, event_id).await?);
    }
    if found.is_empty() {
        return Err(Failure::not_found(format!("event {event_id} does not exist")));
    }
    events::print_all(context, &found)
}
